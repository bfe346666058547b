/* SPDX-License-Identifier: MIT */
/*
 * uf_space_smaps beside the kernel. The same random calls and touches run on a
 * space (windows of one page) and on plain mappings of this process; then one
 * reader reads uf_space_smaps and /proc/self/smaps, and every line of every
 * mapping must agree. What ours says is also counted again, page by page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"
#include "lib/smaps_text.h"
#include "live/smaps_twin.h"

#define TEXT ((size_t)1 << 20)
#define MAPS 512

/* ----------------------------------------------------------- comparisons --
 */

static void to_base(struct smap *maps, size_t n, uintptr_t base)
{
    for (size_t i = 0; i < n; i++) {
        maps[i].start -= base;
        maps[i].end -= base;
    }
}

static size_t read_ours(const struct twin *t, struct smap *maps)
{
    uintptr_t base = t->sides[OURS].base;
    char *text = malloc(TEXT);
    ssize_t len = uf_space_smaps(t->sides[OURS].space, text, TEXT);
    size_t n;

    assert_in_range(len, 0, TEXT - 1);
    assert_int_equal(strlen(text), len);
    n = smaps_parse(text, base, base + TWIN_PAGES * page_size(), maps, MAPS);
    free(text);
    return n;
}

static size_t read_theirs(const struct twin *t, struct smap *maps)
{
    uintptr_t base = t->sides[THEIRS].base;

    return smaps_of_kernel(base, base + TWIN_PAGES * page_size(), maps, MAPS);
}

/* Present pages, shared pages of zeros among them, by /proc/self/pagemap. */
static void count_pages(uintptr_t start, uintptr_t end, size_t *ret_present,
                        size_t *ret_zero)
{
    int fd = open("/proc/self/pagemap", O_RDONLY);

    *ret_present = *ret_zero = 0;
    for (uintptr_t at = start; at < end; at += page_size()) {
        uint64_t entry = 0;

        assert_int_equal(pread(fd, &entry, sizeof(entry),
                               (off_t)(at / page_size() * sizeof(entry))),
                         sizeof(entry));
        *ret_present += entry >> 63;
        /* Present, of no file, and not mapped here alone. */
        *ret_zero += (entry >> 63) && !(entry >> 61 & 1) && !(entry >> 56 & 1);
    }
    close(fd);
}

static bool is_complete(const struct smap *map)
{
    for (int f = 0; f < SMAP_FIELDS; f++)
        if (map->kb[f] < 0 && strcmp(smap_fields[f], "ProtectionKey:") != 0)
            return false;
    return true;
}

/* A line is left out only where a mapping of the host reaches over our edge. */
static void assert_reason(const struct smap *map)
{
    static struct smap host[MAPS];
    uintptr_t back = 4096 * page_size();
    size_t n;

    if (is_complete(map))
        return;
    n = smaps_of_kernel(map->start - back, map->end, host, MAPS);
    for (size_t i = 0; i < n; i++)
        if (host[i].end > map->start &&
            (host[i].start < map->start || host[i].end > map->end))
            return;
    fail();
}

/* Rss of each of ours against the kernel's page tables, and mincore(2). */
static void recount(const struct smap *maps, size_t n)
{
    long page_kb = (long)page_size() / 1024;

    for (size_t i = 0; i < n; i++) {
        size_t present, zero;

        count_pages(maps[i].start, maps[i].end, &present, &zero);
        assert_int_equal(smap_kb(&maps[i], "Rss:"),
                         (long)(present - zero) * page_kb);
        assert_reason(&maps[i]);
        if (maps[i].inode == 0)
            assert_int_equal(live_mincore(maps[i].start, maps[i].end), present);
    }
}

static void print(const char *whose, const struct smap *m)
{
    printf("%s: %lx-%lx %s %llx %s %s flags %s\n", whose,
           (unsigned long)m->start, (unsigned long)m->end, m->perms,
           (unsigned long long)m->offset, m->device, m->name, m->flags);
}

static bool same_head(const struct smap *a, const struct smap *b)
{
    return a->start == b->start && a->end == b->end &&
           strcmp(a->perms, b->perms) == 0 && a->offset == b->offset &&
           strcmp(a->device, b->device) == 0 &&
           (a->inode == 0) == (b->inode == 0) &&
           strcmp(a->name, b->name) == 0 && strcmp(a->flags, b->flags) == 0;
}

/* Lines that ours may do without if pages of one host mapping are not alike. */
static bool may_be_left_out(int field)
{
    static const char *const labels[] = {
        "Referenced:", "Pss_Dirty:", "LazyFree:", "Private_Clean:",
        "Private_Dirty:"};

    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
        if (strcmp(smap_fields[field], labels[i]) == 0)
            return true;
    return false;
}

/* What the kernel has put off until a batch of pages of its own is full. */
static bool is_late(const struct twin *t, int field)
{
    const char *label = smap_fields[field];

    return t->may_blur && (strcmp(label, "LazyFree:") == 0 ||
                           strcmp(label, "Referenced:") == 0);
}

static size_t compare(const struct twin *t, const struct smap *ours,
                      const struct smap *theirs)
{
    size_t left_out = 0;
    bool same = same_head(ours, theirs);

    for (int f = 0; f < SMAP_FIELDS; f++) {
        if (ours->kb[f] == theirs->kb[f] || is_late(t, f))
            continue;
        if (ours->kb[f] < 0 && may_be_left_out(f)) {
            left_out++;
            continue;
        }
        printf("%s ours %ld, the kernel's %ld\n", smap_fields[f], ours->kb[f],
               theirs->kb[f]);
        same = false;
    }
    if (!same) {
        print("ours  ", ours);
        print("theirs", theirs);
    }
    assert_true(same);
    return left_out;
}

/* Returns how many lines ours had to leave out. */
static size_t compare_all(struct twin *t)
{
    static struct smap maps[2][MAPS];
    size_t n[2], left_out = 0;

    n[OURS] = read_ours(t, maps[OURS]);
    recount(maps[OURS], n[OURS]);
    n[THEIRS] = read_theirs(t, maps[THEIRS]);
    for (int i = 0; i < 2; i++) {
        to_base(maps[i], n[i], t->sides[i].base);
        n[i] = smaps_join(maps[i], n[i]);
    }
    for (size_t i = 0; i < n[OURS] && i < n[THEIRS]; i++)
        left_out += compare(t, &maps[OURS][i], &maps[THEIRS][i]);
    assert_int_equal(n[OURS], n[THEIRS]);
    return left_out;
}

static size_t run(unsigned long seed, bool may_blur)
{
    struct twin *t = twin_make(seed);
    size_t left_out = 0;

    t->may_blur = may_blur;
    for (int i = 0; i < 300; i++) {
        twin_do_any(t);
        if (i % 10 == 9)
            left_out += compare_all(t);
    }
    twin_destroy(t);
    return left_out;
}

static unsigned long seeds(void)
{
    const char *text = getenv("UFAULT_SMAPS_SEEDS");

    return text ? strtoul(text, NULL, 10) : (LIVE_SANITIZED ? 3 : 12);
}

static void run_all(unsigned long first, bool may_blur)
{
    size_t left_out = 0;

    for (unsigned long i = 0; i < seeds(); i++)
        left_out += run(first + i, may_blur);
    printf("%lu seeds, %zu lines left out\n", seeds(), left_out);
}

static void random_calls_are_shown_as_by_the_kernel(void **state)
{
    (void)state;
    run_all(1, false);
}

/* With MADV_FREE and MADV_COLD, pages of one mapping are not alike. */
static void pages_that_are_not_alike(void **state)
{
    (void)state;
    run_all(100001, true);
}

/* --------------------------------------------------------- made-up cases --
 */

/* Looking brings nothing in: not in the memory of pagers, nor of files. */
static void looking_touches_nothing(void **state)
{
    struct twin *t = twin_make(7);
    struct uf_space *space = t->sides[OURS].space;
    uintptr_t base = t->sides[OURS].base;
    struct live_pager pager;
    struct uf_stats before;
    size_t resident[2];
    char text[4096];

    (void)state;
    live_pager_init(&pager, NULL, NULL);
    twin_mmap(t, (struct twin_part){0, 64});
    assert_true(uf_mmap_pager(space, side_at(&t->sides[OURS], 100),
                              64 * page_size(), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_FIXED, pager.pager, 0) > 0);
    twin_touch(t, (struct twin_part){3, 5});
    before = live_stats(space);
    resident[0] = live_mincore(base, base + TWIN_PAGES * page_size());
    for (int i = 0; i < 3; i++) {
        assert_true(uf_space_smaps(space, text, sizeof(text)) > 0);
        assert_true(uf_space_maps(space, text, sizeof(text)) > 0);
        assert_true(uf_space_status(space, text, sizeof(text)) > 0);
    }
    resident[1] = live_mincore(base, base + TWIN_PAGES * page_size());
    assert_int_equal(resident[0], resident[1]);
    assert_int_equal(live_stats(space).faults, before.faults);
    assert_int_equal(pager.calls, 0);
    uf_pager_unref(pager.pager);
    twin_destroy(t);
}

/* Cut at an entry's end, with a NUL; the length is that of the whole. */
static void a_text_that_does_not_fit(void **state)
{
    struct uf_space *space = live_space(NULL, 3);
    uintptr_t at = live_page(space, 16);
    char *whole = malloc(16384), *part = malloc(16384), *entry;
    ssize_t len;
    size_t first;

    (void)state;
    assert_true(uf_mmap(space, at, page_size(), PROT_READ,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) > 0);
    len = uf_space_smaps(space, whole, 16384);
    assert_int_equal(strlen(whole), len);
    assert_int_equal(uf_space_smaps(space, NULL, 0), len);
    entry = strstr(whole, "VmFlags:");
    first = (size_t)(strchr(entry, '\n') + 1 - whole);
    for (size_t room = 1; room <= (size_t)len + 1; room++) {
        size_t want =
            room > (size_t)len ? (size_t)len : (room > first ? first : 0);

        memset(part, 'x', 16384);
        assert_int_equal(uf_space_smaps(space, part, room), len);
        assert_int_equal(strlen(part), want);
        assert_memory_equal(part, whole, want);
        assert_int_equal(part[room], 'x');
        room += room % 97 == 0 ? 0 : 3;
    }
    free(whole);
    free(part);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Lines of maps are those that entries of smaps begin with. */
static void maps_and_smaps_agree(void **state)
{
    struct twin *t = twin_make(13);
    char *maps = malloc(TEXT), *smaps = malloc(TEXT), *at = smaps;

    (void)state;
    for (int i = 0; i < 100; i++)
        twin_do_any(t);
    assert_in_range(uf_space_maps(t->sides[OURS].space, maps, TEXT), 1, TEXT);
    assert_in_range(uf_space_smaps(t->sides[OURS].space, smaps, TEXT), 1, TEXT);
    for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n")) {
        at = strstr(at, line);
        assert_non_null(at);
        assert_int_equal(at[strlen(line)], '\n');
        at = strstr(at, "VmFlags:");
        assert_non_null(at);
    }
    assert_null(strstr(at, "Rss:"));
    free(maps);
    free(smaps);
    twin_destroy(t);
}

/* Parts of a file, mapped apart and then joined by a third, are one. */
static void parts_of_a_file_become_one(void **state)
{
    static const struct twin_part parts[] = {{0, 4}, {8, 4}, {4, 4}};
    struct twin *t = twin_make(15);
    struct smap maps[2][4];

    (void)state;
    for (int i = 0; i < 2; i++)
        for (int p = 0; p < 3; p++)
            assert_true(side_mmap(&t->sides[i], twin_addr(t, i, parts[p]),
                                  4 * page_size(), PROT_READ,
                                  MAP_SHARED | MAP_FIXED, t->fds[i],
                                  (off_t)(parts[p].first * page_size())) > 0);
    assert_int_equal(read_theirs(t, maps[THEIRS]), 1);
    assert_int_equal(read_ours(t, maps[OURS]), 1);
    assert_int_equal(live_stats(t->sides[OURS].space).map_count, 1);
    twin_destroy(t);
}

static void assert_entry(const struct smap *map, const char *name, long rss_kb)
{
    assert_string_equal(map->name, name);
    assert_int_equal(smap_kb(map, "Rss:"), rss_kb);
    assert_int_equal(smap_kb(map, "Anonymous:"), rss_kb);
    assert_int_equal(smap_kb(map, "Private_Dirty:"), rss_kb);
    assert_int_equal(smap_kb(map, "Referenced:"), rss_kb);
    assert_int_equal(smap_kb(map, "Pss:"), rss_kb);
}

/* Neighbours with pagers of their own are one mapping of the host: each gets
 * what is its own of the host's sums. */
static void mappings_that_are_one_in_the_host(void **state)
{
    struct twin *t = twin_make(9);
    struct uf_space *space = t->sides[OURS].space;
    long page_kb = (long)page_size() / 1024;
    struct live_pager pagers[2];
    struct smap maps[8];

    (void)state;
    for (int i = 0; i < 2; i++) {
        live_pager_init(&pagers[i], NULL, NULL);
        assert_true(
            uf_mmap_pager(space, side_at(&t->sides[OURS], (size_t)i * 16),
                          16 * page_size(), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_FIXED, pagers[i].pager, 0) > 0);
    }
    assert_int_equal(host_count_vmas(side_at(&t->sides[OURS], 0),
                                     side_at(&t->sides[OURS], 32)),
                     1);
    for (size_t i = 10; i < 19; i++)
        live_write(side_at(&t->sides[OURS], i), 1, NULL);
    assert_int_equal(read_ours(t, maps), 2);
    recount(maps, 2);
    assert_entry(&maps[0], "[told]", 6 * page_kb);
    assert_entry(&maps[1], "[told]", 3 * page_kb);
    uf_pager_unref(pagers[0].pager);
    uf_pager_unref(pagers[1].pager);
    twin_destroy(t);
}

static void look_in_child(void *arg)
{
    (void)arg;
    pause(); /* until it is ended */
}

/* What a forked child shares is shown as shared, also where one mapping of the
 * host is two of ours. */
static void pages_that_a_child_shares(void **state)
{
    struct twin *t = twin_make(11);
    struct twin_part all = {0, 32}, half = {0, 16};
    pid_t child;

    (void)state;
    for (int i = 0; i < 2; i++) {
        side_map(&t->sides[i], 0, 32, PROT_READ | PROT_WRITE, 0);
        side_madvise(&t->sides[i], twin_addr(t, i, half), 16 * page_size(),
                     MADV_SEQUENTIAL);
    }
    twin_note(t, all, PROT_READ | PROT_WRITE);
    twin_touch(t, (struct twin_part){4, 20});
    child = fork();
    if (child == 0) {
        look_in_child(NULL);
        _exit(0);
    }
    for (int i = 0; i < 2; i++) /* not shared any more */
        for (unsigned p = 6; p < 19; p++)
            live_write(side_at(&t->sides[i], p), 2, NULL);
    {
        static struct smap ours[MAPS], theirs[MAPS];

        assert_int_equal(read_ours(t, ours), 2);
        assert_int_equal(read_theirs(t, theirs), 2);
        to_base(ours, 2, t->sides[OURS].base);
        to_base(theirs, 2, t->sides[THEIRS].base);
        for (int i = 0; i < 2; i++)
            for (int f = 0; f < SMAP_FIELDS; f++)
                if (ours[i].kb[f] >= 0)
                    assert_int_equal(ours[i].kb[f], theirs[i].kb[f]);
        assert_true(smap_kb(&ours[0], "Shared_Dirty:") > 0);
    }
    kill(child, SIGKILL);
    twin_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_calls_are_shown_as_by_the_kernel),
        cmocka_unit_test(pages_that_are_not_alike),
        cmocka_unit_test(looking_touches_nothing),
        cmocka_unit_test(a_text_that_does_not_fit),
        cmocka_unit_test(mappings_that_are_one_in_the_host),
        cmocka_unit_test(pages_that_a_child_shares),
        cmocka_unit_test(maps_and_smaps_agree),
        cmocka_unit_test(parts_of_a_file_become_one),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("smaps", tests, NULL, NULL);
}
