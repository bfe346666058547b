/* SPDX-License-Identifier: MIT */
/*
 * Random calls and touches on shared mappings of a file: on the kernel's own, and
 * on those of a store of an equal file in a space. Every answer, signal and byte
 * is the same, and after each sync so are the files. The file is truncated and
 * grown by others meanwhile, and written to while nothing of it is in memory.
 *
 * The kernel's side runs first and leaves a transcript, with which the others are
 * compared. UFAULT_SEED runs one other seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/sides.h"
#include "ufault/mman.h"

#define STEPS      1500
#define ENTRIES    (STEPS * 8)
#define SLOTS      96 /* pages of addresses that mappings are in */
#define FILE_PAGES 40
#define SEEDS      4

#define MANY(array) (sizeof(array) / sizeof((array)[0]))

static long transcript[ENTRIES];
static uint32_t seed;
static bool
    in_background; /* pages are written back, too: then nobody resizes */

struct twin {
    struct side *side;
    uint32_t rng;
    int fd;
    struct uf_store *store;
    struct uf_pager *pager;
    size_t size; /* of the file, bytes */
    size_t entries;
    unsigned step;
    const char *op;
};

static uint32_t pick(struct twin *t, uint32_t below)
{
    t->rng = t->rng * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(t->rng >> 8) * below) >> 24);
}

static void note(struct twin *t, long value)
{
    assert_true(t->entries < ENTRIES);
    if (!t->side->space)
        transcript[t->entries] = value;
    else if (transcript[t->entries] != value)
        fail_msg("%s, seed %u, step %u: %s: %ld, and the kernel's is %ld",
                 t->side->name, seed, t->step, t->op, value,
                 transcript[t->entries]);
    t->entries++;
}

/* ---------------------------------------------------------------- the file -- */

static void open_pager(struct twin *t)
{
    if (!t->side->space)
        return;
    assert_int_equal(uf_store_fd(t->fd, UF_STORE_WRITE, &t->store), 0);
    assert_int_equal(uf_pager_store(t->store, 0, &t->pager), 0);
    assert_int_equal(uf_pager_set_writeback(t->pager, in_background), 0);
    uf_store_unref(t->store);
}

static void close_pager(struct twin *t)
{
    if (t->side->space)
        uf_pager_unref(t->pager);
}

static int sync_all(struct twin *t)
{
    return t->side->space ? uf_pager_sync(t->pager) : fsync(t->fd);
}

static void note_file(struct twin *t)
{
    unsigned char *bytes = malloc(t->size + 1);
    uint32_t sum = 0;
    ssize_t n;

    note(t, sync_all(t));
    n = pread(t->fd, bytes, t->size + 1, 0);
    for (ssize_t i = 0; i < n; i++)
        sum = sum * 16777619u ^ bytes[i];
    free(bytes);
    note(t, n);
    note(t, (long)sum);
}

/* ------------------------------------------------------------------- calls -- */

static long as_slot(struct twin *t, intptr_t where)
{
    return where < 0 ? where : where - (intptr_t)t->side->base;
}

static void pick_slots(struct twin *t, uintptr_t *ret_at, size_t *ret_len)
{
    size_t first = pick(t, SLOTS), npages = 1 + pick(t, SLOTS / 4);

    if (npages > SLOTS - first)
        npages = SLOTS - first;
    *ret_at = side_at(t->side, first);
    *ret_len = npages * page_size();
}

static void map(struct twin *t)
{
    static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
                                PROT_READ, PROT_NONE};
    int prot = prots[pick(t, MANY(prots))];
    size_t offset = pick(t, FILE_PAGES) * page_size(), len;
    uintptr_t at;
    intptr_t got;

    pick_slots(t, &at, &len);
    if (t->side->space)
        got = uf_mmap_pager(t->side->space, at, len, prot,
                            MAP_SHARED | MAP_FIXED, t->pager, offset);
    else
        got = side_mmap(t->side, at, len, prot, MAP_SHARED | MAP_FIXED, t->fd,
                        (off_t)offset);
    note(t, as_slot(t, got));
}

static void unmap(struct twin *t)
{
    uintptr_t at;
    size_t len;

    pick_slots(t, &at, &len);
    note(t, side_munmap(t->side, at, len));
}

static void protect(struct twin *t)
{
    static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};
    int prot = prots[pick(t, MANY(prots))];
    uintptr_t at;
    size_t len;

    pick_slots(t, &at, &len);
    note(t, side_mprotect(t->side, at, len, prot));
}

static void move(struct twin *t)
{
    uintptr_t from, to;
    size_t old_len, new_len;

    pick_slots(t, &from, &old_len);
    pick_slots(t, &to, &new_len);
    switch (pick(t, 4)) {
    case 0:
        old_len = 0; /* a second mapping */
        break;
    case 1:
        new_len = old_len;
        break;
    default:
        break;
    }
    if (to + (new_len > old_len ? new_len : old_len) > side_at(t->side, SLOTS))
        return;
    note(t, as_slot(t, side_mremap(t->side, from, old_len, new_len,
                                   MREMAP_MAYMOVE | MREMAP_FIXED, to)));
}

static void advise(struct twin *t)
{
    static const int advices[] = {MADV_DONTNEED, MADV_RANDOM, MADV_SEQUENTIAL,
                                  MADV_NORMAL, MADV_COLD};
    int advice = advices[pick(t, MANY(advices))];
    uintptr_t at;
    size_t len;

    pick_slots(t, &at, &len);
    note(t, side_madvise(t->side, at, len, advice));
}

static void sync_some(struct twin *t)
{
    static const int flags[] = {MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE};
    uintptr_t at;
    size_t len;

    pick_slots(t, &at, &len);
    note(t, side_msync(t->side, at, len, flags[pick(t, MANY(flags))]));
}

/* ----------------------------------------------------------------- touches -- */

static void read_some(struct twin *t)
{
    size_t page = pick(t, SLOTS);

    for (unsigned i = 0; i < 3; i++, page = (page + 1) % SLOTS) {
        uintptr_t at = side_at(t->side, page) + pick(t, 4096);
        unsigned char byte = 0;
        int sig = live_read(at, &byte, NULL);

        note(t, sig ? -sig : byte);
    }
}

/* Not behind the end of the file: how long that stays there depends on the file
 * system. So a page is written at a place that its file's last has. */
static void write_some(struct twin *t)
{
    size_t page = pick(t, SLOTS), tail = t->size % page_size();

    for (unsigned i = 0; i < 3; i++, page = (page + 1) % SLOTS) {
        uint32_t at = pick(t, tail ? (uint32_t)tail : 4096u);

        note(t, live_write(side_at(t->side, page) + at,
                           (unsigned char)pick(t, 256), NULL));
    }
}

/* ------------------------------------------------------------------ others -- */

/* A store's mapping notices at the next sync, and asks again for what was past the
 * end when that is dropped. */
static void resize(struct twin *t)
{
    uintptr_t base = t->side->base;

    if (in_background)
        return;
    t->size = pick(t, (uint32_t)(FILE_PAGES * page_size()));
    if (pick(t, 3) == 0)
        t->size = align_down(t->size, page_size());
    assert_int_equal(ftruncate(t->fd, (off_t)t->size), 0);
    note(t, sync_all(t));
    side_madvise(t->side, base, SLOTS * page_size(), MADV_DONTNEED);
}

/* While nothing of the file is in memory, it is written to. */
static void reopen(struct twin *t)
{
    unsigned char bytes[600];

    note(t, side_munmap(t->side, t->side->base, SLOTS * page_size()));
    close_pager(t);
    note(t, lseek(t->fd, 0, SEEK_END));
    for (unsigned i = 0; i < 4 && t->size > sizeof(bytes); i++) {
        off_t at = pick(t, (uint32_t)(t->size - sizeof(bytes)));

        memset(bytes, (int)pick(t, 256), sizeof(bytes));
        assert_int_equal(pwrite(t->fd, bytes, sizeof(bytes), at),
                         sizeof(bytes));
    }
    open_pager(t);
}

/* ------------------------------------------------------------------ running -- */

static const struct {
    const char *name;
    void (*run)(struct twin *t);
    uint32_t weight;
} ops[] = {
    {"map", map, 12},        {"unmap", unmap, 4},       {"protect", protect, 4},
    {"move", move, 5},       {"advise", advise, 4},     {"msync", sync_some, 6},
    {"read", read_some, 25}, {"write", write_some, 30}, {"resize", resize, 3},
    {"reopen", reopen, 1},   {"file", note_file, 3},
};

static void one_step(struct twin *t)
{
    uint32_t sum = 0, n;

    for (size_t i = 0; i < MANY(ops); i++)
        sum += ops[i].weight;
    n = pick(t, sum);
    for (size_t i = 0; i < MANY(ops); i++) {
        if (n < ops[i].weight) {
            t->op = ops[i].name;
            ops[i].run(t);
            return;
        }
        n -= ops[i].weight;
    }
}

static void run(struct side *side)
{
    struct twin t = {.side = side,
                     .rng = seed * 2654435761u,
                     .fd = pages_file(FILE_PAGES, 9),
                     .size = FILE_PAGES * page_size()};

    open_pager(&t);
    for (t.step = 0; t.step < STEPS; t.step++)
        one_step(&t);
    t.op = "the end";
    note_file(&t);
    write_some(&t);
    note(&t, side_munmap(side, side->base, SLOTS * page_size()));
    note_file(&t);
    close_pager(&t);
    close(t.fd);
    if (side->space)
        live_assert_law(side->space);
}

static void it_is_as_the_kernels(void **state)
{
    const char *one = getenv("UFAULT_SEED");

    (void)state;
    for (unsigned i = 1; i <= SEEDS; i++) {
        seed = one ? (uint32_t)strtoul(one, NULL, 0) : i;
        in_background = seed % 2 == 0;
        on_all_sides(run);
        if (one)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_as_the_kernels),
    };
    int skipped = live_begin();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
