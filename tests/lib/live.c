/* SPDX-License-Identifier: MIT */
/* See live.h. */
#include "lib/live.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these and stddef.h, stdint.h first. */
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sched.h>
#include <unistd.h>

#include "fault/trap.h"

#define SPACE_BYTES ((size_t)16 << 20)
#define HANG_S      240

/* --------------------------------------------------------------- touches -- */

static _Thread_local sigjmp_buf escape;
static _Thread_local volatile sig_atomic_t escaping;
static _Thread_local siginfo_t caught;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    (void)context;
    if (!escaping) {
        signal(signo, SIG_DFL); /* not ours: die of it */
        return;
    }
    caught = *info;
    siglongjmp(escape, 1);
}

/* Each time: cmocka puts handlers of its own in place for every test. But not in
 * front of a signal engine's, which calls the one it found (live_space). */
static void catch_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO};

    if (live_engine_kind() == UF_ENGINE_SIGNAL && trap_enter_guarded()) {
        trap_leave_guarded();
        return;
    }
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

int live_begin(void)
{
    struct uf_probe probe = {.size = sizeof(probe)};

    uf_probe(&probe);
    if (probe.tier == UF_TIER_NONE) {
        printf("skipped, no userfaultfd: %s\n",
               probe.items[UF_PROBE_SYSCALL].why);
        return 77;
    }
    alarm(HANG_S);
    return 0;
}

#if defined(__has_attribute)
#if __has_attribute(no_sanitize)
#define NOT_WATCHED __attribute__((no_sanitize("thread")))
#endif
#endif
#ifndef NOT_WATCHED
#define NOT_WATCHED
#endif

/* Races with mmap and munmap are what some tests are about; to a sanitizer
 * these calls are writes. */
NOT_WATCHED static unsigned char get(const volatile unsigned char *p)
{
    return *p;
}

NOT_WATCHED static void set(volatile unsigned char *p, unsigned char byte)
{
    *p = byte;
}

static int guarded(uintptr_t addr, unsigned char *read,
                   const unsigned char *put, siginfo_t *ret_info)
{
    unsigned char *p = (unsigned char *)addr;
    int signo = 0;

    catch_signals();
    escaping = 1;
    if (sigsetjmp(escape, 1) == 0) {
        if (put)
            set(p, *put);
        else
            *read = get(p);
    } else {
        signo = caught.si_signo;
        if (ret_info)
            *ret_info = caught;
    }
    escaping = 0;
    return signo;
}

int live_read(uintptr_t addr, unsigned char *ret_byte, siginfo_t *ret_info)
{
    unsigned char byte = 0;
    int signo = guarded(addr, &byte, NULL, ret_info);

    if (ret_byte)
        *ret_byte = byte;
    return signo;
}

int live_write(uintptr_t addr, unsigned char byte, siginfo_t *ret_info)
{
    return guarded(addr, NULL, &byte, ret_info);
}

uintptr_t live_page(const struct uf_space *space, size_t n)
{
    return uf_space_base(space) + n * page_size();
}

/* ---------------------------------------------------------------- spaces -- */

enum uf_engine_kind live_engine_kind(void)
{
    const char *kind = getenv("UFAULT_TEST_ENGINE");

    return kind && strcmp(kind, "signal") == 0 ? UF_ENGINE_SIGNAL
                                               : UF_ENGINE_THREAD;
}

int live_unmapped_code(void)
{
    return live_engine_kind() == UF_ENGINE_SIGNAL ? SEGV_MAPERR : SEGV_ACCERR;
}

struct uf_space *live_space(const struct uf_space_opts *opts, size_t npages)
{
    struct uf_space_opts o = opts ? *opts : (struct uf_space_opts){0};
    struct uf_space *space = NULL;

    o.size = sizeof(o);
    if (!o.engine && o.engine_kind == UF_ENGINE_THREAD)
        o.engine_kind = live_engine_kind();
    if (o.engine_kind == UF_ENGINE_SIGNAL)
        catch_signals();
    if (o.len_bytes == 0)
        o.len_bytes = SPACE_BYTES;
    assert_int_equal(uf_space_create(&o, &space), 0);
    if (npages > 0)
        assert_true(uf_sbrk(space, (intptr_t)(npages * page_size())) ==
                    (intptr_t)uf_space_base(space));
    return space;
}

uintptr_t live_aligned_address(void)
{
    size_t unit = (size_t)2 << 20, len = (size_t)1 << 30;
    void *p = mmap(NULL, len, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    /* The low end: what else is mapped before the caller comes goes to the
     * high one. */
    assert_true(p != MAP_FAILED);
    munmap(p, len);
    return align_up((uintptr_t)p, unit);
}

struct uf_stats live_stats(struct uf_space *space)
{
    struct uf_stats stats = {.size = sizeof(stats)};

    assert_int_equal(uf_space_stats(space, &stats), 0);
    return stats;
}

static bool law_holds(const struct uf_stats *s)
{
    return s->pending == 0 && s->faults == s->faults_read + s->faults_write &&
           s->faults ==
               s->installed + s->present + s->stale + s->refused + s->folded;
}

/* A handler may still hold a fault whose thread another one's install has let
 * go, so the law may hold a little later. */
void live_assert_law(struct uf_space *space)
{
    struct uf_stats s = live_stats(space);

    for (int tries = 0; tries < 200000 && !law_holds(&s); tries++) {
        sched_yield();
        s = live_stats(space);
    }
    assert_int_equal(s.pending, 0);
    assert_int_equal(s.faults, s.faults_read + s.faults_write);
    assert_int_equal(s.faults,
                     s.installed + s.present + s.stale + s.refused + s.folded);
}

/* ----------------------------------------------------------------- gates -- */

void live_gate_pass(struct live_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->inside++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

void live_gate_await(struct live_gate *gate, unsigned n)
{
    pthread_mutex_lock(&gate->mutex);
    while (gate->inside < n)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

void live_gate_open(struct live_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

pid_t live_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* Field 3 of /proc/self/task/TID/stat, behind the name in parentheses. */
static char thread_state(pid_t tid)
{
    char path[64], text[256];
    const char *close_paren;
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    file = fopen(path, "r");
    if (!file)
        return '?';
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    close_paren = strrchr(text, ')');
    return close_paren ? close_paren[2] : '?';
}

void live_await_asleep(pid_t tid)
{
    char state;

    do {
        sched_yield();
        state = thread_state(tid);
    } while (state == 'R');
}

/* ---------------------------------------------------------------- pagers -- */

static ssize_t call_behave(void *context, const struct uf_fill *request)
{
    struct live_pager *p = context;

    atomic_fetch_add(&p->calls, 1);
    return p->behave ? p->behave(p, request)
                     : live_fill(request, request->len_bytes);
}

static void count_release(void *context)
{
    struct live_pager *p = context;

    atomic_fetch_add(&p->released, 1);
}

void live_pager_init(struct live_pager *p,
                     ssize_t (*behave)(struct live_pager *,
                                       const struct uf_fill *),
                     void *arg)
{
    const struct uf_pager_ops ops = {.size = sizeof(ops),
                                     .name = "told",
                                     .fill = call_behave,
                                     .release = count_release};

    *p = (struct live_pager){.behave = behave, .arg = arg};
    assert_int_equal(uf_pager_create(&ops, p, &p->pager), 0);
}

unsigned char live_pattern(uint64_t offset)
{
    uint64_t x = (offset + 1) * UINT64_C(0x9e3779b97f4a7c15);

    return (unsigned char)((x >> 56) | 1);
}

ssize_t live_fill(const struct uf_fill *request, size_t len_bytes)
{
    unsigned char *to = request->buffer;

    for (size_t i = 0; i < len_bytes; i++)
        to[i] = live_pattern(request->offset + i);
    return (ssize_t)len_bytes;
}

bool live_is_pattern(const struct uf_space *space, uintptr_t start,
                     size_t len_bytes)
{
    uint64_t offset = start - uf_space_base(space);
    const unsigned char *p = (const unsigned char *)start;

    for (size_t i = 0; i < len_bytes; i++)
        if (p[i] != live_pattern(offset + i))
            return false;
    return true;
}

/* ----------------------------------------------------------------- hooks -- */

void live_on_error(void *data, const struct uf_error *error)
{
    struct live_log *log = data;

    pthread_mutex_lock(&log->mutex);
    log->errors[error->kind]++;
    log->last[error->kind] = *error;
    snprintf(log->message[error->kind], sizeof(log->message[0]), "%s",
             error->message ? error->message : "");
    snprintf(log->pager[error->kind], sizeof(log->pager[0]), "%s",
             error->pager ? error->pager : "");
    pthread_mutex_unlock(&log->mutex);
    if (log->also)
        log->also(log);
}

void live_on_fault(void *data, const struct uf_fault_event *event)
{
    struct live_log *log = data;

    pthread_mutex_lock(&log->mutex);
    if (log->nevents < LIVE_EVENTS_MAX)
        log->events[log->nevents] = *event;
    log->nevents++;
    pthread_mutex_unlock(&log->mutex);
    if (log->also)
        log->also(log);
}

unsigned live_errors(struct live_log *log, enum uf_error_kind kind)
{
    unsigned n;

    pthread_mutex_lock(&log->mutex);
    n = log->errors[kind];
    pthread_mutex_unlock(&log->mutex);
    return n;
}

unsigned live_events(struct live_log *log)
{
    unsigned n;

    pthread_mutex_lock(&log->mutex);
    n = log->nevents;
    pthread_mutex_unlock(&log->mutex);
    return n;
}

/* -------------------------------------------------------------- recounts -- */

size_t live_mincore(uintptr_t start, uintptr_t end)
{
    size_t npages = (end - start) / page_size(), n = 0;
    unsigned char *vec = malloc(npages);

    assert_non_null(vec);
    assert_int_equal(mincore((void *)start, end - start, vec), 0);
    for (size_t i = 0; i < npages; i++)
        n += vec[i] & 1;
    free(vec);
    return n;
}

long live_kernel_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

size_t live_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 3; /* ".", ".." and the directory's own */
}

size_t live_count_maps(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    size_t n = 0;
    int c;

    assert_non_null(file);
    while ((c = getc(file)) != EOF)
        n += c == '\n';
    fclose(file);
    return n;
}
