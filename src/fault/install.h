/* SPDX-License-Identifier: MIT */
/*
 * install: the only step that makes pages appear (invariant 9).
 *
 * One install walks its range front to back with as few calls as the kernel
 * lets it: a whole range in one call in the good case, page by page over what
 * is there already. Every decision is resolution.h's.
 */
#ifndef UF_FAULT_INSTALL_H
#define UF_FAULT_INSTALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"
#include "fault/resolution.h"
#include "host/uffd.h"

/* What to install. */
struct install {
    struct uffd *uffd;
    struct range window; /* whole pages, inside one VMA */
    uintptr_t touched;   /* the page that somebody waits for, inside */
    const void *bytes;   /* window's contents; NULL: zeros */
    bool write;          /* zeros only: private pages, not the zero page */
    bool again;          /* the same fault has met -EEXIST before */
    bool protect;        /* bytes go in protected against writes */
    /* Zeros only: as many pages of zeros of our own (without `write`: the
     * kernel's zero page), to be moved in; where they cannot be, zeros go in the
     * other way. NULL: none. */
    void *source;
};

enum install_verdict {
    INSTALL_DONE,    /* the touched page went in */
    INSTALL_PRESENT, /* it was there */
    INSTALL_STALE,   /* no mapping there any more */
    INSTALL_BUSY,    /* not now */
    INSTALL_REFUSED, /* never: answer with SIGBUS */
    INSTALL_GONE     /* the address space is gone */
};

struct install_result {
    enum install_verdict verdict;
    int err;              /* the -errno behind a verdict that is not good */
    const char *why;      /* resolution's sentence on it */
    uint32_t calls;       /* ioctls made */
    uint32_t retries;     /* of these, for a rest or a smaller range */
    size_t npages;        /* pages that went in */
    size_t npages_zero;   /* of these, the shared zero page */
    size_t npages_moved;  /* of these, pages of `source` */
    struct range present; /* a page that was there though not expected, or
                             empty; the last one met */
    bool skipped;         /* some page of the window was there: `done` has
                             holes, and the window's threads were woken */
    struct range done;    /* from the first to the last page that went in */
    /* Whose threads have something to look at now; may be empty. Woken on
     * return, or, where the descriptor holds wakes, for the caller to wake. */
    struct range wake;
};

struct install_result install_pages(const struct install *what);

/*
 * Answers the threads that wait on the page with SIGBUS. INSTALL_DONE, or why
 * not (PRESENT and STALE: they are to look again). `wake` as in install_pages.
 */
struct install_result install_refusal(struct uffd *uffd, struct range page);

/* Wakes whoever waits in [range), which may be empty. */
void install_wake(struct uffd *uffd, struct range range);

/* The longest window of zeros that may be asked for, in bytes. */
size_t install_zeros_max(void);

/* Makes the page of zeros that copies come from; once, before the first
 * install of zeros. 0 or -ENOMEM. */
int install_zeros_init(void);

#endif
