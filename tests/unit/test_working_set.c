/* SPDX-License-Identifier: MIT */
/*
 * Working sets without a space: what is named twice counts once, several become
 * one in the order that is documented, and pairs are sorted and found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/pairs.h"
#include "base/slab.h"
#include "ufault/working_set.h"

static struct uf_working_set *set_of(const uint64_t *pages, size_t npages)
{
    struct uf_working_set *set;

    assert_int_equal(uf_working_set_create(pages, npages, &set), 0);
    return set;
}

/* Asserts, and destroys it. */
static void expect(struct uf_working_set *set, const uint64_t *pages,
                   size_t npages)
{
    uint64_t got[16] = {0};

    assert_int_equal(uf_working_set_pages(set, got, 16), npages);
    assert_memory_equal(got, pages, npages * sizeof(*pages));
    uf_working_set_destroy(set);
}

#define LIST(...)                                                              \
    (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8

static void in_the_order_given(void **state)
{
    (void)state;
    expect(set_of(LIST(7, 3, 9, 4)), LIST(7, 3, 9, 4));
    expect(set_of(LIST(7, 3, 7, 9, 3, 4)), LIST(7, 3, 9, 4));
    expect(set_of(NULL, 0), NULL, 0);
}

static void at_most_as_many_as_asked_for(void **state)
{
    struct uf_working_set *set = set_of(LIST(7, 3, 9));
    uint64_t got[3] = {0};

    (void)state;
    assert_int_equal(uf_working_set_pages(set, got, 2), 3);
    assert_int_equal(got[1], 3);
    assert_int_equal(got[2], 0);
    uf_working_set_destroy(set);
    assert_int_equal(uf_working_set_pages(NULL, got, 2), 0);
}

static struct uf_working_set *merged(struct uf_working_set **sets, size_t nsets,
                                     size_t at_least)
{
    struct uf_working_set *set;

    assert_int_equal(
        uf_working_set_merge((const struct uf_working_set *const *)sets, nsets,
                             at_least, &set),
        0);
    return set;
}

static void several_as_one(void **state)
{
    struct uf_working_set *sets[] = {
        set_of(LIST(1, 2, 3, 4)),
        set_of(LIST(4, 9, 1)),
        set_of(LIST(8, 2)),
    };

    (void)state;
    expect(merged(sets, 3, 0), LIST(1, 4, 8, 2, 9, 3));
    expect(merged(sets, 3, 1), LIST(1, 4, 8, 2, 9, 3));
    expect(merged(sets, 3, 2), LIST(1, 4, 2));
    expect(merged(sets, 3, 3), NULL, 0);
    expect(merged(sets, 1, 1), LIST(1, 2, 3, 4));
    for (size_t i = 0; i < 3; i++)
        uf_working_set_destroy(sets[i]);
}

/* provokes: uf_working_set_create -EINVAL
 * provokes: uf_working_set_create -ENOMEM
 * provokes: uf_working_set_merge -EINVAL
 * provokes: uf_working_set_merge -ENOMEM */
static void wrong_arguments(void **state)
{
    struct uf_working_set *set = set_of(LIST(1, 2)), *other = NULL;
    const struct uf_working_set *sets[] = {set, NULL};
    uint64_t page = 1;

    (void)state;
    assert_int_equal(uf_working_set_create(&page, 1, NULL), -EINVAL);
    assert_int_equal(uf_working_set_create(NULL, 1, &other), -EINVAL);
    assert_int_equal(uf_working_set_merge(NULL, 1, 0, &other), -EINVAL);
    assert_int_equal(uf_working_set_merge(sets, 0, 0, &other), -EINVAL);
    assert_int_equal(uf_working_set_merge(sets, 2, 0, &other), -EINVAL);
    assert_int_equal(uf_working_set_merge(sets, 1, 0, NULL), -EINVAL);
    for (unsigned long n = 1; n <= 2; n++) {
        slab_inject_failure(n, 1);
        assert_int_equal(uf_working_set_create(&page, 1, &other), -ENOMEM);
        slab_inject_failure(n, 1);
        assert_int_equal(uf_working_set_merge(sets, 1, 0, &other), -ENOMEM);
    }
    slab_inject_failure(0, 0);
    assert_null(other);
    uf_working_set_destroy(set);
}

static void pairs_by_lot(void **state)
{
    struct pair pairs[300], scratch[300];
    unsigned seed = 1;

    (void)state;
    for (size_t n = 0; n < 300; n++) {
        for (size_t i = 0; i < n; i++)
            pairs[i] = (struct pair){(uint64_t)rand_r(&seed) % 200, i};
        pairs_sort(pairs, n, scratch);
        for (size_t i = 1; i < n; i++)
            assert_true(pairs[i - 1].key < pairs[i].key ||
                        (pairs[i - 1].key == pairs[i].key &&
                         pairs[i - 1].value < pairs[i].value));
        for (uint64_t key = 0; key < 201; key++) {
            const struct pair *found = pairs_find(pairs, n, key);
            size_t i = 0;

            while (i < n && pairs[i].key != key)
                i++;
            assert_ptr_equal(found, i < n ? &pairs[i] : NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_order_given),
        cmocka_unit_test(at_most_as_many_as_asked_for),
        cmocka_unit_test(several_as_one),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(pairs_by_lot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
