/* SPDX-License-Identifier: MIT */
/*
 * trap_table: which space an address belongs to and who is to be told, for a
 * signal handler.
 *
 * The handler may take no lock: the thread may have been stopped anywhere. So
 * it reads a sorted array that nobody changes once it can be seen. A change
 * makes a new array, publishes it, and waits until no handler reads the old
 * one; a handler counts as a reader for a few instructions, with all signals
 * blocked. It ends that time with a pin on the space, so that the space stays.
 *
 *     handler    readers++ ─► published ─► entry ─► space_pin ─► readers--
 *     writer     new array ─► published = new ─► await readers ─► free old
 *
 * As long as the process has never had the handler there are no readers, and
 * the array is changed in place. Spaces enter and leave it in any case, so that
 * the handler knows those that were there before it.
 */
#ifndef UF_FAULT_TRAP_TABLE_H
#define UF_FAULT_TRAP_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/space.h"
#include "ufault/trap.h"

/* What the handler learns about an address. */
struct trap_place {
    struct uf_space *space; /* pinned */
    uf_trap_hook hook;      /* or NULL */
    void *data;
};

/* A new space, without a hook. 0 or -ENOMEM. */
int trap_table_add(struct uf_space *space);

/* Ensures: no look-up will find the space; those that did hold a pin. NULL and
 * a space that is not there are fine. Cannot fail. */
void trap_table_remove(const struct uf_space *space);

/* 0; -ENOMEM; -EINVAL: the space is not there. */
int trap_table_set_hook(const struct uf_space *space, uf_trap_hook hook,
                        void *data);

/* From now on there may be readers. Before the handler is installed. */
void trap_table_expect_readers(void);

/* The space that holds addr. False: none does. Async-signal-safe; all signals
 * are blocked. */
bool trap_table_pin(uintptr_t addr, struct trap_place *ret);

/* Around fork. In the child spaces that are not inherited are gone. */
void trap_table_fork_prepare(void);
void trap_table_fork_parent(void);
void trap_table_fork_child(void);

#endif
