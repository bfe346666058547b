/* SPDX-License-Identifier: MIT */
/* posix_calls: random calls of the mmap family, good and bad, for
 * test_posix_libc.c. None of them can act outside its arena. */
#ifndef TESTS_MODEL_POSIX_CALLS_H
#define TESTS_MODEL_POSIX_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARENA_PAGES 48u
#define FILE_PAGES  24u

struct posix_files {
    int rw, ro, wo; /* one file, opened three ways */
    int folder;
    int gone; /* no open descriptor */
};

enum kind {
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_MPROTECT,
    CALL_MREMAP,
    CALL_MADVISE,
    CALL_MINCORE,
    CALL_MSYNC,
    CALL_MLOCK,
    CALL_MLOCK2,
    CALL_MUNLOCK,
    CALL_KINDS
};

/* One call; addresses as distance from the arena. */
struct posix_call {
    enum kind kind;
    intptr_t at;
    size_t len;
    int how; /* prot, advice or flags */
    int flags;
    int fd;
    off_t offset;
    size_t new_len;
    intptr_t to;
    bool null_vec;
};

/* The next call after the last. */
struct posix_call posix_random_call(const struct posix_files *files,
                                    bool with_mremap);
void posix_random_seed(uint64_t seed);

void posix_print_call(uint64_t seed, unsigned n, const struct posix_call *c);

#endif
