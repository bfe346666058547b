/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says is mapped: names by PROCMAP_QUERY and by the lines of
 * maps agree, entries of smaps are read whole, and pages are counted alike with
 * PAGEMAP_SCAN and without. No space and no userfaultfd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/hostmap.h"
#include "host/lines.h"
#include "host/pages.h"

static struct host_vma vma;

static void a_line_is_parsed(void **state)
{
    (void)state;
    assert_true(host_vma_parse("7f00-8000 r--s 0001f000 fe:0a 4711      "
                               "           /a b\\012c (deleted)",
                               &vma));
    assert_int_equal(vma.range.start, 0x7f00);
    assert_int_equal(vma.range.end, 0x8000);
    assert_int_equal(vma.offset, 0x1f000);
    assert_int_equal(vma.major, 0xfe);
    assert_int_equal(vma.minor, 0xa);
    assert_int_equal(vma.inode, 4711);
    assert_string_equal(vma.name, "/a b\\012c (deleted)");
    assert_true(host_vma_parse("1000-2000 rw-p 00000000 00:00 0 ", &vma));
    assert_string_equal(vma.name, "");
    assert_true(host_vma_parse("1000-2000 rw-p 00000000 00:00 0", &vma));
    assert_false(host_vma_parse("Rss:        4 kB", &vma));
    assert_false(host_vma_parse("VmFlags: rd wr", &vma));
    assert_false(host_vma_parse("", &vma));
}

static void *map_file(const char *name, bool gone)
{
    char path[128];
    void *p;
    int fd;

    snprintf(path, sizeof(path), "/tmp/ufault-%d-%s", (int)getpid(), name);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_return_code(fd, errno);
    assert_int_equal(ftruncate(fd, 1 << 16), 0);
    p = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE, fd, 0x3000);
    assert_true(p != MAP_FAILED);
    close(fd);
    if (gone)
        unlink(path);
    return p;
}

static void unlink_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "/tmp/ufault-%d-%s", (int)getpid(), name);
    unlink(path);
}

static void assert_same(const struct host_vma *a, const struct host_vma *b)
{
    assert_int_equal(a->range.start, b->range.start);
    assert_int_equal(a->range.end, b->range.end);
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->major, b->major);
    assert_int_equal(a->minor, b->minor);
    assert_int_equal(a->inode, b->inode);
    assert_string_equal(a->name, b->name);
}

/* Each line of maps, asked for by address, both ways. */
static void both_ways_say_the_same(void **state)
{
    void *files[] = {map_file("plain", false), map_file("new\nline", false),
                     map_file("gone", true)};
    void *shared =
        mmap(NULL, page_size(), PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct hostmap *asked, *read_only;
    static struct lines lines;
    bool query_works = false;
    char *line;

    (void)state;
    assert_int_equal(hostmap_open(&asked), 0);
    assert_int_equal(hostmap_open(&read_only), 0);
    hostmap_forbid_query(read_only);
    assert_int_equal(lines_open(&lines, "/proc/self/maps"), 0);
    while ((line = lines_next(&lines)) != NULL) {
        const struct host_vma *a, *b;

        if (!host_vma_parse(line, &vma) || strstr(line, "[vsyscall]"))
            continue;
        a = hostmap_find(asked, vma.range.start + 5);
        b = hostmap_find(read_only, vma.range.start + 5);
        assert_non_null(a);
        assert_non_null(b);
        assert_same(a, &vma);
        assert_same(b, &vma);
        query_works = query_works || strstr(a->name, "new\\012line");
    }
    assert_true(query_works);
    lines_close(&lines);
    hostmap_close(asked);
    hostmap_close(read_only);
    munmap(shared, page_size());
    for (int i = 0; i < 3; i++)
        munmap(files[i], page_size());
    unlink_file("plain");
    unlink_file("new\nline");
}

static void nothing_there(void **state)
{
    struct hostmap *maps[2];
    char *p = mmap(NULL, 3 * page_size(), PROT_READ,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t hole = (uintptr_t)p + page_size();

    (void)state;
    munmap(p + page_size(), page_size());
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hostmap_open(&maps[i]), 0);
        if (i == 1)
            hostmap_forbid_query(maps[i]);
        assert_null(hostmap_find(maps[i], hole));
        assert_non_null(hostmap_find(maps[i], hole + page_size()));
        hostmap_close(maps[i]);
    }
    munmap(p, page_size());
    munmap(p + 2 * page_size(), page_size());
}

static void an_entry_of_smaps(void **state)
{
    char *p = mmap(NULL, 8 * page_size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct smaps_entry *e;
    struct smaps *smaps;
    size_t kb = page_size() / 1024;

    (void)state;
    munmap(p, page_size()); /* edges, so that it is one mapping */
    munmap(p + 7 * page_size(), page_size());
    p += page_size();
    p[0] = p[3 * page_size()] = 1;
    assert_int_equal(smaps_open(&smaps), 0);
    e = smaps_find(smaps, (uintptr_t)p);
    assert_non_null(e);
    assert_true(e->vma.range.start == (uintptr_t)p);
    assert_int_equal(e->kb[SMAPS_RSS], 2 * kb);
    assert_int_equal(e->kb[SMAPS_PRIVATE_DIRTY], 2 * kb);
    assert_int_equal(e->kernel_page_kb, kb);
    assert_true(smaps_has_flag(e, "rd"));
    assert_true(smaps_has_flag(e, "mw"));
    assert_false(smaps_has_flag(e, "ex"));
    assert_false(smaps_has_flag(e, "dw"));
    /* The same again, then the next. */
    assert_true(smaps_find(smaps, (uintptr_t)p + 5) == e);
    e = smaps_find(smaps, e->vma.range.end);
    assert_true(!e || e->vma.range.start > (uintptr_t)p);
    assert_null(smaps_find(smaps, UINTPTR_MAX));
    smaps_close(smaps);
    munmap(p, 6 * page_size());
}

static struct page_counts count(struct pages *pages, void *p, size_t npages)
{
    struct range part = {(uintptr_t)p, (uintptr_t)p + npages * page_size()};
    struct page_counts c;

    assert_int_equal(pages_count(pages, part, &c), 0);
    return c;
}

/* Zero pages, pages of our own, pages of a file, pages shared with a child. */
static void pages_are_counted_both_ways(void **state)
{
    char *p = mmap(NULL, 64 * page_size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *file = map_file("counted", true);
    struct pages *pages;
    size_t by_mincore;

    (void)state;
    for (size_t i = 0; i < 10; i++)
        p[i * 3 * page_size()] = 1;
    for (size_t i = 0; i < 4; i++)
        (void)*(volatile char *)(p + (40 + 2 * i) * page_size());
    (void)*(volatile char *)file;
    assert_int_equal(pages_open(&pages), 0);
    for (int i = 0; i < 2; i++) {
        struct page_counts c = count(pages, p, 64);

        assert_int_equal(c.present, 14);
        assert_int_equal(c.zero, 4);
        assert_int_equal(c.exclusive, 10);
        assert_int_equal(c.file, 0);
        assert_int_equal(c.swapped, 0);
        c = count(pages, file, 1);
        assert_int_equal(c.present, 1);
        assert_int_equal(c.file, 1);
        assert_int_equal(c.zero, 0);
        if (i == 1)
            assert_false(c.zero_is_known);
        pages_forbid_scan(pages);
    }
    pages_close(pages);
    assert_int_equal(
        pages_count_resident(
            (struct range){(uintptr_t)p, (uintptr_t)p + 64 * page_size()},
            &by_mincore),
        0);
    assert_int_equal(by_mincore, 14);
    munmap(p, 64 * page_size());
    munmap(file, page_size());
}

/* More regions than one call takes, and more pages than one read. */
static void many_pages_are_counted(void **state)
{
    size_t n = 20000, stride = 2;
    char *p = mmap(NULL, n * page_size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct pages *pages;

    (void)state;
    madvise(p, n * page_size(), MADV_NOHUGEPAGE);
    for (size_t i = 0; i < n; i += stride)
        p[i * page_size()] = 1;
    assert_int_equal(pages_open(&pages), 0);
    assert_int_equal(count(pages, p, n).present, n / stride);
    assert_int_equal(count(pages, p + page_size(), n - 1).exclusive,
                     n / stride - 1);
    pages_forbid_scan(pages);
    assert_int_equal(count(pages, p, n).present, n / stride);
    pages_close(pages);
    munmap(p, n * page_size());
}

/* A line longer than the buffer comes in pieces. */
static void lines_of_any_length(void **state)
{
    static struct lines lines;
    FILE *file = tmpfile();
    char path[64], *line;
    size_t total = 0;

    (void)state;
    for (int i = 0; i < 2 * LINES_BYTES; i++)
        putc('x', file);
    fputs("\nshort\n\nlast", file);
    fflush(file);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(file));
    assert_int_equal(lines_open(&lines, path), 0);
    while ((line = lines_next(&lines)) != NULL && line[0] == 'x')
        total += strlen(line);
    assert_int_equal(total, 2 * LINES_BYTES);
    assert_string_equal(line, "short");
    assert_string_equal(lines_next(&lines), "");
    assert_string_equal(lines_next(&lines), "last");
    assert_null(lines_next(&lines));
    lines_close(&lines);
    fclose(file);
    assert_int_equal(lines_open(&lines, "/no/such/file"), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_parsed),
        cmocka_unit_test(both_ways_say_the_same),
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(an_entry_of_smaps),
        cmocka_unit_test(pages_are_counted_both_ways),
        cmocka_unit_test(many_pages_are_counted),
        cmocka_unit_test(lines_of_any_length),
    };

    return cmocka_run_group_tests_name("hostmap", tests, NULL, NULL);
}
