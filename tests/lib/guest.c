/* SPDX-License-Identifier: MIT */
/* See guest.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/guest.h"
#include "lib/live.h"

static char dir[] = "/tmp/ufault-guest.XXXXXX";
char guest_path[64], guest_other[64];

static uint64_t word_of(uint64_t n, size_t i)
{
    return n % 10 == 0 ? 0 : (n + 1) * 0x9e3779b97f4a7c15u + (i & 511);
}

int guest_set_up(void **state)
{
    struct uf_space *space;

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(guest_path, sizeof(guest_path), "%s/one", dir);
    snprintf(guest_other, sizeof(guest_other), "%s/other", dir);
    space = live_space(NULL, GUEST_PAGES);
    for (uint64_t n = 0; n < GUEST_PAGES; n++) {
        uint64_t *words = (uint64_t *)live_page(space, n);

        for (size_t i = 0; i < page_size() / 8; i++)
            words[i] = word_of(n, i);
    }
    if (uf_image_save(space, guest_path, NULL) != 0)
        return -1;
    return uf_space_destroy(space);
}

int guest_tear_down(void **state)
{
    (void)state;
    unlink(guest_path);
    unlink(guest_other);
    return rmdir(dir);
}

struct uf_space *guest_start(const char *path, uint32_t flags)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .flags = flags,
                                 .engine_kind = live_engine_kind()};
    struct uf_image *image;
    struct uf_space *space;

    assert_int_equal(uf_image_open(path, &image), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    uf_image_close(image);
    return space;
}

bool guest_read_is_right(const struct uf_space *space, uint64_t n)
{
    size_t i = n * 37 % 512;

    return ((const volatile uint64_t *)live_page(space, n))[i] == word_of(n, i);
}

bool guest_page_is_right(const struct uf_space *space, uint64_t n)
{
    const uint64_t *words = (const uint64_t *)live_page(space, n);

    for (size_t i = 0; i < page_size() / 8; i++)
        if (words[i] != word_of(n, i))
            return false;
    return true;
}

void guest_draw(uint32_t seed, uint64_t *pages, size_t npages)
{
    uint64_t all[GUEST_PAGES], state = seed;

    for (size_t i = 0; i < GUEST_PAGES; i++)
        all[i] = i;
    for (size_t i = 0; i < npages; i++) {
        size_t other;
        uint64_t page = all[i];

        state = state * 6364136223846793005u + 1442695040888963407u;
        other = i + (state >> 33) % (GUEST_PAGES - i);
        pages[i] = all[i] = all[other];
        all[other] = page;
    }
}

void guest_save_with(const uint64_t *pages, size_t npages)
{
    struct uf_working_set *set;
    struct uf_image *image;

    assert_int_equal(uf_working_set_create(pages, npages, &set), 0);
    assert_int_equal(uf_image_open(guest_path, &image), 0);
    assert_int_equal(uf_image_set_working_set(image, guest_other, set), 0);
    uf_image_close(image);
    uf_working_set_destroy(set);
}

struct uf_working_set_report guest_report(struct uf_space *space)
{
    struct uf_working_set_report report = {.size = sizeof(report)};

    assert_int_equal(uf_working_set_report(space, &report), 0);
    return report;
}

void guest_await_ahead(struct uf_space *space)
{
    while (guest_report(space).coming > 0)
        sched_yield();
}
