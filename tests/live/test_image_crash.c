/* SPDX-License-Identifier: MIT */
/*
 * Whoever saves an image is killed at each of his calls on files in turn: what
 * is there then is the old image or the new one, whole. The same when a call
 * fails; then nothing else is left behind. And the bytes are on the disk before
 * the name is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/image_calls.h"
#include "lib/live.h"
#include "ufault/image.h"

#define HEAP_PAGES 64u

static char dir[] = "/tmp/ufault-crash.XXXXXX";
static char path[64];
/* Many chunks: one a page. */
static struct uf_image_opts how = {.size = sizeof(how)};

static void fill_heap(struct uf_space *space, unsigned char value)
{
    for (size_t i = 0; i < HEAP_PAGES; i += 2) {
        unsigned char bytes[65536];

        memset(bytes, value, page_size());
        memcpy(bytes, &i, sizeof(i));
        assert_int_equal(
            uf_copy_out(space, live_page(space, i), bytes, page_size(), NULL),
            0);
    }
}

/* The value that all pages of the image at `path` have. Asserts that it is
 * whole. */
static unsigned char value_of_image(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_image *image;
    struct uf_space *space;
    unsigned char value, byte;

    assert_int_equal(uf_image_open(path, &image), 0);
    assert_int_equal(uf_image_verify(image, NULL), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    uf_image_close(image);
    assert_int_equal(live_read(live_page(space, 1) - 1, &value, NULL), 0);
    for (size_t i = 0; i < HEAP_PAGES; i++) {
        assert_int_equal(live_read(live_page(space, i + 1) - 1, &byte, NULL),
                         0);
        assert_int_equal(byte, i % 2 ? 0 : value);
    }
    assert_int_equal(uf_space_destroy(space), 0);
    return value;
}

/* Files in the directory beside the image; they are removed. */
static unsigned clear_others(void)
{
    DIR *listing = opendir(dir);
    struct dirent *entry;
    unsigned n = 0;

    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL) {
        char name[400];

        if (strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, "image") == 0)
            continue;
        assert_true(strncmp(entry->d_name, ".ufault-image.", 14) == 0);
        snprintf(name, sizeof(name), "%s/%s", dir, entry->d_name);
        assert_int_equal(unlink(name), 0);
        n++;
    }
    closedir(listing);
    return n;
}

/* True: a child that was to be killed at its n-th call was. */
static bool child_is_killed(struct uf_space *space, unsigned n)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        image_calls_kill(IMAGE_CALL_ANY, n);
        _exit(uf_image_save(space, path, &how) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

static void killed_at_each_call(void **state)
{
    struct uf_space *space = live_space(NULL, HEAP_PAGES);
    unsigned n = 1, old = 0, new = 0, left_behind = 0;

    (void)state;
    fill_heap(space, 1);
    assert_int_equal(uf_image_save(space, path, &how), 0);
    fill_heap(space, 2);
    for (bool killed = true; killed; n++) {
        unsigned char value;

        killed = child_is_killed(space, n);
        value = value_of_image();
        assert_true(value == 1 || value == 2);
        assert_true(killed || value == 2);
        old += value == 1;
        new += value == 2;
        /* Once it is the new one, it stays. */
        assert_true(value == 2 || new == 0);
        left_behind += clear_others();
    }
    /* Open, open, 32 chunks in one or two writes, index, header, sync, rename;
     * then the sync of the directory, and the end. */
    assert_true(old > 32);
    assert_int_equal(new, 2);
    assert_true(left_behind > 32);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void a_failure_at_each_call(void **state)
{
    static const int errors[] = {ENOSPC, EIO, EFBIG};
    struct uf_space *space = live_space(NULL, HEAP_PAGES);
    size_t fds, live;
    bool failed = true;

    (void)state;
    fill_heap(space, 1);
    assert_int_equal(uf_image_save(space, path, &how), 0);
    fill_heap(space, 2);
    fds = live_count_fds();
    live = slab_live_everywhere();
    for (unsigned n = 1; failed; n++) {
        unsigned char value;
        int err;

        image_calls_fail(IMAGE_CALL_ANY, n, errors[n % 3]);
        err = uf_image_save(space, path, &how);
        failed = image_calls_end();
        assert_int_equal(err, failed ? -errors[n % 3] : 0);
        assert_int_equal(live_count_fds(), fds);
        assert_int_equal(slab_live_everywhere(), live);
        assert_int_equal(clear_others(), 0);
        value = value_of_image();
        if (value == 2)
            break; /* the sync of the directory: it is in place */
        assert_int_equal(value, 1);
        assert_true(failed);
    }
    assert_int_equal(uf_space_destroy(space), 0);
}

static void synced_before_it_is_named(void **state)
{
    struct uf_space *space = live_space(NULL, HEAP_PAGES);
    char calls[1024];
    size_t n;

    (void)state;
    fill_heap(space, 1);
    image_calls_record(calls, sizeof(calls));
    assert_int_equal(uf_image_save(space, path, &how), 0);
    image_calls_end();
    n = strlen(calls);
    assert_true(n < sizeof(calls) - 1 && n > 8);
    assert_memory_equal(calls, "oo", 2);
    assert_int_equal(strspn(calls + 2, "w"), n - 5);
    assert_string_equal(calls + n - 3, "sns");
    assert_int_equal(uf_space_destroy(space), 0);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    how.chunk_bytes = (uint32_t)page_size();
    how.codec = UF_IMAGE_NONE;
    snprintf(path, sizeof(path), "%s/image", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_each_call),
        cmocka_unit_test(a_failure_at_each_call),
        cmocka_unit_test(synced_before_it_is_named),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("image crashes", tests, set_up,
                                                 tear_down);
}
