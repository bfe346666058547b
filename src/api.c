/* SPDX-License-Identifier: MIT */
/*
 * The public functions: validate, call down, let only documented errors out.
 * The only file whose functions leave the shared library.
 */
#include "ufault/ufault.h"

#include <errno.h>

#include "base/check.h"
#include "fault/engine.h"
#include "fault/trap_table.h"
#include "host/caps.h"
#include "mm/advice.h"
#include "mm/map.h"
#include "pager/pager.h"
#include "posix/default_space.h"
#include "trace/export.h"

#define TEXT(x)  #x
#define VALUE(x) TEXT(x)

const char *uf_version(void)
{
    return VALUE(UF_VERSION_MAJOR) "." VALUE(UF_VERSION_MINOR) "." VALUE(
        UF_VERSION_PATCH);
}

/* What uf_engine_create documents; anything else is something that the kernel
 * lacks or a filter withholds. */
static int documented_for_engine(int err)
{
    switch (err) {
    case 0:
    case -EINVAL:
    case -EPERM:
    case -ENOSYS:
    case -ENOTSUP:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EAGAIN:
        return err;
    default:
        return -ENOTSUP;
    }
}

int uf_engine_create(const struct uf_engine_opts *opts,
                     struct uf_engine **ret_engine)
{
    if (!ret_engine || (opts && opts->size != sizeof(*opts)))
        return -EINVAL;
    return documented_for_engine(engine_create(opts, ret_engine));
}

int uf_engine_destroy(struct uf_engine *engine)
{
    return engine_destroy(engine);
}

enum uf_tier uf_engine_tier(const struct uf_engine *engine)
{
    return engine_is_live(engine) ? engine->uffd.tier : UF_TIER_NONE;
}

const char *uf_tier_name(enum uf_tier tier)
{
    switch (tier) {
    case UF_TIER_SYSCALL:
        return "system call";
    case UF_TIER_DEVICE:
        return "/dev/userfaultfd";
    case UF_TIER_USER_MODE:
        return "user mode only";
    case UF_TIER_NONE:
        break;
    }
    return "none";
}

/* What uf_space_create documents beside the engine's; anything else is a range
 * that cannot be had (mmap(2) answers -EPERM below vm.mmap_min_addr). */
static int documented_for_space(int err)
{
    switch (err) {
    case 0:
    case -EINVAL:
    case -EEXIST:
    case -EBUSY:
    case -EAGAIN:
        return err;
    default:
        return -ENOMEM;
    }
}

/* Creates the space and has `engine`, its own or another, serve it. */
static int create_on(const struct uf_space_opts *opts, struct uf_engine *engine,
                     struct uf_space **ret_space)
{
    struct space_params params = {.opts = opts};
    struct uf_space *space;
    int err = space_create(&params, &space);

    if (err)
        return documented_for_space(err);
    err = trap_table_add(space);
    if (!err)
        err = engine_attach(engine, space);
    if (err) {
        trap_table_remove(space);
        space_destroy(space);
        return documented_for_space(err);
    }
    space->own_engine = opts->engine ? NULL : engine;
    *ret_space = space;
    return 0;
}

int uf_space_create(const struct uf_space_opts *opts,
                    struct uf_space **ret_space)
{
    struct uf_engine *own = NULL;
    int err = space_opts_check(opts);

    if (err || !ret_space)
        return -EINVAL;
    if (opts->engine)
        return engine_is_live(opts->engine)
                   ? create_on(opts, opts->engine, ret_space)
                   : -EINVAL;
    err = uf_engine_create(NULL, &own);
    if (err)
        return err;
    err = create_on(opts, own, ret_space);
    if (err)
        engine_destroy(own);
    return err;
}

int uf_space_destroy(struct uf_space *space)
{
    struct uf_engine *own;

    if (!space)
        return 0;
    if (!space_is_live(space))
        return -EINVAL;
    if (engine_is_handler_thread())
        return -EDEADLK;
    own = space->own_engine;
    default_space_forget(space);
    trap_table_remove(space);
    if (space->engine)
        engine_detach(space);
    else
        space_await_unpinned(space); /* a signal handler may look at it */
    space_destroy(space);
    return own ? engine_destroy(own) : 0;
}

uintptr_t uf_space_base(const struct uf_space *space)
{
    return space_is_live(space) ? space->region.range.start : 0;
}

size_t uf_space_len(const struct uf_space *space)
{
    return space_is_live(space) ? range_len(space->region.range) : 0;
}

struct uf_engine *uf_space_engine(const struct uf_space *space)
{
    return space_is_live(space) ? space->engine : NULL;
}

/* mm_populate: what a call made is made resident; a page that cannot be had is
 * left to its first touch, as in the kernel. */
static void populate_made(struct uf_space *space, struct range made)
{
    if (!range_is_empty(made))
        fault_populate(space, made, POPULATE_AUTO, true);
}

static void populate_grown(struct uf_space *space, struct range grown)
{
    if (space->def_flags & VMA_LOCKED)
        populate_made(space, grown);
}

uintptr_t uf_brk(struct uf_space *space, uintptr_t brk)
{
    struct range grown;
    uintptr_t now;

    if (!space_is_live(space))
        return 0;
    now = space_brk(space, brk, &grown);
    populate_grown(space, grown);
    return now;
}

intptr_t uf_sbrk(struct uf_space *space, intptr_t increment)
{
    struct range grown;
    intptr_t old;

    if (!space_is_live(space))
        return -EINVAL;
    old = space_sbrk(space, increment, &grown);
    populate_grown(space, grown);
    return old;
}

int uf_populate(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    struct range range;

    if (!space_is_live(space) || !is_aligned(address, page_size()) ||
        !range_make(address, len_bytes, &range) ||
        align_up(range.end, page_size()) < range.end)
        return -EINVAL;
    if (engine_is_handler_thread())
        return -EDEADLK;
    range.end = align_up(range.end, page_size());
    return fault_populate(space, range, POPULATE_WRITE, false);
}

/* ---- mman.h ------------------------------------------------------------ */

/* Every call of the family: 0, or why not on this handle or thread. */
static int may_change(const struct uf_space *space)
{
    if (!space_is_live(space))
        return -EINVAL;
    return engine_is_handler_thread() ? -EDEADLK : 0;
}

intptr_t uf_mmap(struct uf_space *space, uintptr_t address, size_t len_bytes,
                 int prot, int flags, int fd, off_t offset_bytes)
{
    struct map_request request = {
        .addr = address,
        .len_bytes = len_bytes,
        .prot = prot,
        .flags = flags,
        .fd = fd,
        .offset = offset_bytes,
    };
    struct range made;
    intptr_t where = may_change(space);

    if (where < 0)
        return where;
    where = space_mmap(space, &request, &made);
    populate_made(space, made);
    return where;
}

intptr_t uf_mmap_pager(struct uf_space *space, uintptr_t address,
                       size_t len_bytes, int prot, int flags,
                       struct uf_pager *pager, uint64_t offset_bytes)
{
    struct map_request request = {
        .addr = address,
        .len_bytes = len_bytes,
        .prot = prot,
        .flags = flags | MAP_ANONYMOUS,
        .fd = -1,
        .pager = pager,
        .pager_offset = offset_bytes,
    };
    struct range made;
    intptr_t where = may_change(space);

    if (where < 0)
        return where;
    if (!pager || !is_aligned(offset_bytes, page_size()) ||
        (flags & (MAP_GROWSDOWN | MAP_HUGETLB)) ||
        (space->config.zero_only && pager != pager_zero()))
        return -EINVAL;
    if (offset_bytes + len_bytes < offset_bytes)
        return -EOVERFLOW;
    where = engine_ready_for_pager(space, pager);
    if (where < 0)
        return where;
    where = space_mmap(space, &request, &made);
    populate_made(space, made);
    return where;
}

int uf_munmap(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    int err = may_change(space);

    return err ? err : space_munmap(space, address, len_bytes);
}

int uf_mprotect(struct uf_space *space, uintptr_t address, size_t len_bytes,
                int prot)
{
    struct map_made made;
    int err = may_change(space);

    if (err)
        return err;
    err = space_mprotect(space, address, len_bytes, prot, &made);
    for (unsigned i = 0; i < made.n; i++)
        fault_populate(space, made.parts[i], POPULATE_LOCKED, true);
    return err;
}

intptr_t uf_mremap(struct uf_space *space, uintptr_t address,
                   size_t old_len_bytes, size_t new_len_bytes, int flags,
                   uintptr_t new_address)
{
    struct range made;
    intptr_t where = may_change(space);

    if (where < 0)
        return where;
    where = space_mremap(space, address, old_len_bytes, new_len_bytes, flags,
                         new_address, &made);
    populate_made(space, made);
    return where;
}

static int madvise_populate(struct uf_space *space, uintptr_t address,
                            size_t len_bytes, enum populate_mode mode)
{
    struct range range;
    int err = map_range_check(address, len_bytes, &range);

    if (err || range_is_empty(range))
        return err;
    return fault_populate(space, range, mode, false);
}

/* The whole huge pages of a range. */
static struct range huge_pages_in(struct range range)
{
    size_t huge = page_size() / 8 * page_size();
    struct range inner = {align_up(range.start, huge),
                          align_down(range.end, huge)};

    if (inner.start >= inner.end)
        inner.end = inner.start = 0;
    return inner;
}

int uf_madvise(struct uf_space *space, uintptr_t address, size_t len_bytes,
               int advice)
{
    struct range range;
    int err = may_change(space);

    if (err)
        return err;
    if (advice == MADV_POPULATE_READ)
        return madvise_populate(space, address, len_bytes, POPULATE_READ);
    if (advice == MADV_POPULATE_WRITE)
        return madvise_populate(space, address, len_bytes, POPULATE_WRITE);
    /* The kernel does not collapse what a userfaultfd may still fill. */
    if (advice == MADV_COLLAPSE &&
        map_range_check(address, len_bytes, &range) == 0 &&
        range_covers(space->region.range, range))
        populate_made(space, huge_pages_in(range));
    return space_madvise(space, address, len_bytes, advice);
}

int uf_mincore(struct uf_space *space, uintptr_t address, size_t len_bytes,
               unsigned char *ret_vec)
{
    if (!space_is_live(space))
        return -EINVAL;
    return space_mincore(space, address, len_bytes, ret_vec);
}

/* __mlock_posix_error_return */
static int lock_error(int err)
{
    if (err == -EFAULT)
        return -ENOMEM;
    return err == -ENOMEM ? -EAGAIN : err;
}

int uf_mlock2(struct uf_space *space, uintptr_t address, size_t len_bytes,
              unsigned flags)
{
    uint32_t lock = VMA_LOCKED;
    struct range made;
    int err = may_change(space);

    if (err)
        return err;
    if (flags & ~UF_MLOCK_ONFAULT)
        return -EINVAL;
    if (flags & UF_MLOCK_ONFAULT)
        lock |= VMA_LOCKONFAULT;
    err = space_mlock(space, address, len_bytes, lock, &made);
    if (err || range_is_empty(made) || (flags & UF_MLOCK_ONFAULT))
        return err;
    return lock_error(fault_populate(space, made, POPULATE_AUTO, false));
}

int uf_mlock(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    return uf_mlock2(space, address, len_bytes, 0);
}

int uf_munlock(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    int err = may_change(space);

    return err ? err : space_munlock(space, address, len_bytes);
}

int uf_mlockall(struct uf_space *space, int flags)
{
    int known = UF_MCL_CURRENT | UF_MCL_FUTURE | UF_MCL_ONFAULT;
    struct range made;
    int err = may_change(space);

    if (err)
        return err;
    if (flags == 0 || (flags & ~known) || flags == UF_MCL_ONFAULT)
        return -EINVAL;
    err = space_mlockall(space, flags, &made);
    populate_made(space, made);
    return err;
}

int uf_munlockall(struct uf_space *space)
{
    struct range made;
    int err = may_change(space);

    return err ? err : space_mlockall(space, 0, &made);
}

int uf_msync(struct uf_space *space, uintptr_t address, size_t len_bytes,
             int flags)
{
    if (!space_is_live(space))
        return -EINVAL;
    return space_msync(space, address, len_bytes, flags);
}

int uf_space_set_limit(struct uf_space *space, enum uf_limit which,
                       uint64_t bytes)
{
    return space_is_live(space) ? space_set_limit(space, which, bytes)
                                : -EINVAL;
}

int uf_space_get_limit(struct uf_space *space, enum uf_limit which,
                       uint64_t *ret_bytes)
{
    return space_is_live(space) ? space_get_limit(space, which, ret_bytes)
                                : -EINVAL;
}

int uf_space_walk(struct uf_space *space,
                  int (*visit)(void *data, const struct uf_vma_info *vma),
                  void *data)
{
    if (!space_is_live(space) || !visit)
        return -EINVAL;
    return space_walk(space, visit, data);
}

ssize_t uf_space_maps(struct uf_space *space, char *text, size_t len_bytes)
{
    if (!space_is_live(space) || (!text && len_bytes > 0))
        return -EINVAL;
    return space_maps(space, text, len_bytes);
}

ssize_t uf_space_smaps(struct uf_space *space, char *text, size_t len_bytes)
{
    if (!space_is_live(space) || (!text && len_bytes > 0))
        return -EINVAL;
    return space_smaps(space, text, len_bytes);
}

ssize_t uf_space_status(struct uf_space *space, char *text, size_t len_bytes)
{
    if (!space_is_live(space) || (!text && len_bytes > 0))
        return -EINVAL;
    return space_status(space, text, len_bytes);
}

int uf_space_stats(struct uf_space *space, struct uf_stats *stats)
{
    if (!space_is_live(space) || !stats || stats->size != sizeof(*stats))
        return -EINVAL;
    space_stats(space, stats);
    return 0;
}

ssize_t uf_space_thread_stats(struct uf_space *space,
                              struct uf_thread_stats *threads, size_t max)
{
    if (!space_is_live(space) || (!threads && max > 0))
        return -EINVAL;
    return (ssize_t)space_thread_stats(space, threads, max);
}

ssize_t uf_stats_text(const struct uf_stats *stats, char *text,
                      size_t len_bytes)
{
    if (!stats || stats->size != sizeof(*stats) || (!text && len_bytes > 0))
        return -EINVAL;
    return export_text(stats, text, len_bytes);
}

ssize_t uf_stats_json(const struct uf_stats *stats, char *text,
                      size_t len_bytes)
{
    if (!stats || stats->size != sizeof(*stats) || (!text && len_bytes > 0))
        return -EINVAL;
    return export_json(stats, text, len_bytes);
}

int uf_probe(struct uf_probe *probe)
{
    if (!probe || probe->size != sizeof(*probe))
        return -EINVAL;
    return caps_probe(probe);
}

const char *uf_feature_name(unsigned bit)
{
    return caps_feature_name(bit);
}

const char *uf_feature_since(unsigned bit)
{
    return caps_feature_since(bit);
}

int uf_pager_create(const struct uf_pager_ops *ops, void *context,
                    struct uf_pager **ret_pager)
{
    return pager_create(ops, context, ret_pager);
}

int uf_pager_callback(ssize_t (*fill)(void *context,
                                      const struct uf_fill *request),
                      void *context, struct uf_pager **ret_pager)
{
    struct uf_pager_ops ops = {
        .size = sizeof(ops), .name = "callback", .fill = fill};

    return pager_create(&ops, context, ret_pager);
}

struct uf_pager *uf_pager_zero(void)
{
    return pager_zero();
}

struct uf_pager *uf_pager_ref(struct uf_pager *pager)
{
    return pager_ref(pager);
}

void uf_pager_unref(struct uf_pager *pager)
{
    pager_unref(pager);
}
