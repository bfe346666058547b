/* SPDX-License-Identifier: MIT */
/* See fake_uffd.h. */
#include "lib/fake_uffd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/uffd_abi.h"

/* ------------------------------------------------------------- the pages -- */

static struct fake_segment *segment_at(struct fake_uffd *fake, uintptr_t addr)
{
    for (size_t i = 0; i < fake->nsegments; i++)
        if (range_contains(fake->segments[i].range, addr))
            return &fake->segments[i];
    return NULL;
}

static size_t index_in(const struct fake_segment *s, uintptr_t addr)
{
    return (addr - s->range.start) / page_size();
}

static enum fake_page page_at(struct fake_uffd *fake, uintptr_t addr)
{
    struct fake_segment *s = segment_at(fake, addr);

    return s ? s->pages[index_in(s, addr)] : PAGE_UNMAPPED;
}

static bool is_present(enum fake_page page)
{
    return page == PAGE_ZERO || page == PAGE_PRIVATE;
}

/* ---------------------------------------------------------- the touchers -- */

/* event_fd is readable exactly while nunread > 0 or the descriptor is broken */
static void update_event_fd(struct fake_uffd *fake)
{
    uint64_t value = 1;
    ssize_t ignored = read(fake->event_fd, &value, sizeof(value));

    value = 1;
    if (fake->nunread > 0 || fake->closed)
        ignored = write(fake->event_fd, &value, sizeof(value));
    (void)ignored;
    pthread_cond_broadcast(&fake->changed);
}

static bool is_asleep(const struct fake_toucher *t)
{
    return t->state == TOUCHER_UNREAD || t->state == TOUCHER_READ;
}

/* A toucher, not asleep, looks at its page. */
static void look(struct fake_uffd *fake, struct fake_toucher *t)
{
    switch (page_at(fake, t->addr)) {
    case PAGE_ZERO:
    case PAGE_PRIVATE:
        t->state = TOUCHER_SATISFIED;
        break;
    case PAGE_POISONED:
        t->state = TOUCHER_REFUSED;
        break;
    case PAGE_UNMAPPED:
        t->state = TOUCHER_SEGV;
        break;
    default:
        t->state = TOUCHER_UNREAD;
        t->faults++;
        fake->nunread++;
        fake->nasleep++;
        break;
    }
}

static void wake(struct fake_uffd *fake, struct range range)
{
    for (size_t i = 0; i < fake->ntouchers; i++) {
        struct fake_toucher *t = &fake->touchers[i];

        if (!is_asleep(t) || !range_contains(range, t->addr))
            continue;
        fake->nunread -= t->state == TOUCHER_UNREAD;
        fake->nasleep--;
        look(fake, t);
    }
    update_event_fd(fake);
}

size_t fake_touch(struct fake_uffd *fake, pid_t tid, uintptr_t addr, bool write)
{
    struct fake_toucher *t;
    size_t index;

    pthread_mutex_lock(&fake->mutex);
    if (fake->ntouchers == FAKE_TOUCHERS_MAX)
        abort();
    index = fake->ntouchers++;
    t = &fake->touchers[index];
    *t = (struct fake_toucher){
        .addr = addr,
        .flags = write ? UFFD_PAGEFAULT_FLAG_WRITE : 0,
        .tid = tid,
    };
    look(fake, t);
    update_event_fd(fake);
    pthread_mutex_unlock(&fake->mutex);
    return index;
}

enum fake_state fake_toucher_state(struct fake_uffd *fake, size_t index)
{
    enum fake_state state;

    pthread_mutex_lock(&fake->mutex);
    state = fake->touchers[index].state;
    pthread_mutex_unlock(&fake->mutex);
    return state;
}

/* --------------------------------------------------------- the operations --
 */

static int sim_read(struct uffd *u, struct uffd_fault *faults, int max)
{
    struct fake_uffd *fake = u->fake;
    struct uffd_result scripted;
    int n = 0;

    if (fake_script_next(&fake->script, FAKE_READ, 0, &scripted))
        return scripted.err;
    pthread_mutex_lock(&fake->mutex);
    for (size_t i = 0; i < fake->ntouchers && n < max; i++) {
        struct fake_toucher *t = &fake->touchers[i];

        if (t->state != TOUCHER_UNREAD)
            continue;
        t->state = TOUCHER_READ;
        fake->nunread--;
        faults[n++] = (struct uffd_fault){t->addr, t->flags, t->tid};
    }
    fake->nread += (uint64_t)n;
    if (fake->closed)
        n = -EBADF;
    update_event_fd(fake);
    pthread_mutex_unlock(&fake->mutex);
    return n == 0 ? -EAGAIN : n;
}

static int sim_wait(struct uffd *u, int stop_fd, int64_t timeout_ns)
{
    struct fake_uffd *fake = u->fake;
    struct pollfd fds[2] = {{.fd = fake->event_fd, .events = POLLIN},
                            {.fd = stop_fd, .events = POLLIN}};
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    struct uffd_result scripted;

    if (fake_script_next(&fake->script, FAKE_WAIT, 0, &scripted))
        return scripted.err;
    if (ppoll(fds, 2, timeout_ns < 0 ? NULL : &ts, NULL) < 0)
        return errno == EINTR ? 0 : -errno;
    return (fds[0].revents & POLLIN) != 0;
}

/* What is done with one page. 0 or -errno. */
static int put_page(struct fake_uffd *fake, enum fake_op op, uintptr_t addr,
                    const char *src)
{
    struct fake_segment *s = segment_at(fake, addr);
    enum fake_page *page;

    if (!s || s->pages[index_in(s, addr)] == PAGE_UNMAPPED)
        return -ENOENT;
    page = &s->pages[index_in(s, addr)];
    if (is_present(*page) || (*page == PAGE_MARKER && op != FAKE_COPY) ||
        (*page == PAGE_POISONED && op != FAKE_COPY))
        return -EEXIST;
    switch (op) {
    case FAKE_COPY:
    case FAKE_MOVE:
        *page = PAGE_PRIVATE;
        memcpy(&s->tags[index_in(s, addr)], src, sizeof(s->tags[0]));
        fake->nprivate++;
        break;
    case FAKE_ZEROPAGE:
        *page = PAGE_ZERO;
        s->tags[index_in(s, addr)] = 0;
        fake->nzero++;
        break;
    default:
        *page = PAGE_POISONED;
        break;
    }
    return 0;
}

/* Front to back as the kernel does: what was done decides between success,
 * -EAGAIN with a length, and the errno of the first page. */
static struct uffd_result put_range(struct fake_uffd *fake, enum fake_op op,
                                    struct range dst, const char *src,
                                    bool hold_wakes)
{
    uintptr_t addr = dst.start;
    int err = 0;
    size_t done;

    for (; addr < dst.end && !err; addr += page_size()) {
        err = put_page(fake, op, addr, src);
        if (err)
            break;
        if (src)
            src += page_size();
    }
    done = addr - dst.start;
    if (done > 0 && !hold_wakes)
        wake(fake, (struct range){dst.start, addr});
    if (!err)
        return (struct uffd_result){0, (int64_t)done};
    if (done > 0)
        return (struct uffd_result){-EAGAIN, (int64_t)done};
    return (struct uffd_result){err, err};
}

static struct uffd_result put(struct uffd *u, enum fake_op op, struct range dst,
                              const void *src)
{
    struct fake_uffd *fake = u->fake;
    struct uffd_result scripted, got;
    bool answered =
        fake_script_next(&fake->script, op, range_len(dst), &scripted);

    if (answered)
        dst.end = dst.start + fake_done_for_real(scripted.done, range_len(dst));
    pthread_mutex_lock(&fake->mutex);
    got = put_range(fake, op, dst, src, u->hold_wakes);
    pthread_mutex_unlock(&fake->mutex);
    if (!answered)
        return got;
    /* A partial result that met something by itself says so. */
    return got.err ? got : scripted;
}

static struct uffd_result sim_copy(struct uffd *u, struct range dst,
                                   const void *src)
{
    return put(u, FAKE_COPY, dst, src);
}

static struct uffd_result sim_zeropage(struct uffd *u, struct range dst)
{
    return put(u, FAKE_ZEROPAGE, dst, NULL);
}

static struct uffd_result sim_move(struct uffd *u, struct range dst, void *src)
{
    return put(u, FAKE_MOVE, dst, src);
}

static struct uffd_result sim_poison(struct uffd *u, struct range dst)
{
    return put(u, FAKE_POISON, dst, NULL);
}

static struct uffd_result sim_wake(struct uffd *u, struct range range)
{
    struct fake_uffd *fake = u->fake;
    struct uffd_result scripted = {0, 0};

    fake_script_next(&fake->script, FAKE_WAKE, 0, &scripted);
    pthread_mutex_lock(&fake->mutex);
    wake(fake, range);
    pthread_mutex_unlock(&fake->mutex);
    return scripted;
}

static struct uffd_result sim_register(struct uffd *u, struct range range)
{
    struct fake_uffd *fake = u->fake;
    struct uffd_result scripted = {0, 0};

    if (!fake_script_next(&fake->script, FAKE_REGISTER, 0, &scripted))
        fake_segment_add(fake, range);
    return scripted;
}

static struct uffd_result sim_unregister(struct uffd *u, struct range range)
{
    (void)u;
    (void)range;
    return (struct uffd_result){0, 0};
}

static void sim_close(struct uffd *u)
{
    (void)u;
}

static const struct uffd_ops sim_ops = {
    .read = sim_read,
    .wait = sim_wait,
    .copy = sim_copy,
    .zeropage = sim_zeropage,
    .move = sim_move,
    .poison = sim_poison,
    .wake = sim_wake,
    .regist = sim_register,
    .unregister = sim_unregister,
    .close = sim_close,
};

/* ---------------------------------------------------------------- the rest */

struct fake_uffd *fake_uffd_create(void)
{
    struct fake_uffd *fake = calloc(1, sizeof(*fake));

    if (!fake)
        return NULL;
    fake_script_init(&fake->script);
    pthread_mutex_init(&fake->mutex, NULL);
    pthread_cond_init(&fake->changed, NULL);
    fake->touchers = calloc(FAKE_TOUCHERS_MAX, sizeof(fake->touchers[0]));
    fake->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fake;
}

void fake_uffd_destroy(struct fake_uffd *fake)
{
    for (size_t i = 0; i < fake->nsegments; i++) {
        free(fake->segments[i].pages);
        free(fake->segments[i].tags);
    }
    close(fake->event_fd);
    free(fake->touchers);
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->mutex);
    free(fake);
}

struct uffd fake_uffd_handle(struct fake_uffd *fake)
{
    return (struct uffd){.ops = &sim_ops,
                         .fd = -1,
                         .tier = UF_TIER_SYSCALL,
                         .can_poison = true,
                         .fake = fake};
}

void fake_segment_add(struct fake_uffd *fake, struct range range)
{
    size_t npages = range_len(range) / page_size();
    struct fake_segment *s;

    pthread_mutex_lock(&fake->mutex);
    s = segment_at(fake, range.start); /* the same addresses again */
    if (!s && fake->nsegments == FAKE_SEGMENTS_MAX)
        abort();
    if (!s)
        s = &fake->segments[fake->nsegments++];
    free(s->pages);
    free(s->tags);
    s->range = range;
    s->pages = calloc(npages, sizeof(s->pages[0]));
    s->tags = calloc(npages, sizeof(s->tags[0]));
    pthread_mutex_unlock(&fake->mutex);
}

static void set_range(struct fake_uffd *fake, struct range part,
                      enum fake_page page)
{
    pthread_mutex_lock(&fake->mutex);
    for (uintptr_t a = part.start; a < part.end; a += page_size()) {
        struct fake_segment *s = segment_at(fake, a);

        if (s)
            s->pages[index_in(s, a)] = page;
    }
    pthread_mutex_unlock(&fake->mutex);
}

void fake_map(struct fake_uffd *fake, struct range part)
{
    set_range(fake, part, PAGE_ABSENT);
}

void fake_unmap(struct fake_uffd *fake, struct range part)
{
    set_range(fake, part, PAGE_UNMAPPED);
}

void fake_page_set(struct fake_uffd *fake, uintptr_t addr, enum fake_page page)
{
    set_range(fake, (struct range){addr, addr + page_size()}, page);
}

enum fake_page fake_page_get(struct fake_uffd *fake, uintptr_t addr)
{
    enum fake_page page;

    pthread_mutex_lock(&fake->mutex);
    page = page_at(fake, addr);
    pthread_mutex_unlock(&fake->mutex);
    return page;
}

uint64_t fake_tag_get(struct fake_uffd *fake, uintptr_t addr)
{
    struct fake_segment *s = segment_at(fake, addr);

    return s ? s->tags[index_in(s, addr)] : 0;
}

size_t fake_resident(struct fake_uffd *fake, struct range part)
{
    size_t n = 0;

    for (uintptr_t a = part.start; a < part.end; a += page_size())
        n += is_present(fake_page_get(fake, a));
    return n;
}

size_t fake_asleep(struct fake_uffd *fake)
{
    size_t n;

    pthread_mutex_lock(&fake->mutex);
    n = fake->nasleep;
    pthread_mutex_unlock(&fake->mutex);
    return n;
}

void fake_await_all_answered(struct fake_uffd *fake)
{
    pthread_mutex_lock(&fake->mutex);
    while (fake->nasleep > 0)
        pthread_cond_wait(&fake->changed, &fake->mutex);
    pthread_mutex_unlock(&fake->mutex);
}

void fake_await_read(struct fake_uffd *fake, uint64_t n)
{
    pthread_mutex_lock(&fake->mutex);
    while (fake->nread < n)
        pthread_cond_wait(&fake->changed, &fake->mutex);
    pthread_mutex_unlock(&fake->mutex);
}

void fake_forget_touchers(struct fake_uffd *fake)
{
    pthread_mutex_lock(&fake->mutex);
    if (fake->nasleep > 0)
        abort();
    fake->ntouchers = 0;
    pthread_mutex_unlock(&fake->mutex);
}

uint64_t fake_faults(struct fake_uffd *fake)
{
    uint64_t n = 0;

    pthread_mutex_lock(&fake->mutex);
    for (size_t i = 0; i < fake->ntouchers; i++)
        n += fake->touchers[i].faults;
    pthread_mutex_unlock(&fake->mutex);
    return n;
}

void fake_break(struct fake_uffd *fake)
{
    pthread_mutex_lock(&fake->mutex);
    fake->closed = true;
    update_event_fd(fake);
    pthread_mutex_unlock(&fake->mutex);
}
