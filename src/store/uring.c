/* SPDX-License-Identifier: MIT */
/*
 * See uring.h. On liburing, which makes its system calls itself and calls no
 * malloc (invariant 4).
 *
 * At most RING_ENTRIES requests are in the ring and the kernel together, so
 * neither of its queues can overflow. The kernel takes entries in the order in
 * which they were made: `unseen` are those that it has not taken yet, so that
 * none is lost and none done twice should it refuse to go on.
 */
#include "store/uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>

#include "base/check.h"
#include "base/slab.h"

#define RING_ENTRIES 32

struct uring {
    struct uf_store *store;
    struct io_uring ring;
    struct io_list waiting;
    struct io_list unseen;
    unsigned in_kernel;
    bool broken;
    bool fixed_files; /* the store's descriptors are registered */
    char *pinned;     /* registered memory; NULL: none */
    size_t pinned_bytes;
};

static struct slab_cache rings = SLAB_CACHE("uring", sizeof(struct uring));

/* ---------------------------------------------------------------- lifetime -- */

/* The kernel need not interrupt us for what has finished: we come and look. */
#define COME_AND_LOOK (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)

static int begin(struct io_uring *ring)
{
    int err = io_uring_queue_init(RING_ENTRIES, ring, COME_AND_LOOK);

    if (err == -EINVAL) /* before Linux 5.19 */
        err = io_uring_queue_init(RING_ENTRIES, ring, 0);
    return err;
}

int uring_create(struct uf_store *store, struct uring **ret)
{
    struct uring *ring = slab_alloc(&rings);
    const int *fds = store->file.fds;
    int err;

    if (!ring)
        return -ENOMEM;
    err = begin(&ring->ring);
    if (err) {
        slab_free(&rings, ring);
        return err;
    }
    ring->store = store;
    ring->fixed_files =
        io_uring_register_files(&ring->ring, fds,
                                fds[FILE_DIRECT] >= 0 ? FILE_FDS : 1) == 0;
    *ret = ring;
    return 0;
}

void uring_destroy(struct uring *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(&ring->ring);
    slab_free(&rings, ring);
}

bool uring_pin(struct uring *ring, void *base, size_t len_bytes)
{
    struct iovec memory = {base, len_bytes};

    if (ring->pinned || ring->broken ||
        io_uring_register_buffers(&ring->ring, &memory, 1) != 0)
        return false;
    ring->pinned = base;
    ring->pinned_bytes = len_bytes;
    return true;
}

bool uring_is_broken(const struct uring *ring)
{
    return ring->broken;
}

/* ----------------------------------------------------------------- setting off --
 */

void uring_add(struct uring *ring, struct store_io *io)
{
    io_list_append(&ring->waiting, io);
}

static bool is_pinned(const struct uring *ring, const char *start, size_t len)
{
    return ring->pinned && start >= ring->pinned && len <= ring->pinned_bytes &&
           (size_t)(start - ring->pinned) <= ring->pinned_bytes - len;
}

/* The next step of a request, as an entry of the ring. */
static void describe(const struct uring *ring, struct store_io *io,
                     struct io_uring_sqe *sqe)
{
    struct file_step step = store_file_step(&ring->store->file, io);
    int fd = ring->fixed_files ? step.which : ring->store->file.fds[step.which];
    char *buffer = (char *)io->buffer + io->done_bytes;
    uint64_t at = io->offset + io->done_bytes;
    unsigned len = (unsigned)step.len_bytes;

    io->direct = step.which == FILE_DIRECT;
    if (is_pinned(ring, buffer, len) && io->write)
        io_uring_prep_write_fixed(sqe, fd, buffer, len, at, 0);
    else if (is_pinned(ring, buffer, len))
        io_uring_prep_read_fixed(sqe, fd, buffer, len, at, 0);
    else if (io->write)
        io_uring_prep_write(sqe, fd, buffer, len, at);
    else
        io_uring_prep_read(sqe, fd, buffer, len, at);
    sqe->rw_flags = step.flags;
    if (ring->fixed_files)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data(sqe, io);
}

static void fill_ring(struct uring *ring)
{
    while (ring->waiting.n > 0 &&
           ring->in_kernel + ring->unseen.n < RING_ENTRIES) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
        struct store_io *io;

        if (!sqe)
            return;
        io = io_list_take(&ring->waiting);
        describe(ring, io, sqe);
        io_list_append(&ring->unseen, io);
    }
}

/* Hands the ring to the kernel, and waits for `min` answers. */
static void enter(struct uring *ring, unsigned min)
{
    int taken = io_uring_submit_and_wait(&ring->ring, min);

    /* Not worth a second try: what is left is done without it. */
    if ((taken < 0 && taken != -EINTR) || (taken == 0 && ring->unseen.n > 0))
        ring->broken = true;
    for (; taken > 0; taken--) {
        struct store_io *io = io_list_take(&ring->unseen);

        CHECK(io);
        (void)io;
        ring->in_kernel++;
    }
}

/* ------------------------------------------------------------------ answers -- */

static unsigned finish(struct io_list *done, struct store_io *io)
{
    io_list_append(done, io);
    return 1;
}

/* The kernel gives up a request that it would have served another time. */
static bool is_given_up(int answer)
{
    return answer == -EAGAIN || answer == -ECANCELED;
}

static unsigned harvest(struct uring *ring, struct io_list *done)
{
    struct io_uring_cqe *cqe;
    unsigned n = 0;

    while (io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
        struct store_io *io = io_uring_cqe_get_data(cqe);
        int answer = cqe->res;

        io_uring_cqe_seen(&ring->ring, cqe);
        ring->in_kernel--;
        if (is_given_up(answer) && !(answer == -EAGAIN && io->direct)) {
            store_run(ring->store, io);
            n += finish(done, io);
        } else if (store_io_account(ring->store, io, answer)) {
            n += finish(done, io);
        } else {
            io_list_append(&ring->waiting, io);
        }
    }
    return n;
}

/* Without the kernel's help: what it has not taken by pread(2); what it has
 * will be answered, and the descriptor becomes readable. */
static unsigned go_on_broken(struct uring *ring, struct io_list *done,
                             bool wait)
{
    struct store_io *io;
    unsigned n = 0;

    while ((io = io_list_take(&ring->unseen)) ||
           (io = io_list_take(&ring->waiting))) {
        store_run(ring->store, io);
        n += finish(done, io);
    }
    if (n == 0 && wait && ring->in_kernel > 0) {
        struct pollfd answers = {.fd = ring->ring.ring_fd, .events = POLLIN};

        poll(&answers, 1, -1);
    }
    return n;
}

static unsigned under_way(const struct uring *ring)
{
    return ring->waiting.n + ring->unseen.n + ring->in_kernel;
}

/* How many of those in the ring to wait for. */
static unsigned worth_waiting_for(const struct uring *ring, unsigned min,
                                  unsigned n)
{
    unsigned most = ring->unseen.n + ring->in_kernel;

    if (n >= min)
        return 0;
    return min - n < most ? min - n : most;
}

unsigned uring_wait(struct uring *ring, struct io_list *done, unsigned min)
{
    unsigned n = harvest(ring, done);

    do {
        if (ring->broken) {
            n += go_on_broken(ring, done, n < min);
        } else {
            fill_ring(ring);
            if (ring->unseen.n > 0 || n < min)
                enter(ring, worth_waiting_for(ring, min, n));
        }
        n += harvest(ring, done);
    } while (under_way(ring) > 0 &&
             (n < min || (!ring->broken && ring->unseen.n > 0) ||
              (ring->broken && ring->unseen.n + ring->waiting.n > 0)));
    return n;
}
