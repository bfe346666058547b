/* SPDX-License-Identifier: MIT */
/*
 * mimalloc on a space: threads allocate millions of times from an arena that
 * was mapped there. All of it is in the space, a second run needs no more
 * memory than the first, and nothing stays when the arena is unmapped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <mimalloc.h>
#include <sys/mman.h>

#include "lib/alloc_load.h"
#include "lib/live.h"

#define NOPS        300000u
#define ARENA_BYTES ((size_t)512 << 20)
#define ALIGNMENT   ((size_t)32 << 20)

static struct uf_space *space;
static mi_arena_id_t arena;

/* A heap is of one thread; what it has left is freed by others. */
static void *begin(void)
{
    return mi_heap_new_in_arena(arena);
}

static void end(void *own)
{
    mi_heap_delete(own);
}

static void *allocate(void *own, size_t len)
{
    return mi_heap_malloc(own, len);
}

static void *resize(void *own, void *p, size_t len)
{
    return mi_heap_realloc(own, p, len);
}

static void release(void *own, void *p)
{
    (void)own;
    mi_free(p);
}

static bool is_ours(const void *p)
{
    return (uintptr_t)p - uf_space_base(space) < uf_space_len(space);
}

static const struct alloc_ops ops = {
    .begin = begin,
    .end = end,
    .alloc = allocate,
    .resize = resize,
    .free = release,
    .is_ours = is_ours,
};

static void test_mimalloc_lives_in_a_space(void **unused)
{
    const struct uf_space_opts opts = {.len_bytes = (size_t)1 << 30};
    struct uf_stats once, twice, after;
    intptr_t place;

    (void)unused;
    space = live_space(&opts, 0);
    place = (intptr_t)align_up(uf_space_base(space), ALIGNMENT);
    assert_true(
        uf_mmap(space, (uintptr_t)place, ARENA_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
    assert_true(mi_manage_os_memory_ex((void *)place, ARENA_BYTES, true, false,
                                       true, -1, true, &arena));
    assert_null(alloc_load_run(&ops, NOPS));
    once = live_stats(space);
    assert_true(once.faults > 0 && once.resident > 0);
    assert_null(alloc_load_run(&ops, NOPS));
    twice = live_stats(space);
    assert_in_range(twice.resident, 1, 2 * once.resident);
    assert_int_equal(
        live_mincore((uintptr_t)place, (uintptr_t)place + ARENA_BYTES),
        twice.resident);
    live_assert_law(space);

    assert_int_equal(uf_munmap(space, (uintptr_t)place, ARENA_BYTES), 0);
    after = live_stats(space);
    assert_int_equal(after.map_count, 0);
    assert_int_equal(after.resident, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mimalloc_lives_in_a_space),
    };
    int skip = live_begin();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
