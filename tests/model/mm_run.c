/* SPDX-License-Identifier: MIT */
/*
 * Runs a list of operations on one side and records, after each, all that a
 * program could see.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/range.h"
#include "ufault/ufault.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static struct mm_map maps[MAPS_MAX], raw[MAPS_MAX];
static bool stack_limited;

/* --------------------------------------------------------------- places -- */

static uintptr_t edge(const struct mm_side *side, uint32_t nth)
{
    if (side->nmaps == 0)
        return side->base;
    nth %= 2 * side->nmaps;
    return nth % 2 ? side->maps[nth / 2].end : side->maps[nth / 2].start;
}

static uintptr_t find_place(struct mm_side *side, const struct mm_place *place)
{
    uintptr_t from = 0;

    switch ((enum mm_from)place->from) {
    case FROM_BASE:
        from = side->base;
        break;
    case FROM_END:
        from = side->end;
        break;
    case FROM_BRK:
        from = side->brk_now(side);
        break;
    case FROM_EDGE:
        from = edge(side, place->nth);
        break;
    case FROM_NOWHERE:
    case FROM_ZERO:
    case FROM_KINDS:
        break;
    }
    return from + (uintptr_t)place->delta;
}

static void find_args(struct mm_side *side, const struct mm_op *op,
                      struct mm_args *args)
{
    *args = (struct mm_args){
        .kind = (enum mm_kind)op->kind,
        .fill = op->fill,
        .file = op->file,
        .prot = op->prot,
        .flags = op->flags,
        .at = find_place(side, &op->at),
        .dest = find_place(side, &op->dest),
        .len = op->len,
        .extra = op->extra,
    };
    if (op->upto.from != FROM_NOWHERE) {
        uintptr_t upto = find_place(side, &op->upto);

        args->len = upto > args->at ? upto - args->at : op->len;
    }
    if (op->kind == MM_MREMAP && op->extra == MM_AS_LONG)
        args->extra = args->len;
}

static bool is_bound(const struct mm_map *in, uint32_t n, uintptr_t at)
{
    for (uint32_t i = 0; i < n; i++)
        if (in[i].start == at)
            return true;
    return false;
}

/* A bound inside the range, or where a mapping of it begins, that is hidden. */
static bool is_torn(const struct mm_side *side, const struct mm_args *args)
{
    for (uint32_t i = 0; i < side->nraw; i++) {
        const struct mm_map *map = &side->raw[i];

        if (map->end >= args->at && map->start <= args->at + args->len &&
            !is_bound(side->maps, side->nmaps, map->start))
            return true;
    }
    return false;
}

/* What there is, as far as a side's list says without a deep look; where the
 * limit of stacks may matter, with one. */
static void note_maps(struct mm_side *side, struct mm_record *record)
{
    const struct mm_args *args = &record->args;

    if (stack_limited && side->list_flags(side, side->raw, (int)side->nraw) < 0)
        record->wrong = __LINE__;
    for (uint32_t i = 0; i < side->nraw; i++) {
        const struct mm_map *map = &side->raw[i];

        record->stacks |= (map->flags & UF_VMA_GROWSDOWN) != 0;
        record->stack_parts |= (map->flags & UF_VMA_GROWSDOWN) &&
                               !is_bound(side->maps, side->nmaps, map->start);
        if (map->end > args->at && map->start < args->at + args->len)
            record->locked |= (map->flags & UF_VMA_LOCKED) != 0;
    }
}

/* ---------------------------------------------------------------- fitting --
 */

/* Below the base the two sides differ by design: a space's neighbours are not
 * its own, while the kernel side's are what takes the room. */
static bool reaches_in_from_below(const struct mm_side *side, uintptr_t at,
                                  uint64_t len)
{
    uint64_t up = align_up(len, page_size());

    if (at >= side->base || up < len || at + up < at)
        return false;
    /* Where it counts from the start of the page at which it begins. */
    up += page_size();
    return at + up < at || at + up > side->base;
}

static bool mremap_fits(const struct mm_side *side, const struct mm_args *args)
{
    size_t zone = ZONE_PAGES * page_size();
    bool to_place = args->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);

    if (args->at < side->base || args->at >= side->end)
        return args->at >= side->base && args->at < side->end + zone &&
               !to_place && args->len <= side->end + zone - args->at;
    if (args->dest < side->base && (args->flags & MREMAP_FIXED))
        return false;
    if (args->dest < side->base && to_place &&
        (args->extra > side->base || args->dest + args->extra > side->base))
        return false;
    if (args->len <= side->end - args->at)
        return true;
    /* Beyond the end is a gap; a gap that could be cut off or moved into would
     * be seen to be one. */
    if (args->len > side->end + zone - args->at)
        return false;
    return (!to_place || (args->flags & MREMAP_FIXED)) &&
           align_up(args->extra, page_size()) >=
               align_up(args->len, page_size());
}

static bool mlock_fits(const struct mm_side *side, const struct mm_args *args)
{
    size_t zone = ZONE_PAGES * page_size();

    /* The limit is compared with the whole length, which is not given to the
     * kernel. */
    if (args->at + args->len < args->at || args->at > side->end + zone)
        return args->len + page_size() < args->len;
    if (args->at < side->base)
        return args->len <= page_size() && args->at % page_size() == 0;
    return args->len <= side->end + zone - page_size() - args->at;
}

/* Whether an operation means the same on both sides. */
static bool args_fit(const struct mm_side *side, const struct mm_args *args)
{
    switch (args->kind) {
    case MM_MMAP:
        return !(args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) ||
               args->at >= side->base;
    case MM_MUNMAP:
        return args->at >= side->base;
    case MM_MREMAP:
        return mremap_fits(side, args);
    case MM_MLOCK:
    case MM_MLOCK2:
    case MM_MUNLOCK:
        return mlock_fits(side, args) &&
               !reaches_in_from_below(side, args->at, args->len);
    case MM_MPROTECT:
    case MM_MADVISE:
    case MM_MINCORE:
    case MM_MSYNC:
    case MM_POPULATE:
        return !reaches_in_from_below(side, args->at, args->len);
    case MM_READ:
    case MM_WRITE:
    case MM_PREAD:
    case MM_PWRITE:
        return args->at >= side->base && args->at < side->end &&
               args->len <= side->end - args->at;
    default:
        return true;
    }
}

/* ---------------------------------------------------------------- acting -- */

static void read_one(struct mm_side *side, const struct mm_args *args,
                     struct mm_record *record)
{
    uint8_t byte = 0;

    record->signal = (uint32_t)mm_read_byte(args->at, &byte);
    if (!side->config.thread_writes ||
        args->at % page_size() < page_size() - THREADS_BYTES)
        record->seen = byte;
}

static void by_system_call(const struct mm_args *args, struct mm_record *record)
{
    void *p = (void *)args->at;
    int fd = mm_file(FILE_MEM);
    ssize_t rc = args->kind == MM_PREAD
                     ? pread(fd, p, args->len, (off_t)args->extra)
                     : pwrite(fd, p, args->len, (off_t)args->extra);

    record->result = (uint64_t)(rc < 0 ? -errno : rc);
}

static void mincore_of(struct mm_side *side, const struct mm_args *args,
                       struct mm_record *record)
{
    static unsigned char vec[VEC_PAGES];

    memset(vec, 0x55, sizeof(vec));
    record->result = (uint64_t)side->call(side, args, vec);
    if (record->result != 0 || side->config.window_pages != 1)
        return;
    for (size_t i = 0; i < sizeof(vec); i++)
        record->seen = mm_hash(record->seen, vec[i] == 0x55 ? 2 : vec[i] & 1);
}

static void act(struct mm_side *side, struct mm_record *record)
{
    const struct mm_args *args = &record->args;

    switch (args->kind) {
    case MM_READ:
        read_one(side, args, record);
        break;
    case MM_WRITE:
        record->signal =
            (uint32_t)mm_write_bytes(args->at, args->len, args->fill);
        break;
    case MM_PREAD:
    case MM_PWRITE:
        by_system_call(args, record);
        break;
    case MM_FORK:
        mm_fork_and_look(side, args, record);
        break;
    case MM_TRUNCATE:
        record->result = (uint64_t)mm_file_truncate(args->file, args->extra);
        break;
    case MM_MINCORE:
        mincore_of(side, args, record);
        break;
    default:
        record->result = (uint64_t)side->call(side, args, NULL);
        break;
    }
}

/* --------------------------------------------------------------- running -- */

static int begin(struct mm_side *side, struct mm_exchange *exchange)
{
    int err;

    side->exchange = exchange;
    side->config = exchange->config;
    side->base = side->arena + side->config.offset_pages * page_size();
    side->end = side->base + side->config.npages * page_size();
    exchange->base = side->base;
    side->maps = maps;
    side->raw = raw;
    side->nmaps = side->nraw = 0;
    stack_limited = false;
    err = mm_files_reset();
    return err ? err : side->begin(side);
}

static void run_one(struct mm_side *side, struct mm_exchange *exchange,
                    uint32_t i)
{
    struct mm_record *record = &exchange->records[side->id][i];
    uint32_t every = exchange->config.deep_every;

    *record = (struct mm_record){0};
    record->deep = i % every == every - 1 || i == exchange->nops - 1 ||
                   i == exchange->dump_at;
    find_args(side, &exchange->ops[i], &record->args);
    record->skipped = !args_fit(side, &record->args);
    if (record->args.kind == MM_LIMIT && record->args.flags == UF_LIMIT_STACK)
        stack_limited = record->args.extra != UF_UNLIMITED;
    record->stack_limited = stack_limited;
    note_maps(side, record);
    record->torn =
        side->nraw > side->nmaps &&
        (record->args.kind == MM_MLOCKALL || is_torn(side, &record->args));
    if (!record->skipped)
        act(side, record);
    mm_look(side, record, i);
    if (i == exchange->dump_at)
        mm_dump(side, record);
}

void mm_side_run(struct mm_side *side, struct mm_exchange *exchange)
{
    exchange->done[side->id] = 0;
    exchange->error[side->id] = begin(side, exchange);
    if (exchange->error[side->id])
        return;
    mm_threads_go(side);
    for (uint32_t i = 0; i < exchange->nops; i++) {
        run_one(side, exchange, i);
        exchange->done[side->id] = i + 1;
    }
    mm_threads_stop(side);
    side->end_run(side);
}
