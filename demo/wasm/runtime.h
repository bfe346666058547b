/* SPDX-License-Identifier: MIT */
/*
 * runtime.h: a small runtime for what wasm2c makes of wasm guests, its memory
 * on ufault.
 *
 *     base                break           8 GiB   + 64 KiB
 *     |###### memory #####|.... closed ....|......|#|      one space a guest
 *      grows by memory.grow  out of bounds:        the guest's globals, where
 *      = uf_brk              SIGSEGV, trap hook    no 32-bit address and
 *                                                  offset reach
 *
 *     module ─ instantiate, warm ─► image ─► template ─► pool
 *                                                         │ guest_enter
 *                                    guest ◄──────────────┘
 *                                      │ guest_serve
 *                                      └ guest_leave: reset
 *
 * No access is checked: what is not the guest's is closed (memory.c, trap.c).
 * What a guest asks of its host arrives in wasi.c, which copies.
 */
#ifndef DEMO_WASM_RUNTIME_H
#define DEMO_WASM_RUNTIME_H

#include <pthread.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <wasm-rt.h>

#include "ufault/template.h"
#include "ufault/ufault.h"

#define WASM_PAGE ((size_t)65536)
/* An address and an offset of 32 bits each, and the widest access. */
#define WASM_REACH (((size_t)8 << 30) + WASM_PAGE)
/* Behind it, out of reach: what the guest has beside its memory. */
#define GLOBALS_BYTES WASM_PAGE
#define SPACE_BYTES   (WASM_REACH + GLOBALS_BYTES)

/* How a guest ended, beside wasm_rt_trap_t (0: it returned). */
#define GUEST_EXITED 100

struct guest;

/* What wasm2c made of one program: its functions, and where in the struct of
 * an instance the things are that belong to this process. */
struct module {
    const char *name;
    size_t instance_bytes;
    size_t memory, table, env, wasi; /* offsets */
    void (*init)(void);
    void (*instantiate)(void *instance, struct guest *guest);
    void (*initialize)(void *instance);
    void (*warm)(void *instance);
    void (*serve)(void *instance);
    void (*call)(void *instance, uint32_t f, uint32_t a, uint32_t b);
};

extern const struct module *const modules[];
enum { MODULE_HASH, MODULE_COMPRESS, MODULE_SCRIPT, MODULE_EVIL, MODULES };

/* A guest at work: one for a thread, in a space of the pool for each request. */
struct guest {
    const struct module *module;
    struct uf_space *space; /* NULL: between requests */
    void *instance;
    wasm_rt_funcref_t *table;
    sigjmp_buf stopped; /* where a trap ends it */
    jmp_buf *attempt;   /* where it gives up */
    const char *request;
    size_t request_bytes, request_at;
    char *answer;
    size_t answer_bytes, answer_max;
    int exit_code;
    uintptr_t trap_address; /* of the last access out of bounds */
};

/* The guest that runs on this thread, or NULL. */
extern _Thread_local struct guest *guest_running;

/* A warmed program: what its guests are made from. */
struct program {
    const struct module *module;
    struct uf_template *template;
    struct uf_pool *pool;
    void *first; /* the instance whose functions `table` names */
    wasm_rt_funcref_t *table;
    size_t ntable;
    uint64_t image_bytes; /* of the file */
};

struct program_opts {
    const char *image; /* the file's path */
    size_t memory_max; /* bytes of linear memory that a guest may have */
    size_t keep;       /* spaces that the pool keeps ready */
    struct uf_engine *engine;
};

/* program.c: 0 or -errno. */
int program_open(struct program *program, const struct module *module,
                 const struct program_opts *opts);
void program_close(struct program *program);

/* guest.c. A guest is made once, entered and left for each request. guest_serve
 * returns how it ended; its answer is at guest->answer. */
int guest_create(struct guest *guest, const struct program *program,
                 size_t answer_max);
void guest_destroy(struct guest *guest);
int guest_enter(struct guest *guest, const struct program *program);
int guest_serve(struct guest *guest, const void *request, size_t len_bytes);
int guest_leave(struct guest *guest, const struct program *program);
int guest_run(struct guest *guest, void (*f)(void *instance));
size_t guest_memory_bytes(const struct guest *guest);

/* trap.c: hooks of the spaces of guests and of their stacks. */
int trap_watch(struct uf_space *space);
const char *trap_name(int trap);
_Noreturn void trap_exit(void);

/* stacks.c: threads whose stack is a part of a space, so that a guest that
 * calls itself for ever is stopped like one that reads out of bounds. */
struct stacks {
    struct uf_space *space;
};
int stacks_create(struct stacks *stacks, size_t n, struct uf_engine *engine);
int stacks_start(struct stacks *stacks, size_t i, pthread_t *ret_thread,
                 void *(*run)(void *), void *data);
void stacks_destroy(struct stacks *stacks);

#endif
