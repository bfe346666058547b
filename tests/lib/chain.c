/* SPDX-License-Identifier: MIT */
/* See chain.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/chain.h"
#include "lib/image_dir.h"
#include "lib/live.h"
#include "lib/lot.h"

const char *chain_name(unsigned n)
{
    static char names[CHAIN_MAX + 1][80];

    snprintf(names[n], sizeof(names[n]), "%s.%u", image_path, n);
    return names[n];
}

void chain_unlink(void)
{
    for (unsigned n = 0; n <= CHAIN_MAX; n++)
        unlink(chain_name(n));
}

struct uf_image *chain_checkpoint(struct uf_space *space, const char *path,
                                  struct uf_image *parent,
                                  struct uf_checkpoint_result *result)
{
    struct uf_image_opts how = {
        .size = sizeof(how), .codec = UF_IMAGE_LZ4, .parent = parent};
    struct uf_image *image;

    result->size = sizeof(*result);
    assert_int_equal(uf_checkpoint(space, path, &how, result), 0);
    uf_image_close(parent);
    assert_int_equal(uf_image_open(path, &image), 0);
    return image;
}

void chain_expect(struct uf_space *space, struct uf_image *image)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .engine_kind = live_engine_kind()};
    struct uf_space *other;
    struct lot_look *here, *there;

    assert_int_equal(uf_image_verify(image, NULL), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &other), 0);
    here = lot_look(space, false);
    there = lot_look(other, false);
    lot_expect_same_maps(here, there);
    for (size_t i = 0; i < here->npages; i++) {
        unsigned char *bytes = there->bytes + i * page_size();

        if (here->prot[i] < 0 || !(here->prot[i] & PROT_READ))
            continue;
        assert_int_equal(
            uf_copy_in(other, bytes, live_page(other, i), page_size(), NULL),
            0);
        assert_int_equal(
            memcmp(bytes, (void *)live_page(space, i), page_size()), 0);
    }
    lot_forget(here);
    lot_forget(there);
    assert_int_equal(uf_space_destroy(other), 0);
}
