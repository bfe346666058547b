/* SPDX-License-Identifier: MIT */
/*
 * trap_table: spaces come and go at random while look-ups are compared with a
 * model, before and after there may be readers; then with readers about. Spaces
 * are records with a range here, nothing more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/slab.h"
#include "fault/trap_table.h"

#define SPACES 100
#define BASE   ((uintptr_t)0x40000000)
#define LEN    ((size_t)1 << 20)

static struct uf_space spaces[SPACES];
static bool present[SPACES];
static uintptr_t hooked[SPACES]; /* the hook's data, 0: no hook */

static int hook(void *data, struct uf_trap *trap)
{
    (void)data;
    (void)trap;
    return UF_TRAP_PASS;
}

/* Side by side, but for a gap behind every third. */
static struct range range_of(size_t i)
{
    uintptr_t start = BASE + i * LEN;

    return (struct range){start, start + LEN - (i % 3 ? 0 : 4096)};
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPACES; i++)
        spaces[i].region.range = range_of(i);
    return 0;
}

static void look(size_t i, uintptr_t addr)
{
    bool inside = range_contains(range_of(i), addr);
    struct trap_place place;

    assert_int_equal(trap_table_pin(addr, &place), present[i] && inside);
    if (!present[i] || !inside)
        return;
    assert_ptr_equal(place.space, &spaces[i]);
    assert_int_equal((uintptr_t)place.data, hooked[i]);
    assert_int_equal(place.hook != NULL, hooked[i] != 0);
    assert_int_equal(atomic_load(&spaces[i].pins), 1);
    space_unpin(place.space);
}

static void look_everywhere(void)
{
    struct trap_place place;

    for (size_t i = 0; i < SPACES; i++) {
        look(i, BASE + i * LEN);
        look(i, BASE + i * LEN + LEN / 2);
        look(i, BASE + (i + 1) * LEN - 1);
    }
    assert_false(trap_table_pin(BASE - 1, &place));
    assert_false(trap_table_pin(BASE + SPACES * LEN, &place));
    assert_false(trap_table_pin(0, &place));
    assert_false(trap_table_pin(UINTPTR_MAX, &place));
}

static void change(size_t i, unsigned random)
{
    if (!present[i]) {
        assert_int_equal(trap_table_set_hook(&spaces[i], hook, NULL), -EINVAL);
        assert_int_equal(trap_table_add(&spaces[i]), 0);
        hooked[i] = 0;
        present[i] = true;
    } else if (random % 3 == 0) {
        hooked[i] = random;
        assert_int_equal(trap_table_set_hook(&spaces[i], random ? hook : NULL,
                                             (void *)(uintptr_t)random),
                         0);
    } else {
        trap_table_remove(&spaces[i]);
        trap_table_remove(&spaces[i]);
        present[i] = false;
    }
}

static void remove_all(void)
{
    for (size_t i = 0; i < SPACES; i++) {
        trap_table_remove(&spaces[i]);
        present[i] = false;
    }
    look_everywhere();
}

static void at_random(void)
{
    unsigned seed = 1;

    for (int n = 0; n < 3000; n++) {
        change((size_t)rand_r(&seed) % SPACES, (unsigned)rand_r(&seed));
        if (n % 10 == 0)
            look_everywhere();
    }
    remove_all();
}

static void as_the_model(void **state)
{
    (void)state;
    at_random();
}

/* An add that finds no memory has changed nothing; a removal needs none. First,
 * as long as the table is small. */
static void without_memory(void **state)
{
    size_t n = 0;

    (void)state;
    slab_inject_failure(1, 1000000);
    while (n < SPACES && trap_table_add(&spaces[n]) == 0) {
        present[n] = true;
        hooked[n++] = 0;
    }
    assert_int_not_equal(n, SPACES);
    look_everywhere();
    trap_table_remove(&spaces[0]);
    present[0] = false;
    look_everywhere();
    slab_inject_failure(0, 0);
    remove_all();
}

/* Not even room for one, once there may be readers. */
static void as_the_model_with_readers_expected(void **state)
{
    (void)state;
    trap_table_expect_readers();
    at_random();
    assert_int_equal(trap_table_add(&spaces[1]), 0);
    /* Makes the table anew, without those that are gone. */
    assert_int_equal(trap_table_set_hook(&spaces[1], NULL, NULL), 0);
    present[1] = true;
    hooked[1] = 0;
    slab_inject_failure(1, 1);
    assert_int_equal(trap_table_add(&spaces[0]), -ENOMEM);
    slab_inject_failure(0, 0);
    look_everywhere();
    /* What takes the place of one that is gone needs none. */
    trap_table_remove(&spaces[1]);
    slab_inject_failure(1, 1);
    assert_int_equal(trap_table_add(&spaces[1]), 0);
    slab_inject_failure(0, 0);
    look_everywhere();
    remove_all();
}

/* ---------------------------------------------------------------- readers --
 */

static atomic_bool stop;
static atomic_uint gone[SPACES]; /* odd: removed, and may not be found */

/* Returns how many look-ups were wrong. */
static void *read_always(void *arg)
{
    uintptr_t wrong = 0;
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&stop)) {
        size_t i = (size_t)rand_r(&seed) % SPACES;
        unsigned was = atomic_load(&gone[i]);
        struct trap_place place;

        if (!trap_table_pin(BASE + i * LEN, &place)) {
            wrong += i % 2; /* odd ones are always there */
            continue;
        }
        /* A hook goes with the data that it was set with. */
        if (place.space != &spaces[i] ||
            (place.data != NULL) != (place.hook != NULL) ||
            (was % 2 == 1 && atomic_load(&gone[i]) == was))
            wrong++;
        space_unpin(place.space);
    }
    return (void *)wrong;
}

/* When remove returns and the pins are gone nobody knows the space. */
static void while_others_read(void **state)
{
    pthread_t threads[2];
    unsigned seed = 7;

    (void)state;
    trap_table_expect_readers();
    for (size_t i = 1; i < SPACES; i += 2)
        assert_int_equal(trap_table_add(&spaces[i]), 0);
    for (size_t t = 0; t < 2; t++)
        assert_int_equal(
            pthread_create(&threads[t], NULL, read_always, (void *)(t + 1)), 0);
    for (int n = 0; n < 1000; n++) {
        size_t i = (size_t)rand_r(&seed) % SPACES;
        bool hook_it = rand_r(&seed) & 1;

        if (i % 2 == 0) {
            atomic_store(&gone[i], (unsigned)n * 2);
            assert_int_equal(trap_table_add(&spaces[i]), 0);
        }
        assert_int_equal(trap_table_set_hook(&spaces[i], hook_it ? hook : NULL,
                                             hook_it ? &seed : NULL),
                         0);
        if (i % 2 == 0) {
            trap_table_remove(&spaces[i]);
            atomic_store(&gone[i], (unsigned)n * 2 + 1);
            space_await_unpinned(&spaces[i]);
            atomic_store(&spaces[i].pins, 0); /* as a new record */
        }
    }
    atomic_store(&stop, true);
    for (size_t t = 0; t < 2; t++) {
        void *wrong = NULL;

        pthread_join(threads[t], &wrong);
        assert_int_equal((uintptr_t)wrong, 0);
    }
    remove_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory),
        cmocka_unit_test(as_the_model),
        cmocka_unit_test(as_the_model_with_readers_expected),
        cmocka_unit_test(while_others_read),
    };

    return cmocka_run_group_tests_name("trap_table", tests, set_up, NULL);
}
