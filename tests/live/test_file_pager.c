/* SPDX-License-Identifier: MIT */
/*
 * The pager of a store, beside the kernel's own private mapping of the same
 * file: the same bytes at every page, zeros to the end of the last, SIGBUS
 * beyond it, whatever the window, the store and the number of threads; a file
 * that shrinks, and a read that fails, cost the page that was touched and no
 * other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/live.h"

#define RW (PROT_READ | PROT_WRITE)
/* More than a window of 512, which is read in several pieces. */
#define NPAGES   1100
#define NTHREADS 4

#define MANY(array) (sizeof(array) / sizeof((array)[0]))

static const uint32_t windows[] = {0, 1, 7, 512};

/* A file, mapped by the kernel and by a space with npages of each. */
struct pair {
    int fd;
    size_t npages;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_space *space;
    uintptr_t ours;
    char *theirs;
    size_t fds, records; /* before all of it */
};

static int make_file(size_t len_bytes)
{
    static unsigned made;
    char path[] = "/tmp/ufault-file-pager-XXXXXX";
    unsigned char *bytes = malloc(len_bytes + 1);
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    for (size_t i = 0; i < len_bytes; i++)
        bytes[i] = live_pattern(i * 13 + i / page_size());
    assert_int_equal(write(fd, bytes, len_bytes), len_bytes);
    free(bytes);
    /* Every other one comes from the disk, where there is one. */
    if (made++ % 2 && fdatasync(fd) == 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return fd;
}

/* -------------------------------------------- a store of the test's own -- */

#define BAD_PAGE 21 /* unreadable while `fails` is not 0 */

static atomic_int fails;

static ssize_t fd_read(void *context, void *buffer, size_t len, uint64_t offset)
{
    uint64_t bad = BAD_PAGE * page_size();
    int err = atomic_load(&fails);
    ssize_t n;

    if (err && offset >= bad && offset < bad + page_size())
        return err;
    if (err && offset < bad && len > bad - offset)
        len = bad - offset;
    n = pread(*(int *)context, buffer, len > 5000 ? 5000 : len, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int fd_size(void *context, uint64_t *ret_bytes)
{
    *ret_bytes = (uint64_t)lseek(*(int *)context, 0, SEEK_END);
    return 0;
}

/* -------------------------------------------------------------------- pairs -- */

enum which { RING, PREAD, DIRECT, MEMORY, OWN, WHICH };

static int store_for(struct pair *p, enum which which, size_t len_bytes)
{
    struct uf_store_ops ops = {
        .size = sizeof(ops), .read = fd_read, .get_size = fd_size};
    char *bytes;
    int err;

    switch (which) {
    case RING:
        return uf_store_fd(p->fd, 0, &p->store);
    case PREAD:
        return uf_store_fd(p->fd, UF_STORE_NO_URING, &p->store);
    case DIRECT:
        return uf_store_fd(p->fd, UF_STORE_DIRECT, &p->store);
    case MEMORY:
        err = uf_store_memory(NULL, len_bytes, UF_STORE_WRITE, &p->store);
        bytes = malloc(len_bytes);
        if (!err && (pread(p->fd, bytes, len_bytes, 0) != (ssize_t)len_bytes ||
                     uf_store_write(p->store, bytes, len_bytes, 0) !=
                         (ssize_t)len_bytes))
            err = -EIO;
        free(bytes);
        return err;
    default:
        return uf_store_create(&ops, &p->fd, &p->store);
    }
}

/* False: that kind cannot be had. `first` is the page of the file that the
 * mappings begin with; half of it is the pager's offset, half the mapping's. */
static bool pair_make(struct pair *p, enum which which, uint32_t window,
                      size_t len_bytes, size_t first, size_t npages)
{
    struct uf_space_opts opts = {.window_pages = window,
                                 .len_bytes = (size_t)32 << 20,
                                 .fork = UF_FORK_ENGINE};
    uint64_t half = first / 2 * page_size();
    int err;

    *p = (struct pair){.npages = npages,
                       .fds = live_count_fds(),
                       .records = slab_live_everywhere()};
    p->fd = make_file(len_bytes);
    err = store_for(p, which, len_bytes);
    if (err == -ENOTSUP && which == DIRECT) {
        close(p->fd);
        return false;
    }
    assert_int_equal(err, 0);
    assert_int_equal(uf_pager_store(p->store, half, &p->pager), 0);
    uf_store_unref(p->store); /* the pager has it */
    p->space = live_space(&opts, 0);
    p->ours = (uintptr_t)uf_mmap_pager(p->space, 0, npages * page_size(), RW,
                                       MAP_PRIVATE, p->pager,
                                       first * page_size() - half);
    assert_true((intptr_t)p->ours > 0);
    uf_pager_unref(p->pager);
    p->theirs = mmap(NULL, npages * page_size(), RW, MAP_PRIVATE, p->fd,
                     (off_t)(first * page_size()));
    assert_ptr_not_equal(p->theirs, MAP_FAILED);
    return true;
}

static void pair_end(struct pair *p)
{
    live_assert_law(p->space);
    assert_int_equal(live_stats(p->space).pager_lies, 0);
    assert_int_equal(uf_space_destroy(p->space), 0);
    munmap(p->theirs, p->npages * page_size());
    close(p->fd);
    assert_int_equal(live_count_fds(), p->fds);
    assert_int_equal(slab_live_everywhere(), p->records);
}

/* Page n is the same on both sides: its bytes, or the signal. */
static bool is_same(struct pair *p, size_t n)
{
    uintptr_t ours = p->ours + n * page_size();
    char *theirs = p->theirs + n * page_size();
    int sig = live_read(ours, NULL, NULL);

    if (sig != live_read((uintptr_t)theirs, NULL, NULL))
        return false;
    return sig == 0 ? memcmp((void *)ours, theirs, page_size()) == 0
                    : sig == SIGBUS;
}

static void assert_same(struct pair *p, size_t step)
{
    for (size_t i = 0; i < p->npages; i++)
        if (!is_same(p, i * step % p->npages))
            fail_msg("page %zu is not as the kernel's", i * step % p->npages);
}

/* -------------------------------------------------------------- every page -- */

static void each_page_is_the_files(void **state)
{
    static const size_t steps[] = {1, 617};

    (void)state;
    for (enum which which = 0; which < WHICH; which++) {
        for (size_t w = 0; w < MANY(windows); w++) {
            for (size_t s = 0; s < MANY(steps); s++) {
                size_t len = (NPAGES - 3) * page_size() - 1234;
                struct pair p;

                if (!pair_make(&p, which, windows[w], len, 0, NPAGES))
                    continue;
                assert_same(&p, steps[s]);
                assert_int_equal(live_stats(p.space).resident, NPAGES - 3);
                assert_int_equal(live_stats(p.space).refused, 3);
                pair_end(&p);
            }
        }
    }
}

/* Every length of a file around a page, and every offset of the mapping. */
static void the_tail_is_zeros_and_then_sigbus(void **state)
{
    const size_t page = page_size();
    const size_t lengths[] = {1,        511,          512,         page - 1,
                              page,     page + 1,     5 * page,    5 * page + 9,
                              7 * page, 8 * page - 1, 8 * page + 4};

    (void)state;
    for (enum which which = 0; which < WHICH; which++) {
        for (size_t i = 0; i < MANY(lengths); i++) {
            for (size_t first = 0; first < 9; first += 3) {
                struct pair p;

                if (!pair_make(&p, which, windows[(i + first) % MANY(windows)],
                               lengths[i], first, 12))
                    continue;
                assert_same(&p, 5);
                pair_end(&p);
            }
        }
    }
}

/* An empty file has not a single page, and an offset near the end of numbers
 * none either. */
static void nothing_is_sigbus(void **state)
{
    struct pair p;
    intptr_t far;

    (void)state;
    assert_true(pair_make(&p, RING, 0, 0, 0, 4));
    assert_same(&p, 1);
    far = uf_mmap_pager(p.space, 0, 4 * page_size(), RW, MAP_PRIVATE, p.pager,
                        (uint64_t)INT64_MAX + 1 - 8 * page_size());
    assert_true(far > 0);
    assert_int_equal(live_read((uintptr_t)far, NULL, NULL), SIGBUS);
    pair_end(&p);
}

/* EFAULT in a system call, and the good part before it. */
static void a_system_call_beyond_the_end(void **state)
{
    struct pair p;
    int fds[2];

    (void)state;
    LIVE_NEEDS_KERNEL_TOUCHES();
    assert_true(pair_make(&p, RING, 7, 5 * page_size() + 10, 0, 12));
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], (char *)p.ours + 6 * page_size(), 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(write(fds[1], (char *)p.ours + 5 * page_size(), 20), 20);
    close(fds[0]);
    close(fds[1]);
    pair_end(&p);
}

/* What is written stays here; the file is as it was. */
static void writes_are_private(void **state)
{
    struct pair p;

    (void)state;
    assert_true(pair_make(&p, RING, 0, 40 * page_size(), 0, 40));
    for (size_t i = 0; i < 40; i += 2) {
        ((char *)p.ours)[i * page_size() + 77]++;
        p.theirs[i * page_size() + 77]++;
    }
    assert_same(&p, 1);
    munmap(p.theirs, 40 * page_size());
    p.theirs = mmap(NULL, 40 * page_size(), RW, MAP_PRIVATE, p.fd, 0);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(is_same(&p, i), i % 2);
    pair_end(&p);
}

/* ------------------------------------------------------------------ threads -- */

struct toucher {
    pthread_t thread;
    struct pair *pair;
    size_t start, wrong;
};

static void *touch_all(void *arg)
{
    struct toucher *t = arg;
    const size_t npages = t->pair->npages;

    for (size_t i = 0; i < npages; i++) {
        size_t at = (t->start + i * 31) % npages * page_size();

        t->wrong += memcmp((char *)t->pair->ours + at, t->pair->theirs + at,
                           page_size()) != 0;
    }
    return NULL;
}

static void many_threads_see_the_same(void **state)
{
    (void)state;
    for (enum which which = 0; which < WHICH; which++) {
        for (size_t w = 0; w < MANY(windows); w += LIVE_SANITIZED ? 3 : 1) {
            struct toucher touchers[NTHREADS];
            struct pair p;

            if (!pair_make(&p, which, windows[w], NPAGES * page_size() - 9, 0,
                           NPAGES))
                continue;
            for (size_t i = 0; i < NTHREADS; i++) {
                touchers[i] =
                    (struct toucher){.pair = &p, .start = i * 250 + 1};
                assert_int_equal(pthread_create(&touchers[i].thread, NULL,
                                                touch_all, &touchers[i]),
                                 0);
            }
            for (size_t i = 0; i < NTHREADS; i++) {
                pthread_join(touchers[i].thread, NULL);
                assert_int_equal(touchers[i].wrong, 0);
            }
            assert_int_equal(live_stats(p.space).resident, NPAGES);
            pair_end(&p);
        }
    }
}

/* ----------------------------------------------------------------- failures -- */

/* Pages that nobody had touched yet are those of the file as it is now. */
static void a_file_that_shrinks(void **state)
{
    (void)state;
    for (enum which which = 0; which <= DIRECT; which++) {
        for (size_t w = 0; w < MANY(windows); w++) {
            size_t resident;
            struct pair p;

            if (!pair_make(&p, which, windows[w], 900 * page_size(), 0, 900))
                continue;
            assert_true(is_same(&p, 3));
            resident = live_stats(p.space).resident;
            assert_true(resident >= 1 && resident <= 512);
            assert_int_equal(ftruncate(p.fd, (off_t)(600 * page_size() + 100)),
                             0);
            for (size_t n = 512; n < 900; n++)
                assert_true(is_same(&p, 512 + n * 7 % 388));
            /* It grows again: what was refused stays refused, here alone. */
            assert_int_equal(ftruncate(p.fd, (off_t)(900 * page_size())), 0);
            assert_int_equal(live_read(p.ours + 899 * page_size(), NULL, NULL),
                             SIGBUS);
            assert_int_equal(live_stats(p.space).refused, 900 - 601);
            pair_end(&p);
        }
    }
}

/* SIGBUS at that page, counted; the others of its window are there. */
static void a_read_error(void **state)
{
    (void)state;
    for (size_t w = 0; w < MANY(windows); w++) {
        struct uf_stats s;
        struct pair p;

        assert_true(pair_make(&p, OWN, windows[w], 60 * page_size(), 0, 60));
        atomic_store(&fails, -EIO);
        for (size_t i = 0; i < 60; i++) {
            size_t n = i * 7 % 60;

            if (n == BAD_PAGE)
                assert_int_equal(
                    live_read(p.ours + n * page_size() + 5, NULL, NULL),
                    SIGBUS);
            else
                assert_true(is_same(&p, n));
        }
        s = live_stats(p.space);
        assert_int_equal(s.refused, 1);
        assert_int_equal(s.resident, 59);
        assert_true(s.pager_failures >= 1);
        atomic_store(&fails, 0);
        pair_end(&p);
    }
}

/* --------------------------------------------------------------------- fork -- */

/* A child's engine reads on, with rings of its own, while the parent's does. */
static void a_child_reads_on(void **state)
{
    (void)state;
    for (enum which which = 0; which < WHICH; which++) {
        struct pair p;
        int status;
        pid_t pid;

        if (!pair_make(&p, which, 512, NPAGES * page_size() - 5, 0, NPAGES))
            continue;
        assert_true(is_same(&p, 0));
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
            size_t wrong = 0;

            for (size_t i = 0; i < NPAGES; i++)
                wrong += memcmp((char *)p.ours + i * page_size(),
                                p.theirs + i * page_size(), page_size()) != 0;
            _exit(wrong ? 1 : 0);
        }
        assert_same(&p, 617);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        pair_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_page_is_the_files),
        cmocka_unit_test(the_tail_is_zeros_and_then_sigbus),
        cmocka_unit_test(nothing_is_sigbus),
        cmocka_unit_test(a_system_call_beyond_the_end),
        cmocka_unit_test(writes_are_private),
        cmocka_unit_test(many_threads_see_the_same),
        cmocka_unit_test(a_file_that_shrinks),
        cmocka_unit_test(a_read_error),
        cmocka_unit_test(a_child_reads_on),
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("file pager", tests, NULL, NULL);
}
