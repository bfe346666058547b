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

/* How long the kernel is not asked again, once it had no huge page. */
#define STARVED_NS 1000000000ull

enum slot {
    SLOT_EMPTY, /* as never touched */
    SLOT_FILLING,
    SLOT_READY,
    SLOT_TAKEN,
    SLOT_SPOILT /* to be mapped anew */
};

struct huge_pool {
    char *memory; /* nslots huge pages, aligned */
    size_t nslots;
    char *mapped; /* what memory is part of */
    size_t mapped_bytes;
    struct pages *pages; /* NULL: what is huge cannot be told */
    atomic_size_t ready;
    atomic_size_t taken; /* ever */
    size_t taken_seen;   /* by pool_is_in_use */
    atomic_size_t hand;  /* where the next search begins */
    _Atomic uint64_t starved_until_ns;
    _Atomic unsigned char slots[]; /* enum slot */
};

static size_t pool_bytes(size_t nslots)
{
    return sizeof(struct huge_pool) + nslots;
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
    size_t len = pool->nslots * huge_bytes();
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

/* Finds a slot in state `from` and puts it into state `to`; nslots if there is
 * none. */
static size_t claim(struct huge_pool *pool, enum slot from, enum slot to)
{
    size_t first = atomic_load(&pool->hand);

    for (size_t n = 0; n < pool->nslots; n++) {
        size_t i = (first + n) % pool->nslots;
        unsigned char seen = (unsigned char)from;

        if (atomic_load_explicit(&pool->slots[i], memory_order_relaxed) !=
                from ||
            !atomic_compare_exchange_strong(&pool->slots[i], &seen,
                                            (unsigned char)to))
            continue;
        atomic_store(&pool->hand, i);
        return i;
    }
    return pool->nslots;
}

static void put(struct huge_pool *pool, size_t i, enum slot state)
{
    atomic_store(&pool->slots[i], (unsigned char)state);
}

/* Has the kernel zero a huge page. False: it gave none. */
static bool fill(struct huge_pool *pool, size_t i)
{
    char *memory = slot_memory(pool, i);
    struct range block = {(uintptr_t)memory, (uintptr_t)memory + huge_bytes()};

    if (sys->madvise(memory, huge_bytes(), MADV_POPULATE_WRITE) == 0 &&
        pool_is_huge(pool, block))
        return true;
    atomic_store(&pool->starved_until_ns, fault_clock_ns() + STARVED_NS);
    put(pool, i, SLOT_SPOILT);
    return false;
}

bool pool_is_starved(const struct huge_pool *pool)
{
    uint64_t until = atomic_load(&pool->starved_until_ns);

    return until != 0 && fault_clock_ns() < until;
}

void *pool_take(struct huge_pool *pool)
{
    size_t i = pool->nslots;

    if (atomic_load(&pool->ready) > 0)
        i = claim(pool, SLOT_READY, SLOT_TAKEN);
    if (i < pool->nslots) {
        atomic_fetch_add(&pool->taken, 1);
        atomic_fetch_sub(&pool->ready, 1);
        return slot_memory(pool, i);
    }
    /* The background thread is behind. Zeroing one here takes less than copying
     * as many pages. */
    if (pool_is_starved(pool))
        return NULL;
    i = claim(pool, SLOT_EMPTY, SLOT_TAKEN);
    return i < pool->nslots && fill(pool, i) ? slot_memory(pool, i) : NULL;
}

void pool_give_back(struct huge_pool *pool, void *page, bool moved)
{
    size_t i = (size_t)((char *)page - pool->memory) / huge_bytes();

    put(pool, i, moved ? SLOT_EMPTY : SLOT_SPOILT);
}

/* Of those that nobody can fill. */
static void renew_one(struct huge_pool *pool)
{
    size_t i = claim(pool, SLOT_SPOILT, SLOT_FILLING);

    if (i < pool->nslots)
        put(pool, i, map_anew(pool, i) ? SLOT_EMPTY : SLOT_SPOILT);
}

bool pool_fill_one(struct huge_pool *pool)
{
    size_t i;

    if (pool_is_starved(pool))
        return false;
    renew_one(pool);
    i = claim(pool, SLOT_EMPTY, SLOT_FILLING);
    if (i == pool->nslots || !fill(pool, i))
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

size_t pool_ready(const struct huge_pool *pool)
{
    return atomic_load(&pool->ready);
}
