/* SPDX-License-Identifier: MIT */
/*
 * The text of a space's mappings and the walk below it, without userfaultfd:
 * names, offsets, column 73, and maps that change under the walk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/space.h"
#include "pager/pager.h"

#define BASE ((uintptr_t)0x20000000)

static int releases;

static ssize_t no_fill(void *context, const struct uf_fill *request)
{
    (void)context;
    (void)request;
    return -EIO;
}

static void count_release(void *context)
{
    (void)context;
    releases++;
}

static struct uf_pager *make_pager(const char *name)
{
    const struct uf_pager_ops ops = {.size = sizeof(ops),
                                     .name = name,
                                     .fill = no_fill,
                                     .release = count_release};
    struct uf_pager *pager = NULL;

    assert_int_equal(pager_create(&ops, NULL, &pager), 0);
    return pager;
}

static struct uf_space *make_space(struct uf_pager *heap_pager)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = 64 * page_size(),
                                 .address = BASE,
                                 .heap_pager = heap_pager};
    struct space_params params = {.opts = &opts};
    struct uf_space *space = NULL;

    assert_int_equal(space_create(&params, &space), 0);
    return space;
}

static void grow(struct uf_space *space, size_t npages)
{
    struct range grown;

    space_brk(space, space->brk + npages * page_size(), &grown);
}

static void insert(struct uf_space *space, size_t page, size_t npages,
                   uint32_t prot, struct uf_pager *pager, uint64_t offset)
{
    struct vma vma = {.start = BASE + page * page_size(),
                      .end = BASE + (page + npages) * page_size(),
                      .flags = prot,
                      .pager = pager,
                      .offset = offset,
                      .generation = ++space->generation};

    assert_int_equal(vma_set_reserve(&space->vmas, 1), 0);
    vma_set_insert(&space->vmas, &vma);
    limits_account_locked(space, (ssize_t)npages, vma.flags);
}

static void assert_maps(struct uf_space *space, const char *want)
{
    char text[1024];

    assert_true(space_maps(space, text, sizeof(text)) == (ssize_t)strlen(want));
    assert_string_equal(text, want);
}

/* A zero-paged mapping is anonymous: offset 0 and no name. */
static void anonymous_memory(void **state)
{
    struct uf_space *space = make_space(NULL);

    (void)state;
    assert_maps(space, "");
    insert(space, 4, 2, PROT_READ, pager_zero(), 0x4000);
    assert_maps(space, "20004000-20006000 r--p 00000000 00:00 0 \n");
    insert(space, 8, 1, PROT_READ | PROT_EXEC, pager_zero(), 0);
    insert(space, 9, 1, PROT_NONE, pager_zero(), 0);
    assert_maps(space, "20004000-20006000 r--p 00000000 00:00 0 \n"
                       "20008000-20009000 r-xp 00000000 00:00 0 \n"
                       "20009000-2000a000 ---p 00000000 00:00 0 \n");
    space_destroy(space);
}

/* A pager has a name and an offset; the heap is the heap whoever pages it. */
static void named_memory(void **state)
{
    struct uf_pager *pager = make_pager("table");
    struct uf_space *space = make_space(pager);

    (void)state;
    grow(space, 3);
    insert(space, 10, 1, PROT_READ | PROT_WRITE, pager, 0x123456000);
    assert_maps(space, "20000000-20003000 rw-p 00000000 00:00 0"
                       "                                  [heap]\n"
                       "2000a000-2000b000 rw-p 123456000 00:00 0"
                       "                                 [table]\n");
    space_destroy(space);
    pager_unref(pager);
    assert_int_equal(releases, 1);
}

/* A name as long as names may be, behind a column that is full. */
static void a_long_name(void **state)
{
    struct uf_pager *pager =
        make_pager("a name that is rather longer than is kept of it");
    struct uf_space *space = make_space(NULL);
    char text[256];

    (void)state;
    insert(space, 0, 1, PROT_READ, pager, UINT64_MAX - 4095);
    assert_true(space_maps(space, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "[a name that is rather longer than]")
                        ? text
                        : strstr(text, "[a name that is rather longer "));
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_int_equal(strchr(text, '[') - text, 73);
    space_destroy(space);
    pager_unref(pager);
}

struct seen {
    struct uf_space *space;
    size_t visits;
    struct uf_vma_info info[8];
};

static int note(void *data, const struct uf_vma_info *info)
{
    struct seen *seen = data;

    assert_true(seen->visits < 8);
    seen->info[seen->visits++] = *info;
    return 0;
}

static int note_and_remove_next(void *data, const struct uf_vma_info *info)
{
    struct seen *seen = data;
    struct range next = {info->end, info->end + 4 * page_size()};

    if (seen->visits == 0) {
        size_t gone;

        assert_int_equal(vma_set_reserve(&seen->space->vmas, 1), 0);
        gone =
            vma_set_remove(&seen->space->vmas, next, ++seen->space->generation);
        limits_account_locked(seen->space, -(ssize_t)(gone / page_size()),
                              VMA_READ);
    }
    return note(data, info);
}

/* What goes while the visitor runs is not visited; what is left is, once. */
static void a_map_that_changes_under_the_walk(void **state)
{
    struct uf_space *space = make_space(NULL);
    struct seen seen = {.space = space};

    (void)state;
    insert(space, 0, 2, PROT_READ, pager_zero(), 0);
    insert(space, 3, 2, PROT_READ, pager_zero(), 0);
    insert(space, 9, 2, PROT_READ, pager_zero(), 0);
    assert_int_equal(space_walk(space, note_and_remove_next, &seen), 0);
    assert_int_equal(seen.visits, 2);
    assert_true(seen.info[0].end == BASE + 2 * page_size());
    assert_true(seen.info[1].start == BASE + 9 * page_size());
    space_destroy(space);
}

static int note_and_extend(void *data, const struct uf_vma_info *info)
{
    struct seen *seen = data;
    struct uf_pager *late;

    if (seen->visits == 0) {
        late = make_pager("late");
        insert(seen->space, 2, 3, PROT_READ, late, 0x2000);
        pager_unref(late); /* the mapping holds its own */
    }
    return note(data, info);
}

/* What grows behind the part that was seen is seen as a part, with the offset
 * of its own first page. */
static void a_mapping_that_grows_under_the_walk(void **state)
{
    struct uf_space *space = make_space(NULL);
    struct seen seen = {.space = space};

    (void)state;
    releases = 0;
    insert(space, 0, 2, PROT_READ, pager_zero(), 0);
    assert_int_equal(space_walk(space, note_and_extend, &seen), 0);
    assert_int_equal(seen.visits, 2);
    assert_true(seen.info[1].start == BASE + 2 * page_size());
    assert_int_equal(seen.info[1].offset, 0x2000);
    space_destroy(space);
    assert_int_equal(releases, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anonymous_memory),
        cmocka_unit_test(named_memory),
        cmocka_unit_test(a_long_name),
        cmocka_unit_test(a_map_that_changes_under_the_walk),
        cmocka_unit_test(a_mapping_that_grows_under_the_walk),
    };

    return cmocka_run_group_tests_name("show", tests, NULL, NULL);
}
