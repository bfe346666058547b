/* SPDX-License-Identifier: MIT */
/* See huge_space.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <sched.h>
#include <stdio.h>

#include "fault/engine.h"
#include "fault/pool.h"
#include "lib/hostcalls.h"
#include "lib/live.h"
#include "lib/sides.h"
#include "live/huge_space.h"

int huge_begin(void)
{
    struct uffd uffd;
    bool can_move;
    int skip;

    host_calls_begin();
    skip = live_begin();
    if (skip)
        return skip;
    if (engine_open_uffd(0, UF_ENGINE_THREAD, &uffd) != 0)
        return 77;
    can_move = uffd.can_move;
    uffd_close(&uffd);
    if (can_move && pool_is_of_use())
        return 0;
    printf("skipped: no UFFDIO_MOVE, or no huge pages\n");
    return 77;
}

/* A space of 64 MiB at a multiple of 2 MiB, its heap of npages. */
struct uf_space *huge_space_with(uint32_t flags, enum uf_fork fork,
                                 struct uf_engine *engine, size_t npages)
{
    struct uf_space_opts opts = {
        .len_bytes = (size_t)64 << 20,
        .address = live_aligned_address(),
        .engine = engine,
        .flags = flags,
        .fork = fork,
    };

    return live_space(&opts, npages);
}

struct uf_space *huge_space(size_t nblocks)
{
    return huge_space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, NULL,
                           nblocks * BLOCK);
}

void huge_await_ready(struct uf_space *space, size_t n)
{
    while (live_stats(space).huge_pool_ready < n)
        sched_yield();
}

uintptr_t huge_block(struct uf_space *space, size_t n)
{
    return live_page(space, n * BLOCK);
}

unsigned char huge_get(uintptr_t addr)
{
    return *(volatile unsigned char *)addr;
}

void huge_set(uintptr_t addr, unsigned char byte)
{
    *(volatile unsigned char *)addr = byte;
}

bool huge_is_zero(uintptr_t start, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i += 512)
        if (huge_get(start + i) != 0)
            return false;
    return true;
}

/* Huge pages of the space's first nblocks, as the kernel says. */
size_t huge_count_kernels(struct uf_space *space, size_t nblocks)
{
    return host_smaps_kb(huge_block(space, 0), huge_block(space, nblocks),
                         "AnonHugePages:") /
           (HUGE / 1024);
}

void huge_destroy(struct uf_space *space)
{
    struct uf_stats s;

    do
        s = live_stats(space);
    while (s.pending > 0);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

void huge_assert_counts(struct uf_space *space, size_t installed,
                        size_t fallback, size_t resident)
{
    struct uf_stats s = live_stats(space);

    assert_int_equal(s.huge_installed, installed);
    assert_int_equal(s.huge_fallback, fallback);
    assert_int_equal(s.resident, resident);
    assert_int_equal(live_mincore(uf_space_base(space),
                                  uf_space_base(space) + uf_space_len(space)),
                     resident);
}
