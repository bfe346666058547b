/* SPDX-License-Identifier: MIT */
/* See space.h: making, checking and unmaking a space. */
#include "mm/space.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "pager/pager.h"

#define LEN_MIN ((size_t)64 << 10)
#define LEN_MAX ((size_t)64 << 40)

#define SPACE_FLAGS                                                            \
    (UF_SPACE_LOCKED | UF_SPACE_BOTTOM_UP | UF_SPACE_HUGE | UF_SPACE_PROMOTE | \
     UF_SPACE_NO_AHEAD)

/* sysctl vm.max_map_count as kernels come. */
#define MAP_COUNT_DEFAULT 65530

static struct slab_cache spaces = SLAB_CACHE("space", sizeof(struct uf_space));
static struct slab_cache counter_blocks =
    SLAB_CACHE("counters", sizeof(struct counters));

static bool range_opts_are_sound(const struct uf_space_opts *opts)
{
    struct range range;
    size_t page = page_size();

    return is_aligned(opts->len_bytes, page) && opts->len_bytes >= LEN_MIN &&
           opts->len_bytes <= LEN_MAX && is_aligned(opts->address, page) &&
           range_make(opts->address, opts->len_bytes, &range);
}

static bool fork_policy_is_sound(const struct uf_space_opts *opts)
{
    bool zero = !opts->heap_pager || opts->heap_pager == pager_zero();

    if (opts->fork == UF_FORK_ZERO)
        return zero;
    return opts->fork == UF_FORK_DEFAULT || opts->fork == UF_FORK_NONE ||
           opts->fork == UF_FORK_ENGINE;
}

int space_opts_check(const struct uf_space_opts *opts)
{
    if (!opts || opts->size != sizeof(*opts) ||
        opts->engine_kind > UF_ENGINE_AUTO || opts->window_pages > 512 ||
        (opts->flags & ~SPACE_FLAGS) != 0)
        return -EINVAL;
    if (!range_opts_are_sound(opts) || !fork_policy_is_sound(opts))
        return -EINVAL;
    return 0;
}

static enum uf_fork resolved_fork(const struct uf_space_opts *opts,
                                  const struct uf_pager *pager)
{
    if (opts->fork != UF_FORK_DEFAULT)
        return opts->fork;
    return pager == pager_zero() ? UF_FORK_ZERO : UF_FORK_NONE;
}

static uint64_t limit_or_none(uint64_t bytes)
{
    return bytes == 0 ? UF_UNLIMITED : bytes;
}

static void set_config(struct uf_space *space, const struct uf_space_opts *opts)
{
    space->heap_pager =
        pager_ref(opts->heap_pager ? opts->heap_pager : pager_zero());
    atomic_store(&space->has_pagers, space->heap_pager != pager_zero());
    space->config = (struct space_config){
        .window_pages = opts->window_pages,
        .flags = opts->flags,
        .fork = resolved_fork(opts, space->heap_pager),
        .zero_only = opts->fork == UF_FORK_ZERO,
        .on_error = opts->on_error,
        .on_fault = opts->on_fault,
        .hook_data = opts->hook_data,
    };
    space->limit_data = limit_or_none(opts->limit_data);
    space->limit_as = limit_or_none(opts->limit_as);
    space->limit_stack = limit_or_none(opts->limit_stack);
    space->limit_memlock = limit_or_none(opts->limit_memlock);
    space->limit_map_count =
        opts->limit_map_count ? opts->limit_map_count : MAP_COUNT_DEFAULT;
    if (opts->flags & UF_SPACE_LOCKED)
        space->def_flags = VMA_LOCKED;
}

static int make_region(struct uf_space *space,
                       const struct space_params *params)
{
    const struct uf_space_opts *opts = params->opts;
    int err;

    if (params->native) {
        region_native(&space->region, params->native_range);
        return 0;
    }
    err = region_reserve(&space->region, opts->address, opts->len_bytes);
    if (!err && (opts->flags & UF_SPACE_HUGE))
        region_prefer_huge(&space->region);
    if (!err && space->config.fork == UF_FORK_NONE)
        err = region_dontfork(&space->region);
    return err;
}

/* Sets the bits of what is resident in [part), many pages a call: a forked
 * child's heap may be large. What is not wholly mapped counts as absent. */
static void note_resident(struct uf_space *space, struct range part)
{
    unsigned char vec[1024];
    size_t step = sizeof(vec) * page_size();

    for (uintptr_t at = part.start; at < part.end; at += step) {
        struct range piece = range_clip(part, (struct range){at, at + step});
        size_t npages = range_len(piece) / page_size();

        if (region_residency(piece, vec) < 0)
            continue;
        for (size_t i = 0, n; i < npages; i += n) {
            struct range run = {at + i * page_size(), 0};

            for (n = 1; i + n < npages && ((vec[i + n] ^ vec[i]) & 1) == 0;)
                n++;
            run.end = run.start + n * page_size();
            if (vec[i] & 1)
                resident_set(&space->resident, run);
        }
    }
}

/* The native heap as it is: one VMA up to the break, resident where mincore
 * says so (pages touched before we came). */
static int adopt_native_heap(struct uf_space *space,
                             const struct space_params *params)
{
    struct range heap = {space->start_brk,
                         align_up(params->native_brk, page_size())};
    struct vma vma = {
        .start = heap.start,
        .end = heap.end,
        .flags = VMA_READ | VMA_WRITE,
        .pager = space->heap_pager,
        .generation = ++space->generation,
    };
    int err;

    space->brk = params->native_brk;
    space->data_extra = params->native_data_extra;
    if (range_is_empty(heap))
        return 0;
    err = vma_set_reserve(&space->vmas, 1);
    if (err)
        return err;
    vma_set_insert(&space->vmas, &vma);
    limits_account_locked(space, (ssize_t)(range_len(heap) / page_size()),
                          vma.flags);
    note_resident(space, heap);
    return 0;
}

static void publish_gauges(struct uf_space *space)
{
    size_t resident = atomic_load(&space->resident.pages);

    GAUGE_SET(space->counters, start_brk, space->start_brk);
    GAUGE_SET(space->counters, brk, space->brk);
    gauge_peak(&space->counters->brk_peak, space->brk);
    GAUGE_SET(space->counters, map_count, space->vmas.count);
    GAUGE_SET(space->counters, resident, resident);
    gauge_peak(&space->counters->resident_peak, resident);
}

void space_count_into(struct uf_space *space, struct counters *counters)
{
    space->counters = counters;
    publish_gauges(space);
    limits_account_locked(space, 0, 0);
}

int space_create(const struct space_params *params, struct uf_space **ret_space)
{
    struct uf_space *space = slab_alloc(&spaces);
    int err;

    if (!space)
        return -ENOMEM;
    set_config(space, params->opts);
    space->counters = params->counters;
    if (!space->counters) {
        space->own_counters = slab_alloc(&counter_blocks);
        space->counters = space->own_counters;
        err = -ENOMEM;
        if (!space->counters)
            goto drop_record;
    }
    err = make_region(space, params);
    if (err)
        goto drop_region;
    err = resident_init(&space->resident, space->region.range);
    if (err)
        goto drop_region;

    rwlock_init(&space->map_lock, LOCK_RANK_MAP);
    thread_table_init(&space->threads);
    vma_set_init(&space->vmas, space->region.range);
    space->start_brk = space->brk = space->region.range.start;
    if (params->native)
        err = adopt_native_heap(space, params);
    if (err)
        goto drop_all;
    publish_gauges(space);
    CHECK_DEEP(space_is_valid(space));
    atomic_store(&space->magic, SPACE_MAGIC);
    *ret_space = space;
    return 0;

drop_all:
    vma_set_destroy(&space->vmas);
    thread_table_destroy(&space->threads);
    rwlock_destroy(&space->map_lock);
    resident_destroy(&space->resident);
drop_region:
    region_release(&space->region);
    slab_free(&counter_blocks, space->own_counters);
drop_record:
    pager_unref(space->heap_pager);
    slab_free(&spaces, space);
    return err;
}

void space_destroy(struct uf_space *space)
{
    atomic_store(&space->magic, 0);
    region_release(&space->region);
    vma_set_destroy(&space->vmas);
    thread_table_destroy(&space->threads);
    rwlock_destroy(&space->map_lock);
    resident_destroy(&space->resident);
    if (space->has_guards)
        resident_destroy(&space->guards);
    for (int who = 0; who < SPACE_WATCHERS; who++)
        if (space->changed[who].words)
            resident_destroy(&space->changed[who]);
    if (space->written)
        close(space->written - 1);
    if (space->refused.words)
        resident_destroy(&space->refused);
    slab_free(&counter_blocks, space->own_counters);
    pager_unref(space->heap_pager);
    slab_free(&spaces, space);
}

bool space_is_live(const struct uf_space *space)
{
    return space && atomic_load(&space->magic) == SPACE_MAGIC;
}

void space_pin(struct uf_space *space)
{
    atomic_fetch_add(&space->pins, 1);
}

/* The top bit of pins says that somebody waits, so that an unpin costs no
 * system call when nobody does. */
#define PINS_AWAITED 0x80000000u

void space_unpin(struct uf_space *space)
{
    _Atomic uint32_t *pins = &space->pins;

    /* The space may be freed as soon as the count is down; the futex is only
     * an address then, in memory that stays mapped. */
    if (atomic_fetch_sub(pins, 1) == (PINS_AWAITED | 1))
        syscall(SYS_futex, pins, FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
}

void space_await_unpinned(struct uf_space *space)
{
    uint32_t now = atomic_fetch_or(&space->pins, PINS_AWAITED) | PINS_AWAITED;

    while (now != PINS_AWAITED) {
        syscall(SYS_futex, &space->pins, FUTEX_WAIT_PRIVATE, now, NULL);
        now = atomic_load(&space->pins);
    }
}

struct range space_registrable(const struct uf_space *space)
{
    struct range r = space->region.range;

    if (space->region.kind == REGION_NATIVE)
        r.end = align_up(space->brk, page_size());
    return r;
}

bool space_is_valid(const struct uf_space *space)
{
    struct vm_pages sum = {0}, now = space->pages;
    size_t count = 0;

    if (space->brk < space->start_brk)
        return false; /* S5 */
    for (struct vma *v = vma_set_find(&space->vmas, 0); v;
         v = vma_set_next(&space->vmas, v)) {
        count++;
        limits_count_pages(&sum, (ssize_t)((v->end - v->start) / page_size()),
                           v->flags);
        if (!range_covers(space->region.range, vma_range(v)))
            return false; /* S1 */
    }
    return sum.total == now.total && sum.data == now.data &&
           sum.exec == now.exec && sum.stack == now.stack &&
           sum.shared == now.shared && sum.locked == now.locked &&
           count == space->vmas.count && vma_set_is_valid(&space->vmas);
}
