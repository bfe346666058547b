/* SPDX-License-Identifier: MIT */
/*
 * ufault/store.h: where bytes live, by offset; and the pager of a store.
 *
 *     touch ─> engine ─> pager of a store ─> store ─┬─ file: io_uring, or pread
 *                                                   ├─ memory
 *                                                   └─ functions of yours
 *
 *     offset   0                       size of the store
 *              ├──────────────────────────┤
 *     pages    |  page 0  |  page 1  |  page 2  |  page 3  |
 *              |  bytes   |  bytes   |bytes|zero|  SIGBUS  |
 *
 * A store is to a pager what a file is to a mapping. It knows offsets and no
 * addresses. Files are read through io_uring where the kernel lets us, with
 * several reads in flight, and else by pread(2); uf_store_kind_of says which.
 */
#ifndef UFAULT_STORE_H
#define UFAULT_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_pager;
struct uf_store;

/* How a store is read and written. */
enum uf_store_kind {
    UF_STORE_KIND_PREAD = 1, /* a file, by pread(2) and pwrite(2) */
    UF_STORE_KIND_URING,     /* a file, through io_uring */
    UF_STORE_KIND_MEMORY,
    UF_STORE_KIND_CALLER /* struct uf_store_ops */
};

/* May be written, too. */
#define UF_STORE_WRITE 0x1u
/*
 * A file is read past the page cache (O_DIRECT). What is not aligned as the file
 * system asks for, like the tail of a file, is read through it, and so is what is
 * being written or was not yet written back, and all where the file system knows
 * no read that does not wait (RWF_NOWAIT; overlayfs is one). Writes go through
 * it, too: a page of the cache that is written while its neighbour goes directly
 * to the disk can take the neighbour's old bytes there.
 */
#define UF_STORE_DIRECT 0x2u
/* A file is never accessed through io_uring. */
#define UF_STORE_NO_URING 0x4u

/*
 * uf_store_open: a store of the existing file or block device at `path`, with
 * one reference, the caller's. Flags: UF_STORE_*.
 *
 * Returns 0 or
 *   -EINVAL   path or ret_store is NULL; an unknown flag
 *   -EISDIR   it is a directory
 *   -ESPIPE   it is no file that can be read at an offset: a pipe, a terminal
 *   -ENOTSUP  UF_STORE_DIRECT, and its file system has none (or no /proc)
 *   -ENOMEM   no memory
 * and what open(2) answers: -ENOENT, -EACCES, -EMFILE and others.
 * Threads: any.
 */
int uf_store_open(const char *path, uint32_t flags,
                  struct uf_store **ret_store);

/*
 * uf_store_fd: a store of the file that `fd` is open for. It is
 * duplicated and may be closed. When the store is released the duplicate is
 * closed, and with it go the process's record locks on the file (fcntl(2),
 * F_SETLK). Reading needs an fd open for reading, writing one for writing.
 *
 * Returns 0 or
 *   -EINVAL   ret_store is NULL; an unknown flag; fd is open with O_DIRECT (say
 *             UF_STORE_DIRECT), or with O_APPEND and UF_STORE_WRITE is asked for
 *   -EBADF    fd is not open
 *   -EMFILE   too many open files
 *   -EISDIR, -ESPIPE, -ENOTSUP, -ENOMEM  as above
 * Threads: any.
 */
int uf_store_fd(int fd, uint32_t flags, struct uf_store **ret_store);

/*
 * uf_store_memory: a store of the len_bytes at `bytes`, which stay the caller's
 * and must be there until the store is released: it is read while pages are
 * filled, so it must not lie in a space. NULL: memory of the store's own,
 * zeros. Its size is fixed. Flags: 0 or UF_STORE_WRITE.
 *
 * Returns 0 or
 *   -EINVAL  ret_store is NULL; len_bytes is 0 or beyond SSIZE_MAX; another flag
 *   -ENOMEM  no memory
 * Threads: any. Accesses to the same bytes at once are as those to memory.
 */
int uf_store_memory(void *bytes, size_t len_bytes, uint32_t flags,
                    struct uf_store **ret_store);

/*
 * What a store of the caller's own is made of. Set `size` to sizeof(struct
 * uf_store_ops). Functions run on the threads that a pager's fill runs on,
 * several at once, under its rules (ufault/pager.h); handler threads run them
 * also on a signal engine.
 */
struct uf_store_ops {
    size_t size;

    /*
     * read: at most len_bytes, > 0, from `offset` into the buffer. Required.
     * Returns how many bytes were read; 0: offset is at the end, or beyond; or
     * -errno. Less than len_bytes is asked for again from there. -EINTR is
     * asked again; -EAGAIN, in a fill, is its pause.
     */
    ssize_t (*read)(void *context, void *buffer, size_t len_bytes,
                    uint64_t offset);

    /* write: the same with bytes of the buffer. Optional. */
    ssize_t (*write)(void *context, const void *buffer, size_t len_bytes,
                     uint64_t offset);

    /* get_size: the offset of the end, 0 or -errno. Required. */
    int (*get_size)(void *context, uint64_t *ret_bytes);

    /* flush: what was written is safe when it returns 0. Optional. */
    int (*flush)(void *context);

    /* release: the last reference is gone. Optional. */
    void (*release)(void *context);
};

/*
 * uf_store_create: a store of `ops`, which is copied, and `context`.
 *
 * Returns 0 or
 *   -EINVAL  ops, ops->read, ops->get_size or ret_store is NULL; ops->size is
 *            not one this library knows
 *   -ENOMEM  no memory
 * Threads: any.
 */
int uf_store_create(const struct uf_store_ops *ops, void *context,
                    struct uf_store **ret_store);

/* One more / one less reference; NULL is allowed. Threads: any. */
struct uf_store *uf_store_ref(struct uf_store *store);
void uf_store_unref(struct uf_store *store);

/* How the store is read and written. Requires: store is not NULL. */
enum uf_store_kind uf_store_kind_of(const struct uf_store *store);

/*
 * uf_store_uring_error: why a store of a file is not of UF_STORE_KIND_URING.
 * 0: it is; or it is no file; or UF_STORE_NO_URING was asked for. Else the
 * -errno that the kernel refused io_uring with: EPERM (sysctl
 * kernel.io_uring_disabled, a container's filter), ENOSYS (the same, or this
 * library was built without it), ENOMEM or EMFILE (limits).
 * Requires: store is not NULL.
 */
int uf_store_uring_error(const struct uf_store *store);

/*
 * uf_store_size: the offset of the store's end, in bytes, now.
 *
 * Returns 0 or
 *   -EINVAL  store or ret_bytes is NULL
 * and what fstat(2), or get_size, answers.
 * Threads: any.
 */
int uf_store_size(struct uf_store *store, uint64_t *ret_bytes);

/*
 * uf_store_read: the bytes of [offset, offset + len_bytes) into the buffer.
 *
 * Returns how many bytes were read, less than len_bytes only at the end of the
 * store or before a failure, or
 *   -EINVAL  store or buffer is NULL; the range ends beyond INT64_MAX
 *   -EBADF   the file is not open for reading
 *   -EIO     a read error; a read of uf_store_ops returned nonsense
 * and what pread(2), or that read, answers.
 * Threads: any.
 */
ssize_t uf_store_read(struct uf_store *store, void *buffer, size_t len_bytes,
                      uint64_t offset);

/*
 * uf_store_write: the same with bytes of the buffer. A file grows.
 *
 * Returns how many bytes were written, less than len_bytes only before a
 * failure, or
 *   -EINVAL  store or buffer is NULL; the range ends beyond INT64_MAX
 *   -EBADF   the store was made without UF_STORE_WRITE, or has no write
 *   -EFBIG   beyond the limit of file sizes (RLIMIT_FSIZE, whose SIGXFSZ comes
 *            first)
 *   -ENOSPC  the disk is full; beyond the end of memory
 *   -EIO     a write error; a write of uf_store_ops returned nonsense
 * and what pwrite(2), or that write, answers.
 * Threads: any.
 */
ssize_t uf_store_write(struct uf_store *store, const void *buffer,
                       size_t len_bytes, uint64_t offset);

/*
 * uf_store_flush: what was written before is on the disk, as by fdatasync(2).
 *
 * Returns 0 or
 *   -EINVAL  store is NULL
 * and what fdatasync(2), or flush, answers.
 * Threads: any.
 */
int uf_store_flush(struct uf_store *store);

/*
 * uf_store_lost: how many bytes, in whole pages, shared mappings of pagers of the
 * store had written that could not be written back before the last reference to
 * their pager went. They are gone. uf_pager_sync, before, tells why.
 * Requires: store is not NULL. Threads: any.
 */
uint64_t uf_store_lost(const struct uf_store *store);

/*
 * uf_pager_store: a pager of the store's bytes from `offset` on, for
 * uf_mmap_pager and others: memory as that of a mapping of a file, private or
 * shared. The pager has a reference to the store. A file that is read through
 * the page cache is mapped, too, where RLIMIT_AS is not limited, and what is
 * cached is copied from there. Past the end of the store the last page is zeros; a touch of a page wholly beyond it, as it is then, is SIGBUS (EFAULT in
 * a system call), and so is one of a page that cannot be read. Only that page;
 * a page of a private mapping that was touched before keeps its bytes, whatever
 * becomes of the store.
 *
 * Shared mappings (MAP_SHARED) of one pager, in any space and in forked children,
 * are one memory: the pager's cache of the store. A page is read into it once,
 * at the first touch through any of them, and is there until the pager is
 * released. So two pagers of one store share nothing, and what others write into
 * the store is seen in pages only that were not there yet.
 *
 * What is written through them goes back into the store
 *   - when uf_msync with MS_SYNC, or uf_pager_sync, says so;
 *   - when its mapping goes (uf_munmap and others, uf_space_destroy), before that
 *     call returns, if it can be written;
 *   - in the background, after a time (uf_pager_set_writeback);
 *   - with the last reference to the pager: what fails then is lost
 *     (uf_store_lost).
 * Else a page that cannot be written stays dirty, and is tried again each time.
 * Functions of the store's (uf_store_ops) are called by the threads that make
 * these calls, and by a thread of the engine, one at a time for a pager. A process
 * that ends writes nothing back, and what it wrote its parent does not know of.
 *
 * The store does not grow: of the page that holds its end the bytes inside are
 * written. When it has shrunk, the next of these calls drops the pages beyond its
 * end, as truncate(2) does at once to a mapping of the kernel's: they are
 * SIGBUS, and what was written there is gone. One that others truncate at the
 * very moment may end where what was on its way ended. When others have made it
 * longer, what they appended in the page of the old end is taken over then. What
 * they write elsewhere into pages that are mapped is not seen, and is written over
 * when such a page is written back.
 *
 * A page that is only read is not written back. Before Linux 6.7 the kernel does
 * not tell: then all pages count as written that are there in mappings with
 * PROT_WRITE, and nothing is written in the background. Of a mapping longer than
 * 256 MiB a page counts as written that another mapping brought in.
 *
 * Returns 0 or
 *   -EINVAL  store or ret_pager is NULL; offset is not a multiple of the page
 *            size
 *   -ENOMEM  no memory
 * Threads: any. See also: uf_mmap_pager, filemap_fault (mm/filemap.c).
 */
int uf_pager_store(struct uf_store *store, uint64_t offset,
                   struct uf_pager **ret_pager);

/*
 * uf_pager_sync: writes back what shared mappings of the pager have changed, also
 * those that are gone, and flushes the store; as fsync(2) of a mapped file.
 * A failure of the background, or of an unmapping call, is told here or by
 * uf_msync, once.
 *
 * Returns 0 or
 *   -EINVAL  pager is NULL, or not uf_pager_store's
 *   -ENOSPC  the store said so: the disk is full. The pages stay dirty
 *   -EIO     any other failure to write; the same
 *   -EDEADLK called from a handler thread, or from a function of the store's
 *            that writes these pages back
 * Threads: any.
 */
int uf_pager_sync(struct uf_pager *pager);

/*
 * uf_pager_set_writeback: pages that shared mappings have changed are written back
 * in the background about age_ms later (5000 if nothing is said; the kernel's
 * dirty_writeback_centisecs); 0: they are not.
 *
 * Returns 0 or
 *   -EINVAL  pager is NULL, or not uf_pager_store's
 * Threads: any.
 */
int uf_pager_set_writeback(struct uf_pager *pager, uint32_t age_ms);

/* What has become of pages that shared mappings of a pager changed. */
struct uf_writeback {
    size_t size;            /* sizeof(struct uf_writeback) */
    uint64_t pages_dirty;   /* known to be changed, and not written back */
    uint64_t pages_written; /* written back, each time anew */
    uint64_t write_errors;  /* writes and flushes that failed */
};

/*
 * uf_pager_writeback: fills in *ret, whose size is set. Pages that nobody looked
 * for since they were changed are not in it.
 *
 * Returns 0 or
 *   -EINVAL  pager is NULL, or not uf_pager_store's; ret is NULL; ret->size is
 *            not one this library knows
 * Threads: any.
 */
int uf_pager_writeback(struct uf_pager *pager, struct uf_writeback *ret);

#ifdef __cplusplus
}
#endif

#endif
