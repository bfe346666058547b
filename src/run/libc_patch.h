/* SPDX-License-Identifier: MIT */
/*
 * libc_patch: libc's own functions, led to ours.
 *
 *     malloc ─► __mmap ─► jmp ─► ours
 *
 * The first bytes of the function are overwritten with a jump. (Replacing the
 * symbol would not do: calls inside libc do not go through symbols.) A function
 * is recognised by the system call in it, with its number right before; the
 * rest of its code is never run again, so what it looks like does not matter.
 */
#ifndef UF_RUN_LIBC_PATCH_H
#define UF_RUN_LIBC_PATCH_H

#include <stdbool.h>

struct libc_call {
    const char *name;
    void (*ours)(void); /* of the same type */
    long number;        /* of the system call in it */
};

/* False: it is not recognised, and left as it is. Requires (all): the calling
 * thread is the only one. */
bool libc_patch(const struct libc_call *call);

/* All up to one without a name. False: one is not recognised, and none is led;
 * or the code cannot be written, and ours may be called all the same. */
bool libc_patch_all(const struct libc_call *calls);

/* Every call of `target` in libc's function `name` becomes one of `ours`.
 * False: there is none, or ours is out of its reach. */
bool libc_patch_calls(const char *name, const void *target, void (*ours)(void));

/* The address of a symbol of libc's; NULL if there is none. */
void *libc_symbol(const char *name);

#endif
