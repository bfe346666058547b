/* SPDX-License-Identifier: MIT */
/*
 * Reading ahead: what a stream will want is waiting for it, with the file's
 * bytes; nobody else gets it, and no channel is lost, whether it is wanted,
 * comes too late, is forgotten by a forked child, or never asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"
#include "lib/live.h"
#include "pager/parts.h"
#include "pager/read_ahead.h"
#include "store/channel.h"
#include "ufault/store.h"

#define WINDOW     ((size_t)256 << 10)
#define NWINDOWS   16
#define TAIL_BYTES 100 /* behind them */
#define AGE_MS     3600000

struct rig {
    int fd;
    struct uf_store *store;
    struct read_ahead ahead;
};

static unsigned taken(const struct rig *rig)
{
    unsigned n = atomic_load(&rig->store->nchannels);

    for (size_t i = 0; i < STORE_CHANNELS; i++)
        n -= atomic_load(&rig->store->idle[i]) != NULL;
    return n;
}

static int begin(void **state)
{
    char path[] = "/tmp/ufault-ahead-XXXXXX";
    size_t len = NWINDOWS * WINDOW + TAIL_BYTES;
    unsigned char *bytes = malloc(len);
    struct rig *rig = calloc(1, sizeof(*rig));

    *state = rig;
    rig->ahead.age_ms = AGE_MS;
    rig->fd = mkstemp(path);
    unlink(path);
    for (size_t i = 0; i < len; i++)
        bytes[i] = live_pattern(i);
    if (write(rig->fd, bytes, len) != (ssize_t)len || fdatasync(rig->fd) != 0 ||
        uf_store_fd(rig->fd, UF_STORE_DIRECT, &rig->store) != 0)
        rig->store = NULL;
    free(bytes);
    return 0;
}

static int end(void **state)
{
    struct rig *rig = *state;
    int err = 0;

    if (rig->store) {
        read_ahead_destroy(&rig->ahead);
        err = taken(rig) != 0;
        uf_store_unref(rig->store);
    }
    close(rig->fd);
    free(rig);
    return err;
}

static struct rig *rig_of(void **state)
{
    struct rig *rig = *state;

    if (!rig->store || !store_has_no_read_ahead(rig->store)) {
        print_message("no direct I/O in /tmp, or no io_uring\n");
        skip();
    }
    return rig;
}

/* Window n is touched, and what was read of it is given back. How many bytes of
 * it had been read ahead; they are right. */
static size_t touch(struct rig *rig, size_t n, size_t len)
{
    struct uf_fill want = {.size = sizeof(want),
                           .offset = n * WINDOW,
                           .len_bytes = len,
                           .page_bytes = page_size()};
    struct fill_parts *parts =
        read_ahead_take(&rig->ahead, rig->store, want.offset, &want);
    struct fill_part part;
    size_t sum = 0;

    while (parts && parts_next(parts, &part)) {
        const unsigned char *bytes =
            (const unsigned char *)parts->want.buffer + part.at;

        for (size_t i = 0; i < part.good; i++) {
            size_t at = want.offset + part.at + i;

            assert_int_equal(bytes[i], at < NWINDOWS * WINDOW + TAIL_BYTES
                                           ? live_pattern(at)
                                           : 0);
        }
        assert_true(part.at + part.len <= len);
        sum += part.good;
    }
    parts_end(parts);
    return sum;
}

static void use(struct rig *rig, size_t n)
{
    struct fill_parts *next =
        read_ahead_begin(&rig->ahead, rig->store, n * WINDOW, WINDOW);

    if (!next)
        return;
    parts_settle(next);
    read_ahead_park(&rig->ahead, next);
}

static void a_stream_finds_its_next_window(void **state)
{
    struct rig *rig = rig_of(state);

    assert_int_equal(touch(rig, 0, WINDOW), 0);
    use(rig, 0);
    assert_int_equal(taken(rig), 0); /* once is no stream */
    for (size_t n = 1; n < NWINDOWS; n++) {
        assert_int_equal(touch(rig, n, WINDOW), n > 1 ? WINDOW : 0);
        use(rig, n);
        assert_int_equal(taken(rig), 1);
    }
    /* The file ends: whole pages of what there is. */
    assert_int_equal(touch(rig, NWINDOWS, WINDOW), page_size());
}

static void what_is_wanted_may_be_shorter(void **state)
{
    struct rig *rig = rig_of(state);

    use(rig, 0);
    use(rig, 1);
    assert_int_equal(touch(rig, 2, WINDOW / 2 + page_size()),
                     WINDOW / 2 + page_size());
    use(rig, 2);
    use(rig, 3);
    assert_int_equal(touch(rig, 4, WINDOW * 2), 0); /* and not longer */
    assert_int_equal(taken(rig), 0);
}

static void others_find_nothing(void **state)
{
    struct rig *rig = rig_of(state);

    use(rig, 0);
    use(rig, 1);
    assert_int_equal(touch(rig, 5, WINDOW), 0);
    assert_int_equal(touch(rig, 3, WINDOW), 0);
    assert_int_equal(touch(rig, 2, WINDOW), WINDOW);
    assert_int_equal(touch(rig, 2, WINDOW), 0); /* once */
}

/* As if all streams had stopped for long. */
static void stop(struct rig *rig)
{
    for (size_t i = 0; i < READ_AHEAD_STREAMS; i++)
        atomic_fetch_sub(&rig->ahead.streams[i].used_ms, AGE_MS + 1);
}

static void what_is_old_is_dropped(void **state)
{
    struct rig *rig = rig_of(state);

    use(rig, 0);
    use(rig, 1);
    stop(rig);
    assert_int_equal(touch(rig, 2, WINDOW), 0);
    use(rig, 2); /* it comes too slowly for a stream */
    assert_int_equal(taken(rig), 0);
    use(rig, 3);
    assert_int_equal(taken(rig), 1);
}

/* By others, and through the store; a write that comes back while the window is
 * being read counts as well. */
static void what_was_written_since_is_read_anew(void **state)
{
    struct rig *rig = rig_of(state);
    unsigned char same = live_pattern(2 * WINDOW);
    struct fill_parts *next;
    struct uf_store *writer;

    assert_int_equal(
        uf_store_fd(rig->fd, UF_STORE_DIRECT | UF_STORE_WRITE, &writer), 0);
    uf_store_unref(rig->store);
    rig->store = writer;
    for (int i = 0; i < 4; i++) {
        use(rig, 0);
        use(rig, 1);
        assert_int_equal(i & 1 ? uf_store_write(writer, &same, 1, 2 * WINDOW)
                               : pwrite(rig->fd, &same, 1, 2 * WINDOW),
                         1);
        assert_int_equal(touch(rig, 2, WINDOW), 0);
    }
    use(rig, 1);
    next = read_ahead_begin(&rig->ahead, writer, 2 * WINDOW, WINDOW);
    assert_non_null(next);
    parts_settle(next);
    assert_int_equal(pwrite(rig->fd, &same, 1, 0), 1);
    read_ahead_park(&rig->ahead, next);
    assert_int_equal(touch(rig, 3, WINDOW), 0);
    use(rig, 2);
    use(rig, 3);
    assert_int_equal(ftruncate(rig->fd, 4 * WINDOW), 0);
    assert_int_equal(touch(rig, 4, WINDOW), 0);
}

/* A write may be under way that is older than the stamp. */
static void what_was_just_written_is_not_read_ahead(void **state)
{
    struct rig *rig = rig_of(state);

    rig->ahead.calm_ms = AGE_MS;
    use(rig, 0);
    use(rig, 1);
    assert_int_equal(touch(rig, 2, WINDOW), 0);
    rig->ahead.calm_ms = 0;
    use(rig, 2);
    assert_int_equal(touch(rig, 3, WINDOW), WINDOW);
}

static void what_met_a_writer_is_not_kept(void **state)
{
    struct rig *rig = rig_of(state);
    struct fill_parts *next;

    use(rig, 0);
    next = read_ahead_begin(&rig->ahead, rig->store, WINDOW, WINDOW);
    assert_non_null(next);
    parts_settle(next);
    next->pieces[1].way = WAY_CACHED;
    read_ahead_park(&rig->ahead, next);
    assert_int_equal(taken(rig), 0);
    assert_int_equal(touch(rig, 2, WINDOW), 0);
}

static void a_file_whose_times_tell_nothing_is_left_alone(void **state)
{
    int fd = memfd_create("ufault-test", MFD_CLOEXEC);
    struct uf_store *store;

    (void)state;
    assert_true(fd >= 0);
    if (uf_store_fd(fd, UF_STORE_DIRECT, &store) != 0) {
        close(fd); /* nor has it direct I/O, before Linux 6.6 */
        skip();
    }
    assert_false(store_has_no_read_ahead(store));
    uf_store_unref(store);
    close(fd);
}

static void streams_keep_their_places(void **state)
{
    struct rig *rig = rig_of(state);

    for (size_t n = 0; n < 2; n++) {
        use(rig, n);
        use(rig, 5 + n);
    }
    for (size_t n = 0; n < 5; n++)
        use(rig, 14 - n * 2); /* windows that continue nothing */
    assert_int_equal(taken(rig), READ_AHEAD_STREAMS);
    assert_int_equal(touch(rig, 2, WINDOW), WINDOW);
    assert_int_equal(touch(rig, 7, WINDOW), WINDOW);
    use(rig, 2);
    use(rig, 7);
    stop(rig);
    use(rig, 10);
    use(rig, 11);
    assert_int_equal(touch(rig, 12, WINDOW), WINDOW);
}

static void half_the_channels_are_left(void **state)
{
    struct rig *rig = rig_of(state);
    struct store_channel *others[STORE_CHANNELS / 2];

    for (size_t i = 0; i < STORE_CHANNELS / 2; i++)
        others[i] = store_channel_take(rig->store);
    use(rig, 0);
    use(rig, 1);
    assert_int_equal(taken(rig), STORE_CHANNELS / 2);
    for (size_t i = 0; i < STORE_CHANNELS / 2; i++)
        store_channel_give_back(others[i]);
    use(rig, 2);
    assert_int_equal(taken(rig), 1);
}

static void a_child_forgets_what_its_parent_reads(void **state)
{
    struct rig *rig = rig_of(state);
    int status;
    pid_t pid;

    use(rig, 0);
    use(rig, 1);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool good = touch(rig, 2, WINDOW) == 0 && taken(rig) == 0;

        use(rig, 2);
        good = good && taken(rig) == 1 && touch(rig, 3, WINDOW) == WINDOW;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(touch(rig, 2, WINDOW), WINDOW);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stream_finds_its_next_window),
        TEST(what_is_wanted_may_be_shorter),
        TEST(others_find_nothing),
        TEST(what_is_old_is_dropped),
        TEST(what_was_written_since_is_read_anew),
        TEST(what_was_just_written_is_not_read_ahead),
        TEST(what_met_a_writer_is_not_kept),
        cmocka_unit_test(a_file_whose_times_tell_nothing_is_left_alone),
        TEST(streams_keep_their_places),
        TEST(half_the_channels_are_left),
        TEST(a_child_forgets_what_its_parent_reads),
    };

    return cmocka_run_group_tests_name("read ahead", tests, NULL, NULL);
}
