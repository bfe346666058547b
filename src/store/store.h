/* SPDX-License-Identifier: MIT */
/*
 * store: where bytes live, by offset. It knows no addresses of spaces.
 *
 *     struct uf_store ── ops ─┬─ pread.c   a file
 *          │                  ├─ memory.c
 *          │                  └─ caller.c  functions of the user's
 *          └─ struct store_io: one request, driven to its end by store_run,
 *             or in a batch with others by a channel (channel.h)
 *
 * An ops->step is one attempt, like one pread(2): it may be short, or
 * interrupted. What follows from its answer is decided in one place,
 * store_io_account, for all stores and for io_uring alike.
 *
 * No locks, no malloc: a store may be read in the signal handler of a touch
 * (invariant 4), but for stores of the user's own functions.
 */
#ifndef UF_STORE_STORE_H
#define UF_STORE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "ufault/store.h"

/* Most channels of one store; who finds none idle reads without one. */
#define STORE_CHANNELS 8

struct looks;
struct store_channel;

/* How a file with direct I/O is read, each after the one before was refused. */
enum store_way {
    WAY_DIRECT,
    WAY_DIRECT_SMALL, /* what no disk takes for more than one request */
    WAY_CACHED
};

/* One request. The submitter's until submitted, and again from when it is
 * reaped. */
struct store_io {
    uint64_t offset;
    void *buffer;
    size_t len_bytes;
    bool write;
    bool at_once; /* a read that must not sleep: -EAGAIN instead */
    void *tag;    /* the submitter's; not looked at */

    /* The answer. err 0 and fewer bytes: the end of the store is there. */
    size_t done_bytes;
    int err; /* -errno that ended it, after done_bytes */

    /* The store's own. */
    enum store_way way;
    bool direct; /* its step under way is, and refused where it would wait */
    struct store_io *next;
};

struct store_ops {
    /* One attempt at what is left of io. > 0 bytes, 0 the end, or -errno. */
    ssize_t (*step)(struct uf_store *store, struct store_io *io);
    int (*size)(struct uf_store *store, uint64_t *ret_bytes);
    int (*flush)(struct uf_store *store);
    void (*close)(struct uf_store *store);
};

/* A file's descriptors; which of them, is part of a step. */
enum { FILE_CACHED, FILE_DIRECT, FILE_FDS };

struct store_file {
    int fds[FILE_FDS];      /* -1: none */
    size_t memory_align;    /* what direct I/O asks of buffers, in bytes */
    size_t offset_align;    /* and of offsets and lengths */
    atomic_bool only_waits; /* direct reads cannot do other: none is made */
    bool on_disk; /* a regular file whose file system says the two above */
};

struct uf_store {
    const struct store_ops *ops;
    atomic_ulong refs;
    enum uf_store_kind kind;
    int uring_err; /* why a file is not UF_STORE_KIND_URING, or 0 */
    bool writable;
    _Atomic uint64_t lost_bytes; /* see uf_store_lost */
    _Atomic uint64_t writes;     /* that have come back */
    union {
        struct store_file file;
        struct {
            char *bytes;
            size_t len_bytes;
            bool owned;
        } memory;
        struct {
            struct uf_store_ops ops;
            void *context;
        } caller;
    };
    char *_Atomic view; /* of a file; NULL: none */
    size_t view_bytes;
    struct looks *looks; /* with the view */
    atomic_bool view_tried;
    atomic_uint nchannels;
    _Atomic(struct store_channel *) idle[STORE_CHANNELS];
};

/* A store with one reference, all else zero; NULL: no memory. */
struct uf_store *store_alloc(const struct store_ops *ops,
                             enum uf_store_kind kind);

/* Public functions' bodies; see ufault/store.h. */
struct uf_store *store_ref(struct uf_store *store);
void store_unref(struct uf_store *store);
int store_memory(void *bytes, size_t len_bytes, uint32_t flags,
                 struct uf_store **ret_store);
int store_create(const struct uf_store_ops *ops, void *context,
                 struct uf_store **ret_store);

/* pread.c. Flags UF_STORE_*; arguments are checked by the caller. */
int store_open_path(const char *path, uint32_t flags,
                    struct uf_store **ret_store);
int store_open_fd(int fd, uint32_t flags, struct uf_store **ret_store);

/* Of what is left of an io on a file: which descriptor, and how many bytes,
 * the next attempt is about, and how. */
struct file_step {
    int which; /* FILE_* */
    size_t len_bytes;
    int flags; /* RWF_* */
};
struct file_step store_file_step(const struct store_file *file,
                                 const struct store_io *io);

/* Takes the answer of an attempt. True: io has come to its end. */
bool store_io_account(struct uf_store *store, struct store_io *io,
                      ssize_t answer);

/* Drives io to its end, here and now, whatever it has come to already. */
void store_run(struct uf_store *store, struct store_io *io);

/* True if signal handlers may read it. */
bool store_runs_in_signals(const struct uf_store *store);

/* view.c: maps a file for store_view, if that can be, once. */
void store_view_open(struct uf_store *store);
void store_view_close(struct uf_store *store);

/* The store's bytes as memory, for the kernel to copy from; NULL: there is no
 * such memory, or they are not all in the page cache (looks.h). Requires: whole
 * pages. */
const void *store_view(struct uf_store *store, uint64_t offset,
                       size_t len_bytes);

/* What is different after a write that has begun since and has come back. Of
 * others' writes to a file it is the times that tell, so two in one tick of them
 * are one. */
struct store_stamp {
    uint64_t writes, size;
    int64_t modified_ns, changed_ns;
};
struct store_stamp store_stamp(const struct uf_store *store);

/* Milliseconds since the file's times, which are those of the beginning of the
 * last write; 0: they are in the future. */
uint64_t store_stamp_age_ms(const struct store_stamp *stamp);

/* True if nobody reads ahead in it, there is somebody who can, and its stamps
 * tell of writes: not so for a block device, tmpfs, or a file of a network's. */
bool store_has_no_read_ahead(const struct uf_store *store);

/* True if requests may say at_once. */
bool store_reads_at_once(const struct uf_store *store);

#endif
