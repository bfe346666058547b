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
    _Atomic uintptr_t start;
    _Atomic uintptr_t end;
    /* NULL: the space is gone. The entry keeps its place, so that a removal
     * needs no memory, until a new space takes it over or the table is made
     * anew. */
    struct uf_space *_Atomic space;
    uf_trap_hook hook;
    void *data;
};

struct table {
    size_t count;
    size_t ndead; /* of them, without a space */
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

static uintptr_t start_of(const struct entry *e)
{
    return atomic_load_explicit(&e->start, memory_order_relaxed);
}

static uintptr_t end_of(const struct entry *e)
{
    return atomic_load_explicit(&e->end, memory_order_relaxed);
}

/* The index of the first entry that ends above addr. */
static size_t find(const struct table *t, uintptr_t addr)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (end_of(&t->entries[mid]) <= addr)
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
    if (i < t->count) {
        const struct entry *e = &t->entries[i];

        ret->space = atomic_load(&e->space);
        /* The entry may have been another's when it was found. */
        found = ret->space && range_contains(ret->space->region.range, addr);
    }
    if (found) {
        ret->hook = t->entries[i].hook;
        ret->data = t->entries[i].data;
        space_pin(ret->space);
    }
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

static void set_entry(struct entry *e, struct uf_space *space,
                      uf_trap_hook hook, void *data)
{
    struct range range = space->region.range;

    atomic_store_explicit(&e->start, range.start, memory_order_relaxed);
    atomic_store_explicit(&e->end, range.end, memory_order_relaxed);
    e->hook = hook;
    e->data = data;
    atomic_store(&e->space, space);
}

static void copy_entry(struct entry *to, const struct entry *from)
{
    atomic_store_explicit(&to->start, start_of(from), memory_order_relaxed);
    atomic_store_explicit(&to->end, end_of(from), memory_order_relaxed);
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
    to->ndead = 0;
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

/* Whether `range` may stand at index i instead of the entry there. */
static bool fits_at(const struct table *t, size_t i, struct range range)
{
    return (i == 0 || end_of(&t->entries[i - 1]) <= range.start) &&
           (i + 1 >= t->count || range.end <= start_of(&t->entries[i + 1]));
}

/* The place of a space that is gone; mmap likes to give the next one its
 * addresses. NULL if there is none that fits. Readers see either: what an entry
 * says of a space counts only together with the space. */
static struct entry *dead_place(struct table *t, struct range range)
{
    size_t i = find(t, range.start);

    for (size_t k = i > 0 ? i - 1 : 0; k <= i && k < t->count; k++)
        if (!atomic_load(&t->entries[k].space) && fits_at(t, k, range))
            return &t->entries[k];
    return NULL;
}

static bool insert(struct uf_space *space)
{
    struct table *t = changeable(now()->count - now()->ndead + 1);
    struct range range = space->region.range;
    size_t i;

    if (!t)
        return false;
    i = find(t, range.start);
    CHECK(i == t->count || start_of(&t->entries[i]) >= range.end);
    for (size_t k = t->count; k > i; k--)
        copy_entry(&t->entries[k], &t->entries[k - 1]);
    set_entry(&t->entries[i], space, NULL, NULL);
    t->count++;
    publish(t);
    return true;
}

int trap_table_add(struct uf_space *space)
{
    struct entry *dead;
    bool added = true;

    lock_take(&lock);
    dead = dead_place(now(), space->region.range);
    if (dead) {
        set_entry(dead, space, NULL, NULL);
        now()->ndead--;
    } else {
        added = insert(space);
    }
    lock_release(&lock);
    return added ? 0 : -ENOMEM;
}

void trap_table_remove(const struct uf_space *space)
{
    struct entry *e;

    lock_take(&lock);
    e = entry_of(now(), space);
    if (e) {
        atomic_store(&e->space, NULL);
        now()->ndead++;
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

        if (space && !space_is_live(space)) {
            atomic_store(&t->entries[i].space, NULL);
            t->ndead++;
        }
    }
}
