/* SPDX-License-Identifier: MIT */
/*
 * many-from-one: a guest that takes long to start, once; then a clone of it for
 * each request, and back again.
 *
 *     warm up ─► template ─┬─ request 1: a clone reads, writes ─► reset ─┐
 *     (a table of squares) ├─ request 2: the same clone again      ◄─────┘
 *                          └─ ...
 *
 * Pages of the template are shared until a clone writes to them. A reset undoes
 * what was written, and nothing else: what is clean stays where it is. Beside
 * that, dirty tracking tells which pages a request wrote.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ufault/dirty.h"
#include "ufault/template.h"
#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define ENTRIES  2000000
#define REQUESTS 1000

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* The guest: a table, and a counter that each request leaves behind. */
struct guest {
    long counter;
    long squares[ENTRIES];
};

static struct uf_space *new_space(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)32 << 20};
    struct uf_space *space;

    CHECK(uf_space_create(&opts, &space) == 0);
    return space;
}

static struct uf_template *warm_up(void)
{
    struct uf_space *space = new_space();
    struct uf_template *template;
    struct guest *guest;

    guest = (struct guest *)uf_sbrk(space, sizeof(*guest));
    for (long i = 0; i < ENTRIES; i++)
        guest->squares[i] = i * i;
    CHECK(uf_template_create(space, &template) == 0);
    uf_space_destroy(space);
    return template;
}

/* What a request does to its guest. */
static long serve(struct uf_space *space, long n)
{
    struct guest *guest = (struct guest *)uf_space_base(space);

    CHECK(guest->counter == 0); /* nobody was here before */
    guest->counter = n;
    guest->squares[n] = -1;
    return guest->squares[n + 1];
}

int main(void)
{
    struct uf_range written[16];
    struct uf_template *template;
    struct uf_space *guest;
    struct uf_pool *pool;
    double begun = now_ms(), warm, served;
    ssize_t n;

    template = warm_up();
    warm = now_ms() - begun;
    printf("warmed up in %.1f ms: a template of %zu KiB\n", warm,
           uf_template_bytes(template) / 1024);

    CHECK(uf_pool_create(template, NULL, 4, &pool) == 0);
    begun = now_ms();
    for (long i = 0; i < REQUESTS; i++) {
        CHECK(uf_pool_get(pool, &guest) == 0);
        CHECK(serve(guest, 1000 * i) == (1000 * i + 1) * (1000 * i + 1));
        CHECK(uf_pool_put(pool, guest) == 0);
    }
    served = now_ms() - begun;
    printf("%d requests, each in a guest as new: %.1f us each\n", REQUESTS,
           served * 1e3 / REQUESTS);

    /* Which pages does a request write? */
    guest = new_space();
    CHECK(uf_sbrk(guest, sizeof(struct guest)) > 0);
    if (uf_dirty_start(guest) == 0) {
        serve(guest, 100000);
        n = uf_dirty_collect(guest, written, 16);
        for (ssize_t i = 0; i < n; i++)
            printf("a request wrote page %zu\n",
                   (size_t)(written[i].start - uf_space_base(guest)) /
                       (size_t)sysconf(_SC_PAGESIZE));
        CHECK(n == 2);
    } else {
        puts("this kernel cannot say which pages were written");
    }
    uf_space_destroy(guest);
    uf_pool_destroy(pool);
    uf_template_unref(template);
    return 0;
}
