/* SPDX-License-Identifier: MIT */
/* See run_session.h. */
#include "run_session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run/wire.h"
#include "run_clients.h"
#include "run_filter.h"

#define SLOTS 16384

/* The descriptors watched for their own sake; those of clients follow. */
enum { WATCH_CONTROL, WATCH_RECEIVER, WATCH_SOCKET, WATCH_LISTENER, WATCHES };

struct server {
    struct clients clients;
    struct pollfd *watched;
    size_t capacity;
    int control;
    int receiver; /* where the listener comes from */
    int socket;
    int spare; /* given up to turn away who comes when there are no more */
    bool over; /* no process has the filter any more */
};

/* ---------------------------------------------------------------- watching --
 */

static bool make_room(struct server *s)
{
    size_t need = WATCHES + s->clients.count;
    struct pollfd *bigger;

    if (need <= s->capacity)
        return true;
    bigger = realloc(s->watched, 2 * need * sizeof(*bigger));
    if (!bigger)
        return false;
    s->watched = bigger;
    s->capacity = 2 * need;
    return true;
}

static struct pollfd watch(int fd)
{
    return (struct pollfd){.fd = fd, .events = POLLIN};
}

static void fill_watched(struct server *s)
{
    s->watched[WATCH_CONTROL] = watch(s->control);
    s->watched[WATCH_RECEIVER] = watch(s->receiver);
    s->watched[WATCH_SOCKET] = watch(s->socket);
    s->watched[WATCH_LISTENER] = watch(s->clients.listener);
    for (size_t i = 0; i < s->clients.count; i++) {
        const struct client *c = s->clients.list[i];

        s->watched[WATCHES + i] = watch(c->socket);
        if (c->nsent < c->ncalls)
            s->watched[WATCHES + i].events |= POLLOUT;
    }
}

/* ----------------------------------------------------------------- breaks --
 */

/* The kernel writes as much as its own struct is long, which may have grown,
 * and wants it zeroed. */
union notification {
    struct seccomp_notif n;
    char room[512];
};

static void route(struct server *s, const struct seccomp_notif *n)
{
    struct run_call call = {.id = n->id, .number = n->data.nr};
    struct client *c = clients_find(&s->clients, (pid_t)n->pid);

    memcpy(call.args, n->data.args, sizeof(call.args));

    if (!c || !clients_call(&s->clients, c, &call))
        clients_pass(&s->clients, n->id);
}

/* -ENOENT: the caller was interrupted before we came. */
static void take_notification(struct server *s)
{
    union notification n;

    memset(&n, 0, sizeof(n));
    if (ioctl(s->clients.listener, SECCOMP_IOCTL_NOTIF_RECV, &n) == 0)
        route(s, &n.n);
}

static void on_listener(struct server *s, short events)
{
    if (events & POLLIN) {
        take_notification(s);
    } else if (events & (POLLHUP | POLLERR | POLLNVAL)) {
        close(s->clients.listener);
        s->clients.listener = -1;
        s->over = true;
    }
}

/* ------------------------------------------------------------- connections --
 */

static void on_receiver(struct server *s)
{
    char byte;
    int err =
        wire_receive(s->receiver, &byte, sizeof(byte), &s->clients.listener, 1);

    close(s->receiver);
    s->receiver = -1;
    if (err) {
        s->clients.listener = -1;
        s->over = true; /* the first program ended before its exec */
        return;
    }
    run_filter_wake_here(s->clients.listener);
}

/* Whoever has connected waits for an answer: one that cannot be had must be
 * turned away, or it would wait for ever. */
static void turn_one_away(struct server *s)
{
    if (s->spare < 0)
        return;
    close(s->spare);
    s->spare = accept4(s->socket, NULL, NULL, SOCK_CLOEXEC);
    if (s->spare >= 0)
        close(s->spare);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_socket(struct server *s)
{
    int fd = accept4(s->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0)
        clients_add(&s->clients, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        turn_one_away(s);
}

/* From the last to the first: one that goes is replaced by one seen already. */
static void on_clients(struct server *s, size_t count)
{
    for (size_t i = count; i-- > 0;)
        if (s->watched[WATCHES + i].revents)
            clients_serve(&s->clients, i);
}

/* ----------------------------------------------------------------- results --
 */

/* The ends of processes that have ended are all in their sockets. */
static void see_the_dead(struct server *s)
{
    for (size_t i = s->clients.count; i-- > 0;)
        clients_serve(&s->clients, i);
}

static void send_results(struct server *s)
{
    struct ledger *ledger = &s->clients.ledger;
    int err = 0;

    see_the_dead(s);
    clients_enter_living(&s->clients);
    for (size_t i = 0; !err && i < ledger->count; i++)
        err = wire_send(s->control, ledger->processes[i],
                        sizeof(*ledger->processes[i]), NULL, 0);
    if (!err)
        wire_send(s->control, ledger_totals(ledger), sizeof(struct run_totals),
                  NULL, 0);
}

/* The launcher asks for the results, or has ended without. */
static void on_control(struct server *s)
{
    char byte;

    if (wire_receive(s->control, &byte, sizeof(byte), NULL, 0) == 0)
        send_results(s);
    close(s->control);
    s->control = -1;
}

/* ------------------------------------------------------------------- server --
 */

/* Requires: all that clients said before a notification was received is served
 * before it is routed; see clients_find. */
static void serve(struct server *s)
{
    while (!s->over || s->control >= 0) {
        size_t count = s->clients.count;

        if (!make_room(s))
            return;
        fill_watched(s);
        if (poll(s->watched, WATCHES + count, -1) < 0)
            continue;
        on_clients(s, count);
        if (s->watched[WATCH_RECEIVER].revents)
            on_receiver(s);
        if (s->watched[WATCH_LISTENER].revents)
            on_listener(s, s->watched[WATCH_LISTENER].revents);
        if (s->watched[WATCH_SOCKET].revents)
            on_socket(s);
        if (s->watched[WATCH_CONTROL].revents)
            on_control(s);
    }
}

/* Nothing of the launcher's surroundings is kept: terminal, directory, pipes,
 * signals. */
static void detach(struct server *s)
{
    int keep[] = {s->control, s->receiver, s->socket, s->clients.statistics};
    struct rlimit files;
    sigset_t all;
    int highest = STDERR_FILENO;

    setsid();
    if (chdir("/") < 0)
        return;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "ufault-session");
    s->spare = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        dup2(s->spare, fd);
    for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
        highest = keep[i] > highest ? keep[i] : highest;
    for (int fd = STDERR_FILENO + 1; fd <= highest; fd++)
        if (fd != keep[0] && fd != keep[1] && fd != keep[2] && fd != keep[3] &&
            fd != s->spare)
            close(fd);
    closefrom((s->spare > highest ? s->spare : highest) + 1);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* ------------------------------------------------------------------ starting
 * -- */

/* The other ends of what the server holds. */
struct ends {
    int control[2]; /* launcher, server */
    int giver[2];   /* first program, server */
    int socket;
    int statistics;
};

static int open_ends(struct ends *e, char *ret_name)
{
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC;

    *e = (struct ends){{-1, -1}, {-1, -1}, -1, -1};
    if (socketpair(AF_UNIX, type, 0, e->control) < 0 ||
        socketpair(AF_UNIX, type, 0, e->giver) < 0)
        return -errno;
    e->socket = wire_listen(ret_name, RUN_NAME_BYTES);
    if (e->socket < 0)
        return e->socket;
    e->statistics = memfd_create("ufault-statistics", MFD_CLOEXEC);
    if (e->statistics < 0 ||
        ftruncate(e->statistics, (off_t)(SLOTS * RUN_SLOT_BYTES)) < 0)
        return -errno;
    return 0;
}

static void close_end(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* All of them, or the server's alone. */
static void close_ends(const struct ends *e, bool all)
{
    close_end(e->control[1]);
    close_end(e->giver[1]);
    close_end(e->socket);
    close_end(e->statistics);
    if (all) {
        close_end(e->control[0]);
        close_end(e->giver[0]);
    }
}

static _Noreturn void run_server(const struct ends *e,
                                 const struct run_welcome *welcome)
{
    struct server s = {
        .control = e->control[1], .receiver = e->giver[1], .socket = e->socket};

    s.clients.statistics = e->statistics;
    detach(&s);
    if (clients_init(&s.clients, welcome, e->statistics, SLOTS) == 0)
        serve(&s);
    _exit(0);
}

int session_start(const struct run_welcome *welcome, struct session *ret)
{
    struct ends e;
    int err = open_ends(&e, ret->name);
    pid_t pid;

    if (err) {
        close_ends(&e, true);
        return err;
    }
    pid = fork();
    if (pid == 0)
        run_server(&e, welcome);
    if (pid < 0) {
        err = -errno;
        close_ends(&e, true);
        return err;
    }
    close_ends(&e, false);
    ret->control = e.control[0];
    ret->giver = e.giver[0];
    return 0;
}

int session_give_listener(const struct session *session, int listener)
{
    char byte = 0;

    return wire_send(session->giver, &byte, sizeof(byte), &listener, 1);
}

/* ------------------------------------------------------------------ results --
 */

union result {
    struct run_process process;
    struct run_totals totals;
};

static int take_process(struct ledger *ledger,
                        const struct run_process *process)
{
    struct run_process **bigger =
        realloc(ledger->processes, (ledger->count + 1) * sizeof(*bigger));

    if (!bigger)
        return -ENOMEM;
    ledger->processes = bigger;
    bigger[ledger->count] = malloc(sizeof(*process));
    if (!bigger[ledger->count])
        return -ENOMEM;
    *bigger[ledger->count++] = *process;
    return 0;
}

/* Processes one by one, then the totals: told apart by their length. */
int session_finish(const struct session *session, struct ledger *ret)
{
    char byte = 0;
    int err = wire_send(session->control, &byte, sizeof(byte), NULL, 0);

    *ret = (struct ledger){0};
    while (!err) {
        union result result;
        ssize_t got = recv(session->control, &result, sizeof(result), 0);

        if (got == (ssize_t)sizeof(result.totals)) {
            ret->totals = result.totals;
            return 0;
        }
        if (got == (ssize_t)sizeof(result.process))
            err = take_process(ret, &result.process);
        else if (got >= 0 || errno != EINTR)
            err = got < 0 ? -errno : -ECONNRESET;
    }
    return err;
}
