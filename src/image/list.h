/* SPDX-License-Identifier: MIT */
/* list: records of one size, one after the other, in memory of our own
 * (invariant 4: not malloc's, which may live in the space that is saved). */
#ifndef UF_IMAGE_LIST_H
#define UF_IMAGE_LIST_H

#include <errno.h>
#include <string.h>

#include "base/slab.h"

struct image_list {
    char *bytes;
    size_t used;
    size_t room;
};

#define IMAGE_LIST_FIRST ((size_t)64 << 10)

/* 0 or -ENOMEM. */
static inline int image_list_add(struct image_list *list, const void *record,
                                 size_t len_bytes)
{
    if (list->room - list->used < len_bytes) {
        size_t room = list->room ? 2 * list->room : IMAGE_LIST_FIRST;
        char *bytes = slab_pages(room);

        if (!bytes)
            return -ENOMEM;
        if (list->room > 0) {
            memcpy(bytes, list->bytes, list->used);
            slab_pages_free(list->bytes, list->room);
        }
        list->bytes = bytes;
        list->room = room;
    }
    memcpy(list->bytes + list->used, record, len_bytes);
    list->used += len_bytes;
    return 0;
}

static inline void image_list_free(struct image_list *list)
{
    if (list->room > 0)
        slab_pages_free(list->bytes, list->room);
    *list = (struct image_list){0};
}

#endif
