/* SPDX-License-Identifier: MIT */
/* See traps.h. */
#include "lib/traps.h"

#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants these and setjmp.h, stdint.h first. */
#include <cmocka.h>

_Thread_local struct uf_trap trap_last;
_Thread_local volatile unsigned trap_told;
_Thread_local sigjmp_buf trap_escape;

int trap_note_and_leave(void *data, struct uf_trap *trap)
{
    (void)data;
    trap_told++;
    trap_last = *trap;
    siglongjmp(trap_escape, 1);
}

void trap_put(uintptr_t addr)
{
    __atomic_store_n((volatile unsigned char *)addr, 1, __ATOMIC_RELAXED);
}

unsigned char trap_get(uintptr_t addr)
{
    return __atomic_load_n((volatile unsigned char *)addr, __ATOMIC_RELAXED);
}

bool trapped(uintptr_t addr, bool write)
{
    unsigned before = trap_told;

    if (sigsetjmp(trap_escape, 1) == 0) {
        if (write)
            trap_put(addr);
        else
            (void)trap_get(addr);
    }
    return trap_told != before;
}

struct uf_space *trap_space(uf_trap_hook hook, void *data)
{
    struct uf_space *space = live_space(NULL, TRAP_PAGES);

    assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_space_set_trap(space, hook, data), 0);
    return space;
}

void trap_destroy(struct uf_space *space)
{
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_trap_remove(), 0);
}

static _Thread_local volatile unsigned depth;

__attribute__((noinline)) static unsigned use_stack(unsigned n)
{
    volatile char frame[512];

    frame[0] = (char)n;
    depth = n;
    return n == UINT32_MAX ? 0 : use_stack(n + 1) + (unsigned)frame[0];
}

static bool overflows(void)
{
    depth = 0;
    if (sigsetjmp(trap_escape, 1) == 0)
        use_stack(0);
    return trap_last.signo == SIGSEGV && depth > 100;
}

void *trap_overflow(void *arg)
{
    stack_t alt = {.ss_sp = arg, .ss_size = TRAP_ALT_BYTES};
    uintptr_t times = 0;

    if (sigaltstack(&alt, NULL) < 0)
        return NULL;
    for (int i = 0; i < 10; i++)
        times += overflows();
    alt.ss_flags = SS_DISABLE;
    sigaltstack(&alt, NULL);
    return (void *)times;
}
