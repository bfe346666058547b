/* SPDX-License-Identifier: MIT */
/*
 * Stores: random batches of reads and writes come to the same bytes and the
 * same answers in every kind of store as in plain memory, through channels with
 * and without io_uring, with direct I/O, and pinned buffers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"
#include "base/slab.h"
#include "lib/live.h"
#include "store/channel.h"
#include "store/store.h"

#define FILE_BYTES 300123u
#define BATCH      40 /* more than a ring has entries */
#define SLOT       ((size_t)16 << 10)
#define ROUNDS     60

/* What all stores hold, by turns of the same writes. */
static unsigned char expected[FILE_BYTES];
static uint64_t seed = 7;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void reset_expected(void)
{
    for (size_t i = 0; i < FILE_BYTES; i++)
        expected[i] = live_pattern(i);
}

static int file_of_expected(void)
{
    char path[] = "/tmp/ufault-store-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, expected, FILE_BYTES), FILE_BYTES);
    return fd;
}

/* ------------------------------------------------- a store of the caller's -- */

/* Short, and interrupted now and then. */
static ssize_t caller_io(void *context, void *to, const void *from, size_t len,
                         uint64_t offset)
{
    char *bytes = context;

    if (offset % 5 == 3 && draw(2) == 0)
        return -EINTR;
    if (offset >= FILE_BYTES)
        return 0;
    if (len > FILE_BYTES - offset)
        len = FILE_BYTES - offset;
    len = len > 3 ? len / 2 + 1 : len;
    memcpy(to ? to : bytes + offset, from ? from : bytes + offset, len);
    return (ssize_t)len;
}

static ssize_t caller_read(void *context, void *buffer, size_t len,
                           uint64_t offset)
{
    return caller_io(context, buffer, NULL, len, offset);
}

static ssize_t caller_write(void *context, const void *buffer, size_t len,
                            uint64_t offset)
{
    return caller_io(context, NULL, buffer, len, offset);
}

static int caller_size(void *context, uint64_t *ret_bytes)
{
    (void)context;
    *ret_bytes = FILE_BYTES;
    return 0;
}

static int caller_flush(void *context)
{
    (void)context;
    return -EDOM;
}

static void caller_release(void *context)
{
    free(context);
}

/* ----------------------------------------------------------------- batches -- */

enum which { PLAIN, RING, DIRECT, DIRECT_RING, MEMORY, OWN_MEMORY, CALLER };

static struct uf_store *store_of_file(uint32_t flags)
{
    struct uf_store *store = NULL;
    int fd = file_of_expected();
    int err = uf_store_fd(fd, flags | UF_STORE_WRITE, &store);

    close(fd);
    if (err == -ENOTSUP && (flags & UF_STORE_DIRECT))
        return NULL;
    assert_int_equal(err, 0);
    if (flags & UF_STORE_NO_URING) {
        assert_int_equal(uf_store_kind_of(store), UF_STORE_KIND_PREAD);
        assert_int_equal(uf_store_uring_error(store), 0);
    } else if (uf_store_kind_of(store) == UF_STORE_KIND_URING) {
        assert_int_equal(uf_store_uring_error(store), 0);
    } else {
        assert_true(uf_store_uring_error(store) < 0);
        print_message("no io_uring: %s\n",
                      strerror(-uf_store_uring_error(store)));
    }
    return store;
}

/* Of what is expected; NULL: cannot be had here. */
static struct uf_store *make(enum which which)
{
    struct uf_store_ops ops = {.size = sizeof(ops),
                               .read = caller_read,
                               .write = caller_write,
                               .get_size = caller_size,
                               .flush = caller_flush,
                               .release = caller_release};
    struct uf_store *store = NULL;
    char *bytes;

    reset_expected();
    switch (which) {
    case PLAIN:
        return store_of_file(UF_STORE_NO_URING);
    case RING:
        return store_of_file(0);
    case DIRECT:
        return store_of_file(UF_STORE_NO_URING | UF_STORE_DIRECT);
    case DIRECT_RING:
        return store_of_file(UF_STORE_DIRECT);
    case MEMORY:
    case OWN_MEMORY:
        bytes = which == MEMORY ? malloc(FILE_BYTES) : NULL;
        assert_int_equal(
            uf_store_memory(bytes, FILE_BYTES, UF_STORE_WRITE, &store), 0);
        assert_int_equal(uf_store_write(store, expected, FILE_BYTES, 0),
                         FILE_BYTES);
        return store;
    case CALLER:
        bytes = malloc(FILE_BYTES);
        memcpy(bytes, expected, FILE_BYTES);
        assert_int_equal(uf_store_create(&ops, bytes, &store), 0);
        return store;
    }
    return NULL;
}

static void unmake(struct uf_store *store, enum which which)
{
    char *bytes = which == MEMORY ? store->memory.bytes : NULL;

    uf_store_unref(store);
    free(bytes);
}

/* Somewhere, often aligned, sometimes across the end or beyond it. */
static void draw_io(struct store_io *io, char *slot)
{
    bool aligned = draw(2) == 0;
    size_t in_slot = aligned ? 0 : draw(3);

    *io = (struct store_io){.offset = draw(FILE_BYTES + 9000),
                            .buffer = slot + in_slot,
                            .len_bytes = draw(SLOT - 3),
                            .write = draw(4) == 0,
                            .tag = io};
    if (aligned) {
        io->offset = align_down(io->offset, 4096);
        io->len_bytes = align_up(io->len_bytes, 512);
    }
    if (!io->write)
        return;
    if (io->offset >= FILE_BYTES)
        io->offset = draw(FILE_BYTES);
    if (io->len_bytes > FILE_BYTES - io->offset)
        io->len_bytes = FILE_BYTES - io->offset;
}

static bool overlap(const struct store_io *a, const struct store_io *b)
{
    return a->offset < b->offset + b->len_bytes &&
           b->offset < a->offset + a->len_bytes;
}

/* What runs at once with a write of the same bytes has no one answer. */
static void keep_apart(struct store_io *ios, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++)
            if (i != j && ios[j].write && overlap(&ios[i], &ios[j]))
                ios[j].write = false;
}

static void check(const struct store_io *io)
{
    size_t want = io->len_bytes;

    if (io->offset >= FILE_BYTES)
        want = 0;
    else if (want > FILE_BYTES - io->offset)
        want = FILE_BYTES - io->offset;
    assert_int_equal(io->err, 0);
    assert_int_equal(io->done_bytes, want);
    if (io->write)
        memcpy(expected + io->offset, io->buffer, want);
    else
        assert_memory_equal(io->buffer, expected + io->offset, want);
}

static void run_batch(struct store_channel *channel, char *arena)
{
    struct store_io ios[BATCH], *done[BATCH];
    bool seen[BATCH] = {false};
    unsigned n = 1 + draw(BATCH), reaped = 0;

    for (unsigned i = 0; i < n; i++)
        draw_io(&ios[i], arena + i * SLOT);
    keep_apart(ios, n);
    for (unsigned i = 0; i < n; i++)
        for (size_t b = 0; ios[i].write && b < ios[i].len_bytes; b++)
            ((unsigned char *)ios[i].buffer)[b] = (unsigned char)draw(256);
    store_submit(channel, ios, n / 2);
    store_submit(channel, ios + n / 2, n - n / 2);
    while (reaped < n) {
        unsigned min = draw(3), max = 1 + draw(BATCH);
        unsigned got = store_reap(channel, done, max, min);

        assert_true(got <= max);
        assert_true(got >= min || got == max || reaped + got == n);
        for (unsigned i = 0; i < got; i++) {
            size_t at = (size_t)(done[i] - ios);

            assert_ptr_equal(done[i]->tag, &ios[at]);
            assert_false(seen[at]);
            seen[at] = true;
        }
        reaped += got;
    }
    assert_int_equal(store_reap(channel, done, BATCH, 1), 0);
    for (unsigned i = 0; i < n; i++)
        check(&ios[i]);
}

static void batches_on(enum which which, bool pinned)
{
    size_t fds = live_count_fds(), records = slab_live_everywhere();
    struct uf_store *store = make(which);
    struct store_channel *channel;
    char *arena = slab_pages(BATCH * SLOT);
    uint64_t size;

    if (!store) {
        print_message("no direct I/O on /tmp\n");
        slab_pages_free(arena, BATCH * SLOT);
        return;
    }
    assert_int_equal(uf_store_size(store, &size), 0);
    assert_int_equal(size, FILE_BYTES);
    assert_int_equal(store_channel_open(store, &channel), 0);
    assert_int_equal(store_channel_is_uring(channel),
                     uf_store_kind_of(store) == UF_STORE_KIND_URING);
    if (pinned && !store_channel_pin(channel, arena, BATCH * SLOT / 2))
        print_message("not pinned\n");
    for (int i = 0; i < ROUNDS; i++)
        run_batch(channel, arena);
    assert_int_equal(uf_store_flush(store), which == CALLER ? -EDOM : 0);
    assert_int_equal(uf_store_read(store, arena, FILE_BYTES + 1, 0),
                     FILE_BYTES);
    assert_memory_equal(arena, expected, FILE_BYTES);
    store_channel_close(channel);
    unmake(store, which);
    slab_pages_free(arena, BATCH * SLOT);
    assert_int_equal(live_count_fds(), fds);
    assert_int_equal(slab_live_everywhere(), records);
}

static void batches_by_pread(void **state)
{
    (void)state;
    batches_on(PLAIN, false);
    batches_on(DIRECT, false);
}

static void batches_by_io_uring(void **state)
{
    (void)state;
    batches_on(RING, false);
    batches_on(DIRECT_RING, false);
}

static void batches_in_pinned_buffers(void **state)
{
    (void)state;
    batches_on(RING, true);
    batches_on(DIRECT_RING, true);
}

static void batches_in_memory(void **state)
{
    (void)state;
    batches_on(MEMORY, false);
    batches_on(OWN_MEMORY, false);
}

static void batches_by_functions(void **state)
{
    (void)state;
    batches_on(CALLER, false);
}

/* ---------------------------------------------------------------- channels -- */

/* What is closed with requests under way waits for them. */
static void closing_waits(void **state)
{
    struct uf_store *store = make(DIRECT_RING);
    char *arena = slab_pages(BATCH * SLOT);
    struct store_io ios[BATCH];
    struct store_channel *channel;

    (void)state;
    if (!store)
        store = make(RING);
    for (unsigned i = 0; i < BATCH; i++)
        ios[i] = (struct store_io){
            .offset = i * 4096, .buffer = arena + i * SLOT, .len_bytes = 8192};
    assert_int_equal(store_channel_open(store, &channel), 0);
    store_submit(channel, ios, BATCH);
    store_channel_close(channel);
    for (unsigned i = 0; i < BATCH; i++)
        check(&ios[i]);
    store_channel_close(NULL);
    uf_store_unref(store);
    slab_pages_free(arena, BATCH * SLOT);
}

/* As many as there are places for; each is given out once. */
static void idle_channels_are_kept(void **state)
{
    struct store_channel *taken[STORE_CHANNELS];
    size_t fds = live_count_fds();
    struct uf_store *store = make(RING);

    (void)state;
    if (uf_store_kind_of(store) != UF_STORE_KIND_URING) {
        assert_null(store_channel_take(store));
        uf_store_unref(store);
        skip();
    }
    assert_int_equal(live_count_fds(), fds + 2); /* the file, the first ring */
    for (int turn = 0; turn < 3; turn++) {
        for (unsigned i = 0; i < STORE_CHANNELS; i++) {
            taken[i] = store_channel_take(store);
            assert_non_null(taken[i]);
            for (unsigned j = 0; j < i; j++)
                assert_ptr_not_equal(taken[i], taken[j]);
        }
        assert_null(store_channel_take(store));
        for (unsigned i = 0; i < STORE_CHANNELS; i++)
            store_channel_give_back(taken[i]);
        assert_int_equal(live_count_fds(), fds + 1 + STORE_CHANNELS);
    }
    uf_store_unref(store);
    assert_int_equal(live_count_fds(), fds);
}

/* A ring is its maker's: a child has one of its own. */
static void a_child_makes_its_own(void **state)
{
    struct uf_store *store = make(RING);
    struct store_channel *channel = store_channel_take(store);
    int status;
    pid_t pid;

    (void)state;
    if (!channel) {
        uf_store_unref(store);
        skip();
    }
    store_channel_give_back(channel);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        static char bytes[4096];
        struct store_io io = {.buffer = bytes, .len_bytes = 4096}, *done;
        struct store_channel *own = store_channel_take(store);
        bool ok;

        if (!own)
            _exit(1);
        store_submit(own, &io, 1);
        ok = store_reap(own, &done, 1, 1) == 1 && io.done_bytes == 4096 &&
             memcmp(bytes, expected, 4096) == 0 && store_channel_is_uring(own);
        store_channel_give_back(own);
        uf_store_unref(store);
        _exit(ok ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* Ours works on. */
    channel = store_channel_take(store);
    assert_true(store_channel_is_uring(channel));
    store_channel_give_back(channel);
    uf_store_unref(store);
}

/* References, and NULL where it is allowed. */
static void the_last_reference_releases(void **state)
{
    size_t records = slab_live_everywhere();
    struct uf_store *store = make(CALLER);
    struct uf_pager *pager;

    (void)state;
    assert_ptr_equal(uf_store_ref(store), store);
    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    uf_store_unref(store);
    uf_store_unref(store);
    assert_true(slab_live_everywhere() > records); /* the pager's is left */
    uf_pager_unref(pager);
    assert_int_equal(slab_live_everywhere(), records);
    assert_null(uf_store_ref(NULL));
    uf_store_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_by_pread),
        cmocka_unit_test(batches_by_io_uring),
        cmocka_unit_test(batches_in_pinned_buffers),
        cmocka_unit_test(batches_in_memory),
        cmocka_unit_test(batches_by_functions),
        cmocka_unit_test(closing_waits),
        cmocka_unit_test(idle_channels_are_kept),
        cmocka_unit_test(a_child_makes_its_own),
        cmocka_unit_test(the_last_reference_releases),
    };

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
