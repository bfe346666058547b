/* SPDX-License-Identifier: MIT */
/* See spares.h. */
#include "mm/spares.h"

#include <errno.h>

#include "base/check.h"

struct spare {
    struct spare *next;
};

static void push(struct spares *spares, void *object)
{
    struct spare *spare = object;

    spare->next = spares->first;
    spares->first = spare;
    spares->count++;
}

int spares_top_up(struct spares *spares, size_t want)
{
    size_t before = spares->count;

    while (spares->count < want) {
        void *object = slab_alloc(spares->cache);

        if (!object) {
            spares_trim(spares, before);
            return -ENOMEM;
        }
        push(spares, object);
    }
    return 0;
}

void *spares_take(struct spares *spares)
{
    struct spare *spare = spares->first;

    CHECK(spares->count > 0);
    spares->first = spare->next;
    spares->count--;
    return spare;
}

void spares_give(struct spares *spares, void *object, size_t keep)
{
    if (spares->count < keep)
        push(spares, object);
    else
        slab_free(spares->cache, object);
}

void spares_trim(struct spares *spares, size_t keep)
{
    while (spares->count > keep)
        slab_free(spares->cache, spares_take(spares));
}
