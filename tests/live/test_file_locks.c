/* SPDX-License-Identifier: MIT */
/*
 * Files that are written to while pages of theirs are read past the page cache:
 * who writes keeps the file's lock, and may need those pages, or others, to go
 * on. A failure is a test that does not end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/direct_file.h"
#include "lib/live.h"

static ssize_t fill_with_ones(void *context, const struct uf_fill *want)
{
    (void)context;
    memset(want->buffer, 1, want->len_bytes);
    return (ssize_t)want->len_bytes;
}

/* The write holds the file's lock, for which the reads of the stream's rest and
 * of its next window wait, while its source is filled. */
static void a_writer_of_the_file_may_need_a_fill(void **state)
{
    struct uf_pager_ops ops = {
        .size = sizeof(ops), .name = "ones", .fill = fill_with_ones};
    struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                 .window_pages = 128};
    size_t page = page_size(), len = DIRECT_FILE_PAGES * page,
           step = 128 * page;
    struct uf_space *space;
    struct uf_pager *ones;
    struct direct_file f;
    uintptr_t base;

    (void)state;
    direct_file_make(&f, "/tmp", len);
    assert_int_equal(uf_pager_create(&ops, NULL, &ones), 0);
    space = live_space(&opts, 0);
    base = direct_file_map(space, &f);
    for (int round = 0; round < 20; round++) {
        intptr_t from =
            uf_mmap_pager(space, 0, len, PROT_READ, MAP_PRIVATE, ones, 0);

        assert_true(from > 0);
        assert_int_equal(uf_madvise(space, base, len, MADV_DONTNEED), 0);
        for (size_t at = 0; at < len; at += step) {
            unsigned char byte = 0;

            assert_int_equal(live_read(base + at, &byte, NULL), 0);
            assert_int_equal(byte, direct_file_byte(at / page));
            assert_int_equal(pwrite(f.fd, (char *)from + at, page, (off_t)len),
                             page);
        }
        assert_int_equal(uf_munmap(space, (uintptr_t)from, len), 0);
    }
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(ones);
    direct_file_end(&f);
}

/* Reads by the page cache are known to wait for no writer; see uf_store(3). */
static bool is_known(const char *dir)
{
    static const unsigned long known[] = {EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                          F2FS_SUPER_MAGIC, TMPFS_MAGIC};
    struct statfs fs;

    assert_int_equal(statfs(dir, &fs), 0);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if ((unsigned long)fs.f_type == known[i])
            return true;
    return false;
}

/* To places behind its end, and what arrives there is right. */
static void write_from_mapping(struct direct_file *f, uint32_t window_pages,
                               size_t to)
{
    struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                 .window_pages = window_pages};
    struct uf_space *space = live_space(&opts, 0);
    size_t page = page_size(), piece = 8 * page;
    uintptr_t base = direct_file_map(space, f);

    for (size_t at = 0; at < DIRECT_FILE_PAGES * page; at += 4 * piece) {
        unsigned char byte = 0;

        assert_int_equal(
            pwrite(f->fd, (char *)base + at, piece, (off_t)(to + at)), piece);
        assert_int_equal(pread(f->fd, &byte, 1, (off_t)(to + at + page)), 1);
        assert_int_equal(byte, direct_file_byte(at / page + 1));
    }
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void write_in(const char *dir)
{
    static const uint32_t windows[] = {0, 1, 128};
    size_t len = DIRECT_FILE_PAGES * page_size();
    struct direct_file f;

    direct_file_make(&f, dir, len);
    for (size_t i = 0; i < 3; i++)
        write_from_mapping(&f, windows[i], (i + 1) * len);
    direct_file_end(&f);
}

/* As from a mapping of the kernel's. */
static void a_file_may_be_written_from_its_own_mapping(void **state)
{
    (void)state;
    if (!is_known("/tmp"))
        skip();
    write_in("/tmp");
}

/* The same where a read cannot be asked not to wait. */
static void an_overlay_is_not_waited_for(void **state)
{
    char dir[] = "/tmp/ufault-overlay-XXXXXX", options[256];
    static const char *const parts[] = {"lower", "upper", "work", "all"};
    bool mounted;

    (void)state;
    if (!is_known("/tmp"))
        skip();
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(mkdir(parts[i], 0700), 0);
    snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s",
             parts[0], parts[1], parts[2]);
    mounted = mount("overlay", parts[3], "overlay", 0, options) == 0;
    if (mounted) {
        write_in(parts[3]);
        assert_int_equal(umount2(parts[3], MNT_DETACH), 0);
    }
    rmdir("work/work"); /* the file system's own */
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(rmdir(parts[i]), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(dir), 0);
    if (!mounted)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_of_the_file_may_need_a_fill),
        cmocka_unit_test(a_file_may_be_written_from_its_own_mapping),
        cmocka_unit_test(an_overlay_is_not_waited_for),
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("file locks", tests, NULL, NULL);
}
