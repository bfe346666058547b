/* SPDX-License-Identifier: MIT */
/*
 * What is tested: a space, served by an engine; or this process's own heap as
 * a NATIVE space, which borrows from the kernel side all that is not the break.
 *
 * In a space, what the kernel side has beside its heap is stood for by two
 * mappings above the area, so that the same limits mean the same:
 *
 *     start           start + area   one page    data_pages      the rest
 *     |  heap ....... foreign .....|  no VMA  |  read, write  |  read only  |
 */
#include "model/brk_twin.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/range.h"
#include "fault/engine.h"
#include "mm/space.h"
#include "pager/pager.h"
#include "ufault/ufault.h"

static struct uf_engine *engine;
static struct uf_space *space;

static int need_engine(void)
{
    return engine ? 0 : uf_engine_create(NULL, &engine);
}

static uintptr_t space_move(struct side *side, uintptr_t to)
{
    (void)side;
    return uf_brk(space, to);
}

static uint64_t space_increment(struct side *side, intptr_t increment)
{
    intptr_t old = uf_sbrk(space, increment);

    (void)side;
    return old == -ENOMEM ? ANSWER_ENOMEM : (uint64_t)old;
}

static uint64_t stats_mapped(struct side *side)
{
    struct uf_stats stats = {.size = sizeof(stats)};

    (void)side;
    uf_space_stats(space, &stats);
    return stats.total_vm;
}

/* What the space says of itself against what mincore says. */
static uint32_t check_stats(struct side *side, uint64_t resident)
{
    struct uf_stats stats = {.size = sizeof(stats)};
    uint64_t brk = uf_brk(space, 0);

    (void)side;
    uf_space_stats(space, &stats);
    if (stats.resident != resident)
        return __LINE__;
    if (stats.brk != brk || stats.brk_peak < brk)
        return __LINE__;
    if (stats.resident_peak < resident || stats.total_vm > stats.total_vm_peak)
        return __LINE__;
    if (stats.faults != stats.installed + stats.present + stats.stale +
                            stats.refused + stats.folded + stats.pending)
        return __LINE__;
    return 0;
}

/* -------------------------------------------------------------- a space -- */

/* A mapping that no call of the library makes yet. */
static int insert_vma(uintptr_t start, uint64_t npages, uint32_t prot)
{
    struct vma vma = {
        .start = start,
        .end = start + npages * page_size(),
        .flags = prot,
        .pager = pager_zero(),
    };
    int err;

    if (npages == 0)
        return 0;
    rwlock_take_write(&space->map_lock);
    err = vma_set_reserve(&space->vmas, 1);
    if (!err) {
        vma.generation = ++space->generation;
        vma_set_insert(&space->vmas, &vma);
        limits_account_locked(space, (ssize_t)npages, vma.flags);
    }
    rwlock_release(&space->map_lock);
    return err;
}

static int insert_page(struct side *side, uintptr_t address)
{
    (void)side;
    return insert_vma(address, 1, PROT_NONE);
}

static void remove_page(struct side *side, uintptr_t address)
{
    (void)side;
    rwlock_take_write(&space->map_lock);
    if (vma_set_reserve(&space->vmas, 1) == 0) {
        vma_set_remove(&space->vmas,
                       (struct range){address, address + page_size()},
                       ++space->generation);
        limits_account_locked(space, -1, 0);
    }
    rwlock_release(&space->map_lock);
}

static void set_limits(struct side *side)
{
    uf_space_set_limit(space, UF_LIMIT_DATA, side->limit_data);
    uf_space_set_limit(space, UF_LIMIT_AS, side->limit_as);
}

static int add_belongings(struct side *side)
{
    const struct run_config *config = &side->config;
    uintptr_t at = side->start + (AREA_PAGES + 1) * page_size();
    int err = insert_vma(at, config->data_pages, PROT_READ | PROT_WRITE);

    space->data_extra = config->extra_bytes;
    if (!err)
        err = insert_vma(at + config->data_pages * page_size(),
                         config->total_pages - config->data_pages, PROT_READ);
    return err;
}

static int begin_space(struct side *side)
{
    const struct run_config *config = &side->config;
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = AREA_PAGES * page_size(),
        .flags = config->locked ? UF_SPACE_LOCKED : 0,
        .window_pages = config->window_pages,
    };
    int err = need_engine();

    if (err)
        return err;
    if (config->limits)
        opts.len_bytes += (config->total_pages + 1) * page_size();
    opts.engine = engine;
    err = uf_space_create(&opts, &space);
    if (err)
        return err;
    side->start = uf_space_base(space);
    return config->limits ? add_belongings(side) : 0;
}

static void end_space(struct side *side)
{
    (void)side;
    uf_space_destroy(space);
    space = NULL;
}

struct side *space_side(void)
{
    static struct side side = {
        .id = SIDE_TESTED,
        .begin = begin_space,
        .end = end_space,
        .brk = space_move,
        .sbrk = space_increment,
        .foreign_put = insert_page,
        .foreign_take = remove_page,
        .limit = set_limits,
        .mapped = stats_mapped,
        .self_check = check_stats,
    };

    return &side;
}

/* --------------------------------------------------------- the own heap -- */

static int adopt_heap(struct side *side)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .flags = side->config.locked ? UF_SPACE_LOCKED : 0,
        .window_pages = side->config.window_pages,
    };
    struct space_params params = {
        .opts = &opts,
        .native = true,
        .native_range = {side->start, side->start + AREA_PAGES * page_size()},
        .native_brk = side->start,
        .native_data_extra = side->config.extra_bytes,
    };
    int err = space_create(&params, &space);

    if (err)
        return err;
    err = engine_attach(engine, space);
    if (err) {
        space_destroy(space);
        space = NULL;
    }
    return err;
}

/* The real limits, for what the kernel checks at mmap, and the space's, for
 * what only brk(2) checks. */
static void set_real_limits(struct side *side)
{
    process_limit(side->limit_data, side->limit_as);
    uf_space_set_limit(space, UF_LIMIT_DATA, side->limit_data);
}

static int begin_native(struct side *side)
{
    int err = need_engine();

    if (!err)
        err = kernel_side()->begin(side);
    return err ? err : adopt_heap(side);
}

static void end_native(struct side *side)
{
    uf_brk(space, side->start);
    uf_space_destroy(space);
    space = NULL;
    kernel_side()->end(side);
}

struct side *native_side(void)
{
    static struct side side;

    side = *kernel_side();
    side.id = SIDE_TESTED;
    side.begin = begin_native;
    side.end = end_native;
    side.brk = space_move;
    side.sbrk = space_increment;
    side.limit = set_real_limits;
    side.self_check = check_stats;
    return &side;
}
