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
#include "run/libc_fork.h"
#include "run/mapping.h"
#include "run/protocol.h"
#include "run/raw.h"
#include "run/wiped.h"

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
static bool read_environment(bool *ret_follow, bool *ret_mapped)
{
    char **entry = find_variable(RUN_ENV);
    const char *value, *name;

    if (!entry)
        return false;
    value = value_of(entry);
    *ret_mapped = begins_with(value, RUN_ENV_FOLLOW_MAPPED, &name) ||
                  begins_with(value, RUN_ENV_LEAVE_MAPPED, &name);
    if (!*ret_mapped && !begins_with(value, RUN_ENV_FOLLOW, &name) &&
        !begins_with(value, RUN_ENV_LEAVE, &name))
        return false;
    *ret_follow = value[0] == RUN_ENV_FOLLOW[0];
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

static void serve_child(void)
{
    int saved = errno;

    agent_start(session, program_invocation_short_name, true);
    errno = saved;
}

static void fork_in_child(void)
{
    int saved = errno;

    heap_fork_child();
    errno = saved;
}

/* A child that is left alone moves its heap through the kernel. */
static void install_fork_handlers(bool follow)
{
    if (!libc_fork_lead(heap_fork_prepare, heap_fork_parent, heap_fork_child))
        pthread_atfork(heap_fork_prepare, heap_fork_parent, fork_in_child);
    if (follow)
        pthread_atfork(NULL, NULL, serve_child);
}

__attribute__((constructor(101))) static void start(void)
{
    bool follow, mapped;

    if (!read_environment(&follow, &mapped))
        return;
    sys = &raw_calls;
    if (!follow)
        clean_environment();
    if (wiped_init() < 0)
        return;
    engine_fork_is_mine();
    libc_brk_redirect();
    if (mapped)
        mapping_init();
    install_fork_handlers(follow);
    agent_start(session, program_invocation_short_name, false);
}

__attribute__((destructor)) static void finish(void)
{
    heap_note_exit();
}
