/* SPDX-License-Identifier: MIT */
/*
 * ufault/working_set.h: the pages that a run touches, in order.
 *
 *     first start                              every other start
 *     uf_working_set_record                    uf_space_from_image
 *       ... the guest runs ...                   the set comes in ahead, in its
 *     uf_working_set_stop ──► set                order, while the guest runs
 *     uf_image_set_working_set ──► file        uf_working_set_report
 *
 * Pages are numbered from the base of their space. A set that lies in an image
 * (ufault/image.h) is stored as one piece, so it comes in by few large reads
 * of the file; the guest need not wait for them: what it touches first it gets
 * first, as without a set, and the set goes on from there.
 *
 * Any thread may call these, not from a signal handler.
 */
#ifndef UFAULT_WORKING_SET_H
#define UFAULT_WORKING_SET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_space;
struct uf_working_set;

/*
 * uf_working_set_record: from now on the pages of the space are noted in the
 * order in which they are touched for the first time, by guest or by call
 * (uf_populate, uf_copy_in), at most 2^26 of them. Each fault brings in the
 * touched page alone, or what else was touched would not be seen; that costs.
 * What is resident is not seen: record from the start of the space, one
 * made from an image with UF_SPACE_NO_AHEAD. What the kernel serves (files,
 * shared memory) is not recorded.
 *
 * Returns 0 or
 *   -EINVAL   no live space
 *   -EDEADLK  called from a handler thread
 *   -EBUSY    it is recorded already
 *   -ENOMEM   no memory
 */
int uf_working_set_record(struct uf_space *space);

/*
 * uf_working_set_stop: ends the recording. *ret_set is what was recorded, the
 * caller's to destroy; NULL: it is thrown away.
 *
 * Returns 0 or
 *   -EINVAL   no live space; it is not recorded
 *   -EDEADLK  called from a handler thread
 *   -ENOMEM   no memory; the recording goes on
 */
int uf_working_set_stop(struct uf_space *space,
                        struct uf_working_set **ret_set);

/*
 * uf_working_set_create: a set of these pages, by number from the base of the
 * space, in this order. A page that is named again is left out.
 *
 * Returns 0 or
 *   -EINVAL  ret_set is NULL; pages is NULL and npages is not 0
 *   -ENOMEM  no memory
 */
int uf_working_set_create(const uint64_t *pages, size_t npages,
                          struct uf_working_set **ret_set);

/* NULL does nothing. */
void uf_working_set_destroy(struct uf_working_set *set);

/* Copies the page numbers, at most `max` of them, in order. Returns how many
 * there are; 0 for NULL. */
size_t uf_working_set_pages(const struct uf_working_set *set, uint64_t *pages,
                            size_t max);

/*
 * uf_working_set_merge: one set of several: the pages that at least `at_least`
 * of them have (0 and 1: any). A page comes as early as in the set that has it
 * earliest; of two that come equally early the lower one is first.
 *
 * Returns 0 or
 *   -EINVAL  sets, one of them or ret_set is NULL; nsets is 0
 *   -ENOMEM  no memory
 */
int uf_working_set_merge(const struct uf_working_set *const *sets, size_t nsets,
                         size_t at_least, struct uf_working_set **ret_set);

/*
 * uf_working_set_ahead: brings the pages of the set in, in its order, on the
 * engine's background thread, and returns at once. A touch of a page that is
 * not there yet is answered as ever, and the set goes on behind it: a guest that
 * has caught up with its set gets more of it with each such fault, up to 128
 * pages, before it goes on. Faults of others do not wait for that, and the
 * background lets them by. A hint as uf_prefetch: what cannot be had, or is
 * not mapped, is left to its touch.
 *
 * uf_space_from_image does this with the set of the image, unless
 * UF_SPACE_NO_AHEAD says no.
 *
 * `leave`: not 0: one page in so many, drawn by its number, is left for its
 * touch, to know how many of the set are used (see the report). 1: all of them are,
 * and each fault brings in the touched page alone: this start is as without a
 * set, and the report exact.
 *
 * Returns 0 or
 *   -EINVAL   no live space; set is NULL
 *   -EDEADLK  called from a handler thread
 *   -EBUSY    another set is on its way
 *   -ENOMEM   no memory
 *   -EAGAIN   too many spaces have sets on their way; no thread could be
 *             started; the space has no engine (a forked child)
 */
int uf_working_set_ahead(struct uf_space *space,
                         const struct uf_working_set *set, uint32_t leave);

struct uf_working_set_report {
    size_t size;
    uint64_t pages;     /* of the set, inside the space */
    uint64_t ahead;     /* brought in before anybody touched them */
    uint64_t late;      /* touched before: a fault brought them in */
    uint64_t left;      /* left for their touch, as was asked for */
    uint64_t left_used; /* of these, touched so far */
    uint64_t coming;    /* not dealt with yet */
    uint64_t missed;    /* faults on pages outside the set */
    /* Recorded and used, recorded and not used so far; exact with `leave` 1,
     * an estimate from the pages left with more. With `leave` 0 nobody knows,
     * the kernel telling no touch of a page that is there: `used` is what must
     * have been, late, and unused is 0. */
    uint64_t used;
    uint64_t unused;
};

/*
 * uf_working_set_report: what became of the set that was brought in last.
 * report->size must be set. Pages that are in none of ahead, late, left and
 * coming were there before, or could not be had.
 *
 * Returns 0 or
 *   -EINVAL   no live space; report is NULL; report->size is unknown
 *   -EDEADLK  called from a handler thread
 *   -ENODATA  there was none
 */
int uf_working_set_report(struct uf_space *space,
                          struct uf_working_set_report *report);

#ifdef __cplusplus
}
#endif

#endif
