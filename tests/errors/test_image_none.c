/* SPDX-License-Identifier: MIT */
/*
 * A library without images says so, of every call.
 *
 * The comments "provokes: FUNCTION -ERRNO ..." are read by
 * tests/build/errno-coverage.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>

#include "ufault/checkpoint.h"
#include "ufault/image.h"

/* provokes: uf_image_save -ENOSYS
 * provokes: uf_image_open -ENOSYS
 * provokes: uf_image_info -ENOSYS
 * provokes: uf_image_working_set -ENOSYS
 * provokes: uf_image_verify -ENOSYS
 * provokes: uf_image_walk -ENOSYS
 * provokes: uf_image_read -ENOSYS
 * provokes: uf_checkpoint -ENOSYS
 * provokes: uf_image_flatten -ENOSYS
 * provokes: uf_image_set_working_set -ENOSYS
 * provokes: uf_space_from_image -ENOSYS */
static void nothing_is_there(void **state)
{
    struct uf_image_info info = {.size = sizeof(info)};
    struct uf_image *image = NULL;
    struct uf_space *space;

    (void)state;
    assert_int_equal(uf_image_save(NULL, "/nowhere", NULL), -ENOSYS);
    assert_int_equal(uf_checkpoint(NULL, "/nowhere", NULL, NULL), -ENOSYS);
    assert_int_equal(uf_image_open("/nowhere", &image), -ENOSYS);
    assert_int_equal(uf_image_info(image, &info), -ENOSYS);
    assert_int_equal(uf_image_working_set(image, NULL, 0), -ENOSYS);
    assert_int_equal(uf_image_verify(image, NULL), -ENOSYS);
    assert_int_equal(uf_image_walk(image, NULL, NULL), -ENOSYS);
    assert_int_equal(uf_image_read(image, 0, 0, NULL), -ENOSYS);
    assert_int_equal(uf_image_flatten(image, "/nowhere"), -ENOSYS);
    assert_int_equal(uf_image_set_working_set(image, "/nowhere", NULL),
                     -ENOSYS);
    assert_int_equal(uf_space_from_image(image, NULL, &space), -ENOSYS);
    uf_image_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_there),
    };

    return cmocka_run_group_tests_name("no images", tests, NULL, NULL);
}
