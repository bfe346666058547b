/* SPDX-License-Identifier: MIT */
/* See trap.h. */
#include "fault/trap.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "fault/engine.h"
#include "fault/trap_table.h"
#include "host/context.h"

/* What the kernel knows of a signal set; libc's type is larger than its place
 * in a signal frame. */
#define KERNEL_SIGSET_BYTES (_NSIG / 8)

/* Tries to get at the VMA set while other threads change it. */
#define LOOKS_MAX 1000

/* What a signal did before us. Written before our handler is in place. */
struct before {
    int signo;
    struct sigaction action;
    atomic_bool spent; /* SA_RESETHAND, and it was called */
};

static struct before befores[] = {{.signo = SIGSEGV}, {.signo = SIGBUS}};

static struct lock lock = LOCK_INIT(LOCK_RANK_TRAP);
static atomic_uint installs; /* changed under the lock */
static atomic_uint guarded;  /* copies that need our handler */

bool trap_enter_guarded(void)
{
    if (atomic_load(&installs) == 0 || !guarded_copy_is_known())
        return false;
    atomic_fetch_add(&guarded, 1);
    if (atomic_load(&installs) > 0)
        return true;
    trap_leave_guarded();
    return false;
}

void trap_leave_guarded(void)
{
    atomic_fetch_sub(&guarded, 1);
}

/* -------------------------------------------------------------- chaining -- */

static pid_t this_thread(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* The kernel raised it for an access of this thread; not kill(2), not a memory
 * error that nobody ran into. */
static bool is_access(int signo, const siginfo_t *info)
{
    if (info->si_code <= 0 || info->si_code >= SI_KERNEL)
        return false;
    return signo == SIGSEGV ||
           (signo == SIGBUS && info->si_code != BUS_MCEERR_AO);
}

/*
 * As if nobody had a handler: once this one returns the signal comes again, and
 * ends the process where it stood. If it cannot be sent, the access itself,
 * made again, does that.
 */
static void die_of(int signo, siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigaction(signo, &action, NULL);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), this_thread(), signo, info);
}

/* The thread's mask as the kernel would set it for a handler of `action`. */
static void enter_mask(int signo, const struct sigaction *action,
                       const ucontext_t *uc)
{
    sigset_t interrupted, mask;

    sigemptyset(&interrupted);
    memcpy(&interrupted, &uc->uc_sigmask, KERNEL_SIGSET_BYTES);
    sigorset(&mask, &interrupted, &action->sa_mask);
    if (!(action->sa_flags & SA_NODEFER))
        sigaddset(&mask, signo);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/* What would have happened without us. */
static void chain(int signo, siginfo_t *info, void *context)
{
    struct before *before = &befores[signo == SIGSEGV ? 0 : 1];
    const struct sigaction *action = &before->action;
    bool once = (action->sa_flags & (int)SA_RESETHAND) != 0;

    if (action->sa_handler == SIG_IGN && info->si_code <= 0)
        return; /* an access that fails cannot be ignored */
    if (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN ||
        (once && atomic_exchange(&before->spent, true))) {
        die_of(signo, info);
        return;
    }
    enter_mask(signo, action, context);
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(signo, info, context);
    else
        action->sa_handler(signo);
}

/* ---------------------------------------------------------------- telling --
 */

/* SEGV_MAPERR or SEGV_ACCERR, as the space knows. */
static int look_up_code(struct uf_space *space, uintptr_t addr)
{
    const struct vma *vma;

    for (int i = 0; i < LOOKS_MAX; i++) {
        if (rwlock_try_read(&space->map_lock)) {
            vma = vma_set_lookup(&space->vmas, addr);
            rwlock_release(&space->map_lock);
            return vma ? SEGV_ACCERR : SEGV_MAPERR;
        }
        sched_yield();
    }
    return UF_TRAP_CODE_UNKNOWN;
}

/* si_code as for a plain mapping. The kernel is wrong in one case: it sees a
 * protection where the space has nothing. */
static int true_code(const struct trap_place *place, const siginfo_t *info)
{
    if (info->si_signo != SIGSEGV || info->si_code != SEGV_ACCERR)
        return info->si_code;
    return look_up_code(place->space, (uintptr_t)info->si_addr);
}

static int tell(const struct trap_place *place, int code, siginfo_t *info,
                void *context)
{
    uintptr_t addr = (uintptr_t)info->si_addr;
    struct uf_trap trap = {
        .size = sizeof(trap),
        .space = place->space,
        .address = addr,
        .pc = context_pc(context),
        .tid = this_thread(),
        .signo = info->si_signo,
        .code = code,
        .access = context_access(context, addr),
        .info = info,
        .context = context,
    };

    return place->hook(place->data, &trap);
}

/* The engine of the space answers its faults by signal, and has answered. */
static bool serves(struct uf_space *space, const siginfo_t *info,
                   const void *context)
{
    uintptr_t addr = (uintptr_t)info->si_addr;

    /* Unknown kinds are taken for writes: that is never wrong, if dearer. */
    return info->si_signo == SIGBUS &&
           engine_serve_signal(space, addr,
                               context_access(context, addr) !=
                                   UF_TRAP_ACCESS_READ);
}

/* An access to a space. Nothing of ours is held while a hook runs: it may not
 * come back. */
static void on_access(const struct trap_place *place, siginfo_t *info,
                      void *context)
{
    int code = true_code(place, info);
    siginfo_t corrected = *info;
    bool served = serves(place->space, info, context);

    space_unpin(place->space);
    if (served)
        return;
    if (place->hook && tell(place, code, info, context) == UF_TRAP_RESUME)
        return;
    if (code != UF_TRAP_CODE_UNKNOWN)
        corrected.si_code = code;
    chain(info->si_signo, &corrected, context);
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
    struct trap_place place;
    int err = errno;

    if (!is_access(signo, info))
        chain(signo, info, context);
    else if (guarded_copy_fix(context))
        ; /* goes on, and says how far it came */
    else if (trap_table_pin((uintptr_t)info->si_addr, &place))
        on_access(&place, info, context);
    else
        chain(signo, info, context);
    errno = err;
}

/* ------------------------------------------------------------- installing --
 */

/* Puts our handler in front of the one there is. 0 or -EPERM. */
static int put_in_place(struct before *before)
{
    struct sigaction ours = {.sa_sigaction = on_signal};
    struct sigaction old;

    if (sigaction(before->signo, NULL, &old) < 0)
        return -EPERM;
    before->action = old;
    atomic_store(&before->spent, false);
    /* Whether a system call goes on after kill(2) is for the other to say. */
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (old.sa_flags & SA_RESTART);
    sigfillset(&ours.sa_mask);
    return sigaction(before->signo, &ours, NULL) < 0 ? -EPERM : 0;
}

static void put_back(struct before *before)
{
    struct sigaction action = before->action;

    if (atomic_load(&before->spent)) {
        action.sa_flags = 0;
        action.sa_handler = SIG_DFL;
    }
    sigaction(before->signo, &action, NULL);
}

static bool is_in_place(const struct before *before)
{
    struct sigaction action;

    return sigaction(before->signo, NULL, &action) == 0 &&
           (action.sa_flags & SA_SIGINFO) && action.sa_sigaction == on_signal;
}

static int install_locked(void)
{
    int err = put_in_place(&befores[0]);

    if (err)
        return err;
    err = put_in_place(&befores[1]);
    if (err)
        put_back(&befores[0]);
    return err;
}

int trap_install(void)
{
    int err = 0;

    trap_table_expect_readers();
    lock_take(&lock);
    if (atomic_load(&installs) == 0)
        err = install_locked();
    if (!err)
        atomic_fetch_add(&installs, 1);
    lock_release(&lock);
    return err;
}

static int remove_locked(void)
{
    unsigned n = atomic_load(&installs);

    if (n == 0)
        return -EINVAL;
    if (n == 1 && !(is_in_place(&befores[0]) && is_in_place(&befores[1])))
        return -EBUSY;
    atomic_store(&installs, n - 1);
    if (n == 1) {
        while (atomic_load(&guarded) > 0)
            sched_yield();
        put_back(&befores[0]);
        put_back(&befores[1]);
    }
    return 0;
}

int trap_remove(void)
{
    int err;

    lock_take(&lock);
    err = remove_locked();
    lock_release(&lock);
    return err;
}

/* -------------------------------------------------------------------- fork --
 */

void trap_fork_prepare(void)
{
    lock_fork_take(&lock);
    trap_table_fork_prepare();
}

void trap_fork_parent(void)
{
    trap_table_fork_parent();
    lock_fork_release(&lock);
}

void trap_fork_child(void)
{
    lock_fork_child(&lock);
    atomic_store(&guarded, 0);
    trap_table_fork_child();
}
