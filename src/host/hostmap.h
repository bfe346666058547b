/* SPDX-License-Identifier: MIT */
/*
 * hostmap: what the kernel says is mapped at an address, as it says it in
 * /proc/PID/maps and smaps.
 *
 * Two readers. `hostmap` knows names: which file lies behind an address, by
 * PROCMAP_QUERY (6.11), else by reading the lines of maps. `smaps` knows
 * figures, one entry a host VMA, which may be part of a VMA of ours or hold
 * several (mm/usage.h takes them apart).
 *
 * Both are asked for rising addresses. No malloc, no lock; memory is looked at,
 * never touched. /proc/thread-self, since /proc/self is empty once the first
 * thread of a process has gone.
 */
#ifndef UF_HOST_HOSTMAP_H
#define UF_HOST_HOSTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/range.h"

/* A path of PATH_MAX bytes, each a newline and so written as four, with
 * " (deleted)". */
#define HOST_NAME_MAX_BYTES (4 * 4096 + 16)

/* The first line of an entry. */
struct host_vma {
    struct range range;
    uint64_t offset; /* of range.start in the file */
    uint32_t major;
    uint32_t minor;
    uint64_t inode;
    char name[HOST_NAME_MAX_BYTES]; /* "" if it has none */
};

/* Parses a line of maps without its newline. False: it is none. */
bool host_vma_parse(const char *line, struct host_vma *ret);

/* ---- names ---- */

struct hostmap;

/* 0, -ENOMEM, or the errno of open(2). */
int hostmap_open(struct hostmap **ret);
void hostmap_close(struct hostmap *map); /* NULL is allowed */

/* What holds addr, valid until the next call; NULL: nothing, or not known. */
const struct host_vma *hostmap_find(struct hostmap *map, uintptr_t addr);

/* Testing: reads lines, as on kernels before 6.11. */
void hostmap_forbid_query(struct hostmap *map);

/* ---- figures ---- */

/* The lines of an entry that are amounts, in the kernel's order. */
#define SMAPS_FIELDS(X)                                                        \
    X(RSS, "Rss:")                                                             \
    X(PSS, "Pss:")                                                             \
    X(PSS_DIRTY, "Pss_Dirty:")                                                 \
    X(SHARED_CLEAN, "Shared_Clean:")                                           \
    X(SHARED_DIRTY, "Shared_Dirty:")                                           \
    X(PRIVATE_CLEAN, "Private_Clean:")                                         \
    X(PRIVATE_DIRTY, "Private_Dirty:")                                         \
    X(REFERENCED, "Referenced:")                                               \
    X(ANONYMOUS, "Anonymous:")                                                 \
    X(KSM, "KSM:")                                                             \
    X(LAZYFREE, "LazyFree:")                                                   \
    X(ANON_HUGE, "AnonHugePages:")                                             \
    X(SHMEM_PMD, "ShmemPmdMapped:")                                            \
    X(FILE_PMD, "FilePmdMapped:")                                              \
    X(SHARED_HUGETLB, "Shared_Hugetlb:")                                       \
    X(PRIVATE_HUGETLB, "Private_Hugetlb:")                                     \
    X(SWAP, "Swap:")                                                           \
    X(SWAP_PSS, "SwapPss:")                                                    \
    X(LOCKED, "Locked:")

enum smaps_field {
#define SMAPS_ENUM(name, label) SMAPS_##name,
    SMAPS_FIELDS(SMAPS_ENUM)
#undef SMAPS_ENUM
        SMAPS_NFIELDS
};

/* "Rss:" and so on. */
extern const char *const smaps_labels[SMAPS_NFIELDS];

#define SMAPS_FLAGS_MAX 160

struct smaps_entry {
    struct host_vma vma;
    uint32_t has; /* bit f: this kernel has field f */
    uint64_t kb[SMAPS_NFIELDS];
    uint64_t kernel_page_kb; /* 0: not said */
    uint64_t mmu_page_kb;
    int thp_eligible;            /* -1: not said */
    int protection_key;          /* -1: not said */
    char flags[SMAPS_FLAGS_MAX]; /* " rd wr mr ... " */
};

struct smaps;

/* 0, -ENOMEM, or the errno of open(2). */
int smaps_open(struct smaps **ret);
void smaps_close(struct smaps *smaps); /* NULL is allowed */

/* The first entry that ends above addr, valid until the next call. NULL: there
 * is none. */
const struct smaps_entry *smaps_find(struct smaps *smaps, uintptr_t addr);

/* True if the entry's VmFlags have the two letters. */
bool smaps_has_flag(const struct smaps_entry *entry, const char *letters);

#endif
