/* SPDX-License-Identifier: MIT */
/*
 * fake_uffd: a userfaultfd that is only bookkeeping, behind struct uffd_ops.
 *
 * It holds segments of addresses with a state per page, and touchers, which
 * stand for threads: a toucher of an absent page falls asleep and becomes an
 * event to be read. As in the kernel, pages that go in wake who sleeps on
 * them; a failure wakes nobody, -EEXIST included; and who is woken looks again:
 *
 *     fake_touch ─► asleep, unread ─ read ─► asleep, read
 *          ▲                 └────── woken ──────┘
 *          └──── absent ──── looks again ─ present ──► satisfied
 *                                        ├ poisoned ─► refused
 *                                        └ unmapped ─► SIGSEGV
 *
 * Nothing here maps memory: spaces that are served by it are reserved for real
 * but never touched. All functions may be called from any thread.
 */
#ifndef TESTS_LIB_FAKE_UFFD_H
#define TESTS_LIB_FAKE_UFFD_H

#include "lib/fake_script.h"

enum fake_page {
    PAGE_UNMAPPED,
    PAGE_ABSENT,
    PAGE_ZERO,    /* the shared zero page */
    PAGE_PRIVATE, /* a copy, or moved in */
    PAGE_POISONED,
    PAGE_MARKER /* not present and not empty: a write-protect marker */
};

enum fake_state {
    TOUCHER_UNREAD,
    TOUCHER_READ,
    TOUCHER_SATISFIED,
    TOUCHER_REFUSED,
    TOUCHER_SEGV
};

struct fake_toucher {
    uintptr_t addr;
    uint32_t flags; /* UFFD_PAGEFAULT_FLAG_* */
    pid_t tid;
    enum fake_state state;
    unsigned faults; /* how often it fell asleep */
};

struct fake_segment {
    struct range range;
    enum fake_page *pages;
    uint64_t *tags; /* the first 8 bytes of what was copied or moved */
};

#define FAKE_SEGMENTS_MAX 16
#define FAKE_TOUCHERS_MAX 4096

struct fake_uffd {
    struct fake_script script;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    struct fake_segment segments[FAKE_SEGMENTS_MAX];
    size_t nsegments;
    struct fake_toucher *touchers;
    size_t ntouchers;
    size_t nunread;
    size_t nasleep;    /* unread and read */
    uint64_t nread;    /* events read, ever */
    bool closed;       /* reads answer -EBADF */
    int event_fd;      /* readable while there is something to read */
    uint64_t nzero;    /* pages that went in as the zero page, ever */
    uint64_t nprivate; /* as copies, or moved in */
};

/* NULL if there is no memory. */
struct fake_uffd *fake_uffd_create(void);
/* The engine that used it is gone. */
void fake_uffd_destroy(struct fake_uffd *fake);

/* What engine_create_on and struct install take. */
struct uffd fake_uffd_handle(struct fake_uffd *fake);

/* A segment, unmapped; registering a space makes one too. */
void fake_segment_add(struct fake_uffd *fake, struct range range);

/* Pages become absent / unmapped, as by mprotect and MADV_DONTNEED: nobody is
 * woken. */
void fake_map(struct fake_uffd *fake, struct range part);
void fake_unmap(struct fake_uffd *fake, struct range part);
void fake_page_set(struct fake_uffd *fake, uintptr_t addr, enum fake_page page);
enum fake_page fake_page_get(struct fake_uffd *fake, uintptr_t addr);
uint64_t fake_tag_get(struct fake_uffd *fake, uintptr_t addr);

/* How many pages of [part) are resident (zero or private). */
size_t fake_resident(struct fake_uffd *fake, struct range part);

/* A thread touches; its index. */
size_t fake_touch(struct fake_uffd *fake, pid_t tid, uintptr_t addr,
                  bool write);
enum fake_state fake_toucher_state(struct fake_uffd *fake, size_t index);

/* How many sleep now. */
size_t fake_asleep(struct fake_uffd *fake);
/* Waits until nobody sleeps. */
void fake_await_all_answered(struct fake_uffd *fake);
/* Waits until `n` events were read in all. */
void fake_await_read(struct fake_uffd *fake, uint64_t n);
/* Every toucher that has its answer is forgotten; nobody may sleep. */
void fake_forget_touchers(struct fake_uffd *fake);
/* How often touchers fell asleep, in all. */
uint64_t fake_faults(struct fake_uffd *fake);

/* The descriptor fails: waiters see POLLERR's -EBADF, reads too. */
void fake_break(struct fake_uffd *fake);

#endif
