/* SPDX-License-Identifier: MIT */
/*
 * Random operations: which call, with what protections, flags and files, in
 * which kind of space. Places and lengths are chosen in mm_choose.c.
 */
#include "model/mm_twin.h"

#include <sys/mman.h>

#include "base/range.h"
#include "model/mm_choose.h"
#include "model/mm_flags.h"
#include "ufault/ufault.h"

/* --------------------------------------------------------------- choices -- */

static int make_prot(struct mm_source *source)
{
    static const uint8_t prots[] = {3, 3, 3, 3, 3, 3, 1, 1, 0, 0, 5, 2, 4, 7};
    uint64_t kind = mm_below(source, 64);

    if (kind == 63)
        return (int)(1u << mm_below(source, 32));
    return prots[kind % LEN(prots)];
}

static int one_of(struct mm_source *source, const struct mm_name *names,
                  size_t n)
{
    return names[mm_below(source, n)].value;
}

static int make_map_type(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    uint64_t kind = mm_below(source, 64);

    if (kind < 40)
        return MAP_PRIVATE | MAP_ANONYMOUS;
    if (kind < 46)
        return MAP_SHARED | MAP_ANONYMOUS;
    if (kind < 53)
        return MAP_PRIVATE;
    if (kind < 60)
        return MAP_SHARED;
    if (kind < 62)
        return MM_MAP_SHARED_VALIDATE;
    return (int)mm_below(source, 3) | (one_in(source, 2) ? MAP_ANONYMOUS : 0);
}

static int make_map_flags(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    int flags = make_map_type(maker);

    switch (mm_below(source, 8)) {
    case 0:
    case 1:
    case 2:
        flags |= MAP_FIXED;
        break;
    case 3:
        flags |= MM_MAP_FIXED_NOREPLACE;
        break;
    default:
        break;
    }
    if (one_in(source, 8))
        flags |= MAP_NORESERVE;
    if (one_in(source, 16))
        flags |= MAP_POPULATE;
    if (one_in(source, 32))
        flags |= MAP_LOCKED;
    if (one_in(source, 12) && maker->config->nthreads == 0)
        flags |= MAP_GROWSDOWN;
    if (one_in(source, 12))
        flags |= one_of(source, mm_map_flags, mm_map_nflags);
    if (one_in(source, 256))
        flags |= (int)(1u << mm_below(source, 31));
    /* Their answers are of this host: mm_meant.c says so. */
    flags &= ~(MM_MAP_DROPPABLE_BIT | MM_MAP_SYNC);
    if (maker->config->nthreads > 0)
        flags &= ~MAP_GROWSDOWN;
    return flags;
}

static uint8_t make_file(const struct maker *maker)
{
    uint64_t kind = mm_below(maker->source, 32);

    if (kind < 14)
        return FILE_MEM;
    if (kind < 20)
        return FILE_MEM_RDONLY;
    if (kind < 28)
        return maker->config->disk ? FILE_DISK : FILE_MEM;
    if (kind < 31)
        return (uint8_t)(FILE_MEM_WRONLY + mm_below(maker->source, 3));
    return NO_FILE;
}

static uint64_t make_offset(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    uint64_t kind = mm_below(source, 32);

    if (kind < 10)
        return 0;
    if (kind < 30)
        return mm_below(source, 14) * maker->page;
    if (kind < 31)
        return mm_below(source, 14 * maker->page);
    return (uint64_t)choose_extreme(source);
}

/* ------------------------------------------------------------ operations -- */

static void make_mmap(const struct maker *maker, struct mm_op *op)
{
    choose_range(maker, op);
    if (one_in(maker->source, 3))
        op->at = (struct mm_place){.from = FROM_ZERO};
    op->prot = make_prot(maker->source);
    op->flags = make_map_flags(maker);
    if ((op->flags & MAP_GROWSDOWN) && !one_in(maker->source, 4))
        op->prot = PROT_READ | PROT_WRITE; /* others hardly grow */
    op->file = NO_FILE;
    /* A private page keeps what its file held at the first write, and a
     * thread's comes at any time. */
    if (maker->config->thread_writes && !(op->flags & MAP_ANONYMOUS))
        op->flags = (op->flags & ~MAP_PRIVATE) | MAP_SHARED;
    if (!(op->flags & MAP_ANONYMOUS)) {
        op->file = make_file(maker);
        op->extra = make_offset(maker);
    } else if (one_in(maker->source, 16)) {
        op->extra = make_offset(maker); /* ignored, but for being unaligned */
    }
}

static void make_mremap(const struct maker *maker, struct mm_op *op)
{
    static const uint8_t flags[] = {0, 1, 1, 1, 1, 3, 3, 3, 5, 5, 7, 2, 4, 8};
    struct mm_source *source = maker->source;

    choose_range(maker, op);
    op->flags = flags[mm_below(source, LEN(flags))];
    op->dest = choose_place(maker);
    op->extra = choose_bytes(maker);
    if (one_in(source, 2) && op->upto.from == FROM_NOWHERE)
        op->extra = op->len;
    else if (op->upto.from != FROM_NOWHERE && one_in(source, 2))
        op->extra = MM_AS_LONG;
}

static void make_msync(const struct maker *maker, struct mm_op *op)
{
    static const uint8_t flags[] = {
        MS_ASYNC,           MS_SYNC, MS_INVALIDATE, MS_SYNC | MS_INVALIDATE, 0,
        MS_ASYNC | MS_SYNC, 8};

    choose_range(maker, op);
    op->flags = flags[mm_below(maker->source, LEN(flags))];
    if (maker->config->disk)
        op->flags &= ~MS_SYNC; /* takes milliseconds, and cleans pages */
}

static void make_madvise(const struct maker *maker, struct mm_op *op)
{
    struct mm_source *source = maker->source;
    int advice = one_of(source, mm_advice, mm_nadvice);

    choose_range(maker, op);
    if (one_in(source, 3))
        advice = MADV_DONTNEED;
    if (one_in(source, 64))
        advice = (int)mm_below(source, 128);
    /* A clean page of a file may then be evicted, or not. */
    if (maker->config->disk && advice == MM_MADV_PAGEOUT)
        advice = MADV_DONTNEED;
    op->flags = advice;
}

static void make_brk(const struct maker *maker, struct mm_op *op)
{
    struct mm_source *source = maker->source;
    int64_t page = (int64_t)maker->page;

    op->at = choose_place(maker);
    if (one_in(source, 2)) {
        op->at = (struct mm_place){.from = FROM_BRK};
        op->at.delta = ((int64_t)mm_below(source, 17) - 8) * page;
        if (one_in(source, 4))
            op->at.delta += (int64_t)mm_below(source, 4096) - 2048;
    }
    op->len = (uint64_t)op->at.delta;
    if (op->kind == MM_SBRK && one_in(source, 16))
        op->len = (uint64_t)choose_extreme(source);
}

static void make_touch(const struct maker *maker, struct mm_op *op)
{
    struct mm_source *source = maker->source;
    uint64_t kind = mm_below(source, 16);

    op->at = choose_place(maker);
    op->at.delta += (int64_t)mm_below(source, one_in(source, 4) ? 4096 : 16);
    op->fill = (uint8_t)(1 + mm_below(source, 255));
    op->len = kind < 12   ? 1 + mm_below(source, 16)
              : kind < 15 ? 1 + mm_below(source, 3 * maker->page)
                          : 1 + mm_below(source, 12 * maker->page);
    if (op->kind == MM_PREAD || op->kind == MM_PWRITE)
        op->extra = mm_below(source, 12 * maker->page);
}

/* Around what a small space uses. */
static void make_limit(const struct maker *maker, struct mm_op *op)
{
    static const uint8_t which[] = {UF_LIMIT_DATA, UF_LIMIT_AS, UF_LIMIT_STACK,
                                    UF_LIMIT_MEMLOCK};
    struct mm_source *source = maker->source;

    op->flags = which[mm_below(source, LEN(which))];
    op->extra = UF_UNLIMITED;
    if (!one_in(source, 3))
        return;
    op->extra = mm_below(source, 192) * maker->page;
    if (one_in(source, 4))
        op->extra += mm_below(source, maker->page);
    /* The kernel takes RLIMIT_DATA 0 for none; a process is never without. */
    if (op->flags == UF_LIMIT_DATA && op->extra < maker->page)
        op->extra = maker->page;
}

static void make_truncate(const struct maker *maker, struct mm_op *op)
{
    op->file =
        maker->config->disk && one_in(maker->source, 4) ? FILE_DISK : FILE_MEM;
    op->extra = mm_below(maker->source, 14 * maker->page);
    if (one_in(maker->source, 2))
        op->extra &= ~(maker->page - 1);
}

static const struct {
    uint8_t kind;
    uint8_t weight;
} weights[] = {
    {MM_MMAP, 40},    {MM_MUNMAP, 12},  {MM_MPROTECT, 24},  {MM_MREMAP, 24},
    {MM_MADVISE, 28}, {MM_MINCORE, 3},  {MM_MLOCK, 4},      {MM_MLOCK2, 4},
    {MM_MUNLOCK, 4},  {MM_MLOCKALL, 1}, {MM_MUNLOCKALL, 1}, {MM_MSYNC, 4},
    {MM_BRK, 8},      {MM_SBRK, 4},     {MM_POPULATE, 3},   {MM_READ, 24},
    {MM_WRITE, 44},   {MM_PREAD, 4},    {MM_PWRITE, 4},     {MM_FORK, 2},
    {MM_LIMIT, 3},    {MM_TRUNCATE, 2},
};

static enum mm_kind make_kind(const struct maker *maker)
{
    uint64_t total = 0, at;

    for (size_t i = 0; i < LEN(weights); i++)
        total += weights[i].weight;
    for (;;) {
        at = mm_below(maker->source, total);
        for (size_t i = 0; i < LEN(weights); i++) {
            if (at >= weights[i].weight) {
                at -= weights[i].weight;
                continue;
            }
            if (!(maker->without >> weights[i].kind & 1))
                return (enum mm_kind)weights[i].kind;
            break;
        }
        if (maker->source->bytes && maker->source->left == 0)
            return MM_READ;
    }
}

static void make_op(const struct maker *maker, struct mm_op *op)
{
    struct mm_source *source = maker->source;

    *op = (struct mm_op){.kind = (uint8_t)make_kind(maker), .file = NO_FILE};
    switch ((enum mm_kind)op->kind) {
    case MM_MMAP:
        make_mmap(maker, op);
        break;
    case MM_MREMAP:
        make_mremap(maker, op);
        break;
    case MM_MADVISE:
        make_madvise(maker, op);
        break;
    case MM_MSYNC:
        make_msync(maker, op);
        break;
    case MM_BRK:
    case MM_SBRK:
        make_brk(maker, op);
        break;
    case MM_READ:
    case MM_WRITE:
    case MM_PREAD:
    case MM_PWRITE:
    case MM_FORK:
        make_touch(maker, op);
        break;
    case MM_LIMIT:
        make_limit(maker, op);
        break;
    case MM_TRUNCATE:
        make_truncate(maker, op);
        break;
    case MM_MPROTECT:
        op->prot = make_prot(source);
        if (one_in(source, 32))
            op->prot |= one_in(source, 4) ? PROT_GROWSUP : PROT_GROWSDOWN;
        choose_range(maker, op);
        break;
    case MM_MLOCK2:
        op->flags = one_in(source, 16) ? 2 : (int)mm_below(source, 2);
        choose_range(maker, op);
        break;
    case MM_MLOCKALL:
        op->flags = (int)mm_below(source, 9);
        break;
    default:
        choose_range(maker, op);
        break;
    }
}

/* ----------------------------------------------------------------- a run -- */

void mm_make_config(struct mm_source *source, const struct mm_plan *plan,
                    struct mm_config *config)
{
    static const uint16_t sizes[] = {16,  32,  64,  64,   128,  256,
                                     512, 700, 600, 1024, 1536, SPACE_PAGES};
    uint32_t room;

    *config = (struct mm_config){
        .npages = sizes[mm_below(source, LEN(sizes))],
        .window_pages = plan->default_window ? 0 : 1,
        .deep_every = (uint32_t)(16 + mm_below(source, 32)),
        .nthreads = plan->nthreads,
    };
    if (plan->nthreads > 0)
        config->thread_writes = mm_below(source, 2);
    config->bottom_up = one_in(source, 4);
    config->disk = one_in(source, 8);
    room = ARENA_PAGES - 2 * ZONE_PAGES - config->npages;
    config->offset_pages =
        ZONE_PAGES + (one_in(source, 2) ? (uint32_t)mm_below(source, room)
                                        : 512u - ZONE_PAGES) %
                         (room + 1);
}

uint32_t mm_make_ops(struct mm_source *source, const struct mm_plan *plan,
                     const struct mm_config *config, struct mm_op *ops,
                     uint32_t max)
{
    struct maker maker = {source, config, plan->without, page_size()};
    uint32_t n = 0;

    /* What the threads write must stay where nobody looks. */
    if (config->thread_writes)
        maker.without |= (uint64_t)1 << MM_MREMAP | (uint64_t)1 << MM_PREAD |
                         (uint64_t)1 << MM_PWRITE;
#ifdef MM_SANITIZED
    maker.without |= (uint64_t)1 << MM_MLOCKALL; /* terabytes of shadow */
#endif
    while (n < max && (!source->bytes || source->left > 0))
        make_op(&maker, &ops[n++]);
    return n;
}
