/* SPDX-License-Identifier: MIT */
/* See trap_table.h. */
#include "fault/trap_table.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "base/slab.h"

struct entry {
    struct range range;
    /* NULL: the space is gone and the entry is dropped by the next change; so
     * that a removal needs no memory. */
    struct uf_space *_Atomic space;
    uf_trap_hook hook;
    void *data;
};

struct table {
    size_t count;
    size_t capacity;
    size_t bytes;          /* of the mapping it lies in; 0: static */
    struct entry *entries; /* sorted by address */
};

/* Enough for most programs; no mapping is needed for them. */
#define FEW 32

static struct entry few_entries[FEW];
static struct table few = {.capacity = FEW, .entries = few_entries};

static struct lock lock = LOCK_INIT(LOCK_RANK_TRAP);
static struct table *_Atomic published = &few; /* replaced under the lock */
static bool readers_expected;                  /* lock; never false again */

/* Readers count in one of two places; which is turned by the writer, so that
 * those who come while it waits do not keep it waiting. */
static atomic_uint turn;
static atomic_uint readers[2];

/* --------------------------------------------------------------- reading -- */

/* The index of the first entry that ends above addr. */
static size_t find(const struct table *t, uintptr_t addr)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (t->entries[mid].range.end <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool trap_table_pin(uintptr_t addr, struct trap_place *ret)
{
    atomic_uint *reading = &readers[atomic_load(&turn) & 1];
    const struct table *t;
    bool found = false;
    size_t i;

    atomic_fetch_add(reading, 1);
    t = atomic_load(&published);
    i = find(t, addr);
    if (i < t->count && range_contains(t->entries[i].range, addr)) {
        const struct entry *e = &t->entries[i];

        *ret = (struct trap_place){atomic_load(&e->space), e->hook, e->data};
        found = ret->space != NULL;
    }
    if (found)
        space_pin(ret->space);
    atomic_fetch_sub(reading, 1);
    return found;
}

/*
 * Who read what was published before is done, and whoever comes sees what is
 * published now. Twice, since a reader may have looked at `turn` and not
 * counted yet: it is one of the other place when the next writer comes.
 */
static void await_readers(void)
{
    for (int i = 0; i < 2; i++) {
        unsigned before = atomic_fetch_add(&turn, 1);

        while (atomic_load(&readers[before & 1]) != 0)
            sched_yield();
    }
}

/* -------------------------------------------------------------- changing -- */

static struct table *now(void)
{
    return atomic_load_explicit(&published, memory_order_relaxed);
}

/* An empty table; NULL if there is no memory. */
static struct table *new_table(size_t capacity)
{
    size_t bytes = align_up(
        sizeof(struct table) + capacity * sizeof(struct entry), page_size());
    struct table *t = slab_pages(bytes);

    if (!t)
        return NULL;
    t->bytes = bytes;
    t->entries = (struct entry *)(t + 1);
    t->capacity = (bytes - sizeof(*t)) / sizeof(t->entries[0]);
    return t;
}

static void copy_entry(struct entry *to, const struct entry *from)
{
    to->range = from->range;
    to->hook = from->hook;
    to->data = from->data;
    atomic_store_explicit(
        &to->space, atomic_load_explicit(&from->space, memory_order_relaxed),
        memory_order_relaxed);
}

/* The entries of spaces that are still there; `to` may be `from`. */
static void copy_live(struct table *to, const struct table *from)
{
    size_t kept = 0;

    for (size_t i = 0; i < from->count; i++)
        if (atomic_load_explicit(&from->entries[i].space, memory_order_relaxed))
            copy_entry(&to->entries[kept++], &from->entries[i]);
    to->count = kept;
}

/* A table for up to `count` entries with what is there, that may be changed;
 * NULL if there is no memory. publish is next. */
static struct table *changeable(size_t count)
{
    struct table *t = now();

    if (!readers_expected && count <= t->capacity) {
        copy_live(t, t);
        return t;
    }
    t = new_table(count + count / 2);
    if (t)
        copy_live(t, now());
    return t;
}

static void publish(struct table *t)
{
    struct table *old = now();

    if (t == old)
        return;
    atomic_store(&published, t);
    await_readers();
    if (old->bytes > 0)
        slab_pages_free(old, old->bytes);
}

/* The entry of a space; NULL if there is none. */
static struct entry *entry_of(struct table *t, const struct uf_space *space)
{
    size_t i = find(t, space->region.range.start);

    if (i < t->count && atomic_load(&t->entries[i].space) == space)
        return &t->entries[i];
    return NULL;
}

int trap_table_add(struct uf_space *space)
{
    struct entry fresh = {.range = space->region.range, .space = space};
    struct table *t;
    size_t i;

    lock_take(&lock);
    t = changeable(now()->count + 1);
    if (t) {
        i = find(t, fresh.range.start);
        CHECK(i == t->count || t->entries[i].range.start >= fresh.range.end);
        for (size_t k = t->count; k > i; k--)
            copy_entry(&t->entries[k], &t->entries[k - 1]);
        copy_entry(&t->entries[i], &fresh);
        t->count++;
        publish(t);
    }
    lock_release(&lock);
    return t ? 0 : -ENOMEM;
}

void trap_table_remove(const struct uf_space *space)
{
    struct entry *e;

    lock_take(&lock);
    e = entry_of(now(), space);
    if (e) {
        atomic_store(&e->space, NULL);
        await_readers();
    }
    lock_release(&lock);
}

int trap_table_set_hook(const struct uf_space *space, uf_trap_hook hook,
                        void *data)
{
    struct table *t;
    int err = -EINVAL;

    lock_take(&lock);
    if (entry_of(now(), space)) {
        t = changeable(now()->count);
        err = t ? 0 : -ENOMEM;
    }
    if (!err) {
        struct entry *e = entry_of(t, space);

        e->hook = hook;
        e->data = data;
        publish(t);
    }
    lock_release(&lock);
    return err;
}

void trap_table_expect_readers(void)
{
    lock_take(&lock);
    readers_expected = true;
    lock_release(&lock);
}

/* ------------------------------------------------------------------ fork -- */

void trap_table_fork_prepare(void)
{
    lock_fork_take(&lock);
}

void trap_table_fork_parent(void)
{
    lock_fork_release(&lock);
}

void trap_table_fork_child(void)
{
    struct table *t = now();

    lock_fork_child(&lock);
    atomic_store(&readers[0], 0); /* they are the parent's threads */
    atomic_store(&readers[1], 0);
    for (size_t i = 0; i < t->count; i++) {
        struct uf_space *space = atomic_load(&t->entries[i].space);

        if (space && !space_is_live(space))
            atomic_store(&t->entries[i].space, NULL);
    }
}
