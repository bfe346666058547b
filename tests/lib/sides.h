/* SPDX-License-Identifier: MIT */
/*
 * sides: a test of the mmap family that is run on a space and on the kernel's
 * own memory, and asserts the same of both. The kernel is the oracle: what the
 * test says of it is true by running, so what it says of a space is right.
 *
 *     static void body(struct side *s) { ... side_mmap(s, ...) ... }
 *     on_all_sides(body);
 *
 * The sides are the kernel and spaces with windows of 1 page, with windows of 64,
 * and with windows that adapt. A body works at addresses inside [base, base + SIDE_BYTES), which are
 * free when it begins. Calls answer as uf_ calls do: a value or -errno.
 */
#ifndef TESTS_LIB_SIDES_H
#define TESTS_LIB_SIDES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "lib/live.h"

#define SIDE_BYTES ((size_t)32 << 20)

struct side {
    const char *name;
    struct uf_space *space; /* NULL: the kernel */
    uintptr_t base;         /* a multiple of 2 MiB */
};

/* Runs the body on each side; a failed assertion ends the test. */
void on_all_sides(void (*body)(struct side *side));

/* The same with options for the spaces (window_pages is set). */
void on_all_sides_with(const struct uf_space_opts *opts,
                       void (*body)(struct side *side));

/* Page number n of the side. */
uintptr_t side_at(const struct side *side, size_t n);

intptr_t side_mmap(const struct side *side, uintptr_t addr, size_t len_bytes,
                   int prot, int flags, int fd, off_t offset);
int side_munmap(const struct side *side, uintptr_t addr, size_t len_bytes);
int side_mprotect(const struct side *side, uintptr_t addr, size_t len_bytes,
                  int prot);
intptr_t side_mremap(const struct side *side, uintptr_t addr, size_t old_len,
                     size_t new_len, int flags, uintptr_t new_addr);
int side_madvise(const struct side *side, uintptr_t addr, size_t len_bytes,
                 int advice);
int side_mincore(const struct side *side, uintptr_t addr, size_t len_bytes,
                 unsigned char *vec);
int side_mlock2(const struct side *side, uintptr_t addr, size_t len_bytes,
                unsigned flags);
int side_munlock(const struct side *side, uintptr_t addr, size_t len_bytes);
int side_msync(const struct side *side, uintptr_t addr, size_t len_bytes,
               int flags);

/* Anonymous private memory at pages [first, first + npages), MAP_FIXED, with
 * more MAP_* flags. Asserts. Returns its address. */
uintptr_t side_map(const struct side *side, size_t first, size_t npages,
                   int prot, int flags);

/* ------------------------------------------------------------- contents -- */

/* Writes into each page of [addr ...) what tells it from all others: `tag` and
 * its number. */
void pages_write(uintptr_t addr, size_t npages, unsigned tag);
/* Pages [first, first + npages) of what pages_write wrote are at addr. */
bool pages_are(uintptr_t addr, size_t npages, unsigned tag, size_t first);
/* Every byte is 0. */
bool pages_are_zero(uintptr_t addr, size_t npages);

/* A file of npages, unlinked already, that holds what pages_write writes. */
int pages_file(size_t npages, unsigned tag);

/* How many pages a side says are resident. Asserts. */
size_t side_resident(const struct side *side, uintptr_t addr, size_t npages);

/* Asserts: a touch is SIGSEGV with SEGV_MAPERR / SEGV_ACCERR. On a space what
 * is unmapped is closed memory, so that the code is always SEGV_ACCERR. */
void assert_unmapped(const struct side *side, uintptr_t addr);
void assert_refused(uintptr_t addr, bool write);

/* ------------------------------------------------------------ the host -- */

/* Sum of a field of /proc/self/smaps ("Locked:", in kB) over what lies in
 * [start, end). Asserts that the field is there. */
size_t host_smaps_kb(uintptr_t start, uintptr_t end, const char *field);
/* True if VmFlags of the mapping at addr has the two letters. */
bool host_has_flag(uintptr_t addr, const char *letters);
/* Lines of /proc/self/maps that lie in [start, end), even in part. */
size_t host_count_vmas(uintptr_t start, uintptr_t end);

/* -------------------------------------------------------------- children -- */

/* In a child: ends it with the line at fault. */
#define NEED(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #cond);  \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

/* Sanitizers do not support threads started in the forked child of a threaded
 * program, as UF_FORK_ENGINE does. */
#define ENGINES_FORK (!LIVE_SANITIZED)

/* Runs body in a forked child; 0 if that found nothing wrong. */
int child_status(void (*body)(void *arg), void *arg);
/* The same, and asserts it. */
void in_child(void (*body)(void *arg), void *arg);

#endif
