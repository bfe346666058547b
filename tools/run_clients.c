/* SPDX-License-Identifier: MIT */
/* See run_clients.h. */
#include "run_clients.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run/wire.h"

/* ------------------------------------------------------------------ slots --
 */

int clients_init(struct clients *clients, const struct run_welcome *welcome,
                 int statistics, uint32_t nslots)
{
    *clients = (struct clients){.welcome = *welcome,
                                .statistics = statistics,
                                .listener = -1,
                                .nslots = nslots};
    clients->slots = mmap(NULL, nslots * RUN_SLOT_BYTES, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_NORESERVE, statistics, 0);
    if (clients->slots == MAP_FAILED)
        return -errno;
    clients->free_slots = calloc(nslots, sizeof(uint32_t));
    if (!clients->free_slots)
        return -ENOMEM;
    while (clients->nfree < nslots) {
        clients->free_slots[clients->nfree] = nslots - 1 - clients->nfree;
        clients->nfree++;
    }
    return 0;
}

static struct run_slot *slot_of(const struct clients *clients, uint32_t index)
{
    return (struct run_slot *)(void *)(clients->slots + index * RUN_SLOT_BYTES);
}

static void give_slot_back(struct clients *clients, uint32_t index)
{
    memset(slot_of(clients, index), 0, sizeof(struct run_slot));
    clients->free_slots[clients->nfree++] = index;
}

static bool has_slot(const struct client *client)
{
    return client->state != CLIENT_GREETING;
}

/* ---------------------------------------------------------------- calling --
 */

static bool still_waits(const struct clients *clients, uint64_t id)
{
    return ioctl(clients->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* The kernel reads as much as its own struct is long, which may have grown. */
void clients_pass(struct clients *clients, uint64_t id)
{
    union {
        struct seccomp_notif_resp response;
        char room[256];
    } a = {.response = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE}};

    while (ioctl(clients->listener, SECCOMP_IOCTL_NOTIF_SEND, &a) < 0 &&
           errno == EINTR)
        ;
    clients->ledger.totals.npassed++;
}

/* Forgets the calls that have been answered. */
static void forget_answered(const struct clients *clients, struct client *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->nsent; i++)
        if (still_waits(clients, c->calls[i].id))
            c->calls[kept++] = c->calls[i];
    memmove(&c->calls[kept], &c->calls[c->nsent],
            (c->ncalls - c->nsent) * sizeof(c->calls[0]));
    c->ncalls -= c->nsent - kept;
    c->nsent = kept;
}

static bool remember(const struct clients *clients, struct client *c,
                     const struct run_call *call)
{
    if (c->ncalls == c->capacity)
        forget_answered(clients, c);
    if (c->ncalls == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 64;
        struct run_call *bigger = realloc(c->calls, capacity * sizeof(*bigger));

        if (!bigger)
            return false;
        c->calls = bigger;
        c->capacity = capacity;
    }
    c->calls[c->ncalls++] = *call;
    return true;
}

/* What fits into the agent's queue; the rest when there is room. */
static bool send_calls(struct client *c)
{
    int err = 0;

    while (!err && c->nsent < c->ncalls) {
        err =
            wire_try_send(c->socket, &c->calls[c->nsent], sizeof(c->calls[0]));
        if (!err)
            c->nsent++;
    }
    return err == 0 || err == -EAGAIN;
}

bool clients_call(struct clients *clients, struct client *client,
                  const struct run_call *call)
{
    if (!remember(clients, client, call))
        return false;
    if (send_calls(client))
        return true;
    client->ncalls--; /* the caller is told; the others when it is dropped */
    return false;
}

/* ---------------------------------------------------------------- finding --
 */

static bool thread_exists(pid_t tgid, pid_t tid)
{
    return syscall(SYS_tgkill, tgid, tid, 0) == 0 || errno != ESRCH;
}

static bool shares_memory(const struct client *c, pid_t tid)
{
    if (!thread_exists(c->tgid, c->agent) || tid == c->agent)
        return false;
    return thread_exists(c->tgid, tid) ||
           syscall(SYS_kcmp, c->agent, tid, KCMP_VM, 0, 0) == 0;
}

static bool read_status(struct client *c);

/* The process may have become ready since we last looked at its socket. */
static bool is_served(struct client *c)
{
    if (c->state == CLIENT_WELCOMED)
        read_status(c);
    return c->state == CLIENT_SERVED;
}

struct client *clients_find(struct clients *clients, pid_t tid)
{
    for (size_t n = 0; n < clients->count; n++) {
        size_t i = (clients->last + n) % clients->count;
        struct client *c = clients->list[i];

        if (has_slot(c) && shares_memory(c, tid)) {
            clients->last = i;
            return is_served(c) ? c : NULL;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- meeting --
 */

static bool peer_may_join(int socket, pid_t *ret_pid)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    *ret_pid = peer.pid;
    return peer.uid == 0 || peer.uid == geteuid();
}

static bool make_room(struct clients *clients)
{
    size_t capacity = clients->capacity ? 2 * clients->capacity : 64;
    struct client **bigger;

    if (clients->count < clients->capacity)
        return true;
    bigger = realloc(clients->list, capacity * sizeof(*bigger));
    if (!bigger)
        return false;
    clients->list = bigger;
    clients->capacity = capacity;
    return true;
}

void clients_add(struct clients *clients, int socket)
{
    struct client *c = NULL;
    pid_t pid;

    if (peer_may_join(socket, &pid) && make_room(clients))
        c = calloc(1, sizeof(*c));
    if (!c) {
        close(socket);
        return;
    }
    c->socket = socket;
    c->tgid = pid;
    clients->list[clients->count++] = c;
}

/* A process of another pid namespace calls itself by a number that means
 * another thread here: it is not served. */
static bool is_sound(const struct client *c, const struct run_hello *hello)
{
    return hello->magic == RUN_MAGIC && hello->version == RUN_VERSION &&
           hello->tgid == c->tgid && thread_exists(c->tgid, hello->agent);
}

static bool welcome(struct clients *clients, struct client *c)
{
    int fds[RUN_WELCOME_FDS] = {[RUN_FD_STATISTICS] = clients->statistics,
                                [RUN_FD_LISTENER] = clients->listener};
    struct run_welcome message = clients->welcome;
    struct run_hello hello;

    if (wire_receive(c->socket, &hello, sizeof(hello), NULL, 0) < 0 ||
        !is_sound(c, &hello) || clients->nfree == 0 || clients->listener < 0)
        return false;
    message.slot = clients->free_slots[clients->nfree - 1];
    if (wire_send(c->socket, &message, sizeof(message), fds, RUN_WELCOME_FDS) <
        0)
        return false;
    clients->nfree--;
    c->slot = message.slot;
    c->agent = hello.agent;
    c->forked = hello.forked;
    memcpy(c->program, hello.program, sizeof(c->program));
    c->program[sizeof(c->program) - 1] = '\0';
    c->state = CLIENT_WELCOMED;
    return true;
}

/* Sets the state if the status has come. False: the client is gone. */
static bool read_status(struct client *c)
{
    struct run_status status;
    int err = wire_receive(c->socket, &status, sizeof(status), NULL, 0);

    if (err == -EAGAIN)
        return true;
    if (err)
        return false;
    c->stage = status.stage;
    c->err = status.err;
    c->mapped = status.mapped;
    c->mapped_err = status.mapped_err;
    c->state =
        status.stage == RUN_STAGE_READY ? CLIENT_SERVED : CLIENT_UNSERVED;
    return true;
}

/* ---------------------------------------------------------------- leaving --
 */

static void enter(struct clients *clients, const struct client *c, bool alive)
{
    struct run_process process = {.pid = c->tgid,
                                  .forked = c->forked,
                                  .alive = alive,
                                  .stage = c->stage,
                                  .err = c->err,
                                  .mapped = c->mapped,
                                  .mapped_err = c->mapped_err};

    if (c->state != CLIENT_SERVED && c->state != CLIENT_UNSERVED)
        return; /* gone before it began */
    memcpy(process.program, c->program, sizeof(process.program));
    ledger_add(&clients->ledger, &process, slot_of(clients, c->slot));
}

static void drop(struct clients *clients, size_t index)
{
    struct client *c = clients->list[index];

    for (size_t i = 0; i < c->ncalls; i++)
        if (still_waits(clients, c->calls[i].id))
            clients_pass(clients, c->calls[i].id);
    enter(clients, c, false);
    if (has_slot(c))
        give_slot_back(clients, c->slot);
    close(c->socket);
    free(c->calls);
    free(c);
    clients->list[index] = clients->list[--clients->count];
    clients->last = 0;
}

/* Nothing is to come from a client that has told its status, but its end. */
static bool is_connected(const struct client *c)
{
    char byte;

    return recv(c->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 &&
           (errno == EAGAIN || errno == EINTR);
}

bool clients_serve(struct clients *clients, size_t index)
{
    struct client *c = clients->list[index];
    bool ok = true;

    switch (c->state) {
    case CLIENT_GREETING:
        ok = welcome(clients, c);
        break;
    case CLIENT_WELCOMED:
        ok = read_status(c);
        break;
    case CLIENT_SERVED:
    case CLIENT_UNSERVED:
        ok = is_connected(c) && send_calls(c);
        break;
    }
    if (!ok)
        drop(clients, index);
    return ok;
}

void clients_enter_living(struct clients *clients)
{
    for (size_t i = 0; i < clients->count; i++)
        enter(clients, clients->list[i], true);
}
