/* SPDX-License-Identifier: MIT */
/*
 * memory.c: wasm-rt.h's memories and tables. A linear memory is a space: its
 * size is the break, and the rest, as far as a guest can reach, is closed.
 */
#include "runtime.h"

void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint32_t pages,
                             uint32_t max_pages)
{
    struct guest *guest = guest_running;
    uintptr_t base = uf_space_base(guest->space);

    memory->data = (uint8_t *)base;
    memory->pages = 0;
    memory->max_pages = max_pages;
    if (wasm_rt_grow_memory(memory, pages) != 0)
        wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
}

/* memory.size is 32 bits wide: 4 GiB less a page is the most. */
uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint32_t delta)
{
    uint32_t before = memory->pages;
    uint64_t pages = (uint64_t)before + delta;
    uintptr_t end = (uintptr_t)memory->data + pages * WASM_PAGE;

    if (pages > memory->max_pages || pages > UINT32_MAX / WASM_PAGE ||
        uf_brk(guest_running->space, end) != end)
        return UINT32_MAX;
    memory->pages = (uint32_t)pages;
    memory->size = (uint32_t)(pages * WASM_PAGE);
    return before;
}

/* The space is its owner's to give back. */
void wasm_rt_free_memory(wasm_rt_memory_t *memory)
{
    memory->data = NULL;
}

void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table,
                                    uint32_t elements, uint32_t max_elements)
{
    table->data = calloc(elements, sizeof(*table->data));
    table->size = elements;
    table->max_size = max_elements;
    if (!table->data)
        wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
}

void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table)
{
    free(table->data);
    table->data = NULL;
}
