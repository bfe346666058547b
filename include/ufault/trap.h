/* SPDX-License-Identifier: MIT */
/*
 * ufault/trap.h: being told of an access that the guest was not allowed.
 *
 * Memory of a space outside every mapping is closed: touching it is SIGSEGV. A
 * runtime that runs guests in spaces wants to know which guest, what it did
 * and where, and to go on somewhere else:
 *
 *     static int on_trap(void *data, struct uf_trap *trap)
 *     {
 *         siglongjmp(((struct guest *)data)->stopped, 1);
 *     }
 *
 *     uf_trap_install();                              once for the process
 *     uf_space_set_trap(guest->space, on_trap, guest);
 *     if (sigsetjmp(guest->stopped, 1) == 0)
 *         run(guest);
 *
 *     access ─┬─► fine; or absent, and the engine brings it in
 *             └─► SIGSEGV, SIGBUS ─► our handler
 *                                     ├─ in a space with a hook ─► hook
 *                                     │           UF_TRAP_PASS ◄────┤
 *                                     ▼                             │
 *          the handler before ours, or death         goes on ◄──────┘
 *
 * Who comes after us in the chain finds what the kernel would have said of a
 * plain mapping. The reservation makes it say SEGV_ACCERR everywhere in a
 * space; where nothing is mapped si_code is corrected to SEGV_MAPERR. A signal
 * that is no access to a space is passed on untouched.
 */
#ifndef UFAULT_TRAP_H
#define UFAULT_TRAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_space;

/* What was tried, where the processor tells (x86, 64-bit ARM). */
enum uf_trap_access {
    UF_TRAP_ACCESS_UNKNOWN,
    UF_TRAP_ACCESS_READ,
    UF_TRAP_ACCESS_WRITE,
    UF_TRAP_ACCESS_EXEC
};

/* uf_trap.code: another thread was changing the mappings all the while. */
#define UF_TRAP_CODE_UNKNOWN 0

struct uf_trap {
    size_t size;
    struct uf_space *space;
    uintptr_t address; /* the byte that was accessed */
    uintptr_t pc;      /* of the instruction; 0 where that is not known */
    pid_t tid;         /* the accessing thread: the one that runs the hook */
    int signo;         /* SIGSEGV, or SIGBUS: the page cannot be had */
    /* si_code as the kernel would set it for a plain mapping: SEGV_MAPERR,
     * nothing is mapped there; SEGV_ACCERR, its protection forbids it; for
     * SIGBUS BUS_ADRERR or BUS_MCEERR_AR. */
    int code;
    enum uf_trap_access access;
    void *info;    /* siginfo_t *, as the kernel set it */
    void *context; /* ucontext_t *: the registers, to be changed at will */
};

/* What a hook answers. */
enum uf_trap_answer {
    /* Not mine: the handler that was there before ours gets it, or the process
     * dies of it. */
    UF_TRAP_PASS,
    /* Go on as `context` says. Unchanged, the access is made again: that is
     * right after the cause has been removed, and an endless loop else. */
    UF_TRAP_RESUME
};

/*
 * A hook runs on the thread that made the access, in a signal handler, on the
 * thread's alternate stack (sigaltstack(2)) if it has one; with all signals
 * blocked, so that an access that fails in the hook itself ends the process.
 *
 * It may leave by siglongjmp(3) to a sigsetjmp(env, 1). Or, so that entering a
 * guest costs no system call, to a sigsetjmp(env, 0), after setting the
 * thread's signal mask to uc_sigmask of the context.
 *
 * It may call what the code that made the access might have called there: no
 * lock of the library is held. So a hook that knows the access to be the
 * guest's may call functions on spaces, malloc(3) and so on; one that cannot
 * know keeps to async-signal-safe functions.
 */
typedef int (*uf_trap_hook)(void *data, struct uf_trap *trap);

/*
 * uf_trap_install: puts a handler for SIGSEGV and SIGBUS in place, for the
 * process; it stays over fork(2). Called several times, it counts.
 *
 * The handlers that were there are called with the arguments, the signal mask
 * and the SA_RESETHAND that they were installed with, SIG_DFL and SIG_IGN have
 * the effect that they have in the kernel. One difference: a handler without
 * SA_ONSTACK finds itself on the alternate stack too if the thread has one. A
 * handler that is installed later must call ours for what is not its own, as
 * ours does; until it does, hooks are not told.
 *
 * A stack overflow can only be caught on an alternate stack, whether the stack
 * lies in a space or not; the alternate stack itself should not lie in a space.
 *
 * Returns 0 or
 *   -EPERM  sigaction(2) is refused to this process
 */
int uf_trap_install(void);

/*
 * uf_trap_remove: takes back one uf_trap_install; the last one puts the
 * handlers back that were there.
 *
 * Returns 0 or
 *   -EINVAL  there is no uf_trap_install to take back
 *   -EBUSY   a handler was installed over ours since, and may call it: remove
 *            that first
 */
int uf_trap_remove(void);

/*
 * uf_space_set_trap: from now on `hook` is told of accesses to the space that
 * end in SIGSEGV or SIGBUS, if uf_trap_install is in force; NULL: nobody is. A
 * hook that was there before may still be running when this returns, on
 * another thread. A space of UF_FORK_NONE keeps its hook out of the child.
 *
 * Returns 0 or
 *   -EINVAL  no live space
 *   -ENOMEM  no memory for the record
 */
int uf_space_set_trap(struct uf_space *space, uf_trap_hook hook, void *data);

#ifdef __cplusplus
}
#endif

#endif
