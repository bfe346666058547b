/* SPDX-License-Identifier: MIT */
/*
 * ufault/pager.h: who supplies the bytes of a page.
 *
 * A pager is to a mapping of a space what vm_operations_struct.fault is to a
 * kernel VMA: asked for the bytes at an offset, once, at the first touch. It
 * sees offsets, lengths and buffers; it knows nothing of addresses, mappings or
 * userfaultfd.
 *
 *     first touch ─> engine ─> window chosen ─> pager->fill(offset, buffer)
 *                                                      │
 *     toucher goes on <─ page installed <─ result checked
 */
#ifndef UFAULT_PAGER_H
#define UFAULT_PAGER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_pager;

/* The faulting access is a write. A hint: the bytes asked for are the same. */
#define UF_FILL_WRITE 0x1u
/* Nobody waits for it: it is asked for ahead (uf_prefetch, a working set). */
#define UF_FILL_AHEAD 0x2u

/* One request to a pager. Valid during the call only. */
struct uf_fill {
    size_t size;      /* sizeof(struct uf_fill) of the library */
    uint64_t offset;  /* first byte wanted, a multiple of page_bytes */
    size_t len_bytes; /* bytes wanted, >= page_bytes, a multiple of it */
    void *buffer;     /* page-aligned, len_bytes long, contents undefined */
    size_t page_bytes;
    uint32_t flags; /* UF_FILL_* */
    pid_t tid;      /* the touching thread, 0 if not known */
};

/*
 * A pager's flag: on a signal engine the touching thread itself may run fill, and
 * release, inside the signal handler of its touch. They must be
 * async-signal-safe (signal-safety(7)): they may have interrupted anything, the
 * pager's own code included, and all signals are blocked. A touch of a space's
 * memory from there ends the process. Without the flag, and where a space has
 * hooks, a handler thread runs fill, for which the touching thread waits.
 */
#define UF_PAGER_SIGNAL_SAFE 0x1u

/*
 * What a pager is made of. Set `size` to sizeof(struct uf_pager_ops).
 */
struct uf_pager_ops {
    size_t size;

    /* A short name for reports and errors; copied. Required. */
    const char *name;

    uint32_t flags; /* UF_PAGER_* */

    /*
     * fill: puts the bytes of [offset, offset + len_bytes) into the buffer.
     * Required.
     *
     * Thread: a handler thread of the engine, or a thread inside uf_brk of a
     *   locked space, or see UF_PAGER_SIGNAL_SAFE; several at once for different requests, so what they
     *   share needs the pager's own lock.
     * Locks: none of the library's are held.
     * May call: anything except a touch of memory in any space (it is
     *   detected, reported and the fault refused) and uf_space_destroy,
     *   uf_engine_destroy (-EDEADLK). It may block: then only the threads that
     *   wait for its pages wait, as long as a handler thread is left.
     * Buffer: the library's, outside every space; not to be kept.
     *
     * Returns the number of bytes filled from the start of the buffer: a
     *   multiple of page_bytes, > 0, <= len_bytes. Less than len_bytes is
     *   fine: the rest is asked for when it is touched. Or
     *   -EAGAIN  not now: asked again after a pause; the toucher waits.
     *   any other -errno: the bytes cannot be had. When several pages were
     *   asked for, the touched page alone is asked for once more; if that
     *   fails too the toucher gets SIGBUS (EFAULT in a system call) and the
     *   other pages are as they were.
     * Anything else, or a write outside the buffer, is refused, counted
     *   (pager_lies) and named in the error hook.
     */
    ssize_t (*fill)(void *context, const struct uf_fill *request);

    /*
     * release: the last reference is gone; no call is under way and none will
     * come. Optional. Thread: the one that dropped the reference. Locks: none.
     */
    void (*release)(void *context);
};

/*
 * uf_pager_create: makes a pager of `ops` and `context` with one reference,
 * the caller's, to be dropped with uf_pager_unref. `ops` is copied.
 *
 * Returns 0 or
 *   -EINVAL  ops, ops->name, ops->fill or ret_pager is NULL; ops->size or a flag
 *            is not one this library knows
 *   -ENOMEM  no memory
 * Threads: any. See also: struct vm_operations_struct in <linux/mm.h>.
 */
int uf_pager_create(const struct uf_pager_ops *ops, void *context,
                    struct uf_pager **ret_pager);

/*
 * uf_pager_callback: the short way to a pager: one function, no release.
 * As uf_pager_create with only `fill` set and the name "callback".
 */
int uf_pager_callback(ssize_t (*fill)(void *context,
                                      const struct uf_fill *request),
                      void *context, struct uf_pager **ret_pager);

/*
 * uf_pager_zero: the pager of anonymous memory. A read gets the shared zero
 * page, a write a private zeroed page, in one fault. Static: never released,
 * ref and unref do nothing to it.
 */
struct uf_pager *uf_pager_zero(void);

/* One more / one less reference; NULL is allowed. Threads: any. */
struct uf_pager *uf_pager_ref(struct uf_pager *pager);
void uf_pager_unref(struct uf_pager *pager);

#ifdef __cplusplus
}
#endif

#endif
