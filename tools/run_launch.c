/* SPDX-License-Identifier: MIT */
/* See run_launch.h. */
#include "run_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "run_filter.h"
#include "ufault/ufault.h"

/* ------------------------------------------------------------- environment --
 */

/* Where our preload library lies, seen from this command's directory. */
#ifndef UFAULT_PRELOAD_FROM_BIN
#define UFAULT_PRELOAD_FROM_BIN "../lib/ufault/libufault-run.so"
#endif

static int find_preload(char ret[PATH_MAX])
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash;

    if (len < 0)
        return -errno;
    path[len] = '\0';
    slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) + sizeof(UFAULT_PRELOAD_FROM_BIN) + 1 >
                      sizeof(path))
        return -ENAMETOOLONG;
    strcpy(slash + 1, UFAULT_PRELOAD_FROM_BIN);
    if (!realpath(path, ret)) {
        fprintf(stderr, "ufault run: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    if (strpbrk(ret, " \t\n:")) {
        fprintf(stderr,
                "ufault run: %s: the dynamic loader takes no path with a space "
                "or a colon in it\n",
                ret);
        return -EINVAL;
    }
    return 0;
}

/* Ours first, then what was there; preload.c takes it apart again. */
static int set_environment(const struct run_options *options,
                           const struct session *session)
{
    const char *others = getenv("LD_PRELOAD");
    char path[PATH_MAX], name[RUN_NAME_BYTES + sizeof(RUN_ENV_FOLLOW_MAPPED)];
    bool mapped = options->mapping_bytes > 0;
    const char *kind;
    char *value;
    int err = find_preload(path);

    if (err)
        return err;
    if (options->follow)
        kind = mapped ? RUN_ENV_FOLLOW_MAPPED : RUN_ENV_FOLLOW;
    else
        kind = mapped ? RUN_ENV_LEAVE_MAPPED : RUN_ENV_LEAVE;
    snprintf(name, sizeof(name), "%s%s", kind, session->name);
    if (asprintf(&value, others ? "%s:%s" : "%s", path, others) < 0)
        return -ENOMEM;
    if (setenv("LD_PRELOAD", value, 1) < 0 || setenv(RUN_ENV, name, 1) < 0)
        err = -errno;
    free(value);
    return err;
}

/* ------------------------------------------------------------------- child --
 */

enum child_step { STEP_LIMIT, STEP_FILTER, STEP_EXEC };

struct child_failure {
    enum child_step step;
    int err; /* -errno */
};

static int set_limit(uint64_t bytes)
{
    struct rlimit limit = {bytes, bytes};

    return bytes == UF_UNLIMITED || setrlimit(RLIMIT_DATA, &limit) == 0
               ? 0
               : -errno;
}

static int load_filter(const struct run_options *options,
                       const struct session *session)
{
    int listener = run_filter_load(options->mapping_bytes > 0);
    int err;

    if (listener < 0)
        return listener;
    err = session_give_listener(session, listener);
    close(listener);
    return err;
}

/* As execvp(3): a file of no known kind is the shell's. */
static int exec_program(const char *path, char **argv)
{
    size_t n = 0;
    char **shell;
    int err;

    execv(path, argv);
    if (errno != ENOEXEC)
        return -errno;
    while (argv[n])
        n++;
    shell = calloc(n + 2, sizeof(*shell));
    if (!shell)
        return -ENOMEM;
    shell[0] = argv[0];
    shell[1] = (char *)(uintptr_t)path;
    for (size_t i = 1; i < n; i++)
        shell[i + 1] = argv[i];
    execv("/bin/sh", shell);
    err = -errno;
    free(shell);
    return err;
}

static _Noreturn void child(const struct run_options *options, const char *path,
                            const struct session *session, int failure_pipe)
{
    struct child_failure failure = {STEP_LIMIT, 0};
    ssize_t ignored;

    failure.err = set_limit(options->limit_bytes);
    if (!failure.err) {
        failure.step = STEP_FILTER;
        failure.err = load_filter(options, session);
    }
    if (!failure.err) {
        failure.step = STEP_EXEC;
        failure.err = exec_program(path, options->program);
    }
    ignored = write(failure_pipe, &failure, sizeof(failure));
    (void)ignored;
    _exit(EXIT_RUN_FAILED);
}

static int explain(const char *path, const struct child_failure *failure)
{
    const char *error = strerror(-failure->err);

    switch (failure->step) {
    case STEP_LIMIT:
        fprintf(stderr, "ufault run: --limit: %s\n", error);
        return EXIT_RUN_FAILED;
    case STEP_FILTER:
        if (failure->err == -EBUSY)
            fputs("ufault run: this process is under `ufault run` or another "
                  "seccomp listener already; there can be only one\n",
                  stderr);
        else
            fprintf(stderr, "ufault run: cannot load the seccomp filter: %s\n",
                    error);
        return EXIT_RUN_FAILED;
    case STEP_EXEC:
        break;
    }
    fprintf(stderr, "ufault run: %s: %s\n", path, error);
    return failure->err == -ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_NOT_STARTED;
}

/* ----------------------------------------------------------------- waiting --
 */

static const int passed_on[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};

static void signals_of_ours(sigset_t *ret)
{
    static const int others[] = {SIGCHLD, SIGINT, SIGQUIT, SIGTSTP};

    sigemptyset(ret);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        sigaddset(ret, passed_on[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        sigaddset(ret, others[i]);
}

/* Only what a process sent to us alone: the terminal sends to all. */
static void pass_on(pid_t pid, const siginfo_t *info)
{
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        if (info->si_signo == passed_on[i] && info->si_code <= 0)
            kill(pid, info->si_signo);
}

/* The terminal's stop signals stop us with the program, so that the shell sees
 * the job stop. Not SIGSTOP: whoever sends that to the program alone will wake
 * the program alone. */
static void stop_alike(pid_t pid, int signal)
{
    if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU)
        return;
    raise(SIGSTOP);
    kill(pid, SIGCONT);
}

/* True when the program has ended. */
static bool collect(pid_t pid, struct run_end *end)
{
    pid_t got = wait4(pid, &end->status, WNOHANG | WUNTRACED, &end->usage);

    if (got == pid && WIFSTOPPED(end->status)) {
        stop_alike(pid, WSTOPSIG(end->status));
        return false;
    }
    return got == pid || (got < 0 && errno == ECHILD);
}

static void stand_in(pid_t pid, const sigset_t *ours, struct run_end *end)
{
    siginfo_t info;

    while (!collect(pid, end))
        if (sigwaitinfo(ours, &info) > 0)
            pass_on(pid, &info);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int start(const struct run_options *options, const char *path,
                 const struct session *session, const sigset_t *before,
                 pid_t *ret_pid)
{
    struct child_failure failure;
    int ends[2];
    ssize_t got;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_pid = fork();
    if (*ret_pid == 0) {
        sigprocmask(SIG_SETMASK, before, NULL);
        child(options, path, session, ends[1]);
    }
    close(ends[1]);
    close(session->giver);
    got = *ret_pid < 0 ? -errno : 0;
    if (got == 0)
        got = read(ends[0], &failure, sizeof(failure));
    close(ends[0]);
    if (got == (ssize_t)sizeof(failure)) {
        waitpid(*ret_pid, NULL, 0);
        return explain(path, &failure);
    }
    return got < 0 ? (int)got : 0;
}

int run_launch(const struct run_options *options, const char *path,
               const struct session *session, struct run_end *ret)
{
    sigset_t ours, before;
    uint64_t started = now_ns();
    pid_t pid = -1;
    int err = set_environment(options, session);

    if (err == -EINVAL || err == -ENOENT)
        return EXIT_RUN_FAILED; /* said why */
    if (!err) {
        /* SIGCHLD ignored by our parent would take the status away. */
        signal(SIGCHLD, SIG_DFL);
        signals_of_ours(&ours);
        sigprocmask(SIG_BLOCK, &ours, &before);
        err = start(options, path, session, &before, &pid);
    }
    if (err > 0)
        return err;
    if (err < 0) {
        fprintf(stderr, "ufault run: %s\n", strerror(-err));
        return EXIT_RUN_FAILED;
    }
    stand_in(pid, &ours, ret);
    ret->wall_ns = now_ns() - started;
    return -1;
}

_Noreturn void run_end_alike(const struct run_end *end)
{
    struct rlimit no_core = {0, 0};
    sigset_t one;

    fflush(NULL);
    if (WIFSIGNALED(end->status)) {
        setrlimit(RLIMIT_CORE, &no_core);
        signal(WTERMSIG(end->status), SIG_DFL);
        sigemptyset(&one);
        sigaddset(&one, WTERMSIG(end->status));
        kill(getpid(), WTERMSIG(end->status));
        sigprocmask(SIG_UNBLOCK, &one, NULL);
        _exit(128 + WTERMSIG(end->status)); /* not reached */
    }
    _exit(WEXITSTATUS(end->status));
}
