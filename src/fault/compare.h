/* SPDX-License-Identifier: MIT */
/*
 * compare: what was written, where the kernel cannot say: every page that is there
 * is compared with a copy of what it was.
 *
 *     space     a b . d      freeze (freeze.h): as it is at one moment
 *     copy      a a . .      what was seen last
 *     known     1 1 0 0      where that is
 *     written     #   #      other bytes; there for the first time, and no zeros
 *
 * It takes the memory of all that is resident a second time, and each look reads
 * both, 0.5 us a page and more. What had other bytes in between, and has the old
 * ones again, is not seen.
 */
#ifndef UF_FAULT_COMPARE_H
#define UF_FAULT_COMPARE_H

#include "mm/space.h"

struct compare;

/* Copies what is there. 0, -EMFILE, -EOPNOTSUPP or -ENOMEM. Requires, here and
 * below: the exclusive map lock. */
int compare_begin(struct uf_space *space, struct compare **ret);
void compare_end(struct compare *compare);
/* In a forked child, where other memory may be in the place of its copies. */
void compare_forget(struct compare *compare);

/* Notes what is not as it was (map_note_changed). 0 or -EIO: perhaps in part. */
int compare_look(struct uf_space *space, struct compare *compare);

#endif
