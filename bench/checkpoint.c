/* SPDX-License-Identifier: MIT */
/*
 * A space of 64 MiB, 5 % of it written: a checkpoint and its pause, and going
 * back to the image that it was made from. Files lie in /dev/shm, so that what
 * is measured is ours and not the disk's.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/checkpoint.h"
#include "ufault/image.h"
#include "ufault/template.h"
#include "ufault/ufault.h"

#define LEN   ((size_t)64 << 20)
#define CHAIN 32
#define DIRTY 20 /* one page in so many is written */

/* Each checkpoint is on the one before; then a full one again. */
static char paths[CHAIN + 1][80];
static struct uf_space *running, *resting;
static struct uf_image *last, *first;
static unsigned nth;

static void remove_files(void)
{
    for (size_t i = 0; i <= CHAIN; i++)
        unlink(paths[i]);
}

static const struct uf_image_opts *how(struct uf_image *parent)
{
    static struct uf_image_opts opts;

    opts = (struct uf_image_opts){
        .size = sizeof(opts), .codec = UF_IMAGE_LZ4, .parent = parent};
    return &opts;
}

static struct uf_space *new_space(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = LEN + ((size_t)1 << 20)};
    struct uf_space *space;
    uint32_t *p;

    if (uf_space_create(&opts, &space) != 0)
        return NULL;
    p = (uint32_t *)uf_sbrk(space, (intptr_t)LEN);
    for (size_t i = 0; i < LEN / sizeof(*p); i++)
        p[i] = (uint32_t)(i * 2654435761u) >> 20; /* half as long, packed */
    return space;
}

/* The next of the chain: full, or on the last one. */
static bool next(struct uf_checkpoint_result *result)
{
    struct uf_image *parent = nth == 0 ? NULL : last;
    int err;

    result->size = sizeof(*result);
    err = uf_checkpoint(running, paths[nth], how(parent), result);
    uf_image_close(parent);
    last = NULL;
    return err == 0 && uf_image_open(paths[nth++], &last) == 0;
}

static bool ready(void)
{
    struct uf_checkpoint_result result;

    if (running)
        return last != NULL;
    for (size_t i = 0; i <= CHAIN; i++)
        snprintf(paths[i], sizeof(paths[i]), "/dev/shm/ufault-bench.%d.%zu",
                 (int)getpid(), i);
    atexit(remove_files);
    running = new_space();
    resting = new_space();
    if (!running || !resting || !next(&result) ||
        uf_image_save(resting, paths[CHAIN], how(NULL)) != 0 ||
        uf_image_open(paths[CHAIN], &first) != 0)
        puts("# no checkpoint");
    return first != NULL;
}

/* The same pages each time, far from each other. */
static void dirty(struct uf_space *space)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = (char *)uf_space_base(space);
    uint64_t state = 5;

    for (size_t i = 0; i < LEN / page / DIRTY; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[(state >> 33) % (LEN / page) * page + 64]++;
    }
}

static bool checkpoint(struct uf_checkpoint_result *result, struct sample *ret)
{
    double cpu, wall;
    bool ok;

    if (!ready())
        return false;
    if (nth == CHAIN) {
        uf_image_close(last);
        nth = 0;
        if (!next(result))
            return false;
    }
    dirty(running);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    ok = next(result);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return ok && result->tracked;
}

static bool incremental(const struct row *row, struct sample *ret)
{
    struct uf_checkpoint_result result;

    (void)row;
    return checkpoint(&result, ret);
}

static bool full(const struct row *row, struct sample *ret)
{
    double cpu, wall;
    int err;

    (void)row;
    if (!ready())
        return false;
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    err = uf_image_save(resting, paths[CHAIN], how(NULL));
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return err == 0;
}

/* The pause alone. */
static bool pause_of(const struct row *row, struct sample *ret)
{
    struct uf_checkpoint_result result;

    (void)row;
    if (!checkpoint(&result, ret))
        return false;
    ret->wall_us = (double)result.pause_ns / 1000;
    ret->cpu_us = ret->wall_us;
    return true;
}

/* fork of the same process: what nobody can pause for less in this way. */
static bool bare_fork(const struct row *row, struct sample *ret)
{
    double wall;
    pid_t child;

    (void)row;
    if (!ready())
        return false;
    dirty(running);
    wall = bench_wall_us();
    child = fork();
    if (child == 0)
        _exit(0);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = ret->wall_us;
    return waitpid(child, NULL, 0) == child;
}

/* ---- going back to an image ---- */

static struct uf_space *from_image(void)
{
    static struct uf_engine *engine;
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_space *space = NULL;

    if (!engine && uf_engine_create(NULL, &engine) != 0)
        return NULL;
    opts.engine = engine;
    return uf_space_from_image(first, &opts, &space) == 0 ? space : NULL;
}

static void read_all(struct uf_space *space)
{
    const volatile char *p = (char *)uf_space_base(space);

    for (size_t at = 0; at < LEN; at += 4096)
        (void)p[at];
}

/* All is resident; a request writes; and is undone. */
static bool reset_only(const struct row *row, struct sample *ret)
{
    static struct uf_space *space;
    double cpu, wall;
    int err;

    (void)row;
    if (!ready())
        return false;
    if (!space) {
        space = from_image();
        if (!space || uf_space_reset(space) != 0)
            return false;
        read_all(space);
    }
    dirty(space);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    err = uf_space_reset(space);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return err == 0;
}

/* And the request after it, which writes the same pages. */
static bool reset_and_again(const struct row *row, struct sample *ret)
{
    static struct uf_space *space;
    double cpu, wall;
    int err;

    (void)row;
    if (!ready())
        return false;
    if (!space) {
        space = from_image();
        if (!space || uf_space_reset(space) != 0)
            return false;
        read_all(space);
        dirty(space);
    }
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    err = uf_space_reset(space);
    dirty(space);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return err == 0;
}

/* A space made for it, with nothing there but what the request touches. */
static bool new_and_again(const struct row *row, struct sample *ret)
{
    double cpu, wall;
    struct uf_space *space;

    (void)row;
    if (!ready())
        return false;
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    space = from_image();
    if (!space)
        return false;
    dirty(space);
    uf_space_destroy(space);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return true;
}

/* The bytes of the image, unpacked into the space that is there. */
static bool read_image(const struct row *row, struct sample *ret)
{
    static char *p;
    double cpu, wall;
    int err;

    (void)row;
    if (!ready())
        return false;
    if (!p)
        p = malloc(LEN);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    err = uf_image_read(first, 0, LEN / (size_t)sysconf(_SC_PAGESIZE), p);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return err == 0;
}

const struct row checkpoint_rows[] = {
    {.work = "checkpoint of 64 MiB, 5 % of it written",
     .engine = "image",
     .baseline = "full save",
     .unit = "image",
     .reach = 0.2,
     .ours = incremental,
     .theirs = full},
    {.work = "its pause",
     .engine = "image",
     .baseline = "fork",
     .unit = "pause",
     .reach = 1.5,
     .ours = pause_of,
     .theirs = bare_fork},
    {.work = "reset to an image of 64 MiB, 5 % of it written",
     .engine = "image",
     .baseline = "read image",
     .unit = "reset",
     .reach = 1.0 / 30,
     .ours = reset_only,
     .theirs = read_image},
    {.work = "the same and the same 5 % written again",
     .engine = "image",
     .baseline = "new space",
     .unit = "request",
     .reach = 1.0,
     .ours = reset_and_again,
     .theirs = new_and_again},
};
const size_t checkpoint_nrows =
    sizeof(checkpoint_rows) / sizeof(checkpoint_rows[0]);
