/* SPDX-License-Identifier: MIT */
/*
 * preload: what becomes of a program that is started under `ufault run`.
 *
 *     ld.so loads us ─► constructor ─► agent ready ─► main
 *                                        │
 *     fork, in follow mode ──────────────┴─► an agent of the child's own
 *     exec ─► ld.so loads us again, by the environment
 *
 * Without UFAULT_RUN in the environment, or when anything fails, the program
 * runs as if we were not there: its breaks go to the kernel.
 *
 * When children are to be left alone our traces are removed from the
 * environment, in place. By hand: programs have a getenv and unsetenv of their
 * own (bash), which are not for us to call before their main.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "fault/engine.h"
#include "run/agent.h"
#include "run/heap.h"
#include "run/libc_brk.h"
#include "run/protocol.h"

static char session[RUN_NAME_BYTES];

/* True if `text` begins with `start`; *ret_rest is what follows. */
static bool begins_with(const char *text, const char *start,
                        const char **ret_rest)
{
    size_t len = strlen(start);

    *ret_rest = text + len;
    return strncmp(text, start, len) == 0;
}

/* Where "name=..." stands in the environment; NULL if it does not. */
static char **find_variable(const char *name)
{
    const char *rest;

    for (char **entry = environ; entry && *entry; entry++)
        if (begins_with(*entry, name, &rest) && *rest == '=')
            return entry;
    return NULL;
}

static char *value_of(char **entry)
{
    return strchr(*entry, '=') + 1;
}

static void remove_variable(char **entry)
{
    do {
        entry[0] = entry[1];
    } while (*entry++);
}

/* Takes the session's name out of the environment. False: there is none. */
static bool read_environment(bool *ret_follow)
{
    char **entry = find_variable(RUN_ENV);
    const char *value, *name;

    if (!entry)
        return false;
    value = value_of(entry);
    *ret_follow = begins_with(value, RUN_ENV_FOLLOW, &name);
    if (!*ret_follow && !begins_with(value, RUN_ENV_LEAVE, &name))
        return false;
    if (strlen(name) >= sizeof(session))
        return false;
    strcpy(session, name);
    return true;
}

/* Our path is the first in LD_PRELOAD, put there by the launcher, with a colon
 * behind it if the variable was set before. */
static void clean_environment(void)
{
    char **entry = find_variable("LD_PRELOAD");
    char *colon;

    if (entry) {
        colon = strchr(value_of(entry), ':');
        if (colon)
            memmove(value_of(entry), colon + 1, strlen(colon));
        else
            remove_variable(entry);
    }
    remove_variable(find_variable(RUN_ENV));
}

static void fork_in_child(void)
{
    int saved = errno;

    heap_fork_child();
    agent_start(session, program_invocation_short_name, true);
    errno = saved;
}

/* A child that is left alone moves its heap through the kernel. */
static void fork_in_unserved_child(void)
{
    int saved = errno;

    heap_fork_child();
    errno = saved;
}

__attribute__((constructor(101))) static void start(void)
{
    bool follow;

    if (!read_environment(&follow))
        return;
    if (!follow)
        clean_environment();
    if (heap_init() < 0)
        return;
    engine_fork_is_mine();
    libc_brk_redirect();
    agent_start(session, program_invocation_short_name, false);
    pthread_atfork(heap_fork_prepare, heap_fork_parent,
                   follow ? fork_in_child : fork_in_unserved_child);
}

__attribute__((destructor)) static void finish(void)
{
    heap_note_exit();
}
