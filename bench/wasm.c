/* SPDX-License-Identifier: MIT */
/*
 * Requests to a wasm guest of 64 MiB: from a pool; in fresh memory that the
 * image is copied to; in a child of a process that holds a warmed one
 * (wasm_fork.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "wasm_wide.h"

#define TURN 200

/* row->window: 1, each request has the blocks of the one before; else others, so
 * that soon all of the image is resident. */
static bool pooled(const struct row *row, struct sample *ret)
{
    static struct program program;
    static struct guest guest;
    static uint32_t n;
    double cpu, wall;

    if (!program.pool &&
        (!wide_program(&program) || guest_create(&guest, &program, 1) != 0))
        return false;
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    for (int i = 0; i < TURN; i++) {
        if (guest_enter(&guest, &program) != 0)
            return false;
        wide_answer(&guest, row->window == 1 ? 7 : n++);
        if (guest_leave(&guest, &program) != 0)
            return false;
    }
    ret->wall_us = (bench_wall_us() - wall) / TURN;
    ret->cpu_us = (bench_cpu_us() - cpu) / TURN;
    return true;
}

static bool copied(const struct row *row, struct sample *ret)
{
    static struct plain plain;
    static uint32_t n;
    double cpu, wall;
    char *memory;

    (void)row;
    if (!plain.image && !plain_open(&plain))
        return false;
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    memory = plain_reserve(&plain);
    if (!memory)
        return false;
    memcpy(memory, plain.image, plain.len_bytes);
    plain_point(&plain, memory);
    wide_answer(&plain.guest, n++);
    plain_release(memory);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return true;
}

static bool forked(const struct row *row, struct sample *ret)
{
    char command[4096];
    ssize_t n = readlink("/proc/self/exe", command, sizeof(command) - 32);
    FILE *from;
    bool ok;

    (void)row;
    if (n < 0)
        return false;
    command[n] = '\0';
    strcpy(strrchr(command, '/'), "/wasm-fork");
    from = popen(command, "r");
    if (!from)
        return false;
    ok = fscanf(from, "%lf %lf", &ret->wall_us, &ret->cpu_us) == 2;
    return pclose(from) == 0 && ok;
}

#define REQUEST "request to a wasm guest: 1 MiB read, 64 KiB written"
#define SPREAD  "request to a wasm guest, elsewhere each time"

const struct row wasm_rows[] = {
    {.work = REQUEST,
     .engine = "pool",
     .baseline = "mmap, copy",
     .unit = "request",
     .reach = 1.0 / 10,
     .ours = pooled,
     .theirs = copied,
     .window = 1},
    {.work = REQUEST,
     .engine = "pool",
     .baseline = "fork",
     .unit = "request",
     .reach = 1.0 / 5,
     .ours = pooled,
     .theirs = forked,
     .window = 1},
    {.work = SPREAD,
     .engine = "pool",
     .baseline = "mmap, copy",
     .unit = "request",
     .ours = pooled,
     .theirs = copied},
    {.work = SPREAD,
     .engine = "pool",
     .baseline = "fork",
     .unit = "request",
     .ours = pooled,
     .theirs = forked},
};
const size_t wasm_nrows = sizeof(wasm_rows) / sizeof(wasm_rows[0]);
