/* SPDX-License-Identifier: MIT */
/*
 * What a person can see of a space: the walk, the text in the kernel's own
 * format (held against lines of the real /proc/self/maps), and the statistics
 * as text and as JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"
#include "mm/space.h"
#include "pager/pager.h"

/* -------------------------------------------------------------------- walk --
 */

struct walk {
    struct uf_space *space;
    unsigned visits;
    struct uf_vma_info last;
    char pager[32];
};

static int note(void *data, const struct uf_vma_info *vma)
{
    struct walk *walk = data;

    walk->visits++;
    walk->last = *vma;
    snprintf(walk->pager, sizeof(walk->pager), "%s", vma->pager);
    return 0;
}

/* One heap, with all that the struct says of it. */
static void the_walk_tells_the_heap(void **state)
{
    struct uf_space_opts opts = {.flags = UF_SPACE_LOCKED};
    struct uf_space *space = live_space(&opts, 0);
    struct walk walk = {.space = space};

    (void)state;
    assert_int_equal(uf_space_walk(space, note, &walk), 0);
    assert_int_equal(walk.visits, 0);
    uf_sbrk(space, (intptr_t)(5 * page_size()) - 1);
    assert_int_equal(uf_space_walk(space, note, &walk), 0);
    assert_int_equal(walk.visits, 1);
    assert_int_equal(walk.last.size, sizeof(struct uf_vma_info));
    assert_true(walk.last.start == uf_space_base(space));
    assert_true(walk.last.end == live_page(space, 5));
    assert_int_equal(walk.last.prot, PROT_READ | PROT_WRITE);
    assert_int_equal(walk.last.flags, UF_VMA_HEAP | UF_VMA_LOCKED);
    assert_int_equal(walk.last.offset, 0);
    assert_string_equal(walk.pager, "zero");
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Maps [page, page + npages) as no call of the library does yet. */
static void insert(struct uf_space *space, size_t page, size_t npages,
                   uint32_t prot)
{
    struct vma vma = {.start = live_page(space, page),
                      .end = live_page(space, page + npages),
                      .flags = prot,
                      .pager = pager_zero()};

    rwlock_take_write(&space->map_lock);
    assert_int_equal(vma_set_reserve(&space->vmas, 1), 0);
    vma.generation = ++space->generation;
    vma_set_insert(&space->vmas, &vma);
    limits_account_locked(space, (ssize_t)npages, vma.flags);
    rwlock_release(&space->map_lock);
}

static int stop_at_second(void *data, const struct uf_vma_info *vma)
{
    struct walk *walk = data;

    note(data, vma);
    return walk->visits == 2 ? -77 : 0;
}

/* What the visitor returns ends the walk and is its answer. */
static void a_visitor_ends_the_walk(void **state)
{
    struct uf_space *space = live_space(NULL, 2);
    struct walk walk = {.space = space};

    (void)state;
    insert(space, 10, 2, PROT_READ);
    insert(space, 20, 2, PROT_READ);
    assert_int_equal(uf_space_walk(space, note, &walk), 0);
    assert_int_equal(walk.visits, 3);
    walk.visits = 0;
    assert_int_equal(uf_space_walk(space, stop_at_second, &walk), -77);
    assert_int_equal(walk.visits, 2);
    assert_true(walk.last.start == live_page(space, 10));
    assert_int_equal(uf_space_destroy(space), 0);
}

static int move_under_walk(void *data, const struct uf_vma_info *vma)
{
    struct walk *walk = data;
    char text[400];

    note(data, vma);
    /* All of these take the lock that the walk must not hold. */
    uf_sbrk(walk->space, (intptr_t)page_size());
    uf_space_maps(walk->space, text, sizeof(text));
    live_write(vma->start, 1, NULL);
    return 0;
}

/* A heap that grows under the walk is not seen for ever. */
static void a_visitor_may_move_the_break(void **state)
{
    struct uf_space *space = live_space(NULL, 2);
    struct walk walk = {.space = space};

    (void)state;
    assert_int_equal(uf_space_walk(space, move_under_walk, &walk), 0);
    /* What was added behind the part seen is seen: up to the area's end. */
    assert_in_range(walk.visits, 1, uf_space_len(space) / page_size());
    assert_int_equal(uf_space_destroy(space), 0);
}

/* -------------------------------------------------------------------- maps --
 */

/* The line of /proc/self/maps that starts at `start`; false if there is none.
 */
static bool real_line(uintptr_t start, char *line, size_t len_bytes)
{
    FILE *file = fopen("/proc/self/maps", "r");
    bool found = false;

    assert_non_null(file);
    while (!found && fgets(line, (int)len_bytes, file))
        found = strtoull(line, NULL, 16) == start;
    fclose(file);
    return found;
}

/* A real mapping's line and ours, of the same place: every byte. */
static void a_line_is_the_kernels(void **state)
{
    static const uint32_t prots[] = {
        PROT_NONE,
        PROT_READ,
        PROT_READ | PROT_WRITE,
        PROT_READ | PROT_WRITE | PROT_EXEC,
        PROT_READ | PROT_EXEC,
    };
    static const uintptr_t bases[] = {0x10000000, 0x7000000000, 0x600000000000};
    size_t len = (size_t)1 << 20;

    (void)state;
    for (size_t i = 0; i < sizeof(prots) / sizeof(prots[0]); i++) {
        for (size_t b = 0; b < sizeof(bases) / sizeof(bases[0]); b++) {
            struct uf_space_opts opts = {.len_bytes = len, .address = bases[b]};
            char real[256], ours[256];
            struct uf_space *space;
            void *p =
                mmap((void *)(bases[b] + 16 * page_size()), 3 * page_size(),
                     (int)prots[i], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            assert_true(p != MAP_FAILED);
            if ((uintptr_t)p != bases[b] + 16 * page_size() ||
                !real_line((uintptr_t)p, real, sizeof(real))) {
                munmap(p, 3 * page_size());
                continue; /* something else is there */
            }
            munmap(p, 3 * page_size());
            space = live_space(&opts, 0);
            insert(space, 16, 3, prots[i]);
            assert_true(uf_space_maps(space, ours, sizeof(ours)) ==
                        (ssize_t)strlen(real));
            assert_string_equal(ours, real);
            assert_int_equal(uf_space_destroy(space), 0);
        }
    }
}

/* The address column may be wider or narrower; the rest is the same. */
static const char *behind_address(const char *line)
{
    return strchr(line, ' ');
}

/* Against the line of this process's own heap; its name is at column 73. */
static void the_heap_line_is_the_kernels(void **state)
{
    char real[256], ours[256];
    bool found = false;
    FILE *file;
    struct uf_space *space = live_space(NULL, 33);

    (void)state;
    if (sbrk(4096) == (void *)-1)
        skip();
    file = fopen("/proc/self/maps", "r");
    assert_non_null(file);
    while (!found && fgets(real, sizeof(real), file))
        found = strstr(real, "[heap]") != NULL;
    fclose(file);
    assert_true(found);
    assert_int_equal(uf_space_maps(space, ours, sizeof(ours)), 80);
    assert_int_equal(strlen(ours), 80);
    assert_int_equal(strstr(ours, "[heap]") - ours, 73);
    if (behind_address(real) - real == behind_address(ours) - ours)
        assert_string_equal(behind_address(ours), behind_address(real));
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Cut at a line's end, with a NUL; the length is that of the whole. */
static void a_text_that_does_not_fit(void **state)
{
    struct uf_space *space = live_space(NULL, 2);
    char whole[512], part[512];
    ssize_t len;

    (void)state;
    insert(space, 10, 2, PROT_READ);
    insert(space, 20, 2, PROT_NONE);
    len = uf_space_maps(space, whole, sizeof(whole));
    assert_int_equal(strlen(whole), len);
    assert_int_equal(uf_space_maps(space, NULL, 0), len);
    for (size_t room = 1; room < sizeof(part); room++) {
        size_t kept;

        memset(part, 'x', sizeof(part));
        assert_int_equal(uf_space_maps(space, part, room), len);
        kept = strlen(part);
        assert_true(kept < room);
        assert_memory_equal(part, whole, kept);
        assert_true(kept == 0 || part[kept - 1] == '\n');
        assert_int_equal(part[room], 'x');
        if (kept < (size_t)len) /* the next line would not have fitted */
            assert_true(strchr(whole + kept, '\n') + 1 - whole >=
                        (ptrdiff_t)room);
    }
    assert_int_equal(uf_space_destroy(space), 0);
}

/* -------------------------------------------------------------- statistics --
 */

static struct uf_stats some_stats(void)
{
    struct uf_space *space = live_space(NULL, 100);
    struct uf_stats stats;

    for (size_t i = 0; i < 100; i += 9)
        live_write(live_page(space, i), 1, NULL);
    stats = live_stats(space);
    assert_int_equal(uf_space_destroy(space), 0);
    return stats;
}

/* Lengths and cutting as snprintf(3) does both. */
static void texts_are_cut_as_by_snprintf(void **state)
{
    ssize_t (*const writers[])(const struct uf_stats *, char *,
                               size_t) = {uf_stats_text, uf_stats_json};
    struct uf_stats stats = some_stats();

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ssize_t len = writers[i](&stats, NULL, 0);
        char *whole = malloc((size_t)len + 1), *part = malloc((size_t)len + 2);

        assert_int_equal(writers[i](&stats, whole, (size_t)len + 1), len);
        assert_int_equal(strlen(whole), len);
        for (size_t room = 1; room <= (size_t)len + 1; room++) {
            memset(part, 'x', (size_t)len + 2);
            assert_int_equal(writers[i](&stats, part, room), len);
            assert_int_equal(strlen(part), room - 1);
            assert_memory_equal(part, whole, room - 1);
            assert_int_equal(part[room], 'x');
        }
        free(whole);
        free(part);
    }
}

static bool json_says(const char *json, const char *name, uint64_t value)
{
    char field[96];

    snprintf(field, sizeof(field), "\"%s\":%" PRIu64, name, value);
    return strstr(json, field) != NULL;
}

/* Every statistic is in both, with its value. */
static void every_statistic_is_shown(void **state)
{
    struct uf_stats stats = some_stats();
    char text[16384], json[8192], start[64];

    (void)state;
    assert_in_range(uf_stats_text(&stats, text, sizeof(text)), 1, 16383);
    assert_in_range(uf_stats_json(&stats, json, sizeof(json)), 1, 8191);
    assert_int_equal(json[0], '{');
    assert_int_equal(json[strlen(json) - 1], '}');
    assert_null(strstr(json, "\n"));
#define SHOWN(name, sentence)                                                  \
    snprintf(start, sizeof(start), "%-16s %12" PRIu64 "  ", #name,             \
             stats.name);                                                      \
    assert_non_null(strstr(text, start));                                      \
    assert_non_null(strstr(text, sentence));                                   \
    assert_true(json_says(json, #name, stats.name));
    UF_COUNTERS(SHOWN)
    UF_GAUGES(SHOWN)
#undef SHOWN
    assert_true(json_says(json, "version", UF_STATS_VERSION));
    assert_true(json_says(json, "page_bytes", page_size()));
    assert_true(json_says(json, "fault_p99_ns", stats.fault_p99_ns));
}

/* jq, where it is installed, reads it and finds a value. */
static void jq_reads_the_json(void **state)
{
    struct uf_stats stats = some_stats();
    char json[8192];
    FILE *jq;

    (void)state;
    if (system("command -v jq >/dev/null 2>&1") != 0) {
        print_message("jq is not installed\n");
        skip();
    }
    stats.resident = 4242;
    assert_true(uf_stats_json(&stats, json, sizeof(json)) > 0);
    jq = popen("jq -e '.resident == 4242 and (.faults | type) == \"number\"' "
               ">/dev/null",
               "w");
    assert_non_null(jq);
    fputs(json, jq);
    assert_int_equal(pclose(jq), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_walk_tells_the_heap),
        cmocka_unit_test(a_visitor_ends_the_walk),
        cmocka_unit_test(a_visitor_may_move_the_break),
        cmocka_unit_test(a_line_is_the_kernels),
        cmocka_unit_test(the_heap_line_is_the_kernels),
        cmocka_unit_test(a_text_that_does_not_fit),
        cmocka_unit_test(texts_are_cut_as_by_snprintf),
        cmocka_unit_test(every_statistic_is_shown),
        cmocka_unit_test(jq_reads_the_json),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("space show", tests, NULL, NULL);
}
