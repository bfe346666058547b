/* SPDX-License-Identifier: MIT */
/*
 * traps: a trap hook that notes what it is told and leaves by siglongjmp, and
 * accesses that may end there.
 */
#ifndef TESTS_LIB_TRAPS_H
#define TESTS_LIB_TRAPS_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/live.h"

/* Pages mapped in trap_space. */
#define TRAP_PAGES 4

/* What this thread's hook was told, how often, and where it goes. */
extern _Thread_local struct uf_trap trap_last;
extern _Thread_local volatile unsigned trap_told;
extern _Thread_local sigjmp_buf trap_escape;

/* The hook. */
int trap_note_and_leave(void *data, struct uf_trap *trap);

/* Accesses that sanitizers do not look at twice. */
void trap_put(uintptr_t addr);
unsigned char trap_get(uintptr_t addr);

/* Accesses addr: true if the hook was told of it. */
bool trapped(uintptr_t addr, bool write);

/* A space with TRAP_PAGES pages of heap and `hook`, under uf_trap_install; and
 * its end. */
struct uf_space *trap_space(uf_trap_hook hook, void *data);
void trap_destroy(struct uf_space *space);

/* A thread's body: overflows its stack ten times, and leaves by the hook each
 * time. `arg` is TRAP_ALT_BYTES for its alternate stack. Returns how often it
 * was told of a SIGSEGV at some depth. */
#define TRAP_ALT_BYTES ((size_t)64 << 10)
void *trap_overflow(void *arg);

#endif
