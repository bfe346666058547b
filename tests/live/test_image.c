/* SPDX-License-Identifier: MIT */
/*
 * A space that was saved comes back: at its address or another, on either kind
 * of engine, lazily, touched by one thread or several, with the same mappings
 * and bytes; also as a chain of incremental images, and flattened.
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/lot.h"
#include "ufault/image.h"

#define RW       (PROT_READ | PROT_WRITE)
#define ANON     (MAP_PRIVATE | MAP_ANONYMOUS)
#define NTHREADS 16 /* more than decoders */

static char dir[] = "/tmp/ufault-image.XXXXXX";
static char path[64], second[64], third[64];

static struct uf_space *bring_back(const char *name, uintptr_t address,
                                   size_t len_bytes)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .address = address,
                                 .len_bytes = len_bytes,
                                 .engine_kind = live_engine_kind()};
    struct uf_image *image;
    struct uf_space *space;

    assert_int_equal(uf_image_open(name, &image), 0);
    assert_int_equal(uf_image_verify(image, NULL), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    uf_image_close(image);
    return space;
}

/* ---- the tests ---- */

static void spaces_by_lot_come_back(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 12; seed++) {
        struct uf_image_opts how = {.size = sizeof(how), .codec = seed % 3};
        struct uf_space *space = lot_space(seed);
        struct lot_look *before = lot_look(space, false), *after, *now;
        size_t resident = live_stats(space).resident;

        how.chunk_bytes = seed % 4 == 3 ? 0 : 4096u << (4 * (seed % 3));
        assert_int_equal(uf_image_save(space, path, &how), 0);
        /* Saving left the space as it was. */
        after = lot_look(space, false);
        lot_expect_same(before, after);
        lot_forget(after);
        lot_forget(before);
        assert_int_equal(live_stats(space).resident, resident);
        before = lot_look(space, true);
        assert_int_equal(uf_space_destroy(space), 0);
        for (int other = 0; other < 2; other++) {
            space = bring_back(path, other ? 0 : before->base, 0);
            if (!other)
                assert_int_equal(uf_space_base(space), before->base);
            assert_int_equal(live_stats(space).resident, 0);
            now = lot_look(space, true);
            lot_expect_same(before, now);
            live_assert_law(space);
            lot_forget(now);
            assert_int_equal(uf_space_destroy(space), 0);
        }
        lot_forget(before);
    }
}

struct toucher {
    struct uf_space *space;
    const struct lot_look *wanted;
    unsigned seed;
    size_t wrong;
};

static void *touch_all(void *arg)
{
    struct toucher *t = arg;
    size_t n = t->wanted->npages;

    for (size_t i = 0; i < n; i++) {
        size_t page = (i * 769 + t->seed * 101) % n; /* 769: a prime */
        const unsigned char *right = t->wanted->bytes + page * page_size();
        uintptr_t at = live_page(t->space, page);

        if (t->wanted->prot[page] > 0 && (t->wanted->prot[page] & PROT_READ) &&
            memcmp((const void *)at, right, page_size()) != 0)
            t->wrong++;
    }
    return NULL;
}

static void several_threads_touch(void **state)
{
    (void)state;
    for (uint32_t seed = 31; seed < 37; seed++) {
        struct uf_space *space = lot_space(seed);
        struct lot_look *maps = lot_look(space, false), *bytes;
        struct toucher touchers[NTHREADS];
        pthread_t threads[NTHREADS];

        assert_int_equal(uf_image_save(space, path, NULL), 0);
        bytes = lot_look(space, true);
        memcpy(bytes->prot, maps->prot, sizeof(maps->prot));
        assert_int_equal(uf_space_destroy(space), 0);
        space = bring_back(path, 0, 0);
        for (unsigned i = 0; i < NTHREADS; i++) {
            touchers[i] = (struct toucher){space, bytes, seed % 2 ? i : 0, 0};
            assert_int_equal(
                pthread_create(&threads[i], NULL, touch_all, &touchers[i]), 0);
        }
        for (unsigned i = 0; i < NTHREADS; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < NTHREADS; i++)
            assert_int_equal(touchers[i].wrong, 0);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
        lot_forget(maps);
        lot_forget(bytes);
    }
}

/* What the heap and a mapping grow into is zeros, although the image has
 * bytes there: of a mapping that is gone. */
static void growth_is_zeros(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    uintptr_t m = live_page(space, 100), next = live_page(space, 104);
    size_t len = 4 * page_size();
    unsigned char byte;

    (void)state;
    assert_int_equal(uf_mmap(space, m, len, RW, ANON | MAP_FIXED, -1, 0), m);
    assert_int_equal(
        uf_mmap(space, next, len, PROT_READ, ANON | MAP_FIXED, -1, 0), next);
    assert_int_equal(uf_mprotect(space, next, len, RW), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
        assert_int_equal(live_write(live_page(space, 100 + i), 2, NULL), 0);
        assert_int_equal(live_write(live_page(space, 104 + i), 3, NULL), 0);
    }
    assert_int_equal(uf_mprotect(space, next, len, PROT_READ), 0);
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);

    space = bring_back(path, 0, 0);
    m = live_page(space, 100);
    next = live_page(space, 104);
    assert_int_equal(uf_munmap(space, next, len), 0);
    assert_int_equal(uf_mremap(space, m, len, 2 * len, 0, 0), m);
    assert_int_equal(live_read(next, &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(live_read(next - 1, NULL, NULL), 0);
    /* The break goes down and comes back: zeros, as natively. */
    uf_sbrk(space, -(intptr_t)(2 * page_size()));
    uf_sbrk(space, (intptr_t)(8 * page_size()));
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(live_read(live_page(space, i), &byte, NULL), 0);
        assert_int_equal(byte, i < 2 ? 1 : 0);
    }
    assert_int_equal(live_write(live_page(space, 9), 1, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void a_private_file_is_saved_by_content(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    int fd = memfd_create("file", MFD_CLOEXEC);
    uintptr_t at;
    unsigned char byte;

    (void)state;
    assert_int_equal(ftruncate(fd, (off_t)(3 * page_size() - 7)), 0);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)page_size()), 1);
    at = (uintptr_t)uf_mmap(space, 0, 3 * page_size(), RW, MAP_PRIVATE, fd, 0);
    assert_int_equal(live_write(at, 'y', NULL), 0);
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    close(fd);
    at -= uf_space_base(space);
    assert_int_equal(uf_space_destroy(space), 0);
    space = bring_back(path, 0, 0);
    at += uf_space_base(space);
    assert_int_equal(live_read(at, &byte, NULL), 0);
    assert_int_equal(byte, 'y');
    assert_int_equal(live_read(at + page_size(), &byte, NULL), 0);
    assert_int_equal(byte, 'x');
    assert_int_equal(live_read(at + 2 * page_size(), &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void a_stack_comes_back_and_grows(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    size_t len = 40 * page_size();
    uintptr_t at = live_page(space, 2000);
    unsigned char byte;

    (void)state;
    assert_int_equal(
        uf_mmap(space, at, len, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0),
        at);
    assert_int_equal(live_write(at + len - 1, 's', NULL), 0);
    assert_int_equal(live_write(at, 't', NULL), 0);
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    space = bring_back(path, 0, 0);
    at = live_page(space, 2000);
    assert_int_equal(live_read(at + len - 1, &byte, NULL), 0);
    assert_int_equal(byte, 's');
    assert_int_equal(live_read(at, &byte, NULL), 0);
    assert_int_equal(byte, 't');
    assert_int_equal(live_write(at - 1, 'u', NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void a_pagers_pages_are_saved(void **state)
{
    struct uf_space_opts opts = {0};
    struct uf_space *space;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 40);
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
    space = bring_back(path, 0, 0);
    assert_true(live_is_pattern(space, uf_space_base(space), 40 * page_size()));
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Save, bring back, change, save the difference; and so on. */
static void a_chain_of_images(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_space *space = lot_space(77);
    const char *names[] = {path, second, third};
    struct lot_look *right, *now;
    struct uf_image_info infos[3];
    struct uf_image *image;

    (void)state;
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(uf_image_open(names[i - 1], &how.parent), 0);
        infos[i - 1].size = sizeof(infos[0]);
        assert_int_equal(uf_image_info(how.parent, &infos[i - 1]), 0);
        lot_map(space);
        uf_sbrk(space, (intptr_t)(3 * page_size()));
        /* A page of zeros over bytes, and one that is new again. */
        assert_int_equal(
            live_write(live_page(space, 1), (unsigned char)i, NULL), 0);
        assert_int_equal(uf_madvise(space, live_page(space, (size_t)i + 2),
                                    page_size(), MADV_DONTNEED),
                         0);
        assert_int_equal(uf_image_save(space, names[i], &how), 0);
        uf_image_close(how.parent);
    }
    assert_int_equal(uf_image_open(third, &image), 0);
    infos[2].size = sizeof(infos[0]);
    assert_int_equal(uf_image_info(image, &infos[2]), 0);
    assert_int_equal(infos[2].nparents, 2);
    assert_memory_equal(infos[2].parent, infos[1].id, 16);
    assert_true(infos[2].stored_pages < infos[0].stored_pages / 4);
    assert_int_equal(uf_image_flatten(image, path), 0);
    uf_image_close(image);

    right = lot_look(space, true);
    assert_int_equal(uf_space_destroy(space), 0);
    /* The first is not what it was: the chain is refused. */
    assert_int_equal(uf_image_open(third, &image), -ESTALE);
    space = bring_back(path, 0, 0);
    now = lot_look(space, true);
    lot_expect_same(right, now);
    lot_forget(now);
    assert_int_equal(uf_space_destroy(space), 0);
    lot_forget(right);
}

static void a_chain_comes_back_unflattened(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how), .codec = UF_IMAGE_LZ4};
    struct uf_space *space = lot_space(78);
    struct lot_look *right, *now;

    (void)state;
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    assert_int_equal(uf_image_open(path, &how.parent), 0);
    for (int i = 0; i < 6; i++)
        lot_map(space);
    assert_int_equal(uf_munmap(space, live_page(space, 400), 20 * page_size()),
                     0);
    assert_int_equal(uf_image_save(space, second, &how), 0);
    uf_image_close(how.parent);
    right = lot_look(space, true);
    assert_int_equal(uf_space_destroy(space), 0);
    space = bring_back(second, right->base, 0);
    now = lot_look(space, true);
    lot_expect_same(right, now);
    lot_forget(now);
    lot_forget(right);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* A damaged page: SIGBUS, a report, and its neighbours are there. */
static void damage_is_sigbus(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how),
                                .codec = UF_IMAGE_NONE,
                                .chunk_bytes = (uint32_t)page_size()};
    struct live_log log = LIVE_LOG_INIT;
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .engine_kind = live_engine_kind(),
                                 .on_error = live_on_error,
                                 .hook_data = &log};
    struct uf_space *space = live_space(NULL, 8);
    struct uf_image *image;
    uint64_t page = 99;
    int fd;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(live_write(live_page(space, i), 7, NULL), 0);
    assert_int_equal(uf_image_save(space, path, &how), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)(512 + 3 * page_size())), 1);
    close(fd);

    assert_int_equal(uf_image_open(path, &image), 0);
    assert_int_equal(uf_image_verify(image, &page), -EBADMSG);
    assert_int_equal(page, 3);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    uf_image_close(image);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(live_read(live_page(space, i), NULL, NULL),
                         i == 3 ? SIGBUS : 0);
    assert_int_equal(live_errors(&log, UF_ERROR_PAGER_FAILED), 1);
    assert_string_equal(log.pager[UF_ERROR_PAGER_FAILED], "image");
    assert_int_equal(log.last[UF_ERROR_PAGER_FAILED].error, -EBADMSG);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* One image, many spaces, none of them sees the others' writes. */
static void many_from_one(void **state)
{
    struct uf_space *space = live_space(NULL, 8), *spaces[8];
    unsigned char byte;

    (void)state;
    assert_int_equal(live_write(live_page(space, 5), 'o', NULL), 0);
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    for (unsigned i = 0; i < 8; i++)
        spaces[i] = bring_back(path, 0, (i + 4) * (size_t)4194304);
    assert_int_equal(unlink(path), 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(live_read(live_page(spaces[i], 5), &byte, NULL), 0);
        assert_int_equal(byte, 'o');
        assert_int_equal(live_write(live_page(spaces[i], 5), 'n', NULL), 0);
    }
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(uf_space_destroy(spaces[i]), 0);
}

/* A child with an engine of its own reads on in the same image. */
static void a_forked_child_has_it_too(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .fork = UF_FORK_ENGINE,
                                 .engine_kind = live_engine_kind()};
    struct uf_space *space = live_space(NULL, 64);
    struct uf_image *image;
    unsigned char byte;
    int status = 0;
    pid_t child;

    (void)state;
    if (LIVE_SANITIZED)
        skip();
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(
            live_write(live_page(space, i), (unsigned char)(i + 1), NULL), 0);
    assert_int_equal(uf_image_save(space, path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_image_open(path, &image), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    uf_image_close(image);
    assert_int_equal(live_read(live_page(space, 40), &byte, NULL), 0);
    child = fork();
    if (child == 0) {
        for (size_t i = 0; i < 64; i++)
            if (live_read(live_page(space, i), &byte, NULL) != 0 ||
                byte != i + 1)
                _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(live_read(live_page(space, 9), &byte, NULL), 0);
    assert_int_equal(byte, 10);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void a_working_set_stays_with_the_image(void **state)
{
    static const uint64_t pages[] = {5, 0, 3};
    struct uf_image_opts how = {
        .size = sizeof(how), .working = pages, .nworking = 3};
    struct uf_space *space = live_space(NULL, 8);
    struct uf_image *image;
    uint64_t got[3];

    (void)state;
    assert_int_equal(uf_image_save(space, path, &how), 0);
    assert_int_equal(uf_image_open(path, &image), 0);
    assert_int_equal(uf_image_working_set(image, NULL, 0), 3);
    assert_int_equal(uf_image_working_set(image, got, 3), 3);
    assert_memory_equal(got, pages, sizeof(pages));
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/one", dir);
    snprintf(second, sizeof(second), "%s/two", dir);
    snprintf(third, sizeof(third), "%s/three", dir);
    return 0;
}

/* Nothing else may be left in the directory. */
static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(second);
    unlink(third);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces_by_lot_come_back),
        cmocka_unit_test(several_threads_touch),
        cmocka_unit_test(growth_is_zeros),
        cmocka_unit_test(a_private_file_is_saved_by_content),
        cmocka_unit_test(a_stack_comes_back_and_grows),
        cmocka_unit_test(a_pagers_pages_are_saved),
        cmocka_unit_test(a_chain_of_images),
        cmocka_unit_test(a_chain_comes_back_unflattened),
        cmocka_unit_test(damage_is_sigbus),
        cmocka_unit_test(many_from_one),
        cmocka_unit_test(a_forked_child_has_it_too),
        cmocka_unit_test(a_working_set_stays_with_the_image),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("images", tests, set_up,
                                                 tear_down);
}
