/* SPDX-License-Identifier: MIT */
/* What docs/embedding.md is about; that page quotes this file. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "ufault/template.h"
#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define REACH      ((size_t)8 << 30)   /* as far as a guest's address goes */
#define WARM_BYTES ((size_t)1 << 20)   /* what it has after initialisation */
#define MEMORY_MAX ((uint64_t)4 << 20) /* what it may have */

static _Thread_local struct uf_space *running; /* whose guest is at work */
static _Thread_local sigjmp_buf stopped;

/* The guest: code that trusts its offsets, and can do no harm by that. */
static void guest_warm_up(int *memory)
{
    for (size_t i = 0; i < WARM_BYTES / sizeof(int); i++)
        memory[i] = (int)i;
}

static int guest_serve(int *memory, size_t request)
{
    return ++memory[request];
}

/* An access that is not the guest's to make. In a signal handler. */
static int on_trap(void *data, struct uf_trap *trap)
{
    const ucontext_t *context = trap->context;

    (void)data;
    if (trap->space != running)
        return UF_TRAP_PASS;
    pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
    siglongjmp(stopped, 1);
}

/* 1. Reserve, map, warm up, and keep that. */
static struct uf_template *make_template(const struct uf_space_opts *opts)
{
    struct uf_template *template;
    struct uf_space *space;
    intptr_t memory;

    CHECK(uf_space_create(opts, &space) == 0);
    memory = uf_sbrk(space, WARM_BYTES);
    CHECK(memory > 0);
    guest_warm_up((int *)memory);
    CHECK(uf_template_create(space, &template) == 0);
    CHECK(uf_space_destroy(space) == 0);
    return template;
}

/* 2. A request: a guest as new, which may fail, and is put back. */
static int serve(struct uf_pool *pool, size_t request, int *ret_answer)
{
    int err = uf_pool_get(pool, &running);

    if (err != 0)
        return err;
    err = uf_space_set_trap(running, on_trap, NULL);
    if (err == 0 && sigsetjmp(stopped, 0) == 0)
        *ret_answer = guest_serve((int *)uf_space_base(running), request);
    else if (err == 0)
        err = -1; /* stopped */
    uf_pool_put(pool, running);
    running = NULL;
    return err;
}

int main(void)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = REACH, .limit_data = MEMORY_MAX};
    struct uf_template *template;
    struct uf_pool *pool;
    int answer = 0;

    CHECK(uf_engine_create(NULL, &opts.engine) == 0);
    CHECK(uf_trap_install() == 0);
    template = make_template(&opts);
    CHECK(uf_pool_create(template, &opts, 4, &pool) == 0);

    CHECK(serve(pool, 1000, &answer) == 0 && answer == 1001);
    CHECK(serve(pool, 1000, &answer) == 0 && answer == 1001); /* not 1002 */
    CHECK(serve(pool, (size_t)1 << 30, &answer) == -1);       /* 4 GiB away */
    CHECK(serve(pool, 1000, &answer) == 0 && answer == 1001);
    puts("three requests served, each in a guest as new; one stopped");

    uf_pool_destroy(pool);
    uf_template_unref(template);
    CHECK(uf_trap_remove() == 0);
    return uf_engine_destroy(opts.engine) == 0 ? 0 : 1;
}
