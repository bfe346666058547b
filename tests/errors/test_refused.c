/* SPDX-License-Identifier: MIT */
/*
 * The kernel refuses: each system call that uf_engine_create and
 * uf_space_create depend on is made to fail, by a seccomp filter or a limit,
 * in a child of its own. Both answer with a documented errno, write no output
 * and leave no descriptor behind.
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
#include <linux/userfaultfd.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"

#define SKIPPED 77
/* _IO(0xAA, 0x00) of <linux/userfaultfd.h>, 6.1 and later */
#define IOC_NEW 0xaa00

#define NEED(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s: not true\n", __FILE__, __LINE__,       \
                    #condition);                                               \
            return 1;                                                          \
        }                                                                      \
    } while (0)

/* A system call that shall fail; `request`: of ioctl, 0 for any call. */
struct refusal {
    int call;
    unsigned long request;
    int err;
};

/* Loads a filter with all of them (ended by err 0). */
static int refuse(const struct refusal *refusals)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter ? 0 : -1;

    for (; rc == 0 && refusals->err; refusals++) {
        uint32_t action = SCMP_ACT_ERRNO((uint16_t)refusals->err);

        rc = refusals->request
                 ? seccomp_rule_add(filter, action, refusals->call, 1,
                                    SCMP_A1(SCMP_CMP_EQ, refusals->request, 0))
                 : seccomp_rule_add(filter, action, refusals->call, 0);
    }
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc != 0) {
        printf("skipped: no seccomp filter can be loaded\n");
        fflush(NULL);
        return SKIPPED;
    }
    return 0;
}

static void in_child(int (*body)(const void *), const void *arg)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int result = body(arg);

        fflush(NULL);
        _exit(result);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fail_msg("the child was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Both functions answer err, and nothing is left of what they had begun. */
static int both_answer(int err)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 20};
    struct uf_engine *engine = NULL;
    struct uf_space *space = NULL;
    size_t fds = live_count_fds();
    int got = uf_engine_create(NULL, &engine);

    if (got != err)
        fprintf(stderr, "uf_engine_create answers %d, not %d\n", got, err);
    NEED(got == err && !engine);
    NEED(uf_space_create(&opts, &space) == err && !space);
    NEED(live_count_fds() == fds);
    return 0;
}

struct case_of {
    struct refusal refusals[6];
    int answer;
};

static int both_answer_filtered(const void *arg)
{
    const struct case_of *c = arg;
    int skipped = refuse(c->refusals);

    return skipped ? skipped : both_answer(c->answer);
}

/* Every way to a descriptor answers `err`. */
#define NO_DESCRIPTOR(err)                                                     \
    {                                                                          \
        {SCMP_SYS(userfaultfd), 0, err}, {SCMP_SYS(ioctl), IOC_NEW, err},      \
    }

/* provokes: uf_engine_create -EPERM -ENOSYS -ENFILE -EMFILE -ENOMEM
 * provokes: uf_space_create -EPERM -ENOSYS -ENFILE -EMFILE -ENOMEM */
static void userfaultfd_is_refused(void **state)
{
    static const struct case_of cases[] = {
        {NO_DESCRIPTOR(EPERM), -EPERM},   {NO_DESCRIPTOR(EACCES), -EPERM},
        {NO_DESCRIPTOR(ENOSYS), -ENOSYS}, {NO_DESCRIPTOR(ENFILE), -ENFILE},
        {NO_DESCRIPTOR(EMFILE), -EMFILE}, {NO_DESCRIPTOR(ENOMEM), -ENOMEM},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        in_child(both_answer_filtered, &cases[i]);
}

/* provokes: uf_engine_create -ENOTSUP
 * provokes: uf_space_create -ENOTSUP */
static void the_handshake_is_refused(void **state)
{
    static const struct case_of cases[] = {
        {{{SCMP_SYS(ioctl), UFFDIO_API, EINVAL}}, -ENOTSUP},
    };
    struct uf_probe probe = {.size = sizeof(probe)};

    (void)state;
    assert_int_equal(uf_probe(&probe), 0);
    if (probe.tier != UF_TIER_SYSCALL) {
        print_message("refused before the handshake: that is -EPERM\n");
        skip();
    }
    in_child(both_answer_filtered, &cases[0]);
}

/* Only what the header says comes out, whatever the kernel answers. */
static void errnos_that_nobody_documents(void **state)
{
    static const struct case_of cases[] = {
        {NO_DESCRIPTOR(EIO), -ENOTSUP},
        {NO_DESCRIPTOR(EXDEV), -ENOTSUP},
        {{{SCMP_SYS(eventfd2), 0, EIO}}, -ENOTSUP},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        in_child(both_answer_filtered, &cases[i]);
}

/* provokes: uf_engine_create -EMFILE -ENFILE
 * provokes: uf_space_create -EMFILE -ENFILE */
static void the_stop_descriptor_is_refused(void **state)
{
    static const struct case_of cases[] = {
        {{{SCMP_SYS(eventfd2), 0, EMFILE}}, -EMFILE},
        {{{SCMP_SYS(eventfd2), 0, ENFILE}}, -ENFILE},
        {{{SCMP_SYS(eventfd2), 0, ENOMEM}}, -ENOMEM},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        in_child(both_answer_filtered, &cases[i]);
}

/* provokes: uf_engine_create -EAGAIN
 * provokes: uf_space_create -EAGAIN */
static void no_thread_can_be_started(void **state)
{
    static const struct case_of cases[] = {
        {{{SCMP_SYS(clone), 0, EAGAIN}, {SCMP_SYS(clone3), 0, EAGAIN}},
         -EAGAIN},
        /* As EPERM, pthread_create(3) says, only for attributes it has not. */
        {{{SCMP_SYS(clone), 0, EPERM}, {SCMP_SYS(clone3), 0, EPERM}}, -EPERM},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        in_child(both_answer_filtered, &cases[i]);
}

/* ------------------------------------------------------------- registering --
 */

static int space_answers(const void *arg)
{
    const struct case_of *c = arg;
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 20};
    struct uf_space *space = NULL;
    size_t fds = live_count_fds(), maps;
    int skipped = refuse(c->refusals), got;

    if (skipped)
        return skipped;
    /* With an engine of its own, and with one that goes on. */
    NEED(uf_space_create(&opts, &space) == c->answer && !space);
    NEED(live_count_fds() == fds);
    NEED(uf_engine_create(NULL, &opts.engine) == 0);
    maps = live_count_maps();
    for (int i = 0; i < 3; i++) {
        got = uf_space_create(&opts, &space);
        if (got != c->answer)
            fprintf(stderr, "answers %d, not %d\n", got, c->answer);
        NEED(got == c->answer && !space);
    }
    NEED(live_count_maps() <= maps + 1);
    NEED(uf_engine_destroy(opts.engine) == 0);
    NEED(live_count_fds() == fds);
    return 0;
}

/* provokes: uf_space_create -EBUSY -ENOMEM */
static void registering_is_refused(void **state)
{
    static const struct case_of cases[] = {
        {{{SCMP_SYS(ioctl), UFFDIO_REGISTER, EBUSY}}, -EBUSY},
        {{{SCMP_SYS(ioctl), UFFDIO_REGISTER, ENOMEM}}, -ENOMEM},
        {{{SCMP_SYS(ioctl), UFFDIO_REGISTER, EPERM}}, -ENOMEM},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        in_child(space_answers, &cases[i]);
}

static int space_answers_dontfork(const void *arg)
{
    const struct refusal refusals[] = {{SCMP_SYS(madvise), 0, EACCES}, {0}};
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 20,
                                 .fork = UF_FORK_NONE};
    struct uf_space *space = NULL;
    size_t fds = live_count_fds();
    int skipped = refuse(refusals);

    (void)arg;
    if (skipped)
        return skipped;
    NEED(uf_space_create(&opts, &space) == -ENOMEM && !space);
    NEED(live_count_fds() == fds);
    return 0;
}

/* A space that must not be inherited is not made when it would be. */
static void keeping_it_from_children_is_refused(void **state)
{
    (void)state;
    in_child(space_answers_dontfork, NULL);
}

/* --------------------------------------------------------------- protection --
 */

static int break_stays(const void *arg)
{
    const struct refusal refusals[] = {{SCMP_SYS(mprotect), 0, ENOMEM}, {0}};
    struct uf_space *space = NULL;
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = (size_t)1 << 20, .window_pages = 1};
    unsigned char byte = 0;
    uintptr_t brk;
    int skipped;

    (void)arg;
    NEED(uf_space_create(&opts, &space) == 0);
    NEED(uf_sbrk(space, (intptr_t)(2 * page_size())) > 0);
    brk = uf_brk(space, 0);
    skipped = refuse(refusals);
    if (skipped)
        return skipped;
    NEED(uf_sbrk(space, (intptr_t)page_size()) == -ENOMEM);
    NEED(uf_brk(space, brk + 1) == brk);
    NEED(uf_brk(space, brk - page_size()) == brk);
    NEED(live_stats(space).total_vm == 2);
    NEED(live_read(live_page(space, 1), &byte, NULL) == 0 && byte == 0);
    NEED(live_read(live_page(space, 2), &byte, NULL) == SIGSEGV);
    /* Within the page nothing is mapped or unmapped. */
    NEED(uf_brk(space, brk - 5) == brk - 5);
    return uf_space_destroy(space);
}

/* provokes: uf_sbrk -ENOMEM */
static void a_break_the_kernel_refuses_changes_nothing(void **state)
{
    (void)state;
    in_child(break_stays, NULL);
}

/* ------------------------------------------------------------------- limits --
 */

static int few_descriptors(const void *arg)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 20};
    struct rlimit limit;
    struct uf_space *space = NULL;
    size_t fds = live_count_fds();
    int free_fd = dup(0), err = -EMFILE;

    (void)arg;
    close(free_fd);
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int n = 0; n < 32 && err; n++) {
        limit.rlim_cur = (rlim_t)(free_fd + n);
        NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        err = uf_space_create(&opts, &space);
        NEED(err == 0 || (err == -EMFILE && !space));
    }
    NEED(err == 0);
    NEED(uf_space_destroy(space) == 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    NEED(live_count_fds() == fds);
    return 0;
}

/* provokes: uf_space_create -EMFILE */
static void descriptors_run_out(void **state)
{
    (void)state;
    in_child(few_descriptors, NULL);
}

static int little_address_space(const void *arg)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 40};
    struct rlimit limit = {(rlim_t)1 << 34, RLIM_INFINITY};
    struct uf_space *space = NULL;

    (void)arg;
    NEED(setrlimit(RLIMIT_AS, &limit) == 0);
    NEED(uf_space_create(&opts, &space) == -ENOMEM && !space);
    opts.len_bytes = (size_t)1 << 30;
    NEED(uf_space_create(&opts, &space) == 0);
    return uf_space_destroy(space);
}

/* provokes: uf_space_create -ENOMEM */
static void the_address_space_is_limited(void **state)
{
    (void)state;
    if (LIVE_SANITIZED) {
        print_message("a sanitizer maps more than any limit\n");
        skip();
    }
    in_child(little_address_space, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(userfaultfd_is_refused),
        cmocka_unit_test(the_handshake_is_refused),
        cmocka_unit_test(errnos_that_nobody_documents),
        cmocka_unit_test(the_stop_descriptor_is_refused),
        cmocka_unit_test(no_thread_can_be_started),
        cmocka_unit_test(registering_is_refused),
        cmocka_unit_test(keeping_it_from_children_is_refused),
        cmocka_unit_test(a_break_the_kernel_refuses_changes_nothing),
        cmocka_unit_test(descriptors_run_out),
        cmocka_unit_test(the_address_space_is_limited),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
