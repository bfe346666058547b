/* SPDX-License-Identifier: MIT */
/*
 * What becomes of signals that no hook takes: the handler that was there
 * before is called as the kernel would have called it, or the process ends as
 * it would have ended. The kernel is asked: each case is run on a plain
 * mapping without us, and in a space with us, in children of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "lib/live.h"

#define PAGES 4

#define NEED(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "child: line %d: %s\n", __LINE__, #cond);          \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

static void put(uintptr_t addr)
{
    __atomic_store_n((volatile unsigned char *)addr, 1, __ATOMIC_RELAXED);
}

/* Runs body in a child without a core file; how it ended, as waitpid says. */
static int status_of(void (*body)(void *), void *arg)
{
    struct rlimit no_core = {0, 0};
    int status = -1;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL); /* cmocka's */
        signal(SIGBUS, SIG_DFL);
        alarm(60);
        body(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

/* ---------------------------------------------- called as by the kernel -- */

enum raise_by { ACCESS, TGKILL, QUEUE };

/* How a handler is installed, and what raises the signal. */
struct case_of {
    int flags;
    bool mask_usr1;  /* in sa_mask */
    bool block_usr2; /* when the signal is raised */
    enum raise_by by;
    bool reset_called; /* raise it twice: the second ends the process */
};

/* What it found. In shared memory, so that the parent can compare. */
struct finding {
    unsigned calls;
    int signo, code, value;
    pid_t sender;
    bool addr_is_right;
    bool on_alt;
    bool masked[32];
    bool masked_after[32];
    bool has_context;
};

static struct finding *finding; /* being filled */
static uintptr_t bad_addr;
static char alt_stack[65536];
static sigjmp_buf escape;

static void find_mask(bool *masked)
{
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i < 32; i++)
        masked[i] = sigismember(&mask, i) == 1;
}

static void find_common(int signo)
{
    char here;

    finding->calls++;
    finding->signo = signo;
    finding->on_alt =
        (uintptr_t)&here - (uintptr_t)alt_stack < sizeof(alt_stack);
    find_mask(finding->masked);
    errno = EXDEV;
}

static void plain_handler(int signo)
{
    find_common(signo);
    if (bad_addr)
        siglongjmp(escape, 1);
}

static void info_handler(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    find_common(signo);
    finding->code = info->si_code;
    finding->has_context = sigismember(&uc->uc_sigmask, SIGALRM) == 0;
    if (info->si_code > 0) {
        finding->addr_is_right = (uintptr_t)info->si_addr == bad_addr;
    } else {
        finding->sender = info->si_pid == getpid();
        finding->value =
            info->si_code == SI_QUEUE ? info->si_value.sival_int : 0;
    }
    if (bad_addr)
        siglongjmp(escape, 1);
}

static void install(const struct case_of *c)
{
    struct sigaction action = {.sa_flags = c->flags};

    if (c->flags & SA_SIGINFO)
        action.sa_sigaction = info_handler;
    else
        action.sa_handler = plain_handler;
    if (c->mask_usr1)
        sigaddset(&action.sa_mask, SIGUSR1);
    NEED(sigaction(SIGSEGV, &action, NULL) == 0);
}

static void raise_it(enum raise_by by)
{
    union sigval value = {.sival_int = 4711};

    if (by == TGKILL) {
        raise(SIGSEGV);
    } else if (by == QUEUE) {
        sigqueue(getpid(), SIGSEGV, value);
    } else if (sigsetjmp(escape, 1) == 0) {
        put(bad_addr);
    }
}

static void run_case(const struct case_of *c)
{
    stack_t alt = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};
    sigset_t usr2;

    if (c->flags & SA_ONSTACK)
        NEED(sigaltstack(&alt, NULL) == 0);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    if (c->block_usr2)
        pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    raise_it(c->by);
    find_mask(finding->masked_after);
    if (c->reset_called)
        raise_it(c->by);
}

/* By the kernel: a plain mapping beside nothing. */
static void natively(void *arg)
{
    const struct case_of *c = arg;
    char *p = mmap(NULL, 2 * page_size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    NEED(p != MAP_FAILED && munmap(p, 2 * page_size()) == 0);
    bad_addr = c->by == ACCESS ? (uintptr_t)p + 5 : 0;
    install(c);
    run_case(c);
}

/* Through us: nothing mapped in a space. */
static void in_a_space(void *arg)
{
    const struct case_of *c = arg;
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    struct uf_space *space;

    NEED(uf_space_create(&opts, &space) == 0);
    install(c);
    NEED(uf_trap_install() == 0);
    bad_addr = c->by == ACCESS ? uf_space_base(space) + 5 : 0;
    run_case(c);
}

static void as_by_the_kernel(const struct case_of *c)
{
    struct finding *both = mmap(NULL, 2 * sizeof(*both), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct case_of copy = *c;
    int native, ours;

    assert_true(both != MAP_FAILED);
    finding = &both[0];
    native = status_of(natively, &copy);
    finding = &both[1];
    ours = status_of(in_a_space, &copy);
    assert_int_equal(native, c->reset_called ? SIGSEGV : 0);
    assert_int_equal(ours, native);
    assert_int_equal(both[0].calls, 1);
    if (LIVE_SANITIZED) /* that of threads blocks more than it is asked to */
        memcpy(both[0].masked, both[1].masked, sizeof(both[0].masked));
    assert_memory_equal(&both[0], &both[1], sizeof(both[0]));
    munmap(both, 2 * sizeof(*both));
}

/* With every combination of flags, each way to raise it: the same arguments,
 * the same mask in the handler and after it, the same end. */
static void the_handler_before_us(void **state)
{
    static const int flags[] = {
        0,          SA_NODEFER, (int)SA_RESETHAND,      SA_ONSTACK,
        SA_RESTART, SA_SIGINFO, SA_ONSTACK | SA_NODEFER};

    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        for (int bits = 0; bits < 8; bits += LIVE_SANITIZED ? 7 : 1)
            for (int by = 0; by < 3; by++) {
                struct case_of c = {.flags = flags[i],
                                    .mask_usr1 = bits & 1,
                                    .block_usr2 = bits & 2,
                                    .by = (enum raise_by)by};

                c.flags |= bits & 4 ? SA_SIGINFO : 0;
                c.reset_called = (c.flags & (int)SA_RESETHAND) != 0;
                as_by_the_kernel(&c);
            }
}

/* ----------------------------------------------------- nobody before us -- */

struct ending {
    void (*disposition)(int);
    enum raise_by by;
    bool hooked;  /* a hook passes it on */
    bool foreign; /* an address in no space */
};

static int pass(void *data, struct uf_trap *trap)
{
    (void)data;
    (void)trap;
    return UF_TRAP_PASS;
}

static void end(void *arg)
{
    const struct ending *e = arg;
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    struct uf_space *space;

    NEED(uf_space_create(&opts, &space) == 0);
    signal(SIGSEGV, e->disposition);
    NEED(uf_trap_install() == 0);
    if (e->hooked)
        NEED(uf_space_set_trap(space, pass, NULL) == 0);
    bad_addr = e->foreign ? 8 : uf_space_base(space);
    raise_it(e->by);
    _exit(42); /* survived it */
}

/* SIG_DFL and SIG_IGN mean what they mean to the kernel: an access that failed
 * cannot be ignored. */
static void death_is_as_before(void **state)
{
    (void)state;
    for (int bits = 0; bits < 8; bits++)
        for (int by = 0; by < 3; by++) {
            struct ending e = {.disposition = bits & 1 ? SIG_IGN : SIG_DFL,
                               .by = (enum raise_by)by,
                               .hooked = bits & 2,
                               .foreign = bits & 4};
            bool survives = (bits & 1) && by != ACCESS;

            assert_int_equal(status_of(end, &e), survives ? -42 : SIGSEGV);
        }
}

/* ----------------------------------------------------- faults in a hook -- */

static int fault_again(void *data, struct uf_trap *trap)
{
    (*(unsigned *)data)++;
    put(trap->address + 1);
    return UF_TRAP_RESUME;
}

static void fault_in_hook(void *calls)
{
    struct uf_space *space = live_space(NULL, PAGES);

    NEED(uf_trap_install() == 0);
    NEED(uf_space_set_trap(space, fault_again, calls) == 0);
    put(live_page(space, PAGES));
}

/* It ends the process, at once: the hook is not called again. */
static void a_fault_in_the_hook(void **state)
{
    unsigned *calls = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(calls != MAP_FAILED);
    assert_int_equal(status_of(fault_in_hook, calls), SIGSEGV);
    assert_int_equal(*calls, 1);
    munmap(calls, page_size());
}

/* ---------------------------------------------------- handlers after us -- */

static struct sigaction below;
static volatile unsigned above_calls, hook_calls;

static void above(int signo, siginfo_t *info, void *context)
{
    above_calls++;
    below.sa_sigaction(signo, info, context);
}

static int leave(void *data, struct uf_trap *trap)
{
    (void)data;
    (void)trap;
    hook_calls++;
    siglongjmp(escape, 1);
}

/* provokes: uf_trap_remove -EBUSY */
static void a_handler_over_ours(void **state)
{
    struct uf_space *space = live_space(NULL, PAGES);
    struct sigaction action = {.sa_sigaction = above, .sa_flags = SA_SIGINFO};

    (void)state;
    hook_calls = above_calls = 0;
    bad_addr = live_page(space, PAGES);
    assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_space_set_trap(space, leave, NULL), 0);
    assert_int_equal(sigaction(SIGSEGV, &action, &below), 0);
    for (unsigned i = 1; i <= 10; i++) {
        raise_it(ACCESS);
        assert_int_equal(above_calls, i);
        assert_int_equal(hook_calls, i);
    }
    assert_int_equal(uf_trap_remove(), -EBUSY);
    raise_it(ACCESS);
    assert_int_equal(hook_calls, 11);
    assert_int_equal(sigaction(SIGSEGV, &below, NULL), 0);
    assert_int_equal(uf_trap_remove(), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------- installing, removing -- */

static void assert_same_action(int signo, const struct sigaction *then)
{
    struct sigaction now;

    assert_int_equal(sigaction(signo, NULL, &now), 0);
    assert_ptr_equal(now.sa_sigaction, then->sa_sigaction);
    assert_int_equal(now.sa_flags, then->sa_flags);
    for (int i = 1; i < 32; i++)
        assert_int_equal(sigismember(&now.sa_mask, i),
                         sigismember(&then->sa_mask, i));
}

/* provokes: uf_trap_remove -EINVAL */
static void removing_restores(void **state)
{
    struct sigaction segv = {.sa_sigaction = info_handler,
                             .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sigaction bus = {.sa_handler = SIG_IGN};

    (void)state;
    assert_int_equal(uf_trap_remove(), -EINVAL);
    sigaddset(&segv.sa_mask, SIGUSR1);
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGBUS, &bus, NULL);
    sigaction(SIGSEGV, NULL, &segv);
    sigaction(SIGBUS, NULL, &bus);
    for (int i = 0; i < 3; i++)
        assert_int_equal(uf_trap_install(), 0);
    for (int i = 0; i < 3; i++) {
        struct sigaction now;

        sigaction(SIGSEGV, NULL, &now);
        assert_ptr_not_equal(now.sa_sigaction, info_handler);
        assert_int_equal(uf_trap_remove(), 0);
    }
    assert_same_action(SIGSEGV, &segv);
    assert_same_action(SIGBUS, &bus);
    assert_int_equal(uf_trap_remove(), -EINVAL);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
}

/* ----------------------------------------------------------------- fork -- */

static void trap_in_child(void *arg)
{
    struct uf_space **spaces = arg;

    hook_calls = 0;
    NEED(uf_trap_install() == 0); /* status_of took the handler away */
    bad_addr = live_page(spaces[0], PAGES);
    raise_it(ACCESS);
    NEED(hook_calls == 1);
    NEED(uf_space_set_trap(spaces[0], NULL, NULL) == 0);
    NEED(uf_space_set_trap(spaces[0], leave, NULL) == 0);
    raise_it(ACCESS);
    NEED(hook_calls == 2);
    NEED(uf_space_destroy(spaces[0]) == 0);
    NEED(uf_space_set_trap(spaces[1], leave, NULL) == -EINVAL);
    bad_addr = live_page(spaces[1], PAGES);
    put(bad_addr); /* not inherited: no hook, and the end */
}

/* In a forked child hooks are told, of the spaces that it has. */
static void in_a_forked_child(void **state)
{
    struct uf_space_opts none = {.fork = UF_FORK_NONE};
    struct uf_space *spaces[2] = {live_space(NULL, PAGES),
                                  live_space(&none, PAGES)};

    (void)state;
    assert_int_equal(uf_space_set_trap(spaces[0], leave, NULL), 0);
    assert_int_equal(uf_space_set_trap(spaces[1], leave, NULL), 0);
    assert_int_equal(status_of(trap_in_child, spaces), SIGSEGV);
    assert_int_equal(uf_space_destroy(spaces[0]), 0);
    assert_int_equal(uf_space_destroy(spaces[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_handler_before_us),
        cmocka_unit_test(death_is_as_before),
        cmocka_unit_test(a_fault_in_the_hook),
        cmocka_unit_test(a_handler_over_ours),
        cmocka_unit_test(removing_restores),
        cmocka_unit_test(in_a_forked_child),
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("trap_chain", tests, NULL, NULL);
}
