/* SPDX-License-Identifier: MIT */
/* See agent.h. */
#include "run/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"
#include "run/heap.h"
#include "run/mapping.h"
#include "run/protocol.h"
#include "run/wire.h"

#define ENGINE_STACK_BYTES ((size_t)256 << 10) /* as handlers.c has it */
/* A handler, a near one, the registrar. */
#define ENGINE_THREADS 3

/* More than the engine's threads ask for; see leave_stacks. The second is for
 * a program with much thread-local storage. */
static const size_t stack_bytes[] = {(size_t)320 << 10, (size_t)2 << 20, 0};

/* Of the start, on the starting thread's stack. */
struct start {
    const char *session;
    const char *program;
    bool forked;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool known; /* lock */
    bool served;
};

struct agent {
    int session;  /* socket */
    int listener; /* of the seccomp filter */
};

static _Thread_local bool is_agent;

bool agent_is_self(void)
{
    return is_agent;
}

/* ------------------------------------------------------------ descriptors --
 */

/* A table of our own with nothing in it. 0, 1 and 2 are taken by something
 * harmless, so that a stray message cannot end up in a socket. */
static int empty_table(void)
{
    if (unshare(CLONE_FILES) < 0)
        return -errno;
    if (syscall(SYS_close_range, 0, ~0u, 0) < 0)
        for (int fd = (int)sysconf(_SC_OPEN_MAX) - 1; fd >= 0; fd--)
            close(fd);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0 &&
            socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0)
            return -errno;
    return 0;
}

/* -------------------------------------------------------------- greetings --
 */

static int send_hello(int session, const struct start *start)
{
    struct run_hello hello = {.magic = RUN_MAGIC,
                              .version = RUN_VERSION,
                              .tgid = getpid(),
                              .agent = (pid_t)syscall(SYS_gettid),
                              .forked = start->forked};

    strncpy(hello.program, start->program, sizeof(hello.program) - 1);
    return wire_send(session, &hello, sizeof(hello), NULL, 0);
}

static struct run_slot *map_slot(int statistics, uint32_t index)
{
    void *p =
        sys->mmap(NULL, RUN_SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                  statistics, (off_t)index * (off_t)RUN_SLOT_BYTES);

    return p == MAP_FAILED ? NULL : p;
}

/* From the welcome to a served heap; tells the session how it went. */
static int serve(struct agent *agent, const struct run_welcome *welcome,
                 int statistics)
{
    enum run_stage stage = RUN_STAGE_STATISTICS;
    struct run_slot *slot = map_slot(statistics, welcome->slot);
    enum run_mapping mapped = RUN_MAPPING_NOT_ASKED;
    struct run_status status = {0};
    int err = slot ? heap_adopt(welcome, slot, &stage) : -errno;

    close(statistics);
    if (!err) /* the heap goes on without, if they cannot be served */
        status.mapped_err =
            mapping_adopt(heap_engine(), welcome, slot, &mapped);
    status.stage = stage;
    status.err = err;
    status.mapped = mapped;
    wire_send(agent->session, &status, sizeof(status), NULL, 0);
    return err;
}

static int join_session(struct agent *agent, const struct start *start)
{
    struct run_welcome welcome;
    int fds[RUN_WELCOME_FDS];
    int err = empty_table();

    if (err)
        return err;
    agent->session = wire_connect(start->session);
    if (agent->session < 0)
        return agent->session;
    err = send_hello(agent->session, start);
    if (!err)
        err = wire_receive(agent->session, &welcome, sizeof(welcome), fds,
                           RUN_WELCOME_FDS);
    if (!err) {
        agent->listener = fds[RUN_FD_LISTENER];
        err = serve(agent, &welcome, fds[RUN_FD_STATISTICS]);
        if (err)
            close(agent->listener);
    }
    if (err)
        close(agent->session);
    return err;
}

/* ---------------------------------------------------------------- serving --
 */

/* The kernel reads as much as its own struct is long, which may have grown. */
union answer {
    struct seccomp_notif_resp response;
    char room[256];
};

/* -ENOENT and the like: the caller is gone, nobody waits for the answer. */
static void answer(int listener, const struct seccomp_notif_resp *response)
{
    union answer a = {.response = *response};

    while (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &a) < 0 && errno == EINTR)
        ;
}

static struct seccomp_notif_resp serve_call(const struct run_call *call)
{
    struct seccomp_notif_resp r = {.id = call->id};
    bool pass = false;
    intptr_t result;

    if (call->number == SYS_brk) {
        r.val = (int64_t)heap_brk_by_agent(call->args[0]);
        return r;
    }
    result = mapping_call_by_agent(call, &pass);
    if (pass)
        r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else if (result < 0)
        r.error = (int32_t)result;
    else
        r.val = result;
    return r;
}

/* Until the session is gone: then nobody can ask any more, and a listener that
 * we held on to would only make others wait. */
static void serve_calls(const struct agent *agent)
{
    struct run_call call;

    while (wire_receive(agent->session, &call, sizeof(call), NULL, 0) == 0) {
        struct seccomp_notif_resp response = serve_call(&call);

        answer(agent->listener, &response);
    }
    close(agent->listener);
    close(agent->session);
}

static void announce(struct start *start, bool served)
{
    pthread_mutex_lock(&start->lock);
    start->served = served;
    start->known = true;
    pthread_cond_signal(&start->cond);
    pthread_mutex_unlock(&start->lock);
}

/* *arg is gone once its owner has been told. */
static void *agent_main(void *arg)
{
    struct start *start = arg;
    struct agent agent;
    int err;

    is_agent = true;
    mapping_pass_this_thread();
    prctl(PR_SET_NAME, "ufault-agent");
    err = join_session(&agent, start);
    announce(start, err == 0);
    if (err == 0)
        serve_calls(&agent);
    return NULL;
}

/* --------------------------------------------------------------- starting --
 */

static void *pass(void *arg)
{
    pthread_mutex_t *gate = arg;

    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/*
 * Leaves stacks behind for libc to use again: those of threads that lived at
 * the same time, as many as the engine starts and of their size. Otherwise
 * pthread_create in the agent would call malloc, and libc would give the agent
 * an arena of its own, 64 MiB of the program's address space. Only that is lost
 * where libc does otherwise.
 */
static void leave_stacks(void)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[ENGINE_THREADS];
    pthread_attr_t attr;
    int n = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, ENGINE_STACK_BYTES);
    pthread_mutex_lock(&gate);
    while (n < ENGINE_THREADS &&
           pthread_create(&threads[n], &attr, pass, &gate) == 0)
        n++;
    pthread_mutex_unlock(&gate);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    pthread_attr_destroy(&attr);
}

/* With all signals blocked: none of the program's handlers may run here. (But
 * those of pthread_cancel and setuid, which pthread_sigmask leaves alone.) */
static int start_thread(struct start *start)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int err = EINVAL;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!start->forked)
        leave_stacks();
    for (size_t i = 0; err == EINVAL && stack_bytes[i] != 0; i++) {
        void *stack = mapping_take_stack(stack_bytes[i]);

        if (stack)
            pthread_attr_setstack(&attr, stack, stack_bytes[i]);
        else
            pthread_attr_setstacksize(&attr, stack_bytes[i]);
        err = pthread_create(&thread, &attr, agent_main, start);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}

bool agent_start(const char *session, const char *program, bool forked)
{
    struct start start = {.session = session,
                          .program = program,
                          .forked = forked,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .cond = PTHREAD_COND_INITIALIZER};

    if (start_thread(&start) < 0)
        return false;
    pthread_mutex_lock(&start.lock);
    while (!start.known)
        pthread_cond_wait(&start.cond, &start.lock);
    pthread_mutex_unlock(&start.lock);
    return start.served;
}
