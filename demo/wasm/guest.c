/* SPDX-License-Identifier: MIT */
/*
 * guest.c: a guest at work. Between two requests it has no memory at all; with
 * each it gets a space from the pool, and its instance is what it was when the
 * image was taken: wasm2c's struct, with the pointers of this guest in it.
 */
#include <errno.h>

#include "runtime.h"

static wasm_rt_memory_t *memory_of(const struct guest *guest)
{
    return (wasm_rt_memory_t *)((char *)guest->instance +
                                guest->module->memory);
}

static void set_pointer(const struct guest *guest, size_t offset, void *to)
{
    memcpy((char *)guest->instance + offset, &to, sizeof(to));
}

size_t guest_memory_bytes(const struct guest *guest)
{
    return memory_of(guest)->size;
}

int guest_create(struct guest *guest, const struct program *program,
                 size_t answer_max)
{
    *guest = (struct guest){
        .module = program->module,
        .instance = calloc(1, program->module->instance_bytes),
        .table = calloc(program->ntable, sizeof(*guest->table)),
        .answer = malloc(answer_max),
        .answer_max = answer_max,
    };
    if (guest->instance && guest->table && guest->answer)
        return 0;
    guest_destroy(guest);
    return -ENOMEM;
}

void guest_destroy(struct guest *guest)
{
    free(guest->instance);
    free(guest->table);
    free(guest->answer);
    *guest = (struct guest){0};
}

/* A table names functions, and for each the instance that it works on. */
static void copy_table(struct guest *guest, const struct program *program)
{
    wasm_rt_funcref_table_t *table =
        (wasm_rt_funcref_table_t *)((char *)guest->instance +
                                    guest->module->table);

    for (size_t i = 0; i < program->ntable; i++) {
        guest->table[i] = program->table[i];
        if (guest->table[i].module_instance == program->first)
            guest->table[i].module_instance = guest->instance;
    }
    table->data = guest->table;
}

int guest_enter(struct guest *guest, const struct program *program)
{
    struct uf_space *space;
    uintptr_t base;
    int err = uf_pool_get(program->pool, &space);

    if (err != 0)
        return err;
    err = trap_watch(space);
    if (err != 0) {
        uf_pool_put(program->pool, space);
        return err;
    }
    base = uf_space_base(space);
    guest->space = space;
    memcpy(guest->instance, (void *)(base + WASM_REACH),
           guest->module->instance_bytes);
    memory_of(guest)->data = (uint8_t *)base;
    copy_table(guest, program);
    set_pointer(guest, guest->module->env, guest);
    set_pointer(guest, guest->module->wasi, guest);
    return 0;
}

int guest_leave(struct guest *guest, const struct program *program)
{
    struct uf_space *space = guest->space;

    guest->space = NULL;
    return uf_pool_put(program->pool, space);
}

int guest_run(struct guest *guest, void (*f)(void *instance))
{
    struct guest *outer = guest_running;
    int trap;

    guest->attempt = NULL;
    guest_running = guest;
    trap = sigsetjmp(guest->stopped, 0);
    if (trap == 0)
        f(guest->instance);
    guest_running = outer;
    return trap;
}

int guest_serve(struct guest *guest, const void *request, size_t len_bytes)
{
    guest->request = request;
    guest->request_bytes = len_bytes;
    guest->request_at = 0;
    guest->answer_bytes = 0;
    return guest_run(guest, guest->module->serve);
}
