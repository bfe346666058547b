/* SPDX-License-Identifier: MIT */
/* See pool.h. */
#include "fault/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/slab.h"
#include "base/sys.h"
#include "fault/fault.h"
#include "host/pages.h"
#include "mm/advice.h"

#define SLOTS_MAX 16384

/* Slots beyond the others, which hold no memory: for as many readers at once. */
#define ZERO_SLOTS 4

/* How long the kernel is not asked again, once it had no huge page: doubling,
 * within these. */
#define STARVED_FIRST_NS 1000000000ull
#define STARVED_LAST_NS  (64 * STARVED_FIRST_NS)

enum slot {
    SLOT_EMPTY, /* as never touched */
    SLOT_FILLING,
    SLOT_READY,
    SLOT_TAKEN,
    SLOT_SPOILT /* to be mapped anew */
};

struct huge_pool {
    char *memory;  /* nslots huge pages, aligned; then ZERO_SLOTS more */
    size_t nslots; /* of the pool's limit */
    char *mapped;  /* what memory is part of */
    size_t mapped_bytes;
    struct pages *pages; /* NULL: what is huge cannot be told */
    atomic_size_t ready;
    atomic_size_t taken;               /* ever */
    size_t taken_seen;                 /* by pool_is_in_use */
    atomic_size_t hand;                /* where the next search begins */
    _Atomic uint64_t starved_until_ns; /* 0: it is not */
    _Atomic uint64_t starves_for_ns;   /* this time */
    _Atomic unsigned char slots[];     /* enum slot */
};

static size_t pool_bytes(size_t nslots)
{
    return sizeof(struct huge_pool) + nslots + ZERO_SLOTS;
}

bool pool_is_of_use(void)
{
    char text[128];
    ssize_t got = 0;
    int fd;

    if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0)
        return false;
    fd = open("/sys/kernel/mm/transparent_hugepage/enabled",
              O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT; /* there is no such thing, or no telling */
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return !strstr(text, "[never]");
}

/* ---- Memory ------------------------------------------------------------ */

static char *slot_memory(const struct huge_pool *pool, size_t i)
{
    return pool->memory + i * huge_bytes();
}

static int advise(char *memory, size_t len_bytes)
{
    if (sys->madvise(memory, len_bytes, MADV_HUGEPAGE) < 0 ||
        sys->madvise(memory, len_bytes, MADV_DONTFORK) < 0)
        return -errno;
    return 0;
}

static int map_memory(struct huge_pool *pool)
{
    size_t len = (pool->nslots + ZERO_SLOTS) * huge_bytes();
    int err;

    pool->mapped_bytes = len + huge_bytes();
    pool->mapped =
        sys->mmap(NULL, pool->mapped_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool->mapped == MAP_FAILED)
        return -ENOMEM;
    pool->memory =
        (char *)align_up((uintptr_t)pool->mapped, huge_bytes()); /* NOLINT */
    err = advise(pool->memory, len);
    if (err)
        sys->munmap(pool->mapped, pool->mapped_bytes);
    return err;
}

/* As never touched; over memory of our own. */
static bool map_anew(struct huge_pool *pool, size_t i)
{
    char *memory = slot_memory(pool, i);

    return sys->mmap(memory, huge_bytes(), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                     -1, 0) == memory &&
           advise(memory, huge_bytes()) == 0;
}

bool pool_is_huge(const struct huge_pool *pool, struct range block)
{
    ssize_t n = pool->pages ? pages_count_huge(pool->pages, block) : -ENOTSUP;

    return n < 0 || (size_t)n == range_len(block) / page_size();
}

int pool_create(uint64_t limit_bytes, struct huge_pool **ret_pool)
{
    uint64_t most = limit_bytes / huge_bytes();
    size_t nslots = most < SLOTS_MAX ? (size_t)most : SLOTS_MAX;
    struct huge_pool *pool;
    int err;

    if (nslots == 0)
        return -ENOMEM;
    pool = slab_pages(pool_bytes(nslots));
    if (!pool)
        return -ENOMEM;
    pool->nslots = nslots;
    err = map_memory(pool);
    if (err) {
        slab_pages_free(pool, pool_bytes(nslots));
        return err;
    }
    if (pages_open(&pool->pages) != 0)
        pool->pages = NULL;
    *ret_pool = pool;
    return 0;
}

void pool_forget(struct huge_pool *pool)
{
    pages_close(pool->pages);
    slab_pages_free(pool, pool_bytes(pool->nslots));
}

void pool_destroy(struct huge_pool *pool)
{
    if (!pool)
        return;
    sys->munmap(pool->mapped, pool->mapped_bytes);
    pool_forget(pool);
}

/* ---- Slots ------------------------------------------------------------- */

/* No such slot. */
#define NO_SLOT SIZE_MAX

static bool change(struct huge_pool *pool, size_t i, enum slot from,
                   enum slot to)
{
    unsigned char seen = (unsigned char)from;

    return atomic_load_explicit(&pool->slots[i], memory_order_relaxed) ==
               from &&
           atomic_compare_exchange_strong(&pool->slots[i], &seen,
                                          (unsigned char)to);
}

/* Finds a slot in state `from` and puts it into state `to`. */
static size_t claim(struct huge_pool *pool, enum slot from, enum slot to)
{
    size_t first = atomic_load(&pool->hand);

    for (size_t n = 0; n < pool->nslots; n++) {
        size_t i = (first + n) % pool->nslots;

        if (change(pool, i, from, to)) {
            atomic_store(&pool->hand, i);
            return i;
        }
    }
    return NO_SLOT;
}

static void put(struct huge_pool *pool, size_t i, enum slot state)
{
    atomic_store(&pool->slots[i], (unsigned char)state);
}

static bool slot_is_huge(const struct huge_pool *pool, size_t i)
{
    uintptr_t start = (uintptr_t)slot_memory(pool, i);

    return pool_is_huge(pool, (struct range){start, start + huge_bytes()});
}

static void starve(struct huge_pool *pool)
{
    uint64_t ns = atomic_load(&pool->starves_for_ns);

    if (atomic_load(&pool->starved_until_ns) == 0 || ns == 0)
        ns = STARVED_FIRST_NS;
    else if (ns < STARVED_LAST_NS)
        ns *= 2;
    atomic_store(&pool->starves_for_ns, ns);
    atomic_store(&pool->starved_until_ns, fault_clock_ns() + ns);
}

/* Has the kernel zero a huge page. False: it gave none. */
static bool fill(struct huge_pool *pool, size_t i)
{
    if (sys->madvise(slot_memory(pool, i), huge_bytes(), MADV_POPULATE_WRITE) ==
            0 &&
        slot_is_huge(pool, i)) {
        if (atomic_load_explicit(&pool->starved_until_ns, memory_order_relaxed))
            atomic_store(&pool->starved_until_ns, 0);
        return true;
    }
    starve(pool);
    put(pool, i, SLOT_SPOILT);
    return false;
}

uint64_t pool_starves_ns(const struct huge_pool *pool)
{
    uint64_t until = atomic_load(&pool->starved_until_ns);
    uint64_t now = until ? fault_clock_ns() : 0;

    return now < until ? until - now : 0;
}

/* An empty slot; one that is spoilt is mapped anew for it. */
static size_t claim_empty(struct huge_pool *pool)
{
    size_t i = claim(pool, SLOT_EMPTY, SLOT_TAKEN);

    if (i != NO_SLOT)
        return i;
    i = claim(pool, SLOT_SPOILT, SLOT_TAKEN);
    if (i == NO_SLOT || map_anew(pool, i))
        return i;
    put(pool, i, SLOT_SPOILT);
    return NO_SLOT;
}

void *pool_take(struct huge_pool *pool)
{
    size_t i = NO_SLOT;

    if (atomic_load(&pool->ready) > 0)
        i = claim(pool, SLOT_READY, SLOT_TAKEN);
    if (i != NO_SLOT) {
        atomic_fetch_add(&pool->taken, 1);
        atomic_fetch_sub(&pool->ready, 1);
        return slot_memory(pool, i);
    }
    /* The background thread is behind, or there is none. Zeroing one here takes
     * less than copying as many pages. */
    if (pool_starves_ns(pool) > 0)
        return NULL;
    i = claim_empty(pool);
    return i != NO_SLOT && fill(pool, i) ? slot_memory(pool, i) : NULL;
}

static bool map_zeros(struct huge_pool *pool, size_t i)
{
    return sys->madvise(slot_memory(pool, i), huge_bytes(),
                        MADV_POPULATE_READ) == 0 &&
           slot_is_huge(pool, i);
}

void *pool_take_zeros(struct huge_pool *pool)
{
    size_t end = pool->nslots + ZERO_SLOTS;

    for (size_t i = pool->nslots; i < end; i++) {
        if (!change(pool, i, SLOT_EMPTY, SLOT_TAKEN) &&
            !(change(pool, i, SLOT_SPOILT, SLOT_TAKEN) && map_anew(pool, i)))
            continue;
        if (map_zeros(pool, i))
            return slot_memory(pool, i);
        put(pool, i, SLOT_SPOILT);
        break;
    }
    return NULL;
}

static void give_back_untouched(struct huge_pool *pool, size_t i)
{
    if (i >= pool->nslots || !slot_is_huge(pool, i)) {
        put(pool, i, SLOT_SPOILT); /* split on the way */
        return;
    }
    atomic_fetch_add(&pool->ready, 1);
    put(pool, i, SLOT_READY);
}

void pool_give_back(struct huge_pool *pool, void *page, enum pool_fate fate)
{
    size_t i = (size_t)((char *)page - pool->memory) / huge_bytes();

    if (fate == POOL_UNTOUCHED)
        give_back_untouched(pool, i);
    else
        put(pool, i, fate == POOL_MOVED ? SLOT_EMPTY : SLOT_SPOILT);
}

/* Of those that nobody can fill. */
static void renew_one(struct huge_pool *pool)
{
    size_t i = claim(pool, SLOT_SPOILT, SLOT_FILLING);

    if (i != NO_SLOT)
        put(pool, i, map_anew(pool, i) ? SLOT_EMPTY : SLOT_SPOILT);
}

bool pool_fill_one(struct huge_pool *pool)
{
    size_t i;

    if (pool_starves_ns(pool) > 0)
        return false;
    renew_one(pool);
    i = claim(pool, SLOT_EMPTY, SLOT_FILLING);
    if (i == NO_SLOT || !fill(pool, i))
        return false;
    /* Counted first, so that the count is never below zero. */
    atomic_fetch_add(&pool->ready, 1);
    put(pool, i, SLOT_READY);
    return true;
}

bool pool_is_in_use(struct huge_pool *pool)
{
    size_t taken = atomic_load(&pool->taken), seen = pool->taken_seen;

    pool->taken_seen = taken;
    return taken != seen && atomic_load(&pool->ready) > pool->nslots / 16;
}

bool pool_is_full(const struct huge_pool *pool)
{
    return atomic_load(&pool->ready) == pool->nslots;
}

size_t pool_ready(const struct huge_pool *pool)
{
    return atomic_load(&pool->ready);
}
