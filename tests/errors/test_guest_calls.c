/* SPDX-License-Identifier: MIT */
/*
 * The errnos of ufault/copy.h and ufault/trap.h: wrong arguments, no memory,
 * and system calls that a filter refuses. Where process_vm_readv(2) is refused
 * the same is copied another way.
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
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "host/context.h"
#include "lib/live.h"

#define PAGES   20
#define SKIPPED 77

#define NEED(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "child: line %d: %s\n", __LINE__, #cond);          \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

/* ------------------------------------------------------------- arguments -- */

/* What all five answer. */
static void all_answer(struct uf_space *space, uintptr_t addr, int err)
{
    char byte = 0;
    size_t copied = 9;

    assert_int_equal(uf_copy_in(space, &byte, addr, 1, &copied), err);
    assert_int_equal(copied, 0);
    copied = 9;
    assert_int_equal(uf_copy_out(space, addr, &byte, 1, &copied), err);
    assert_int_equal(copied, 0);
    assert_int_equal(uf_strnlen(space, addr, 1), err);
    assert_int_equal(uf_populate_read(space, addr, 1), err);
    assert_int_equal(uf_populate_write(space, addr, 1), err);
}

/* provokes: uf_copy_in -EFAULT
 * provokes: uf_copy_out -EFAULT
 * provokes: uf_strnlen -EFAULT
 * provokes: uf_populate_read -EFAULT
 * provokes: uf_populate_write -EFAULT */
static void not_the_guests(void **state)
{
    struct uf_space *space = live_space(NULL, PAGES);
    char own = 0;

    (void)state;
    all_answer(space, live_page(space, PAGES), -EFAULT);
    all_answer(space, (uintptr_t)&own, -EFAULT);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_copy_in -EINVAL
 * provokes: uf_copy_out -EINVAL
 * provokes: uf_strnlen -EINVAL
 * provokes: uf_populate_read -EINVAL
 * provokes: uf_populate_write -EINVAL
 * provokes: uf_space_set_trap -EINVAL */
static void no_live_space(void **state)
{
    struct uf_space *space = live_space(NULL, PAGES);
    uintptr_t addr = live_page(space, 0);

    (void)state;
    assert_int_equal(uf_copy_in(space, NULL, addr, 1, NULL), -EINVAL);
    assert_int_equal(uf_copy_out(space, addr, NULL, 1, NULL), -EINVAL);
    all_answer(NULL, addr, -EINVAL);
    assert_int_equal(uf_space_set_trap(NULL, NULL, NULL), -EINVAL);
    assert_int_equal(uf_space_destroy(space), 0);
    all_answer(space, addr, -EINVAL);
    assert_int_equal(uf_space_set_trap(space, NULL, NULL), -EINVAL);
}

/* ---------------------------------------------------------------- memory -- */

/* provokes: uf_copy_in -ENOMEM
 * provokes: uf_copy_out -ENOMEM
 * provokes: uf_strnlen -ENOMEM
 * provokes: uf_populate_read -ENOMEM
 * provokes: uf_populate_write -ENOMEM */
static void no_memory_for_a_fill(void **state)
{
    struct live_pager p;
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space;
    unsigned char byte = 0;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, PAGES);
    uf_pager_unref(p.pager);
    slab_inject_failure(1, 1000);
    all_answer(space, live_page(space, 3), -ENOMEM);
    slab_inject_failure(0, 0);
    assert_int_equal(uf_copy_in(space, &byte, live_page(space, 3), 1, NULL), 0);
    assert_int_equal(byte, live_pattern(3 * page_size()));
    assert_int_equal(uf_space_destroy(space), 0);
}

static int pass(void *data, struct uf_trap *trap)
{
    (void)data;
    (void)trap;
    return UF_TRAP_PASS;
}

/* provokes: uf_space_set_trap -ENOMEM
 * provokes: uf_space_create -ENOMEM */
static void no_memory_for_a_hook(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    struct uf_space *space = live_space(NULL, PAGES), *other = NULL;

    (void)state;
    assert_int_equal(uf_trap_install(), 0);
    slab_inject_failure(1, 1000);
    assert_int_equal(uf_space_set_trap(space, pass, NULL), -ENOMEM);
    assert_int_equal(uf_space_create(&opts, &other), -ENOMEM);
    slab_inject_failure(0, 0);
    assert_int_equal(uf_space_set_trap(space, pass, NULL), 0);
    assert_int_equal(uf_space_create(&opts, &other), 0);
    /* What takes a space away needs none. */
    slab_inject_failure(1, 1000);
    assert_int_equal(uf_space_destroy(other), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_trap_remove(), 0);
    slab_inject_failure(0, 0);
}

/* --------------------------------------------------------------- refusals --
 */

/* Calls that shall fail, each with its errno. */
struct refusal {
    int call;
    int err;
};

static void refuse(const struct refusal *refusals, size_t n)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter ? 0 : -1;

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)refusals[i].err),
                              refusals[i].call, 0);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc != 0)
        _exit(SKIPPED);
}

/* body(space, arg) in a child with an engine of its own. */
static void in_child(void (*body)(struct uf_space *, const void *),
                     const void *arg)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        alarm(60);
        body(live_space(NULL, PAGES), arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status == SKIPPED << 8) {
        print_message("no seccomp filter can be loaded\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* Copies of all lengths at all offsets, and what must be refused. */
static void copies_nevertheless(struct uf_space *space, const void *arg)
{
    const struct refusal calls[] = {
        {SCMP_SYS(process_vm_readv), *(const int *)arg},
        {SCMP_SYS(process_vm_writev), *(const int *)arg}};
    size_t page = page_size(), all = PAGES * page, copied, fds;
    uintptr_t base = live_page(space, 0), end = live_page(space, PAGES);
    unsigned char *out = malloc(all), *in = malloc(all);
    unsigned seed = 1;

    refuse(calls, 2);
    fds = live_count_fds();
    for (size_t i = 0; i < all; i++)
        out[i] = live_pattern(i);
    NEED(uf_copy_out(space, base, out, all, &copied) == 0 && copied == all);
    for (int i = 0; i < 100; i++) {
        size_t at = (size_t)rand_r(&seed) % all;
        size_t len = (size_t)rand_r(&seed) % (all - at);

        NEED(uf_copy_in(space, in, base + at, len, &copied) == 0);
        NEED(copied == len && memcmp(in, out + at, len) == 0);
    }
    NEED(uf_copy_in(space, in, end - page - 9, 2 * page, &copied) == -EFAULT);
    NEED(copied == page + 9);
    NEED(uf_copy_out(space, end - 9, out, 10, &copied) == -EFAULT);
    NEED(copied == 9);
    /* The look finds nothing wrong with this page; the pipe does. */
    NEED(mprotect((void *)live_page(space, 4), page, PROT_NONE) == 0);
    NEED(uf_copy_in(space, in, base, all, &copied) == -EFAULT);
    NEED(copied == 4 * page);
    NEED(uf_copy_out(space, base + 3, out, all, &copied) == -EFAULT);
    NEED(copied == 4 * page - 3);
    NEED(uf_strnlen(space, end - 7, 7) == 7);
    NEED(live_count_fds() == fds);
}

/* A filter that does not know process_vm_readv, or a kernel without. */
static void without_process_vm(void **state)
{
    static const int errs[] = {EPERM, ENOSYS};

    (void)state;
    in_child(copies_nevertheless, &errs[0]);
    in_child(copies_nevertheless, &errs[1]);
}

struct no_pipe {
    struct refusal pipe_is;
    int answer;
};

static void no_way_to_copy(struct uf_space *space, const void *arg)
{
    const struct no_pipe *no_pipe = arg;
    const struct refusal calls[] = {{SCMP_SYS(process_vm_readv), EPERM},
                                    {SCMP_SYS(process_vm_writev), EPERM},
                                    no_pipe->pipe_is};
    int answer = no_pipe->answer;
    uintptr_t addr = live_page(space, 0);
    char byte = 1;
    size_t copied = 9;

    refuse(calls, 3);
    NEED(uf_copy_in(space, &byte, addr, 1, &copied) == answer && copied == 0);
    NEED(uf_copy_out(space, addr, &byte, 1, NULL) == answer);
    NEED(uf_strnlen(space, addr, 1) == answer);
    /* Nothing is copied here. */
    NEED(uf_populate_read(space, addr, 1) == 0);
    NEED(uf_populate_write(space, addr, 1) == 0);
    /* Under the handler no call is needed. */
    NEED(uf_trap_install() == 0);
    if (guarded_copy_is_known()) {
        NEED(uf_copy_out(space, addr, "x", 2, NULL) == 0);
        NEED(uf_strnlen(space, addr, 9) == 1);
        NEED(uf_copy_in(space, &byte, addr, 1, NULL) == 0 && byte == 'x');
    }
    NEED(uf_trap_remove() == 0);
    NEED(uf_copy_in(space, &byte, addr, 1, &copied) == answer && copied == 0);
}

/* provokes: uf_copy_in -EMFILE -ENFILE -ENOSYS
 * provokes: uf_copy_out -EMFILE -ENFILE -ENOSYS
 * provokes: uf_strnlen -EMFILE -ENFILE -ENOSYS */
static void without_pipes_either(void **state)
{
    static const struct no_pipe pipes[] = {
        {{SCMP_SYS(pipe2), EMFILE}, -EMFILE},
        {{SCMP_SYS(pipe2), ENFILE}, -ENFILE},
        {{SCMP_SYS(pipe2), ENOSYS}, -ENOSYS},
        {{SCMP_SYS(pipe2), EACCES}, -ENOSYS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pipes) / sizeof(pipes[0]); i++)
        in_child(no_way_to_copy, &pipes[i]);
}

static void no_handler(struct uf_space *space, const void *arg)
{
    const struct refusal call = {SCMP_SYS(rt_sigaction), EACCES};

    (void)arg;
    refuse(&call, 1);
    NEED(uf_trap_install() == -EPERM);
    NEED(uf_trap_remove() == -EINVAL);
    NEED(uf_space_set_trap(space, pass, NULL) == 0);
}

/* provokes: uf_trap_install -EPERM */
static void without_signal_handlers(void **state)
{
    (void)state;
    in_child(no_handler, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_the_guests),
        cmocka_unit_test(no_live_space),
        cmocka_unit_test(no_memory_for_a_fill),
        cmocka_unit_test(no_memory_for_a_hook),
        cmocka_unit_test(without_process_vm),
        cmocka_unit_test(without_pipes_either),
        cmocka_unit_test(without_signal_handlers),
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("guest_calls", tests, NULL, NULL);
}
