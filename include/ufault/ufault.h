/* SPDX-License-Identifier: MIT */
/*
 * ufault: demand paging in user space.
 *
 * A space is a small mm_struct that a program owns: one reserved range of
 * addresses with a program break of its own. Memory in it costs nothing until
 * it is touched; the first touch of a page is a fault that an engine (handler
 * threads on a userfaultfd) answers with bytes from a pager.
 *
 *     struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 30};
 *     struct uf_space *space;
 *     int err = uf_space_create(&opts, &space);       0 or -errno
 *     char *p = (char *)uf_sbrk(space, 1 << 20);      1 MiB, nothing resident
 *     p[0] = 1;                                       one fault, answered here
 *     uf_space_destroy(space);
 *
 * Conventions. Functions return 0 or -errno unless they say otherwise and
 * change nothing when they fail. Ranges are half-open, [start, end). Sizes are
 * in bytes unless the name says pages. Option and result structs begin with
 * their size, set by the caller to sizeof(the struct). Every function may be
 * called from any thread, except where it says otherwise, and not from a signal
 * handler. Handles are used after destroy as little as pointers after free(3).
 */
#ifndef UFAULT_UFAULT_H
#define UFAULT_UFAULT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ufault/copy.h"
#include "ufault/mman.h"
#include "ufault/pager.h"
#include "ufault/stats.h"
#include "ufault/store.h"
#include "ufault/trap.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UF_VERSION_MAJOR 0
#define UF_VERSION_MINOR 1
#define UF_VERSION_PATCH 0

struct uf_engine;
struct uf_space;

/* "MAJOR.MINOR.PATCH" of the library that is running. */
const char *uf_version(void);

/* ------------------------------------------------------------- hooks -- */

/* What an error report is about. */
enum uf_error_kind {
    UF_ERROR_PAGER_FAILED, /* a pager could not supply a page */
    UF_ERROR_PAGER_LIED,   /* a pager broke its contract */
    UF_ERROR_SELF_TOUCH,   /* a handler thread touched a space */
    UF_ERROR_INSTALL,      /* the kernel refused a page for good */
    UF_ERROR_ENGINE        /* the engine cannot go on serving */
};

struct uf_error {
    size_t size;
    enum uf_error_kind kind;
    int error;           /* -errno, 0 if there is none */
    uintptr_t address;   /* the touched byte, 0 if there is none */
    pid_t tid;           /* the touching thread, 0 if not known */
    const char *pager;   /* its name, or NULL; valid during the call */
    const char *message; /* one sentence; valid during the call */
};

/* What became of a fault; see src/README.md for the state diagram. */
enum uf_outcome {
    UF_OUTCOME_INSTALLED,
    UF_OUTCOME_PRESENT,
    UF_OUTCOME_STALE,
    UF_OUTCOME_DEFERRED,
    UF_OUTCOME_REFUSED,
    UF_OUTCOME_FOLDED
};

/* The access was a write. */
#define UF_FAULT_WRITE 0x1u

struct uf_fault_event {
    size_t size;
    uintptr_t address; /* the touched byte (page, where the kernel hides it) */
    pid_t tid;         /* the touching thread, 0 if not known */
    uint32_t flags;    /* UF_FAULT_* */
    enum uf_outcome outcome;
    uint32_t reserved;
    uintptr_t start; /* what was installed: [start, end) */
    uintptr_t end;
    uint64_t received_ns; /* CLOCK_MONOTONIC */
    uint64_t service_ns;  /* received to woken */
};

/*
 * Hooks run on handler threads with no lock held, possibly several at once.
 * They must not touch a space's memory, nor destroy a space or an engine.
 */
typedef void (*uf_error_hook)(void *data, const struct uf_error *error);
typedef void (*uf_fault_hook)(void *data, const struct uf_fault_event *event);

/* ------------------------------------------------------------ engine -- */

/* How the engine got at userfaultfd; see uf_probe. */
enum uf_tier {
    UF_TIER_NONE,     /* not at all */
    UF_TIER_SYSCALL,  /* userfaultfd(2): touches by system calls served too */
    UF_TIER_DEVICE,   /* /dev/userfaultfd: the same */
    UF_TIER_USER_MODE /* UFFD_USER_MODE_ONLY: a system call that touches an
                         absent page gets EFAULT */
};

#define UF_CPU_ANY (-1)

/* How faults arrive. */
enum uf_engine_kind {
    /* At handler threads. Touches by system calls are served too, where the
     * tier allows. */
    UF_ENGINE_THREAD,
    /* As SIGBUS on the touching thread, which answers its own fault: no thread
     * switch, about half the time. A system call that touches an absent page
     * gets EFAULT (or does less than was asked): uf_populate first, or
     * uf_copy_in and uf_copy_out. The engine installs the handler of
     * ufault/trap.h, which chains. Memory with hooks or with a
     * pager that is not UF_PAGER_SIGNAL_SAFE is served by handler threads, for
     * which the touching thread waits, with all its signals blocked. */
    UF_ENGINE_SIGNAL,
    /* SIGNAL where system calls' touches are not served anyway (tier
     * UF_TIER_USER_MODE), else THREAD. */
    UF_ENGINE_AUTO
};

struct uf_engine_opts {
    size_t size;
    /* Handler threads; 0 means 1. With a pager that has a fill there are
     * always at least 3, with a hook 2, so that one is left while they block.
     * At most 64. */
    uint32_t nhandlers;
    /* 1 + the CPU to bind the handler threads to; 0: not bound. A handler on
     * the CPU of the touching thread answers several times faster. */
    uint32_t cpu_plus_one;
    /* 1 + the enum uf_tier to insist on; 0: the best there is. */
    uint32_t tier_plus_one;
    /* Milliseconds for which a fault that cannot be answered now (-EAGAIN from
     * a pager, no memory) is tried again before it is refused with SIGBUS;
     * 0 means 10,000. */
    uint32_t defer_limit_ms;
    uint32_t kind; /* enum uf_engine_kind */
    /* The most that a pool of zeroed huge pages may hold, in bytes, rounded
     * down to whole 2 MiB; 0 means 64 MiB, less than 2 MiB none. The pool is
     * made for the first memory with the huge policy (UF_SPACE_HUGE,
     * MADV_HUGEPAGE); a background thread keeps it full. */
    uint64_t huge_pool_bytes;
    /* Descriptors; 0 means 1, at most 16. Of a space each serves an equal part,
     * in whole 2 MiB, by handler threads of its own (nhandlers of them): threads
     * that touch different parts do not wait for one another. A space smaller
     * than 2 MiB has one part. A signal engine needs no more than 1, since its
     * touching threads serve themselves. */
    uint32_t ndescriptors;
};

/*
 * uf_engine_create: opens a userfaultfd and starts handler threads, and one for
 * what is done in the background. One engine may serve many spaces. `opts` may be NULL: all defaults.
 *
 * Returns 0 or
 *   -EINVAL  ret_engine is NULL; opts->size is unknown; nhandlers over 64;
 *            ndescriptors over 16, or over 1 with UF_ENGINE_SIGNAL; the tier,
 *            the kind or the CPU does not exist
 *   -EPERM   userfaultfd is refused to this process (uf_probe says why)
 *   -ENOSYS  the kernel has no userfaultfd
 *   -ENOTSUP the kernel's userfaultfd lacks what is needed
 *   -EMFILE, -ENFILE  no descriptor left
 *   -ENOMEM  no memory for records
 *   -EAGAIN  no thread could be started
 */
int uf_engine_create(const struct uf_engine_opts *opts,
                     struct uf_engine **ret_engine);

/*
 * uf_engine_destroy: stops the threads and closes the userfaultfd. NULL does
 * nothing. Returns 0 or
 *   -EBUSY    it still serves a space
 *   -EDEADLK  called from one of its own handler threads
 *   -EINVAL   not a live engine (as far as that can be told)
 */
int uf_engine_destroy(struct uf_engine *engine);

/* Which tier the engine got. */
enum uf_tier uf_engine_tier(const struct uf_engine *engine);
/* UF_ENGINE_THREAD or UF_ENGINE_SIGNAL. */
enum uf_engine_kind uf_engine_kind_of(const struct uf_engine *engine);
/* "system call", "/dev/userfaultfd", "user mode only" or "none". */
const char *uf_tier_name(enum uf_tier tier);

/* ------------------------------------------------------------- space -- */

/*
 * What a forked child gets (fork(2) through libc; a bare clone(2) behaves as
 * UF_FORK_ZERO, and as UF_FORK_NONE for spaces that have it).
 */
enum uf_fork {
    UF_FORK_DEFAULT, /* ZERO for zero-paged spaces, NONE for others */
    /* The child inherits the memory; pages not resident at the fork read as
     * zeros there, served by the kernel. Only for spaces whose every page is
     * zero at first touch: -EINVAL with any other pager. */
    UF_FORK_ZERO,
    /* Not inherited (MADV_DONTFORK): touching it in the child is SIGSEGV, and
     * every call on the space answers as on a dead handle. */
    UF_FORK_NONE,
    /* The child gets an engine of its own, as the parent's; both go on with
     * copies of what was resident. */
    UF_FORK_ENGINE
};

/* As after uf_mlockall(UF_MCL_FUTURE): what the break and uf_mmap make is
 * populated at once, counts as locked_vm and is pinned in the host. */
#define UF_SPACE_LOCKED 0x1u
/* uf_mmap searches from the base upwards, as under personality(2)'s
 * ADDR_COMPAT_LAYOUT; else from the end downwards. */
#define UF_SPACE_BOTTOM_UP 0x2u
/* Huge pages: every zero-paged anonymous mapping, the heap included, is treated
 * as after MADV_HUGEPAGE, but where MADV_NOHUGEPAGE was said. A touch of a
 * writable mapping brings in the aligned 2 MiB around it, if all of that lies
 * in the mapping and none of it is there: a huge page, moved from a pool that
 * a background thread keeps ready (UFFDIO_MOVE, Linux 6.8), or, where that
 * cannot be, 512 pages. A read brings in the kernel's huge page of zeros, which
 * takes no memory; what is written there later the kernel makes huge, or small
 * pages. Nothing is different where the kernel gives this process no huge
 * pages. After MADV_HUGEPAGE on a space with an engine of its own and without
 * this flag there is no such thread: the touch zeroes its huge page itself. */
#define UF_SPACE_HUGE 0x4u
/* Such memory that came as small pages is made huge in the background, 2 MiB at
 * a time, when every page of them is there (MADV_COLLAPSE). What the kernel
 * refuses for now is tried again a few times; then, or if more than 2,048 wait,
 * it stays small pages (huge_unpromoted of ufault/stats.h). */
#define UF_SPACE_PROMOTE 0x8u
/* For uf_space_from_image: the image's working set is not brought in ahead. */
#define UF_SPACE_NO_AHEAD 0x10u

/* No limit; as RLIM_INFINITY. */
#define UF_UNLIMITED UINT64_MAX

struct uf_space_opts {
    size_t size;
    /* Length of the reservation: 64 KiB to 64 TiB, whole pages. */
    size_t len_bytes;
    /* Where, page-aligned; 0: the kernel's choice. */
    uintptr_t address;
    /* Who serves it; NULL: an engine of its own, with one handler thread. One of
     * uf_engine_create is faster, if faults come from more than one CPU. */
    struct uf_engine *engine;
    /* Who supplies the heap's pages, by offset from the space's base; NULL: the
     * zero pager. The space takes a reference of its own. */
    struct uf_pager *heap_pager;
    uint32_t flags; /* UF_SPACE_* */
    enum uf_fork fork;
    /* Pages brought in by one fault, around the touched one: 1 to 512. 0 means
     * a window that adapts to each thread: one page for a touch that continues
     * nothing (16 where that costs no memory or comes from a pager), twice as
     * many as last time, up to 2 MiB, for one that goes on up, down or at equal
     * distances. */
    uint32_t window_pages;
    /* enum uf_engine_kind, for an engine of its own (engine is NULL). */
    uint32_t engine_kind;
    /* Limits as setrlimit's RLIMIT_DATA and RLIMIT_AS, over this space alone,
     * in bytes; 0 means UF_UNLIMITED (uf_space_set_limit can set 0). */
    uint64_t limit_data;
    uint64_t limit_as;
    /* As RLIMIT_STACK: how far a MAP_GROWSDOWN mapping grows; RLIMIT_MEMLOCK.
     * In bytes; 0 means UF_UNLIMITED. */
    uint64_t limit_stack;
    uint64_t limit_memlock;
    /* As vm.max_map_count, in mappings; 0 means 65530. */
    uint64_t limit_map_count;
    uf_error_hook on_error; /* NULL: errors are counted only */
    uf_fault_hook on_fault; /* NULL: costs nothing */
    void *hook_data;
};

/*
 * uf_space_create: reserves [address, address + len_bytes) PROT_NONE and
 * NORESERVE, registers it with the engine and puts an empty heap at its base.
 *
 * Returns 0 or
 *   -EINVAL  opts or ret_space is NULL; opts->size is unknown; len_bytes or
 *            address unaligned, too small, too large or overflowing;
 *            window_pages over 512; unknown flags or fork policy;
 *            UF_FORK_ZERO with a heap_pager that is not uf_pager_zero()
 *   -EEXIST  something is mapped in the range asked for
 *   -ENOMEM  no address space, RLIMIT_AS, vm.max_map_count, or no memory
 *   -EBUSY   part of the range belongs to another userfaultfd
 *   and, with engine NULL, what uf_engine_create returns
 */
int uf_space_create(const struct uf_space_opts *opts,
                    struct uf_space **ret_space);

/*
 * uf_space_destroy: unmaps the space and forgets it. NULL does nothing. Waits
 * for fills under way. Threads that wait in a fault on it get SIGSEGV, as on
 * munmap(2). Destroying twice is a use after free: records are recycled, so it
 * is answered with -EINVAL only as long as no new space has taken the record.
 *
 * Returns 0 or
 *   -EDEADLK  called from a handler thread (a pager or a hook)
 *   -EINVAL   not a live space (as far as that can be told)
 */
int uf_space_destroy(struct uf_space *space);

/* First address and length of the reservation. */
uintptr_t uf_space_base(const struct uf_space *space);
size_t uf_space_len(const struct uf_space *space);
/* The engine that serves it. NULL in a forked child without one. */
struct uf_engine *uf_space_engine(const struct uf_space *space);

/* -------------------------------------------------------------- break -- */

/*
 * uf_brk: moves the break, exactly as the Linux system call brk (mm/mmap.c):
 * the same order of checks (below start_brk; data limit; same page; shrink;
 * collision with the next mapping, one guard page included; address-space
 * limit; merge with the heap; populate if locked) and the same answer: the new
 * break on success, the unchanged one if it cannot be moved. uf_brk(space, 0)
 * asks where it is. Whole pages above a lowered break are gone and read as new
 * when it comes back; the page that holds the break keeps its bytes.
 *
 * Returns 0 for a handle that is no live space. See also brk(2).
 */
uintptr_t uf_brk(struct uf_space *space, uintptr_t brk);

/*
 * uf_sbrk: moves the break by `increment` bytes, as libc's sbrk. Returns the
 * break from before (the start of the new memory when growing), or -ENOMEM if
 * it cannot be moved. As in glibc, lowering it below its start is answered like
 * a success although the break does not move. Two threads' increments never
 * overlap. -EINVAL for a handle that is no live space.
 */
intptr_t uf_sbrk(struct uf_space *space, intptr_t increment);

/*
 * uf_populate: makes [address, address + len_bytes) resident as a write touch
 * of each page would, without a fault, in the calling thread
 * (MADV_POPULATE_WRITE).
 *
 * Returns 0 or
 *   -EINVAL  address not page-aligned, or it overflows
 *   -ENOMEM  part of the range is not mapped; what lies before it is populated
 *   -EFAULT  a pager could not supply a page; what lies before it is populated
 *   -EDEADLK called from a handler thread
 */
int uf_populate(struct uf_space *space, uintptr_t address, size_t len_bytes);

/*
 * uf_prefetch: makes [address, address + len_bytes) resident in the background,
 * as a write touch of each page would (a read touch where the mapping may not
 * be written), and returns at once. A hint: pages that cannot be had are left
 * to their first touch, and what is unmapped meanwhile is passed over. A few
 * pages at a time, and after faults that come meanwhile. uf_madvise(MADV_WILLNEED)
 * does the same where a pager supplies the pages. The first call on a space with
 * an engine of its own, without UF_SPACE_HUGE, UF_SPACE_PROMOTE and a pager,
 * starts a thread, which calls malloc: an allocator is not to make it under a
 * lock of its own. All others, and uf_madvise, start none. In a forked child without an
 * engine, and for what the kernel serves, it does nothing.
 *
 * Returns 0 or
 *   -EINVAL  address not page-aligned, or it overflows; not a live space
 *   -ENOMEM  part of the range is not mapped (the rest is on its way); no
 *            memory for the background thread
 *   -EAGAIN  too many ranges are on their way, or no thread could be started
 *   -EDEADLK called from a handler thread
 */
int uf_prefetch(struct uf_space *space, uintptr_t address, size_t len_bytes);

enum uf_limit {
    UF_LIMIT_DATA,     /* as RLIMIT_DATA: heap and private writable mappings */
    UF_LIMIT_AS,       /* as RLIMIT_AS: everything mapped in the space */
    UF_LIMIT_STACK,    /* as RLIMIT_STACK: each MAP_GROWSDOWN mapping */
    UF_LIMIT_MEMLOCK,  /* as RLIMIT_MEMLOCK: what is locked */
    UF_LIMIT_MAP_COUNT /* as vm.max_map_count: mappings, not bytes */
};

/* Sets / reads a limit in bytes (mappings for UF_LIMIT_MAP_COUNT). Lowering it
 * below what is in use is allowed, as with setrlimit(2): only growth is
 * refused. -EINVAL: no such limit, or no live space. */
int uf_space_set_limit(struct uf_space *space, enum uf_limit which,
                       uint64_t bytes);
int uf_space_get_limit(struct uf_space *space, enum uf_limit which,
                       uint64_t *ret_bytes);

/* ------------------------------------------------------------ looking -- */

/* One mapping, as a line of /proc/PID/maps. */
struct uf_vma_info {
    size_t size;
    uintptr_t start;
    uintptr_t end;
    int prot;          /* PROT_* */
    uint32_t flags;    /* UF_VMA_* */
    uint64_t offset;   /* pager's offset of start */
    const char *pager; /* its name; valid during the call */
};

#define UF_VMA_HEAP        0x1u  /* holds part of the heap */
#define UF_VMA_LOCKED      0x2u  /* mlock */
#define UF_VMA_SHARED      0x4u  /* MAP_SHARED */
#define UF_VMA_GROWSDOWN   0x8u  /* MAP_GROWSDOWN */
#define UF_VMA_KERNEL      0x10u /* served by the kernel: a file, or shared */
#define UF_VMA_LOCKONFAULT 0x20u /* locked as touched */
#define UF_VMA_NORESERVE   0x40u /* MAP_NORESERVE */
#define UF_VMA_DONTFORK    0x80u /* from here: MADV_* */
#define UF_VMA_WIPEONFORK  0x100u
#define UF_VMA_DONTDUMP    0x200u
#define UF_VMA_HUGEPAGE    0x400u
#define UF_VMA_NOHUGEPAGE  0x800u
#define UF_VMA_MERGEABLE   0x1000u
#define UF_VMA_SEQUENTIAL  0x2000u
#define UF_VMA_RANDOM      0x4000u

/*
 * uf_space_walk: calls visit for each mapping in address order until it returns
 * non-zero. No lock is held in visit: it may call anything. A mapping that
 * changes meanwhile is seen before or after the change; none is seen twice.
 * Returns 0, what visit returned, or -EINVAL.
 */
int uf_space_walk(struct uf_space *space,
                  int (*visit)(void *data, const struct uf_vma_info *vma),
                  void *data);

/*
 * Texts about a space, at most len_bytes with the final NUL, cut where a line
 * (of smaps: an entry) ends if they do not fit. No page is touched and no lock
 * held while the kernel is asked; a mapping that changes meanwhile is seen
 * before or after.
 *
 * uf_space_maps: the mappings in the format of /proc/PID/maps: [heap], a
 * pager's name as [name] with its offset, files as the kernel shows them.
 *
 * uf_space_smaps: the same with figures, in the format of /proc/PID/smaps. They
 * are the kernel's own. VmFlags are the space's: without ac (nothing in a space
 * is accounted), and without what is the host's alone. A line whose figure
 * cannot be had is left out: where one mapping of the host holds several of the
 * space and its pages are not alike (say, after MADV_FREE), Referenced or
 * LazyFree may belong to either; without /proc, all but Size, Rss (by
 * mincore(2), shared pages of zeros included) and VmFlags.
 *
 * uf_space_status: the memory lines of /proc/PID/status: VmPeak, VmSize, VmLck,
 * VmHWM, VmRSS, RssAnon, RssFile, RssShmem, VmData, VmStk, VmExe (0), VmLib
 * (executable, not writable), VmSwap. VmHWM is the most that was installed at
 * once, shared pages of zeros included and the kernel's files not, or VmRSS if
 * that is more.
 *
 * Each returns the length of the whole text without the NUL, as snprintf(3)
 * does, or
 *   -EINVAL  text is NULL and len_bytes is not 0
 *   -ENOMEM  no memory to read the kernel's figures into
 */
ssize_t uf_space_maps(struct uf_space *space, char *text, size_t len_bytes);
ssize_t uf_space_smaps(struct uf_space *space, char *text, size_t len_bytes);
ssize_t uf_space_status(struct uf_space *space, char *text, size_t len_bytes);

/*
 * uf_space_stats: a snapshot of the counters. stats->size must be set.
 * Returns 0 or -EINVAL (NULL, unknown size, no live space). Takes no lock that
 * a fault waits for longer than a copy.
 */
int uf_space_stats(struct uf_space *space, struct uf_stats *stats);

/*
 * uf_space_thread_stats: up to `max` records of the threads that touched, in
 * the order of their first touch. Returns how many there are, or -EINVAL. A
 * thread id that the kernel used again counts on in its old record.
 */
ssize_t uf_space_thread_stats(struct uf_space *space,
                              struct uf_thread_stats *threads, size_t max);

/* A snapshot as text (one "name value" a line) or as one JSON object. Returns
 * the length as snprintf(3) does, or -EINVAL. */
ssize_t uf_stats_text(const struct uf_stats *stats, char *text,
                      size_t len_bytes);
ssize_t uf_stats_json(const struct uf_stats *stats, char *text,
                      size_t len_bytes);

/* -------------------------------------------------------------- probe -- */

/* What this kernel and this process may use. */
enum uf_probe_id {
    UF_PROBE_SYSCALL,        /* userfaultfd(2), kernel faults served too */
    UF_PROBE_DEVICE,         /* /dev/userfaultfd */
    UF_PROBE_USER_MODE,      /* userfaultfd(2) with UFFD_USER_MODE_ONLY */
    UF_PROBE_IO_URING,       /* io_uring_setup(2) */
    UF_PROBE_SECCOMP_NOTIFY, /* seccomp filters with user notification */
    UF_PROBE_COUNT
};

struct uf_probe_item {
    const char *name;   /* "userfaultfd system call", ... */
    int available;      /* 1 or 0 */
    int error;          /* -errno of the refusal, 0 */
    const char *why;    /* why it is refused, one sentence; "" if it is not */
    const char *remedy; /* a command or setting that would allow it; "" */
};

struct uf_probe {
    size_t size;
    enum uf_tier tier; /* what uf_engine_create would get */
    uint64_t features; /* UFFD_FEATURE_* bits that the kernel has */
    struct uf_probe_item items[UF_PROBE_COUNT];
};

/*
 * uf_probe: tries each facility in a throw-away child and says for what is
 * refused why and what would allow it. The strings are static. Returns 0 or
 * -EINVAL (NULL or unknown size).
 */
int uf_probe(struct uf_probe *probe);

/* The name of feature bit 0..63 ("PAGEFAULT_FLAG_WP", ...), the kernel that
 * first had it; NULL for a bit without a name. */
const char *uf_feature_name(unsigned bit);
const char *uf_feature_since(unsigned bit);

#ifdef __cplusplus
}
#endif

#endif
