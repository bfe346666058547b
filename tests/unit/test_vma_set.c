/* SPDX-License-Identifier: MIT */
/*
 * vma_set: merging, splitting, gaps, and no failure after a reserve.
 *
 * Address spaces are drawn, one page per column, from BASE upwards:
 *
 *     "AA*B   FF"
 *
 *     A   zero pager, read and write
 *     B   as A, read only
 *     H   as A, heap
 *     F   pager f, whose bytes depend on the offset
 *     G   another such pager
 *     ' ' no VMA (none at the end of a drawing)
 *     *   the first page of a VMA of the same kind as the one that ends there,
 *         which has not merged with it
 *
 * So "FF*F" is four pages of F in two VMAs. Drawn VMAs have the offset
 * column * page size, so that neighbours are contiguous unless a test says
 * otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/slab.h"
#include "mm/vma_set.h"
#include "pager/pager.h"

#define COLUMNS 32
#define BASE    ((uintptr_t)1 << 32)

/* ---- Kinds and pagers -------------------------------------------------- */

static struct uf_pager *pager_f, *pager_g;
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

static struct uf_pager *make_pager(void)
{
    struct uf_pager_ops ops = {.size = sizeof(ops),
                               .name = "test",
                               .fill = no_fill,
                               .release = count_release};
    struct uf_pager *pager;

    assert_int_equal(pager_create(&ops, NULL, &pager), 0);
    return pager;
}

static unsigned long refs(struct uf_pager *pager)
{
    return atomic_load(&pager->refs);
}

static struct vma vma_of_kind(char kind)
{
    struct vma vma = {.flags = VMA_READ | VMA_WRITE, .pager = pager_zero()};

    if (kind == 'B')
        vma.flags = VMA_READ;
    if (kind == 'H')
        vma.flags |= VMA_NORESERVE;
    if (kind == 'F')
        vma.pager = pager_f;
    if (kind == 'G')
        vma.pager = pager_g;
    return vma;
}

static char kind_of(const struct vma *vma)
{
    if (vma->pager == pager_f)
        return 'F';
    if (vma->pager == pager_g)
        return 'G';
    if ((vma->flags & VMA_NORESERVE))
        return 'H';
    return vma->flags == VMA_READ ? 'B' : 'A';
}

/* ---- Drawing ----------------------------------------------------------- */

static uintptr_t at(size_t column)
{
    return BASE + column * page_size();
}

static struct range columns(size_t first, size_t end)
{
    return (struct range){at(first), at(end)};
}

static struct vma *put(struct vma_set *set, char kind, size_t first, size_t end,
                       size_t offset_column, uint64_t generation)
{
    struct vma vma = vma_of_kind(kind);

    vma.start = at(first);
    vma.end = at(end);
    vma.offset = offset_column * page_size();
    vma.generation = generation;
    assert_int_equal(vma_set_reserve(set, 1), 0);
    return vma_set_insert(set, &vma);
}

/* Inserts each run of equal letters of the drawing; the last one's record. */
static struct vma *draw(struct vma_set *set, const char *drawing)
{
    struct vma *vma = NULL;
    size_t len = strlen(drawing);

    for (size_t i = 0, end; i < len; i = end) {
        for (end = i + 1; end < len && drawing[end] == drawing[i]; end++)
            ;
        if (drawing[i] != ' ')
            vma = put(set, drawing[i], i, end, i, 0);
    }
    return vma;
}

static void show(const struct vma_set *set, char drawing[COLUMNS + 1])
{
    const struct vma *prev = NULL;
    size_t len = 0;

    for (const struct vma *vma = vma_set_find(set, 0); vma;
         prev = vma, vma = vma_set_next(set, vma)) {
        size_t first = (vma->start - BASE) / page_size();
        size_t end = (vma->end - BASE) / page_size();

        memset(drawing + len, ' ', first - len);
        memset(drawing + first, kind_of(vma), end - first);
        if (prev && prev->end == vma->start && kind_of(prev) == kind_of(vma))
            drawing[first] = '*';
        len = end;
    }
    drawing[len] = '\0';
}

static void expect(const struct vma_set *set, const char *drawing)
{
    char shown[COLUMNS + 1];

    show(set, shown);
    assert_string_equal(shown, drawing);
    assert_true(vma_set_is_valid(set));
}

static size_t cut(struct vma_set *set, size_t first, size_t end,
                  uint64_t generation)
{
    assert_int_equal(vma_set_reserve(set, 1), 0);
    return vma_set_remove(set, columns(first, end), generation) / page_size();
}

/* The column where a VMA starts; -1 for no VMA. */
static int column(const struct vma *vma)
{
    return vma ? (int)((vma->start - BASE) / page_size()) : -1;
}

static uint64_t generation_at(const struct vma_set *set, size_t col)
{
    return vma_set_lookup(set, at(col))->generation;
}

static int setup(void **state)
{
    static struct vma_set set;

    releases = 0;
    pager_f = make_pager();
    pager_g = make_pager();
    vma_set_init(&set, columns(0, COLUMNS));
    *state = &set;
    return 0;
}

/* Every test ends with nothing live and every reference given back. */
static int teardown(void **state)
{
    slab_inject_failure(0, 0);
    vma_set_destroy(*state);
    assert_int_equal(refs(pager_f), 1);
    assert_int_equal(refs(pager_g), 1);
    pager_unref(pager_f);
    pager_unref(pager_g);
    assert_int_equal(releases, 2);
    assert_int_equal(slab_live(&vma_record_cache), 0);
    assert_int_equal(slab_live(&vma_node_cache), 0);
    return 0;
}

/* ---- Looking up -------------------------------------------------------- */

/* An empty set finds nothing and takes no memory. */
static void empty_set(void **state)
{
    struct vma_set *set = *state;

    expect(set, "");
    assert_null(vma_set_lookup(set, at(0)));
    assert_null(vma_set_find(set, 0));
    assert_null(vma_set_find_prev(set, UINTPTR_MAX));
    assert_null(vma_set_find_intersection(set, columns(0, COLUMNS)));
    assert_int_equal(vma_set_memory(set), 0);
    assert_int_equal(cut(set, 0, COLUMNS, 1), 0);
    assert_int_equal(vma_set_memory(set), 0);
}

static void lookup_is_inside_only(void **state)
{
    struct vma_set *set = *state;

    draw(set, " AAB  F");
    assert_null(vma_set_lookup(set, at(1) - 1));
    assert_int_equal(column(vma_set_lookup(set, at(1))), 1);
    assert_int_equal(column(vma_set_lookup(set, at(3) - 1)), 1);
    assert_int_equal(column(vma_set_lookup(set, at(3))), 3);
    assert_null(vma_set_lookup(set, at(4)));
    assert_null(vma_set_lookup(set, at(6) - 1));
    assert_int_equal(column(vma_set_lookup(set, at(6))), 6);
    assert_null(vma_set_lookup(set, at(7)));
    assert_null(vma_set_lookup(set, 0));
    assert_null(vma_set_lookup(set, UINTPTR_MAX));
}

static void find_is_the_first_that_ends_above(void **state)
{
    struct vma_set *set = *state;

    draw(set, " AAB  F");
    assert_int_equal(column(vma_set_find(set, 0)), 1);
    assert_int_equal(column(vma_set_find(set, at(2))), 1);
    assert_int_equal(column(vma_set_find(set, at(3))), 3);
    assert_int_equal(column(vma_set_find(set, at(4))), 6);
    assert_int_equal(column(vma_set_find(set, at(7) - 1)), 6);
    assert_null(vma_set_find(set, at(7)));
    assert_null(vma_set_find(set, UINTPTR_MAX));
}

static void find_prev_is_the_last_that_ends_at_or_below(void **state)
{
    struct vma_set *set = *state;

    draw(set, " AAB  F");
    assert_null(vma_set_find_prev(set, 0));
    assert_null(vma_set_find_prev(set, at(1)));
    assert_null(vma_set_find_prev(set, at(3) - 1));
    assert_int_equal(column(vma_set_find_prev(set, at(3))), 1);
    assert_int_equal(column(vma_set_find_prev(set, at(4) - 1)), 1);
    assert_int_equal(column(vma_set_find_prev(set, at(4))), 3);
    assert_int_equal(column(vma_set_find_prev(set, at(6))), 3);
    assert_int_equal(column(vma_set_find_prev(set, at(7))), 6);
    assert_int_equal(column(vma_set_find_prev(set, UINTPTR_MAX)), 6);
}

static void find_intersection(void **state)
{
    struct vma_set *set = *state;

    draw(set, " AAB  F");
    assert_null(vma_set_find_intersection(set, columns(0, 1)));
    assert_int_equal(column(vma_set_find_intersection(set, columns(0, 2))), 1);
    assert_int_equal(column(vma_set_find_intersection(set, columns(2, 9))), 1);
    assert_int_equal(column(vma_set_find_intersection(set, columns(3, 9))), 3);
    assert_null(vma_set_find_intersection(set, columns(4, 6)));
    assert_int_equal(column(vma_set_find_intersection(set, columns(4, 7))), 6);
    assert_null(vma_set_find_intersection(set, columns(7, 9)));
    /* An empty range overlaps nothing, even inside a VMA. */
    assert_null(vma_set_find_intersection(set, columns(2, 2)));
}

static void next_and_prev_walk_in_order(void **state)
{
    struct vma_set *set = *state;
    struct vma *a, *b, *f;

    draw(set, " AAB  F");
    a = vma_set_lookup(set, at(1));
    b = vma_set_next(set, a);
    f = vma_set_next(set, b);
    assert_int_equal(column(b), 3);
    assert_int_equal(column(f), 6);
    assert_null(vma_set_next(set, f));
    assert_ptr_equal(vma_set_prev(set, f), b);
    assert_ptr_equal(vma_set_prev(set, b), a);
    assert_null(vma_set_prev(set, a));
}

/* ---- Inserting --------------------------------------------------------- */

static void insert_apart_stays_apart(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AA  AA");
    expect(set, "AA  AA");
    assert_int_equal(set->count, 2);
}

static void insert_merges_with_previous(void **state)
{
    struct vma_set *set = *state;
    struct vma *left = draw(set, "FF");

    assert_ptr_equal(draw(set, "  FF"), left);
    expect(set, "FFFF");
    assert_int_equal(left->offset, 0);
    assert_int_equal(refs(pager_f), 2);
}

static void insert_merges_with_next(void **state)
{
    struct vma_set *set = *state;
    struct vma *right = draw(set, "    FF");

    assert_ptr_equal(draw(set, "  FF"), right);
    expect(set, "  FFFF");
    assert_int_equal(right->offset, 2 * page_size());
    assert_int_equal(refs(pager_f), 2);
}

static void insert_merges_with_both(void **state)
{
    struct vma_set *set = *state;
    struct vma *left = draw(set, "FF");

    draw(set, "    FF B");
    assert_int_equal(refs(pager_f), 3);
    assert_ptr_equal(draw(set, "  FF"), left);
    expect(set, "FFFFFF B");
    assert_int_equal(set->count, 2);
    assert_int_equal(refs(pager_f), 2);
}

static void other_prot_flags_or_pager_do_not_merge(void **state)
{
    struct vma_set *set = *state;

    draw(set, "BB  HH  GG");
    draw(set, "  AA  FF");
    expect(set, "BBAAHHFFGG");
    assert_int_equal(set->count, 5);
}

static void gaps_in_offsets_do_not_merge(void **state)
{
    struct vma_set *set = *state;

    draw(set, "FF  FF");
    put(set, 'F', 2, 4, 20, 0);
    expect(set, "FF*F*F");
    /* Contiguous with the one behind only. */
    put(set, 'F', 8, 10, 8, 0);
    put(set, 'F', 6, 8, 6, 0);
    expect(set, "FF*F*FFFFF");
}

/* Any zero is as good as another: offsets do not keep zero VMAs apart. */
static void zero_pager_merges_whatever_the_offset(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AA  AA");
    put(set, 'A', 2, 4, 20, 0);
    expect(set, "AAAAAA");
}

/* ---- Removing ---------------------------------------------------------- */

static void remove_whole(void **state)
{
    struct vma_set *set = *state;

    draw(set, "B FF A");
    assert_int_equal(cut(set, 2, 4, 1), 2);
    expect(set, "B    A");
    assert_int_equal(refs(pager_f), 1);
}

static void remove_head_moves_start_and_offset(void **state)
{
    struct vma_set *set = *state;
    struct vma *vma;

    draw(set, "B FFFF A");
    vma = vma_set_lookup(set, at(2));
    assert_int_equal(cut(set, 1, 3, 1), 1);
    expect(set, "B  FFF A");
    assert_ptr_equal(vma_set_lookup(set, at(3)), vma);
    assert_int_equal(vma->offset, 3 * page_size());
    assert_int_equal(refs(pager_f), 2);
}

static void remove_tail_keeps_offset(void **state)
{
    struct vma_set *set = *state;

    draw(set, "B FFFF A");
    assert_int_equal(cut(set, 4, 7, 1), 2);
    expect(set, "B FF   A");
    assert_int_equal(vma_set_lookup(set, at(2))->offset, 2 * page_size());
    assert_int_equal(refs(pager_f), 2);
}

static void remove_middle_splits(void **state)
{
    struct vma_set *set = *state;

    draw(set, "BFFFFFA");
    assert_int_equal(cut(set, 3, 5, 1), 2);
    expect(set, "BFF  FA");
    assert_int_equal(vma_set_lookup(set, at(5))->offset, 5 * page_size());
    assert_int_equal(set->count, 4);
    assert_int_equal(refs(pager_f), 3);
    /* What was cut out fits back in: one VMA again. */
    draw(set, "   FF");
    expect(set, "BFFFFFA");
    assert_int_equal(refs(pager_f), 2);
}

static void remove_across_several(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AAA BB FFF G HHH");
    assert_int_equal(cut(set, 2, 14, 1), 1 + 2 + 3 + 1 + 1);
    expect(set, "AA            HH");
    assert_int_equal(refs(pager_f), 1);
    assert_int_equal(refs(pager_g), 1);
}

static void remove_nothing(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AA    BB");
    assert_int_equal(cut(set, 2, 6, 1), 0);
    assert_int_equal(cut(set, 20, 30, 1), 0);
    assert_int_equal(cut(set, 1, 1, 1), 0);
    expect(set, "AA    BB");
    assert_int_equal(generation_at(set, 0), 0);
}

static void remove_everything_frees_all(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AABB FFGG  HH");
    assert_int_equal(cut(set, 0, COLUMNS, 1), 10);
    expect(set, "");
    assert_int_equal(vma_set_memory(set), 0);
}

/* ---- Generations ------------------------------------------------------- */

static void merging_keeps_the_newest_generation(void **state)
{
    struct vma_set *set = *state;

    put(set, 'A', 0, 1, 0, 5);
    put(set, 'A', 1, 2, 0, 3);
    assert_int_equal(generation_at(set, 0), 5);
    put(set, 'A', 4, 5, 0, 9);
    put(set, 'A', 3, 4, 0, 2);
    assert_int_equal(generation_at(set, 3), 9);
    put(set, 'A', 2, 3, 0, 7);
    expect(set, "AAAAA");
    assert_int_equal(generation_at(set, 0), 9);
}

static void a_different_generation_does_not_keep_apart(void **state)
{
    struct vma_set *set = *state;

    put(set, 'F', 0, 1, 0, 5);
    put(set, 'F', 1, 2, 1, 6);
    expect(set, "FF");
    assert_int_equal(generation_at(set, 0), 6);
}

static void what_lost_a_page_gets_the_new_generation(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AAABBBFFF GGG");
    cut(set, 4, 5, 11);
    assert_int_equal(generation_at(set, 3), 11);
    assert_int_equal(generation_at(set, 5), 11);
    assert_int_equal(generation_at(set, 2), 0);
    assert_int_equal(generation_at(set, 6), 0);
    cut(set, 8, 11, 12);
    expect(set, "AAAB BFF   GG");
    assert_int_equal(generation_at(set, 6), 12);
    assert_int_equal(generation_at(set, 11), 12);
    assert_int_equal(generation_at(set, 5), 11);
}

/* ---- Gaps -------------------------------------------------------------- */

/* The column of the gap found in [first, end), or -1. */
static int gap(const struct vma_set *set, size_t first, size_t end,
               size_t npages, size_t align_pages, bool top_down)
{
    uintptr_t start = at(77);

    if (!vma_set_find_gap(set, columns(first, end), npages * page_size(),
                          align_pages * page_size(), 0, top_down, &start)) {
        assert_int_equal(start, at(77));
        return -1;
    }
    return (int)((start - BASE) / page_size());
}

static void gap_in_an_empty_set(void **state)
{
    struct vma_set *set = *state;

    assert_int_equal(gap(set, 0, 32, 5, 1, false), 0);
    assert_int_equal(gap(set, 0, 32, 5, 1, true), 27);
    assert_int_equal(gap(set, 3, 11, 5, 1, false), 3);
    assert_int_equal(gap(set, 3, 11, 5, 1, true), 6);
    assert_int_equal(gap(set, 0, 32, 32, 1, true), 0);
    assert_int_equal(gap(set, 0, 64, 33, 1, false), -1);
    assert_int_equal(gap(set, 5, 5, 1, 1, true), -1);
}

static void gap_bottom_up(void **state)
{
    struct vma_set *set = *state;

    /*         0         1         2         3  */
    /*         01234567890123456789012345678901 */
    draw(set, " AA  BBB   FF    A            AA");
    assert_int_equal(gap(set, 0, 32, 1, 1, false), 0);
    assert_int_equal(gap(set, 0, 32, 2, 1, false), 3);
    assert_int_equal(gap(set, 0, 32, 3, 1, false), 8);
    assert_int_equal(gap(set, 0, 32, 5, 1, false), 18);
    assert_int_equal(gap(set, 0, 32, 12, 1, false), 18);
    assert_int_equal(gap(set, 0, 32, 13, 1, false), -1);
    /* The bounds cut the gaps they lie in. */
    assert_int_equal(gap(set, 4, 32, 2, 1, false), 8);
    assert_int_equal(gap(set, 9, 32, 2, 1, false), 9);
    assert_int_equal(gap(set, 9, 32, 3, 1, false), 13);
    assert_int_equal(gap(set, 9, 15, 3, 1, false), -1);
    assert_int_equal(gap(set, 5, 8, 1, 1, false), -1);
}

static void gap_top_down(void **state)
{
    struct vma_set *set = *state;

    /*         0         1         2         3  */
    /*         01234567890123456789012345678901 */
    draw(set, "AA   BBB   FF   A             A ");
    assert_int_equal(gap(set, 0, 32, 1, 1, true), 31);
    assert_int_equal(gap(set, 0, 32, 2, 1, true), 28);
    assert_int_equal(gap(set, 0, 28, 2, 1, true), 26);
    assert_int_equal(gap(set, 0, 17, 2, 1, true), 14);
    assert_int_equal(gap(set, 0, 17, 4, 1, true), -1);
    assert_int_equal(gap(set, 0, 15, 3, 1, true), 8);
    assert_int_equal(gap(set, 0, 10, 3, 1, true), 2);
    assert_int_equal(gap(set, 3, 10, 3, 1, true), -1);
    assert_int_equal(gap(set, 0, 2, 1, 1, true), -1);
}

static void gap_with_alignment(void **state)
{
    struct vma_set *set = *state;

    /* BASE is a multiple of all these.
     *         0         1         2         3
     *         01234567890123456789012345678901 */
    draw(set, "A   AAAAA    BB      FFFFFFFFFFF");
    assert_int_equal(gap(set, 0, 32, 2, 4, false), 16);
    assert_int_equal(gap(set, 0, 32, 2, 2, false), 2);
    assert_int_equal(gap(set, 0, 32, 2, 8, false), 16);
    assert_int_equal(gap(set, 0, 32, 5, 8, true), 16);
    assert_int_equal(gap(set, 0, 32, 6, 1, true), 15);
    assert_int_equal(gap(set, 0, 32, 6, 2, true), -1);
    assert_int_equal(gap(set, 0, 32, 2, 2, true), 18);
    assert_int_equal(gap(set, 0, 15, 2, 2, true), 10);
    assert_int_equal(gap(set, 0, 32, 1, 32, false), -1);
}

static void no_gap_in_a_full_set(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AAAABBBBAAAABBBBAAAABBBBAAAABBBB");
    assert_int_equal(gap(set, 0, 32, 1, 1, false), -1);
    assert_int_equal(gap(set, 0, 32, 1, 1, true), -1);
}

/* Address 0 and the very last page are addresses like any other. */
static void gaps_at_the_ends_of_the_address_space(void **state)
{
    size_t page = page_size();
    uintptr_t top = align_down(UINTPTR_MAX, page);
    struct vma_set set;
    struct vma vma = vma_of_kind('A');
    struct range all = {0, top};
    uintptr_t start;

    (void)state;
    vma_set_init(&set, all);
    assert_int_equal(vma_set_reserve(&set, 2), 0);
    vma.end = page;
    vma_set_insert(&set, &vma);
    vma.start = top - page;
    vma.end = top;
    vma_set_insert(&set, &vma);
    assert_true(vma_set_is_valid(&set));
    assert_null(vma_set_prev(&set, vma_set_lookup(&set, 0)));
    assert_null(vma_set_lookup(&set, UINTPTR_MAX));
    assert_true(vma_set_find_gap(&set, all, page, page, 0, false, &start));
    assert_int_equal(start, page);
    assert_true(vma_set_find_gap(&set, all, page, page, 0, true, &start));
    assert_int_equal(start, top - 2 * page);
    /* An alignment that has its next multiple past the end of it all. */
    all.start = ((uintptr_t)1 << 63) + page;
    for (int top_down = 0; top_down < 2; top_down++)
        assert_false(vma_set_find_gap(&set, all, page, (size_t)1 << 63, 0,
                                      top_down, &start));
    all.start = top - 2 * page + 1;
    assert_false(vma_set_find_gap(&set, all, page, page, 0, false, &start));
    vma_set_destroy(&set);
}

/* ---- The reserve ------------------------------------------------------- */

/* A set with room for many VMAs of one page, one page apart. */
static void init_comb(struct vma_set *set, size_t nteeth)
{
    vma_set_init(set, columns(0, 2 * nteeth));
}

static void insert_tooth(struct vma_set *set, size_t tooth)
{
    struct vma vma = vma_of_kind('A');

    vma.start = at(2 * tooth);
    vma.end = at(2 * tooth + 1);
    vma_set_insert(set, &vma);
}

static void add_tooth(struct vma_set *set, size_t tooth)
{
    assert_int_equal(vma_set_reserve(set, 1), 0);
    insert_tooth(set, tooth);
}

static void remove_tooth(struct vma_set *set, size_t tooth)
{
    assert_int_equal(vma_set_reserve(set, 1), 0);
    assert_int_equal(vma_set_remove(set, columns(2 * tooth, 2 * tooth + 1), 1),
                     page_size());
}

/* Wherever the memory runs out, a failed reserve leaves no trace. */
static void failed_reserve_changes_nothing(void **state)
{
    struct vma_set *set = *state;
    size_t memory, records, nodes;
    unsigned long n = 1;

    draw(set, "AAB FF G");
    memory = vma_set_memory(set);
    records = slab_live(&vma_record_cache);
    nodes = slab_live(&vma_node_cache);
    for (;; n++) {
        int err;

        slab_inject_failure(n, 1);
        err = vma_set_reserve(set, 20);
        if (!err)
            break;
        assert_int_equal(err, -ENOMEM);
        expect(set, "AAB FF G");
        assert_int_equal(vma_set_memory(set), memory);
        assert_int_equal(slab_live(&vma_record_cache), records);
        assert_int_equal(slab_live(&vma_node_cache), nodes);
    }
    assert_true(n > 20);
}

static void reserve_that_is_not_needed_goes_back(void **state)
{
    struct vma_set *set = *state;
    size_t memory;

    assert_int_equal(vma_set_reserve(set, 100), 0);
    assert_true(vma_set_memory(set) > 100 * sizeof(struct vma));
    assert_int_equal(vma_set_reserve(set, 0), 0);
    assert_int_equal(vma_set_memory(set), 0);

    draw(set, "A");
    assert_int_equal(vma_set_reserve(set, 1), 0);
    memory = vma_set_memory(set);
    assert_int_equal(vma_set_reserve(set, 100), 0);
    assert_int_equal(vma_set_reserve(set, 1), 0);
    assert_true(vma_set_memory(set) <= memory + (size_t)16 * 1024);
}

/* Inserts into full leaves all over a tall tree, the worst there is. */
static void reserved_inserts_take_no_memory(void **state)
{
    enum { TEETH = 40000, NEW = 500 };
    struct vma_set set;

    (void)state;
    init_comb(&set, TEETH);
    for (size_t i = 0; i < TEETH; i++)
        if (i % 80 != 40)
            add_tooth(&set, i);
    assert_int_equal(vma_set_reserve(&set, NEW), 0);
    slab_inject_failure(1, ULONG_MAX / 2);
    for (size_t i = 0; i < NEW; i++)
        insert_tooth(&set, i * 80 + 40);
    assert_int_equal(slab_allocations(), 0);
    slab_inject_failure(0, 0);
    assert_int_equal(set.count, TEETH);
    assert_true(vma_set_is_valid(&set));
    vma_set_destroy(&set);
}

static void reserved_removals_take_no_memory(void **state)
{
    struct vma_set *set = *state;
    struct vma b = vma_of_kind('B');

    draw(set, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_int_equal(vma_set_reserve(set, 12), 0);
    slab_inject_failure(1, ULONG_MAX / 2);
    for (size_t i = 2; i < 20; i += 3)
        vma_set_remove(set, columns(i, i + 1), 1);
    expect(set, "AA AA AA AA AA AA AAAAAAAAAAAAAA");
    for (size_t i = 2; i < 20; i += 3) {
        b.start = at(i);
        b.end = at(i + 1);
        vma_set_insert(set, &b);
    }
    expect(set, "AABAABAABAABAABAABAAAAAAAAAAAAAA");
    assert_int_equal(slab_allocations(), 0);
}

/* The first inserts of all, when there is not even a root. */
static void reserved_inserts_into_an_empty_set(void **state)
{
    for (unsigned n = 1; n < 400; n += 57) {
        struct vma_set set;

        (void)state;
        init_comb(&set, n);
        assert_int_equal(vma_set_reserve(&set, n), 0);
        slab_inject_failure(1, ULONG_MAX / 2);
        for (size_t i = 0; i < n; i++)
            insert_tooth(&set, i * 101 % n);
        slab_inject_failure(0, 0);
        assert_int_equal(set.count, n);
        assert_true(vma_set_is_valid(&set));
        vma_set_destroy(&set);
    }
}

/* ---- References and destruction ---------------------------------------- */

/* The set's reference is the last one: the pager goes with its VMA, but not
 * before its owner says that no lock is held. */
static void last_reference_goes_with_the_vma(void **state)
{
    struct vma_set *set = *state;
    struct uf_pager *pager = make_pager();
    struct vma vma = {.start = at(0), .end = at(4), .pager = pager};

    assert_int_equal(vma_set_reserve(set, 1), 0);
    vma_set_insert(set, &vma);
    pager_unref(pager);
    assert_int_equal(releases, 0);
    cut(set, 1, 2, 1);
    cut(set, 2, 4, 2);
    assert_int_equal(releases, 0);
    cut(set, 0, 1, 3);
    assert_int_equal(releases, 0);
    vma_free_graves(vma_set_take_graves(set));
    assert_int_equal(releases, 1);
    assert_null(vma_set_take_graves(set));
    releases = 0;
}

static void destroy_gives_everything_back(void **state)
{
    struct vma_set *set = *state;

    draw(set, "AAB FF G HH FFF");
    assert_int_equal(refs(pager_f), 3);
    assert_int_equal(vma_set_reserve(set, 50), 0);
    vma_set_destroy(set);
    assert_int_equal(refs(pager_f), 1);
    assert_int_equal(slab_live(&vma_record_cache), 0);
    assert_int_equal(slab_live(&vma_node_cache), 0);
    expect(set, "");
    /* And the set may be used again, or destroyed again. */
    draw(set, "AA");
    expect(set, "AA");
}

/* ---- Against a model --------------------------------------------------- */

/*
 * The model is an array of pages. A VMA is a longest run of pages that belong
 * together, which is what the set's merging promises.
 */
#define PAGES 4096

struct page {
    char kind; /* 0: not mapped */
    uint64_t offset;
    uint64_t generation;
};

struct run {
    size_t first, end;
};

static struct page model[PAGES];
static uint64_t seed, random_state;
static unsigned step;

#define REQUIRE(cond)                                                          \
    do {                                                                       \
        if (!(cond))                                                           \
            fail_msg("UF_SEED=%llu step %u: %s", (unsigned long long)seed,     \
                     step, #cond);                                             \
    } while (0)

/* xorshift64*; good enough to choose pages. */
static size_t below(size_t n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * 0x2545f4914f6cdd1du) >> 33) % n;
}

static bool joined(size_t left)
{
    const struct page *a = &model[left], *b = &model[left + 1];

    if (a->kind == 0 || a->kind != b->kind)
        return false;
    return (a->kind != 'F' && a->kind != 'G') ||
           a->offset + page_size() == b->offset;
}

static struct run run_at(size_t page)
{
    struct run run = {page, page + 1};

    while (run.first > 0 && joined(run.first - 1))
        run.first--;
    while (run.end < PAGES && joined(run.end - 1))
        run.end++;
    return run;
}

static void mark(struct run run, uint64_t generation)
{
    for (size_t i = run.first; i < run.end; i++)
        model[i].generation = generation;
}

static size_t model_remove(struct run range, uint64_t generation)
{
    struct run left = run_at(range.first), right = run_at(range.end - 1);
    size_t npages = 0;

    if (left.first < range.first)
        mark(left, generation);
    if (right.end > range.end)
        mark(right, generation);
    for (size_t i = range.first; i < range.end; i++) {
        npages += model[i].kind != 0;
        model[i] = (struct page){0};
    }
    return npages;
}

static void model_insert(struct run range, const struct vma *vma)
{
    struct run run;
    uint64_t newest = 0;

    for (size_t i = range.first; i < range.end; i++)
        model[i] = (struct page){kind_of(vma), vma_offset_at(vma, at(i)),
                                 vma->generation};
    run = run_at(range.first);
    for (size_t i = run.first; i < run.end; i++)
        if (model[i].generation > newest)
            newest = model[i].generation;
    mark(run, newest);
}

/* The set says about one page what the model does. */
static void compare_page(const struct vma_set *set, size_t page)
{
    const struct vma *vma = vma_set_lookup(set, at(page) + below(page_size()));
    struct run run;

    if (model[page].kind == 0) {
        REQUIRE(vma == NULL);
        return;
    }
    run = run_at(page);
    REQUIRE(vma && vma->start == at(run.first) && vma->end == at(run.end));
    REQUIRE(kind_of(vma) == model[page].kind);
    REQUIRE(vma->generation == model[page].generation);
    if (vma->pager != pager_zero())
        REQUIRE(vma_offset_at(vma, at(page)) == model[page].offset);
}

static void compare_all(const struct vma_set *set)
{
    size_t count = 0;

    REQUIRE(vma_set_is_valid(set));
    for (size_t i = 0, end; i < PAGES; i = end) {
        end = i + 1;
        if (model[i].kind == 0)
            continue;
        compare_page(set, i);
        end = run_at(i).end;
        count++;
    }
    REQUIRE(count == set->count);
}

static void compare_finds(const struct vma_set *set, size_t page)
{
    const struct vma *found = vma_set_find(set, at(page));
    const struct vma *prev = vma_set_find_prev(set, at(page));
    size_t up = page, down = page;

    while (up < PAGES && model[up].kind == 0)
        up++;
    REQUIRE((found == NULL) == (up == PAGES));
    if (found)
        REQUIRE(found->start == at(run_at(up).first));
    if (page > 0 && model[page].kind && joined(page - 1))
        down = run_at(page).first;
    while (down > 0 && model[down - 1].kind == 0)
        down--;
    REQUIRE((prev == NULL) == (down == 0));
    if (prev)
        REQUIRE(prev->end == at(down));
    if (prev && found)
        REQUIRE(vma_set_next(set, prev) == found &&
                vma_set_prev(set, found) == prev);
}

/* The page where the wanted gap starts, by trying them all; or PAGES. */
static size_t model_gap(struct run within, size_t npages, size_t align_pages,
                        bool top_down)
{
    size_t best = PAGES, free_run = 0;

    for (size_t i = within.end; i-- > within.first;) {
        free_run = model[i].kind ? 0 : free_run + 1;
        if (free_run >= npages && i % align_pages == 0) {
            best = i;
            if (top_down)
                break;
        }
    }
    return best;
}

static void compare_gaps(const struct vma_set *set)
{
    size_t first = below(PAGES), end = first + below(PAGES - first + 1);
    size_t npages = 1 + below(below(8) ? 12 : 80);
    size_t align_pages = (size_t)1 << (below(2) ? 0 : below(6));
    bool top_down = below(2);
    size_t want =
        model_gap((struct run){first, end}, npages, align_pages, top_down);
    int got = gap(set, first, end, npages, align_pages, top_down);

    REQUIRE(got == (want == PAGES ? -1 : (int)want));
}

static struct run random_run(void)
{
    struct run run;
    size_t longest = below(64) ? 12 : 600;

    run.first = below(PAGES);
    run.end = run.first + 1 + below(longest);
    if (run.end > PAGES)
        run.end = PAGES;
    return run;
}

static void random_change(struct vma_set *set, struct run run)
{
    struct vma vma = vma_of_kind("AABHFFG"[below(7)]);
    struct range range = columns(run.first, run.end);
    /* Setting more aside than is used must do no harm. */
    unsigned extra = below(50) ? 0 : (unsigned)below(40);

    REQUIRE(vma_set_reserve(set, 2 + extra) == 0);
    slab_inject_failure(1, ULONG_MAX / 2);
    REQUIRE(vma_set_remove(set, range, step) ==
            model_remove(run, step) * page_size());
    if (below(3)) {
        vma.start = range.start;
        vma.end = range.end;
        vma.offset = (run.first + (below(3) ? 0 : below(4))) * page_size();
        vma.generation = below(step);
        model_insert(run, &vma);
        REQUIRE(vma_set_insert(set, &vma) == vma_set_lookup(set, range.start));
    }
    slab_inject_failure(0, 0);
}

static void random_operations_match_a_model(void **state)
{
    const char *wanted = getenv("UF_SEED");
    struct vma_set set;

    (void)state;
    seed = wanted ? strtoull(wanted, NULL, 0) : 20240229;
    random_state = seed ? seed : 1;
    vma_set_init(&set, columns(0, PAGES));
    for (step = 1; step <= 200000; step++) {
        struct run run = random_run();

        random_change(&set, run);
        compare_page(&set, run.first);
        compare_page(&set, run.end - 1);
        if (run.first > 0)
            compare_page(&set, run.first - 1);
        if (run.end < PAGES)
            compare_page(&set, run.end);
        compare_finds(&set, below(PAGES));
        compare_gaps(&set);
        if (step % 64 == 0)
            compare_all(&set);
        /* Now and then from nothing, so that small trees are met often. */
        if (below(5000) == 0) {
            REQUIRE(cut(&set, 0, PAGES, step) ==
                    model_remove((struct run){0, PAGES}, step));
            REQUIRE(vma_set_memory(&set) == 0);
        }
    }
    vma_set_destroy(&set);
    memset(model, 0, sizeof(model));
}

/* ---- At scale ---------------------------------------------------------- */

static void require_lean(const struct vma_set *set, size_t count)
{
    assert_int_equal(set->count, count);
    assert_true(vma_set_is_valid(set));
    assert_true(vma_set_memory(set) / count <= 128);
}

static void a_million_ascending(void **state)
{
    enum { TEETH = 1000000 };
    struct vma_set set;

    (void)state;
    init_comb(&set, TEETH);
    for (size_t i = 0; i < TEETH; i++)
        add_tooth(&set, i);
    require_lean(&set, TEETH);
    /* Full nodes: 48 bytes of record, 24 of leaf, a little for the rest. */
    assert_true(vma_set_memory(&set) / TEETH <= 48 + 24 + 4);
    for (size_t i = 0; i < TEETH; i += 997)
        assert_int_equal(column(vma_set_lookup(&set, at(2 * i))), 2 * i);
    assert_int_equal(gap(&set, 0, 2 * (size_t)TEETH, 2, 1, true), -1);
    vma_set_destroy(&set);
}

/* Downwards, as mmap goes, above a heap. */
static void many_descending(void **state)
{
    enum { TEETH = 200000 };
    struct vma_set set;

    (void)state;
    init_comb(&set, TEETH);
    add_tooth(&set, 0);
    for (size_t i = TEETH - 1; i > 0; i--)
        add_tooth(&set, i);
    require_lean(&set, TEETH);
    assert_true(vma_set_memory(&set) / TEETH <= 48 + 24 + 8);
    vma_set_destroy(&set);
}

static void many_in_random_order(void **state)
{
    enum { TEETH = 200000 };
    static uint32_t order[TEETH];
    struct vma_set set;

    (void)state;
    random_state = 42;
    for (uint32_t i = 0; i < TEETH; i++) {
        size_t j = below(i + 1);

        order[i] = order[j];
        order[j] = i;
    }
    init_comb(&set, TEETH);
    for (size_t i = 0; i < TEETH; i++)
        add_tooth(&set, order[i]);
    require_lean(&set, TEETH);
    /* The one gap of three pages, found from either side. */
    remove_tooth(&set, order[7]);
    for (int top_down = 0; top_down < 2; top_down++)
        assert_int_equal(gap(&set, 0, 2 * (size_t)TEETH - 1, 3, 1, top_down),
                         2 * order[7] - 1);
    add_tooth(&set, order[7]);
    /* Thinned out at random, the nodes that are left are not empty shells. */
    for (size_t i = 0; i < TEETH / 4 * 3; i++)
        remove_tooth(&set, order[i]);
    require_lean(&set, TEETH / 4);
    /* All that is left, in one call. */
    assert_int_equal(cut(&set, 0, 2 * (size_t)TEETH, 1), TEETH / 4);
    assert_int_equal(vma_set_memory(&set), 0);
    vma_set_destroy(&set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_set),
        TEST(lookup_is_inside_only),
        TEST(find_is_the_first_that_ends_above),
        TEST(find_prev_is_the_last_that_ends_at_or_below),
        TEST(find_intersection),
        TEST(next_and_prev_walk_in_order),
        TEST(insert_apart_stays_apart),
        TEST(insert_merges_with_previous),
        TEST(insert_merges_with_next),
        TEST(insert_merges_with_both),
        TEST(other_prot_flags_or_pager_do_not_merge),
        TEST(gaps_in_offsets_do_not_merge),
        TEST(zero_pager_merges_whatever_the_offset),
        TEST(remove_whole),
        TEST(remove_head_moves_start_and_offset),
        TEST(remove_tail_keeps_offset),
        TEST(remove_middle_splits),
        TEST(remove_across_several),
        TEST(remove_nothing),
        TEST(remove_everything_frees_all),
        TEST(merging_keeps_the_newest_generation),
        TEST(a_different_generation_does_not_keep_apart),
        TEST(what_lost_a_page_gets_the_new_generation),
        TEST(gap_in_an_empty_set),
        TEST(gap_bottom_up),
        TEST(gap_top_down),
        TEST(gap_with_alignment),
        TEST(no_gap_in_a_full_set),
        TEST(gaps_at_the_ends_of_the_address_space),
        TEST(failed_reserve_changes_nothing),
        TEST(reserve_that_is_not_needed_goes_back),
        TEST(reserved_inserts_take_no_memory),
        TEST(reserved_removals_take_no_memory),
        TEST(reserved_inserts_into_an_empty_set),
        TEST(last_reference_goes_with_the_vma),
        TEST(destroy_gives_everything_back),
        TEST(random_operations_match_a_model),
        TEST(a_million_ascending),
        TEST(many_descending),
        TEST(many_in_random_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
