/* SPDX-License-Identifier: MIT */
/*
 * pager: making, sharing and releasing pagers, and the checker of what a fill
 * returns: each honest answer, each lie.
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

#include "base/range.h"
#include "base/slab.h"
#include "pager/pager.h"

#define WANTED 4

struct script {
    ssize_t answer;
    ptrdiff_t scribble; /* offset from the end of the buffer; -1: none */
    unsigned released;
};

static ssize_t scripted_fill(void *context, const struct uf_fill *r)
{
    struct script *script = context;

    memset(r->buffer, 7, r->len_bytes);
    if (script->scribble >= 0)
        ((unsigned char *)
             r->buffer)[(ptrdiff_t)r->len_bytes + script->scribble] = 1;
    return script->answer;
}

static void scripted_release(void *context)
{
    ((struct script *)context)->released++;
}

static struct uf_pager_ops good_ops(void)
{
    return (struct uf_pager_ops){.size = sizeof(struct uf_pager_ops),
                                 .name = "scripted",
                                 .fill = scripted_fill,
                                 .release = scripted_release};
}

static enum fill_verdict verdict_on(ssize_t answer, ptrdiff_t scribble,
                                    size_t *ret_len, int *ret_err,
                                    const char **ret_why)
{
    struct script script = {answer, scribble, 0};
    struct uf_pager_ops ops = good_ops();
    char *buffer = slab_pages((WANTED + 1) * page_size());
    struct uf_fill request = {.size = sizeof(request),
                              .len_bytes = WANTED * page_size(),
                              .buffer = buffer,
                              .page_bytes = page_size()};
    struct uf_pager *pager;
    enum fill_verdict verdict;

    assert_int_equal(pager_create(&ops, &script, &pager), 0);
    verdict = pager_fill(pager, &request, ret_len, ret_err, ret_why);
    pager_unref(pager);
    assert_int_equal(script.released, 1);
    slab_pages_free(buffer, (WANTED + 1) * page_size());
    return verdict;
}

/* Each number of whole pages up to what was asked for is believed. */
static void whole_pages_are_good(void **state)
{
    size_t len = 0;
    const char *why;
    int err;

    (void)state;
    for (size_t n = 1; n <= WANTED; n++) {
        assert_int_equal(
            verdict_on((ssize_t)(n * page_size()), -1, &len, &err, &why),
            FILL_OK);
        assert_int_equal(len, n * page_size());
    }
}

/* -EAGAIN is a pause; every other -errno an honest failure. */
static void errnos_are_honest(void **state)
{
    const char *why;
    size_t len;
    int err;

    (void)state;
    assert_int_equal(verdict_on(-EAGAIN, -1, &len, &err, &why), FILL_AGAIN);
    for (int e = 1; e <= 4095; e++) {
        if (e == EAGAIN)
            continue;
        assert_int_equal(verdict_on(-e, -1, &len, &err, &why), FILL_FAILED);
        assert_int_equal(err, -e);
    }
}

/* Everything else is a lie, and called by its name. */
static void everything_else_is_a_lie(void **state)
{
    ssize_t page = (ssize_t)page_size();
    const struct {
        ssize_t answer;
        ptrdiff_t scribble;
        const char *why;
    } lies[] = {
        {0, -1, "returned 0: no bytes and no error"},
        {1, -1, "returned a length that is not whole pages"},
        {page - 1, -1, "returned a length that is not whole pages"},
        {page + 8, -1, "returned a length that is not whole pages"},
        {(WANTED + 1) * page, -1, "returned more bytes than were asked for"},
        {INT64_MAX, -1, "returned more bytes than were asked for"},
        {-4096, -1, "returned neither a length nor an -errno"},
        {INT64_MIN, -1, "returned neither a length nor an -errno"},
        {page, 0, "wrote past the end of the buffer"},
        {page, PAGER_REDZONE - 1, "wrote past the end of the buffer"},
        {-EIO, 5, "wrote past the end of the buffer"},
        {-EAGAIN, 5, "wrote past the end of the buffer"},
    };
    const char *why = NULL;
    size_t len;
    int err;

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        assert_int_equal(
            verdict_on(lies[i].answer, lies[i].scribble, &len, &err, &why),
            FILL_LIED);
        assert_string_equal(why, lies[i].why);
    }
}

/* What cannot be made. */
static void bad_ops_are_einval(void **state)
{
    struct uf_pager_ops good = good_ops(), bad[3] = {good, good, good};
    struct uf_pager *pager = NULL;

    (void)state;
    bad[0].size = 8;
    bad[1].name = NULL;
    bad[2].fill = NULL;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pager_create(&bad[i], NULL, &pager), -EINVAL);
    assert_int_equal(pager_create(NULL, NULL, &pager), -EINVAL);
    assert_int_equal(pager_create(&good, NULL, NULL), -EINVAL);
    slab_inject_failure(1, 1);
    assert_int_equal(pager_create(&good, NULL, &pager), -ENOMEM);
    slab_inject_failure(0, 0);
    assert_null(pager);
}

/* The name is copied, and cut where it is too long. */
static void the_name_is_copied(void **state)
{
    char name[100];
    struct script script = {0, -1, 0};
    struct uf_pager_ops ops = good_ops();
    struct uf_pager *pager;

    (void)state;
    memset(name, 'n', sizeof(name));
    name[99] = '\0';
    ops.name = name;
    assert_int_equal(pager_create(&ops, &script, &pager), 0);
    name[0] = 'x';
    assert_int_equal(strlen(pager->name), PAGER_NAME_MAX - 1);
    assert_int_equal(pager->name[0], 'n');
    pager_unref(pager);
}

/* Released with the last reference, once; NULL is nobody's. */
static void the_last_reference_releases(void **state)
{
    struct script script = {0, -1, 0};
    struct uf_pager_ops ops = good_ops();
    struct uf_pager *pager;

    (void)state;
    assert_int_equal(pager_create(&ops, &script, &pager), 0);
    assert_true(pager_ref(pager) == pager);
    pager_unref(pager);
    assert_int_equal(script.released, 0);
    pager_unref(pager);
    assert_int_equal(script.released, 1);
    assert_null(pager_ref(NULL));
    pager_unref(NULL);
}

/* The zero pager is always there, and its fill says what it is. */
static void the_zero_pager_is_static_zeros(void **state)
{
    char page[64];
    struct uf_pager *zero = pager_zero();
    struct uf_fill request = {.size = sizeof(request),
                              .len_bytes = sizeof(page),
                              .buffer = page,
                              .page_bytes = sizeof(page)};

    (void)state;
    for (int i = 0; i < 3; i++)
        pager_unref(pager_ref(zero));
    pager_unref(zero);
    memset(page, 1, sizeof(page));
    assert_int_equal(zero->ops.fill(NULL, &request), sizeof(page));
    for (size_t i = 0; i < sizeof(page); i++)
        assert_int_equal(page[i], 0);
    assert_false(pager_uses_offsets(zero));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_pages_are_good),
        cmocka_unit_test(errnos_are_honest),
        cmocka_unit_test(everything_else_is_a_lie),
        cmocka_unit_test(bad_ops_are_einval),
        cmocka_unit_test(the_name_is_copied),
        cmocka_unit_test(the_last_reference_releases),
        cmocka_unit_test(the_zero_pager_is_static_zeros),
    };

    return cmocka_run_group_tests_name("pager", tests, NULL, NULL);
}
