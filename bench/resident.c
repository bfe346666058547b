/* SPDX-License-Identifier: MIT */
/*
 * What a program has resident that touches a tenth of a large memory at
 * random: pages that a window brought in for nothing, and our own memory.
 * Each measurement is a process of its own; the figure is by how much its
 * resident size has grown, engine included.
 */
#include <stdlib.h>
#include <unistd.h>

#include "patterns.h"
#include "servers.h"
#include "touch.h"

static bool grown(const struct row *row, const struct server *server,
                  struct sample *ret)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n;
    uint32_t *pages =
        pattern_make(row->touch->order, row->len_bytes / page, &n);
    struct wish wish = {row->len_bytes, row->window, -1};
    double before = bench_resident_kib();
    struct memory memory;

    if (!pages || !server->map(&wish, &memory))
        return false;
    for (size_t i = 0; i < n; i++)
        *(volatile char *)(memory.base + pages[i] * page) = 1;
    ret->wall_us = (bench_resident_kib() - before) * 1024 / (double)n;
    server->unmap(&memory);
    free(pages);
    return true;
}

static bool ours(const struct row *row, struct sample *ret)
{
    return grown(row, row->touch->ours.server, ret);
}

static bool theirs(const struct row *row, struct sample *ret)
{
    return grown(row, row->touch->theirs.server, ret);
}

static bool ours_in_child(const struct row *row, struct sample *ret)
{
    return bench_in_child(ours, row, ret);
}

static bool theirs_in_child(const struct row *row, struct sample *ret)
{
    return bench_in_child(theirs, row, ret);
}

#define RESIDENT(the_engine, the_server)                                       \
    {                                                                          \
        .work = "10 % of 1 GiB at random, resident bytes",                     \
        .engine = the_engine, .baseline = "kernel4k",                          \
        .unit = "resident bytes per page touched, not us", .reach = 1.05,      \
        .ours = ours_in_child, .theirs = theirs_in_child,                      \
        .len_bytes = 1024 * MIB, .touch = &(const struct touch)                \
        {                                                                      \
            .ours = {&(the_server), 0}, .theirs = {&kernel_4k, 0},             \
            .order = ORDER_SPARSE                                              \
        }                                                                      \
    }

const struct row resident_rows[] = {
    RESIDENT("thread", ours_thread),
    RESIDENT("signal", ours_signal),
};
const size_t resident_nrows = sizeof(resident_rows) / sizeof(resident_rows[0]);
