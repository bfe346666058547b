/* SPDX-License-Identifier: MIT */
/*
 * brk_twin: the kernel as oracle for the break.
 *
 *     brk-twin ──ops──► memory shared by three processes ──ops──┐
 *        │                                                      │
 *        │            kernel side: its own heap, brk(2), sbrk(3)│
 *        │            tested side: a space, or its own heap ◄───┘
 *        │                         as a NATIVE space
 *        └──◄── records: one per operation and side, compared
 *
 * An operation names places relative to what both sides have in common (the
 * start of the heap, its break, the next mapping, the limit), so that the same
 * list means the same on both, and any part of a list is a list again: that is
 * how a difference is shrunk.
 *
 * The sides are processes of their own, begun by execve, with a malloc that
 * never asks for a break (GLIBC_TUNABLES), so the break is nobody else's.
 */
#ifndef TESTS_MODEL_BRK_TWIN_H
#define TESTS_MODEL_BRK_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AREA_PAGES ((size_t)1024) /* the heap's reach in every run */
#define OPS_MAX    512
#define BITS       64u

/* What an answer of sbrk is when it fails. */
#define ANSWER_ENOMEM ((uint64_t)0xbadc0de)

enum op_kind {
    OP_BRK,
    OP_SBRK,
    OP_WRITE,
    OP_READ,
    OP_FOREIGN_PUT,  /* maps one page that nobody may touch, above the heap */
    OP_FOREIGN_TAKE, /* and unmaps it */
    OP_LIMIT_DATA,
    OP_LIMIT_AS,
    OP_KINDS
};

/* Where an operation's place is counted from. */
enum place {
    FROM_ZERO,
    FROM_START,
    FROM_BRK,
    FROM_BRK_PAGE,   /* the break, rounded up to a page */
    FROM_FOREIGN,    /* the foreign page, the area's end if there is none */
    FROM_END,        /* of the area */
    FROM_DATA_LIMIT, /* the break that check_data_rlimit just allows */
    FROM_DATA_PAGES, /* the break that may_expand_vm just allows, by data */
    FROM_AS_LIMIT,   /* the same, by address space */
    PLACES
};

struct brk_op {
    uint8_t kind;
    uint8_t place;
    uint8_t fill;  /* OP_WRITE: the byte */
    uint16_t len;  /* OP_WRITE: bytes */
    int64_t delta; /* bytes from the place */
};

/* How a run is set up, on both sides. */
struct run_config {
    uint32_t window_pages;
    bool locked;
    bool limits;          /* the two targets are made true */
    uint64_t data_pages;  /* private writable pages beside the heap */
    uint64_t total_pages; /* all pages beside the heap */
    uint64_t extra_bytes; /* end_data - start_data */
};

/* What a side saw after one operation. Addresses are relative to the start. */
struct brk_record {
    uint64_t answer;
    uint64_t brk;
    uint64_t mapped; /* pages, beside what was mapped when the run began */
    uint64_t bytes;  /* fingerprint of the heap; zero pages count nothing */
    uint64_t seen;   /* OP_READ: fingerprint of the page */
    uint32_t signal; /* that the touch got */
    uint32_t wrong;  /* line of a self-check that failed */
    uint64_t resident[AREA_PAGES / BITS];
};

enum side_id { SIDE_KERNEL, SIDE_TESTED, SIDES };

/* What a process has beside its heap, before it is padded. */
struct belongings {
    uint64_t data_pages;
    uint64_t total_pages;
    uint64_t extra_bytes;
};

struct exchange {
    struct run_config config;
    uint64_t seed; /* the run's, for messages */
    uint32_t nops;
    _Atomic uint32_t done[SIDES]; /* operations behind each side */
    int32_t error[SIDES];         /* -errno: the side could not do its part */
    bool drifted[SIDES];          /* its belongings changed: the run is void */
    struct belongings belongings[SIDES];
    struct brk_op ops[OPS_MAX];
    struct brk_record records[SIDES][OPS_MAX];
};

/* ---------------------------------------------------------------- sides -- */

/* What the two sides do each in their way. */
struct side {
    enum side_id id;
    uintptr_t start;   /* of the heap */
    uintptr_t foreign; /* 0: none */
    uint64_t limit_data;
    uint64_t limit_as;
    struct run_config config;
    bool pads; /* reaches the config's targets by real mappings */

    int (*begin)(struct side *side);
    void (*end)(struct side *side);
    uintptr_t (*brk)(struct side *side, uintptr_t brk);
    /* The break from before, or ANSWER_ENOMEM. */
    uint64_t (*sbrk)(struct side *side, intptr_t increment);
    int (*foreign_put)(struct side *side, uintptr_t address);
    void (*foreign_take)(struct side *side, uintptr_t address);
    void (*limit)(struct side *side); /* from limit_data and limit_as */
    uint64_t (*mapped)(struct side *side);
    /* Line of a failed check of what the side says of itself, or 0. */
    uint32_t (*self_check)(struct side *side, uint64_t resident);
};

struct side *kernel_side(void);
struct side *space_side(void);
struct side *native_side(void);

/* Runs exchange->ops on the side, into its records. */
void side_run(struct side *side, struct exchange *exchange);

/* --------------------------------------------------------- brk_pair.c -- */

struct process {
    pid_t pid;
    int to;
    int from;
};

/* Two sides and what is between them. */
struct pair {
    struct exchange *exchange;
    struct process process[SIDES];
    uint64_t movements;
    uint64_t differences;
};

/* Says it and ends: 77 if userfaultfd is refused, else 1. */
_Noreturn void die(const char *what, int err);

/* The main function of a side: --serve SIDE EXCHANGE-FD IN OUT. */
int side_serve(char **args);

void open_pair(struct pair *pair, bool native);
void close_pair(struct pair *pair);

/* Both sides do exchange->ops. */
void run_once(struct pair *pair);

/* ---------------------------------------------------------- brk_ops.c -- */

uint64_t random_next(uint64_t *state);

/* Fills ops with `nops` random operations; returns how many move the break. */
uint32_t ops_make(uint64_t *state, bool limits, struct brk_op *ops,
                  uint32_t nops);
void op_print(const struct brk_op *op);
void record_print(const char *who, const struct brk_record *record);

/* ------------------------------------------------------- brk_process.c -- */

/* start_brk and end_data - start_data of this process. 0 or -errno. */
int process_heap(uintptr_t *ret_start, uint64_t *ret_extra);

/* Drops the ballast from .data, so that less is mapped as data than
 * RLIMIT_DATA's first check assumes. */
void process_drop_ballast(void);

/* What is mapped now. 0 or -errno. */
int process_belongings(struct belongings *ret);

/* Maps what is missing to the config's targets (first undoing the last call).
 * 0, or -ERANGE if there is more already. */
int process_pad(const struct run_config *config);
void process_unpad(void);

/* The page that ends the area, or is in the way. 0 or -errno. */
int process_put_page(uintptr_t address);
void process_take_page(uintptr_t address);

/* setrlimit of the soft limits. */
void process_limit(uint64_t data, uint64_t as);

#endif
