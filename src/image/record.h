/* SPDX-License-Identifier: MIT */
/*
 * record: which pages of a space are not what its last image has.
 *
 *     uf_checkpoint  ─► record_begin ─► first one: tracking starts (fault/dirty.h)
 *     uf_image_save       │             later: what was written since is taken,
 *                         │             for an image with the last one as parent
 *                       written
 *                         │
 *                    record_end ─► a new image: it is about that one from now on
 *                                  none: what was taken is put back
 *
 * One image of a space is made at a time with it; who comes second goes without.
 */
#ifndef UF_IMAGE_RECORD_H
#define UF_IMAGE_RECORD_H

#include "image/reader.h"
#include "mm/space.h"

struct record {
    struct uf_space *space;
    bool mine;    /* nobody else uses it */
    bool started; /* by record_begin */
    bool taken;   /* `changed` is in use */
    bool valid;   /* and is all that differs from the parent */
    struct resident changed;
};

/* Takes what there is; `start`: tracking starts if it is off and can be had.
 * 0; -ENOMEM, -EMFILE: as dirty_start; -EBUSY, only with `start`: another call
 * uses it. After an error there is no record_end. */
int record_begin(struct record *r, struct uf_space *space,
                 const struct uf_image *parent, bool start);

/* Adds what was written meanwhile in mappings as they were. */
int record_look(struct record *r, const struct vma *mappings, size_t n);

/* `id`: of the new image, NULL if there is none. */
void record_end(struct record *r, const uint8_t *id);

#endif
