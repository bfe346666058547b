/* SPDX-License-Identifier: MIT */
/*
 * The tested side: each operation as a call on a space.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/range.h"
#include "ufault/ufault.h"

/* With 1, 2 and 3 descriptors. */
static struct uf_engine *engines[3];
static struct uf_space *space;

static int64_t call(struct mm_side *side, const struct mm_args *args,
                    unsigned char *vec)
{
    uintptr_t at = args->at;

    (void)side;
    switch (args->kind) {
    case MM_MMAP:
        return uf_mmap(space, at, args->len, args->prot, args->flags,
                       mm_file(args->file), (off_t)args->extra);
    case MM_MUNMAP:
        return uf_munmap(space, at, args->len);
    case MM_MPROTECT:
        return uf_mprotect(space, at, args->len, args->prot);
    case MM_MREMAP:
        return uf_mremap(space, at, args->len, args->extra, args->flags,
                         args->dest);
    case MM_MADVISE:
        return uf_madvise(space, at, args->len, args->flags);
    case MM_POPULATE:
        return uf_populate(space, at, args->len);
    case MM_MINCORE:
        return uf_mincore(space, at, args->len, vec);
    case MM_MLOCK:
        return uf_mlock(space, at, args->len);
    case MM_MLOCK2:
        return uf_mlock2(space, at, args->len, (unsigned)args->flags);
    case MM_MUNLOCK:
        return uf_munlock(space, at, args->len);
    case MM_MLOCKALL:
        return uf_mlockall(space, args->flags);
    case MM_MUNLOCKALL:
        return uf_munlockall(space);
    case MM_MSYNC:
        return uf_msync(space, at, args->len, args->flags);
    case MM_BRK:
        return (int64_t)uf_brk(space, at);
    case MM_SBRK:
        return uf_sbrk(space, (intptr_t)args->len);
    case MM_LIMIT:
        return uf_space_set_limit(space, (enum uf_limit)args->flags,
                                  args->extra);
    default:
        return -ENOSYS;
    }
}

static uintptr_t brk_now(struct mm_side *side)
{
    (void)side;
    return uf_brk(space, 0);
}

/* -------------------------------------------------------------- looking -- */

struct listing {
    struct mm_map *maps;
    int n;
};

static int visit(void *data, const struct uf_vma_info *vma)
{
    struct listing *listing = data;

    if (listing->n == MAPS_MAX)
        return 1;
    listing->maps[listing->n++] = (struct mm_map){
        .start = vma->start,
        .end = vma->end,
        .offset = vma->flags & UF_VMA_KERNEL ? vma->offset : 0,
        .prot = (uint32_t)vma->prot,
        .flags = vma->flags,
    };
    return 0;
}

static int list(struct mm_side *side, struct mm_map *maps)
{
    struct listing listing = {maps, 0};
    int err = uf_space_walk(space, visit, &listing);

    (void)side;
    return err < 0 ? err : err > 0 ? -E2BIG : listing.n;
}

static int list_flags(struct mm_side *side, struct mm_map *maps, int nmaps)
{
    (void)side;
    (void)maps;
    (void)nmaps;
    return 0; /* list has them */
}

static int side_mincore(struct mm_side *side, uintptr_t at, size_t len,
                        unsigned char *vec)
{
    (void)side;
    return uf_mincore(space, at, len, vec);
}

static int gauges(struct mm_side *side, uint64_t *ret_gauges)
{
    struct uf_stats stats = {.size = sizeof(stats)};
    int err = uf_space_stats(space, &stats);

    (void)side;
    if (err)
        return err;
    ret_gauges[MM_TOTAL] = stats.total_vm;
    ret_gauges[MM_DATA] = stats.data_vm;
    ret_gauges[MM_STACK] = stats.stack_vm;
    ret_gauges[MM_EXEC] = stats.exec_vm;
    ret_gauges[MM_LOCKED] = stats.locked_vm;
    if (stats.faults != stats.installed + stats.present + stats.stale +
                            stats.refused + stats.folded + stats.pending)
        return -EPROTO;
    return 0;
}

/* ----------------------------------------------------------- one process -- */

static int prepare(struct mm_side *side, bool bottom_up)
{
    (void)side;
    (void)bottom_up;
    for (uint32_t i = 0; i < 3; i++) {
        struct uf_engine_opts opts = {.size = sizeof(opts),
                                      .ndescriptors = i + 1};
        int err = engines[i] ? 0 : uf_engine_create(&opts, &engines[i]);

        if (err)
            return err;
    }
    return 0;
}

static int begin(struct mm_side *side)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = side->end - side->base,
        .address = side->base,
        .engine = engines[side->config.offset_pages % 3],
        .flags = side->config.bottom_up ? UF_SPACE_BOTTOM_UP : 0,
        .window_pages = side->config.window_pages,
    };

    return uf_space_create(&opts, &space);
}

static void end_run(struct mm_side *side)
{
    (void)side;
    uf_space_destroy(space);
    space = NULL;
}

static pid_t libc_fork(struct mm_side *side)
{
    (void)side;
    return fork();
}

struct mm_side *mm_space_side(void)
{
    static struct mm_side side = {
        .id = SIDE_TESTED,
        .prepare = prepare,
        .begin = begin,
        .end_run = end_run,
        .call = call,
        .brk_now = brk_now,
        .list = list,
        .list_flags = list_flags,
        .mincore = side_mincore,
        .gauges = gauges,
        .fork = libc_fork,
    };

    return &side;
}
