/* SPDX-License-Identifier: MIT */
/*
 * mm-twin: the kernel as oracle for the mmap family.
 *
 *     mm-twin ──ops──► memory shared by three processes ──ops──┐
 *        │                                                     │
 *        │          kernel side: real calls on a plain range   │
 *        │          tested side: uf_* calls on a space     ◄───┘
 *        └──◄── records: one per operation and side, compared
 *
 * Both sides stand on the same addresses. The kernel side is a process whose
 * every other address is taken by mappings that merge with nothing
 * (mm_room.c), so that the kernel's own search for a free place is an oracle
 * for the space's, and "the end of the space" is the end of what is free:
 *
 *     taken | low zone |  base .......... end  | high zone | taken
 *             (taken but during a call that looks past an end)
 *
 * An operation names places relative to what both sides have in common (the
 * ends, the break, the n-th bound of a mapping), so any part of a list is a
 * list again: that is how a difference is shrunk. As text (mm_text.c) it can be
 * kept and run again.
 */
#ifndef TESTS_MODEL_MM_TWIN_H
#define TESTS_MODEL_MM_TWIN_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define ARENA_PAGES                                                            \
    4608u /* 18 MiB: the largest space, its offset, the zones                  \
           */
#define SPACE_PAGES 4096u
#define ZONE_PAGES  16u
#define OPS_MAX     512u
#define MAPS_MAX    (SPACE_PAGES + 2)
#define THREADS_MAX 8u
#define DUMP_BYTES  (1u << 18)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MM_SANITIZED 1
#endif
#endif

#define NO_FILE 0xffu
/* mremap's new length: as it was. */
#define MM_AS_LONG (UINT64_MAX - 12345)

#define VEC_PAGES (ARENA_PAGES + 2 * ZONE_PAGES)

/* ----------------------------------------------------------- operations -- */

enum mm_kind {
    MM_MMAP,
    MM_MUNMAP,
    MM_MPROTECT,
    MM_MREMAP,
    MM_MADVISE,
    MM_MINCORE,
    MM_MLOCK,
    MM_MLOCK2,
    MM_MUNLOCK,
    MM_MLOCKALL,
    MM_MUNLOCKALL,
    MM_MSYNC,
    MM_BRK,
    MM_SBRK,
    MM_POPULATE,
    MM_READ,     /* one byte */
    MM_WRITE,    /* len bytes of fill */
    MM_PREAD,    /* the kernel writes: read(2) of file 0 into memory */
    MM_PWRITE,   /* the kernel reads: write(2) of memory into file 0 */
    MM_FORK,     /* a child looks at everything, writes at `at`, and ends */
    MM_LIMIT,    /* flags: which; extra: value */
    MM_TRUNCATE, /* file, to extra bytes */
    MM_KINDS
};

/* Where a place is counted from. */
enum mm_from {
    FROM_NOWHERE, /* `upto` alone: not given */
    FROM_ZERO,
    FROM_BASE,
    FROM_END,
    FROM_BRK,
    FROM_EDGE, /* bound nth of the mappings, starts and ends in turn */
    FROM_KINDS
};

struct mm_place {
    uint8_t from;
    uint8_t nth;
    int64_t delta; /* bytes */
};

struct mm_op {
    uint8_t kind;
    uint8_t fill;
    uint8_t file; /* NO_FILE, or which of the side's files */
    int32_t prot;
    int32_t flags; /* of mmap, mremap, msync, ...; advice; which limit */
    struct mm_place at;
    struct mm_place upto; /* if given, the length is from `at` to here */
    struct mm_place dest; /* mremap's new address */
    uint64_t len;
    uint64_t extra; /* mremap's new length; offset; value */
};

/* An operation with its places found. */
struct mm_args {
    enum mm_kind kind;
    uint8_t fill;
    uint8_t file;
    int prot;
    int flags;
    uintptr_t at;
    uintptr_t dest;
    uint64_t len;
    uint64_t extra;
};

/* How a run is set up, on both sides. */
struct mm_config {
    uint32_t npages;       /* of the space */
    uint32_t offset_pages; /* of its base in the arena */
    uint32_t window_pages;
    uint32_t nthreads;   /* that touch meanwhile */
    uint32_t deep_every; /* operations between two looks at everything */
    bool bottom_up;
    bool thread_writes; /* the threads write too: see mm_touch.c */
    bool disk;          /* FILE_DISK is mapped too */
};

/* ----------------------------------------------------------- what is seen */

/* One mapping, as both sides can tell. */
struct mm_map {
    uintptr_t start;
    uintptr_t end;
    uint64_t offset; /* of a file */
    uint32_t prot;
    uint32_t flags; /* UF_VMA_* */
};

enum mm_gauge { MM_TOTAL, MM_DATA, MM_STACK, MM_EXEC, MM_LOCKED, MM_GAUGES };

/* What a side saw after one operation. */
struct mm_record {
    uint64_t result; /* address, or 0, or -errno */
    uint64_t seen;   /* what the operation itself looked at */
    uint64_t brk;
    uint64_t maps;              /* fingerprint: bounds and protections */
    uint64_t joined;            /* the same, like neighbours as one */
    uint64_t resident;          /* fingerprint of which pages */
    uint64_t flags;             /* deep: fingerprint of the mappings' flags */
    uint64_t contents;          /* deep: fingerprint of resident pages */
    uint64_t gauges[MM_GAUGES]; /* deep */
    struct mm_args args;        /* as the side understood it */
    uint32_t nmaps;
    uint32_t nresident;
    bool torn;          /* the range holds a bound that joining hides */
    bool locked;        /* tested side: the range holds locked memory */
    bool stacks;        /* there is a mapping that grows down (tested side) */
    bool stack_limited; /* by UF_LIMIT_STACK */
    bool stack_parts;   /* a stack is several mappings that are alike */
    uint32_t signal;    /* that a touch got */
    uint32_t wrong;     /* line of a check that failed on the side itself */
    bool skipped;       /* means nothing here; see args_fit */
    bool deep;
};

enum mm_side_id { SIDE_KERNEL, SIDE_TESTED, SIDES };

#define BITS 64u

struct mm_exchange {
    struct mm_config config;
    uint64_t seed; /* the run's, for messages and the touching threads */
    uint32_t nops;
    uint32_t dump_at; /* operation after which a side tells all */
    uintptr_t base;   /* of the space, on both sides */
    _Atomic uint32_t done[SIDES];
    _Atomic uint32_t running[SIDES]; /* threads touch while this is set */
    _Atomic uint64_t touches[SIDES]; /* by threads */
    int32_t error[SIDES]; /* -errno: the side could not begin; -EAGAIN: its
                             process is spoilt */
    uint64_t child_seen[SIDES]; /* from MM_FORK's child */
    struct mm_op ops[OPS_MAX];
    struct mm_record records[SIDES][OPS_MAX];
    /* Which pages are resident, for a window that brings in more. */
    uint64_t pages[SIDES][OPS_MAX][SPACE_PAGES / BITS];
    char dump[SIDES][DUMP_BYTES];
};

/* --------------------------------------------------------------- sides -- */

struct mm_side {
    enum mm_side_id id;
    uintptr_t arena; /* where ARENA_PAGES are free for it */
    uintptr_t base;
    uintptr_t end;
    struct mm_config config;
    struct mm_exchange *exchange;
    /* As of the last look; private neighbours that are alike are one: see
     * mm_look.c. */
    struct mm_map *maps;
    uint32_t nmaps;
    struct mm_map *raw; /* as the side has them */
    uint32_t nraw;

    /* Once in the life of a process; the range of addresses is a side's to
     * clear. 0 or -errno. */
    int (*prepare)(struct mm_side *side, bool bottom_up);
    /* For one run. 0 or -errno. */
    int (*begin)(struct mm_side *side);
    void (*end_run)(struct mm_side *side);
    /* The calls of mman.h and brk: the answer. `vec` is for mincore. */
    int64_t (*call)(struct mm_side *side, const struct mm_args *args,
                    unsigned char *vec);
    uintptr_t (*brk_now)(struct mm_side *side);
    /* Fills maps[] without flags; with flags. Returns how many, or -errno. */
    int (*list)(struct mm_side *side, struct mm_map *maps);
    int (*list_flags)(struct mm_side *side, struct mm_map *maps, int nmaps);
    int (*mincore)(struct mm_side *side, uintptr_t at, size_t len,
                   unsigned char *vec);
    int (*gauges)(struct mm_side *side, uint64_t *ret_gauges);
    pid_t (*fork)(struct mm_side *side);
};

struct mm_side *mm_kernel_side(void);
struct mm_side *mm_space_side(void);

/* Runs exchange->ops on the side, into its records. */
void mm_side_run(struct mm_side *side, struct mm_exchange *exchange);

/* mm_look.c: fills the record with what is to be seen. */
void mm_look(struct mm_side *side, struct mm_record *record, uint32_t nth);
void mm_dump(struct mm_side *side, const struct mm_record *record);
uint64_t mm_page_print(const void *page, size_t len_bytes);
uint64_t mm_hash(uint64_t hash, uint64_t value);

/* ------------------------------------------------------------ mm_touch.c -- */

/* The end of a page that belongs to writing threads; nobody compares it. */
#define THREADS_BYTES ((size_t)8 * THREADS_MAX)

void mm_catch_signals(void);
/* Touches; the signal that it got, or 0. */
int mm_read_byte(uintptr_t at, uint8_t *ret_byte);
int mm_write_bytes(uintptr_t at, size_t len_bytes, uint8_t fill);
/* Fingerprint of a page that may be read; the signal that it got, or 0. */
int mm_read_page(uintptr_t page, size_t len_bytes, uint64_t *ret_print);
/* Starts the threads of a process, which sleep until a run wants them. */
int mm_start_threads(struct mm_side *side, uint32_t nthreads);
/* Between these two they touch. */
void mm_threads_go(struct mm_side *side);
void mm_threads_stop(struct mm_side *side);
/* MM_FORK. */
void mm_fork_and_look(struct mm_side *side, const struct mm_args *args,
                      struct mm_record *record);

/* ------------------------------------------------------------ mm_files.c -- */

/* A side has files of its own, all sides' alike. */
enum mm_file {
    FILE_MEM,        /* in memory, read and write */
    FILE_MEM_RDONLY, /* the same file, open for reading alone */
    FILE_DISK,       /* on a file system */
    FILE_MEM_WRONLY, /* FILE_MEM, open for writing alone */
    FILE_PIPE,       /* cannot be mapped */
    FILE_CLOSED,     /* not open */
    FILE_KINDS
};

int mm_files_open(void);
int mm_files_reset(void);
int mm_file(uint8_t which); /* the descriptor; -1 for NO_FILE */
int mm_file_truncate(uint8_t which, uint64_t len_bytes);

/* ------------------------------------------------- mm_room.c, mm_maps.c -- */

/* The kernel side's own process: every free address but the arena is taken.
 * Returns 0 or -errno. No mapping may come or go from then on. */
int mm_room_fill(uintptr_t arena, size_t len_bytes);
/* Takes all of the arena but [base, end), which is left empty. */
int mm_room_set(uintptr_t base, uintptr_t end);
/* Frees `pages` on each side of the range, for one call, and takes them again.
 * Up to ZONE_PAGES. */
int mm_room_open(uint32_t low_pages, uint32_t high_pages);
int mm_room_close(void);
/* Unlocks all of the process but the range. */
void mm_room_unlock(void);
/* First address that is nobody's: TASK_SIZE. */
uintptr_t mm_room_task_size(void);
/* Places the break at the base, unmapped. */
int mm_room_set_brk(uintptr_t base);

/* Values of UF_LIMIT_* over the range alone. */
void mm_room_limit(int which, uint64_t value);
void mm_room_limit_lift(bool lift); /* for the process's own calls */
uint64_t mm_room_limit_now(int which);
/* Gives up all rights but, if it may, the one to lock without limit. */
int mm_room_may_lock(bool may);

int mm_maps_open(void);
int mm_maps_list(uintptr_t base, uintptr_t end, struct mm_map *maps);
int mm_maps_flags(uintptr_t base, uintptr_t end, struct mm_map *maps,
                  int nmaps);
int mm_maps_gauges(uint64_t *ret_gauges); /* of the whole process */

/* ---------------------------------------------------- mm_ops.c, mm_text.c --
 */

/* Where random choices come from: a seed, or a fuzzer's bytes. */
struct mm_source {
    uint64_t state;
    const uint8_t *bytes; /* NULL: the seed */
    size_t left;
};

uint64_t mm_below(struct mm_source *source, uint64_t n);

struct mm_plan {
    uint64_t seed;
    uint64_t ops;
    uint64_t without; /* bits 1 << enum mm_kind */
    uint32_t nthreads;
    bool default_window;
    bool self; /* the kernel against itself: is the twin deterministic? */
};

void mm_make_config(struct mm_source *source, const struct mm_plan *plan,
                    struct mm_config *config);
/* Returns how many; less than `max` when a fuzzer's bytes end. */
uint32_t mm_make_ops(struct mm_source *source, const struct mm_plan *plan,
                     const struct mm_config *config, struct mm_op *ops,
                     uint32_t max);

void mm_config_print(FILE *out, const struct mm_config *config);
void mm_op_print(FILE *out, const struct mm_op *op);
bool mm_config_parse(char *line, struct mm_config *config);
bool mm_op_parse(char *line, struct mm_op *op);
/* MM_KINDS if there is none. */
enum mm_kind mm_kind_named(const char *name);
const char *mm_kind_name(enum mm_kind kind);
const char *mm_advice_name(int advice);

/* ------------------------------------------------------------ mm_meant.c -- */

/* The parts of a record that are compared. */
enum mm_aspect {
    ASPECT_RESULT = 1,
    ASPECT_MAPS = 2,
    ASPECT_RESIDENT = 4,
    ASPECT_CONTENTS = 8,
    ASPECT_GAUGES = 16,
    ASPECT_FLAGS = 32,
    ASPECT_SEEN = 64,
    ASPECT_ALL = 127,
    REST_OF_RUN = 128 /* nothing from here on */
};

/* One operation, as both sides saw it. */
struct mm_case {
    const struct mm_config *config;
    const struct mm_record *kernel;
    const struct mm_record *tested;
    bool reclaimed; /* mm_reclaimed */
};

/* What is left of `differ`, aspects in which the records differ: what is not
 * meant. REST_OF_RUN: this difference is meant, and what follows from it. */
uint32_t mm_meant(const struct mm_case *c, uint32_t differ);
void mm_meant_print(FILE *out);

/* ---------------------------------------------------------- mm_reclaim.c -- */

/* Pages in which the sides' residency differs after operation i. */
uint32_t mm_pages_differ(const struct mm_exchange *exchange, uint32_t i,
                         uint64_t *ret_bits);
/* Whether the host may be the cause of all that `differ` names: it reclaims
 * pages when it likes. */
bool mm_reclaimed(const struct mm_exchange *exchange, uint32_t i,
                  uint32_t differ);

/* ---------------------------------------------------------- mm_compare.c -- */

/* Aspects in which the sides differ after operation i. */
uint32_t mm_differ(const struct mm_exchange *exchange, uint32_t i);
/* The first operation after which they differ, or nops. *ret_compared, if not
 * NULL: operations until a meant difference ended the run. */
uint32_t mm_first_difference(const struct mm_exchange *exchange,
                             uint32_t *ret_compared);

/* ------------------------------------------------------------- mm_pair.c -- */

struct mm_process {
    pid_t pid; /* 0: not started */
    int to;
    int from;
};

struct mm_pair {
    struct mm_exchange *exchange;
    int exchange_fd;
    struct mm_process kernel[2]; /* top-down, bottom-up */
    struct mm_process tested[2];
    bool self;
    struct mm_side *here; /* the tested side runs in this process */
    int patience_ms;
    const char *lost; /* what became of a side in the last run, or NULL */
    enum mm_side_id lost_side;
};

void mm_pair_open(struct mm_pair *pair, bool self, struct mm_side *here);
void mm_pair_close(struct mm_pair *pair);
/* Both sides do exchange->ops. False, and pair->lost, if one did not end. */
bool mm_pair_run(struct mm_pair *pair);
/* The main function of a side's process. */
int mm_side_serve(char **args);
_Noreturn void mm_die(const char *what, int err);

/* ----------------------------------------------------------- mm_shrink.c -- */

/* Prints the difference that was found: where, and the shortest list that
 * still has it. `path`: also written there, or NULL. */
void mm_report(struct mm_pair *pair, const char *path);

#endif
