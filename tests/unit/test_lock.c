/* SPDX-License-Identifier: MIT */
/*
 * Ranked locks: taking them downwards is silent; every other order, and a
 * release of what is not held, aborts a checking build. In children, since they
 * die of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/lock.h"

static struct lock engine = LOCK_INIT(LOCK_RANK_ENGINE);
static struct lock pager = LOCK_INIT(LOCK_RANK_PAGER);
static struct lock pager_too = LOCK_INIT(LOCK_RANK_PAGER);
static struct lock slab = LOCK_INIT(LOCK_RANK_SLAB);
static struct rwlock map;

/* True if the child aborted, having said something; false if it went well. */
static bool aborts(void (*body)(void))
{
    char said[512];
    int status, fds[2];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); /* cmocka's handler reports a failure */
        dup2(fds[1], 2);
        body();
        _exit(0);
    }
    close(fds[1]);
    n = read(fds[0], said, sizeof(said));
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
        assert_true(n > 0);
        return true;
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
}

/* Ranks are asserted at the highest check level alone. */
static void need_ranks(void)
{
    if (CHECK_LEVEL >= 2)
        return;
    print_message("built without lock ranks\n");
    skip();
}

static void in_order(void)
{
    lock_take(&engine);
    rwlock_take_write(&map);
    lock_take(&pager);
    lock_take(&slab);
    lock_release(&slab);
    lock_release(&pager);
    rwlock_release(&map);
    lock_release(&engine);
    CHECK(lock_none_held());
}

static void released_in_another_order(void)
{
    lock_take(&engine);
    rwlock_take_read(&map);
    lock_take(&slab);
    lock_release(&engine);
    lock_release(&slab);
    rwlock_release(&map);
    CHECK(lock_none_held());
}

static void downwards_is_silent(void **state)
{
    (void)state;
    assert_false(aborts(in_order));
    assert_false(aborts(released_in_another_order));
}

static void map_after_slab(void)
{
    lock_take(&slab);
    rwlock_take_read(&map);
}

static void engine_after_map(void)
{
    rwlock_take_write(&map);
    lock_take(&engine);
}

static void upwards_aborts(void **state)
{
    (void)state;
    need_ranks();
    assert_true(aborts(map_after_slab));
    assert_true(aborts(engine_after_map));
}

static void pager_after_pager(void)
{
    lock_take(&pager);
    lock_take(&pager_too);
}

static void map_twice(void)
{
    rwlock_take_read(&map);
    rwlock_take_read(&map);
}

/* Also twice for reading: with a writer between, that is a deadlock. */
static void two_of_one_rank_abort(void **state)
{
    (void)state;
    need_ranks();
    assert_true(aborts(pager_after_pager));
    assert_true(aborts(map_twice));
}

static void release_of_nothing(void)
{
    /* Held by somebody, so that the mutex itself has no objection. */
    pthread_mutex_lock(&pager.mutex);
    lock_release(&pager);
}

static void releasing_what_is_not_held_aborts(void **state)
{
    (void)state;
    need_ranks();
    assert_true(aborts(release_of_nothing));
}

static void *take_and_go(void *arg)
{
    lock_take(&engine);
    lock_release(&engine);
    return arg;
}

static void another_threads_locks(void)
{
    pthread_t thread;

    lock_take(&slab);
    CHECK(!lock_none_held() || CHECK_LEVEL < 2);
    pthread_create(&thread, NULL, take_and_go, NULL);
    pthread_join(thread, NULL);
    lock_release(&slab);
    CHECK(lock_none_held());
}

static void ranks_are_each_threads_own(void **state)
{
    (void)state;
    assert_false(aborts(another_threads_locks));
}

static void every_rank_at_once(void)
{
    lock_fork_take(&slab);
    lock_fork_take(&pager);
    lock_fork_take(&pager_too);
    rwlock_fork_take(&map);
    rwlock_fork_release(&map);
    lock_fork_child(&pager_too);
    lock_fork_child(&pager);
    lock_fork_release(&slab);
    in_order();
}

/* Fork handlers hold several of a rank; in the child locks are made anew. */
static void fork_handlers_have_no_rank(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    print_message("the thread sanitizer knows no lock that is made anew\n");
    skip();
#endif
    assert_false(aborts(every_rank_at_once));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(downwards_is_silent),
        cmocka_unit_test(upwards_aborts),
        cmocka_unit_test(two_of_one_rank_abort),
        cmocka_unit_test(releasing_what_is_not_held_aborts),
        cmocka_unit_test(ranks_are_each_threads_own),
        cmocka_unit_test(fork_handlers_have_no_rank),
    };

    rwlock_init(&map, LOCK_RANK_MAP);
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
