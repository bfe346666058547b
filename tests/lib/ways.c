/* SPDX-License-Identifier: MIT */
/* See ways.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>

#include "fault/engine.h"
#include "host/uffd_abi.h"
#include "host/uffd_signal.h"
#include "lib/live.h"
#include "lib/ways.h"

bool ways_are_here[ALL_WAYS];

int ways_begin(void)
{
    uint64_t features = 0;

    uffd_features(UF_TIER_SYSCALL, &features);
    ways_are_here[WAY_SYNC] = (features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0;
    ways_are_here[WAY_ASYNC] = (features & UFFD_FEATURE_WP_ASYNC) != 0;
    ways_are_here[WAY_COMPARE] = true;
    if (ways_are_here[WAY_SYNC])
        return 0;
    puts("skipped: no write protection by userfaultfd");
    return 77;
}

struct uf_engine *ways_engine(enum way way, uint32_t ndescriptors)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .kind = live_engine_kind(),
                                  .ndescriptors = ndescriptors};
    bool signal = opts.kind == UF_ENGINE_SIGNAL;
    uint64_t features = UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS |
                        UFFD_FEATURE_POISON | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                        (way == WAY_ASYNC ? UFFD_FEATURE_WP_ASYNC : 0) |
                        (signal ? UFFD_FEATURE_SIGBUS : 0);
    struct uffd uffds[4];
    struct uf_engine *engine;

    /* Its handler goes in front of that of live.h, not of cmocka's. */
    live_read((uintptr_t)&opts, NULL, NULL);
    for (uint32_t i = 0; i < ndescriptors; i++) {
        assert_int_equal(uffd_init(&uffds[i], UF_TIER_SYSCALL, features), 0);
        uffds[i].can_protect = way != WAY_COMPARE;
        if (signal)
            assert_int_equal(uffd_signal_init(&uffds[i]), 0);
    }
    assert_int_equal(engine_create_on(&opts, uffds, &engine), 0);
    return engine;
}

struct uf_space *ways_space(enum way way, struct uf_space_opts *opts,
                            size_t npages)
{
    opts->engine = ways_engine(way, 1);
    return live_space(opts, npages);
}

void ways_end(struct uf_space *space)
{
    struct uf_engine *engine = uf_space_engine(space);

    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_destroy(engine), 0);
}
