/* SPDX-License-Identifier: MIT */
/*
 * live: what tests with a real userfaultfd share. Touches that may end in a
 * signal, gates instead of sleeps, pagers that do as they are told, an error
 * hook that remembers, and recounts from the kernel's side.
 *
 * Assertions (cmocka's) are for the main thread only; what other threads find
 * is handed back to it.
 */
#ifndef TESTS_LIB_LIVE_H
#define TESTS_LIB_LIVE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/range.h"
#include "ufault/ufault.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LIVE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define LIVE_SANITIZED 1
#endif
#endif
#ifndef LIVE_SANITIZED
#define LIVE_SANITIZED 0
#endif

/* First in main: 0, or 77 and the reason on stdout if there is no userfaultfd.
 * Also ends the process should it hang for minutes. */
int live_begin(void);

/* --------------------------------------------------------------- touches -- */

/* 0, or the signal that the touch raised, in *ret_info if it is not NULL. */
int live_read(uintptr_t addr, unsigned char *ret_byte, siginfo_t *ret_info);
int live_write(uintptr_t addr, unsigned char byte, siginfo_t *ret_info);

/* The page number `n` of a space. */
uintptr_t live_page(const struct uf_space *space, size_t n);

/* ---------------------------------------------------------------- spaces -- */

/* The kind of engine that a test is to run on: that of UFAULT_TEST_ENGINE,
 * "signal" or "thread". */
enum uf_engine_kind live_engine_kind(void);

/* si_code of a touch of what is reserved and not mapped: the kernel's word, or
 * the trap handler's, which a signal engine has installed. */
int live_unmapped_code(void);

/* The kernel's count of faults is ours: not with a sanitizer, and it leaves out
 * those that end in a signal. */
#define LIVE_KERNEL_COUNTS                                                     \
    (!LIVE_SANITIZED && live_engine_kind() == UF_ENGINE_THREAD)

/* For tests of touches by system calls, which a signal engine does not serve:
 * skips them there. */
#define LIVE_NEEDS_KERNEL_TOUCHES()                                            \
    do {                                                                       \
        if (live_engine_kind() == UF_ENGINE_SIGNAL)                            \
            skip();                                                            \
    } while (0)

/* A space as the options say (that kind of engine, if it has one of its own;
 * size, and 16 MiB if len_bytes is 0, are filled
 * in), with the break raised by npages. Asserts. */
struct uf_space *live_space(const struct uf_space_opts *opts, size_t npages);

/* An address, a multiple of 2 MiB, where 16 MiB are free. */
uintptr_t live_aligned_address(void);

struct uf_stats live_stats(struct uf_space *space);

/* The law of ufault/stats.h, and nothing pending. Asserts. */
void live_assert_law(struct uf_space *space);

/* ----------------------------------------------------------------- gates -- */

struct live_gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool open;
    unsigned inside; /* have come to the gate, ever */
};

#define LIVE_GATE_INIT                                                         \
    {                                                                          \
        .mutex = PTHREAD_MUTEX_INITIALIZER,                                    \
        .changed = PTHREAD_COND_INITIALIZER                                    \
    }

/* Comes to the gate and waits until it is open. */
void live_gate_pass(struct live_gate *gate);
/* Waits until `n` have come. */
void live_gate_await(struct live_gate *gate, unsigned n);
void live_gate_open(struct live_gate *gate);

/* Waits until thread `tid` of this process sleeps in the kernel's
 * userfaultfd code, or at least sleeps. */
void live_await_asleep(pid_t tid);

pid_t live_tid(void);

/* ---------------------------------------------------------------- pagers -- */

struct live_pager {
    struct uf_pager *pager;
    /* What fill does; called with the pager locked by nothing. */
    ssize_t (*behave)(struct live_pager *p, const struct uf_fill *request);
    void *arg;
    atomic_uint calls;
    atomic_uint released;
};

/* Asserts. `behave` NULL: fills everything with the pattern. */
void live_pager_init(struct live_pager *p,
                     ssize_t (*behave)(struct live_pager *,
                                       const struct uf_fill *),
                     void *arg);

/* The byte that belongs at `offset`; never 0. */
unsigned char live_pattern(uint64_t offset);
/* Fills the first len_bytes of the request with it; returns len_bytes. */
ssize_t live_fill(const struct uf_fill *request, size_t len_bytes);
/* True if [start, start + len_bytes) of the space holds the pattern. */
bool live_is_pattern(const struct uf_space *space, uintptr_t start,
                     size_t len_bytes);

/* ----------------------------------------------------------------- hooks -- */

#define LIVE_ERROR_KINDS 5
#define LIVE_EVENTS_MAX  4096

/* hook_data of live_on_error and live_on_fault. */
struct live_log {
    pthread_mutex_t mutex;
    unsigned errors[LIVE_ERROR_KINDS];
    struct uf_error last[LIVE_ERROR_KINDS];
    char message[LIVE_ERROR_KINDS][128];
    char pager[LIVE_ERROR_KINDS][32];
    unsigned nevents;
    struct uf_fault_event events[LIVE_EVENTS_MAX];
    void (*also)(struct live_log *log); /* called by both hooks, unlocked */
    void *arg;
};

#define LIVE_LOG_INIT                                                          \
    {                                                                          \
        .mutex = PTHREAD_MUTEX_INITIALIZER                                     \
    }

void live_on_error(void *data, const struct uf_error *error);
void live_on_fault(void *data, const struct uf_fault_event *event);
unsigned live_errors(struct live_log *log, enum uf_error_kind kind);
unsigned live_events(struct live_log *log);

/* -------------------------------------------------------------- recounts -- */

/* Resident pages of [start, end), by mincore(2). */
size_t live_mincore(uintptr_t start, uintptr_t end);
/* Faults of this thread by the kernel's count. Minor and major: one that found
 * its VMA locked by another thread at first, and then waited for a handler, is
 * a second try to the kernel, and counted as major. */
long live_kernel_faults(void);
size_t live_count_fds(void);
size_t live_count_maps(void);

#endif
