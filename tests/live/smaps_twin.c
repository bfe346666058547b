/* SPDX-License-Identifier: MIT */
/* See smaps_twin.h. */
#include "live/smaps_twin.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these and stddef.h, stdint.h first. */
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/advice.h"

#define NOTHING (-1)

static unsigned below(struct twin *t, unsigned n)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return (unsigned)((t->random >> 8) % n);
}

struct twin *twin_make(unsigned long seed)
{
    struct uf_space_opts opts = {.len_bytes = (size_t)64 << 20,
                                 .window_pages = 1};
    struct twin *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->random = seed * 0x9e3779b97f4a7c15ul + 1;
    opts.address = live_aligned_address();
    t->sides[OURS].space = live_space(&opts, 0);
    t->sides[OURS].base = opts.address + ((size_t)2 << 20);
    t->sides[THEIRS].base = live_aligned_address();
    for (int i = 0; i < 2; i++) {
        t->fds[i] = memfd_create("twin", MFD_CLOEXEC);
        assert_return_code(t->fds[i], errno);
        assert_int_equal(
            ftruncate(t->fds[i], (off_t)(TWIN_PAGES * page_size())), 0);
    }
    for (int i = 0; i < TWIN_PAGES; i++)
        t->prot[i] = NOTHING;
    return t;
}

void twin_destroy(struct twin *t)
{
    munmap((void *)t->sides[THEIRS].base, TWIN_PAGES * page_size());
    assert_int_equal(uf_space_destroy(t->sides[OURS].space), 0);
    close(t->fds[OURS]);
    close(t->fds[THEIRS]);
    free(t);
}

/* ------------------------------------------------------------ operations --
 */

static struct twin_part any_part(struct twin *t)
{
    struct twin_part p = {.first = below(t, TWIN_PAGES),
                          .npages = 1 + below(t, 24)};

    if (p.npages > TWIN_PAGES - p.first)
        p.npages = TWIN_PAGES - p.first;
    return p;
}

uintptr_t twin_addr(const struct twin *t, int side, struct twin_part p)
{
    return side_at(&t->sides[side], p.first);
}

void twin_note(struct twin *t, struct twin_part p, int prot)
{
    for (unsigned i = p.first; i < p.first + p.npages; i++)
        t->prot[i] = prot;
}

static bool is_mapped(const struct twin *t, struct twin_part p)
{
    for (unsigned i = p.first; i < p.first + p.npages; i++)
        if (t->prot[i] == NOTHING)
            return false;
    return true;
}

static const int prots[] = {PROT_NONE,
                            PROT_READ,
                            PROT_READ | PROT_WRITE,
                            PROT_READ | PROT_WRITE,
                            PROT_READ | PROT_WRITE,
                            PROT_READ | PROT_EXEC,
                            PROT_READ | PROT_WRITE | PROT_EXEC};
#define NPROTS (sizeof(prots) / sizeof(prots[0]))

static const int kinds[] = {MAP_PRIVATE | MAP_ANONYMOUS,
                            MAP_PRIVATE | MAP_ANONYMOUS,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
                            MAP_SHARED | MAP_ANONYMOUS,
                            MAP_PRIVATE,
                            MAP_SHARED};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

void twin_mmap(struct twin *t, struct twin_part p)
{
    int prot = prots[below(t, NPROTS)], kind = kinds[below(t, NKINDS)];
    bool file = !(kind & MAP_ANONYMOUS);
    off_t offset = file ? (off_t)(p.first * page_size()) : 0;

    for (int i = 0; i < 2; i++)
        assert_true(side_mmap(&t->sides[i], twin_addr(t, i, p),
                              p.npages * page_size(), prot, kind | MAP_FIXED,
                              file ? t->fds[i] : -1,
                              offset) == (intptr_t)twin_addr(t, i, p));
    twin_note(t, p, prot);
}

static void do_munmap(struct twin *t, struct twin_part p)
{
    for (int i = 0; i < 2; i++)
        assert_int_equal(side_munmap(&t->sides[i], twin_addr(t, i, p),
                                     p.npages * page_size()),
                         0);
    twin_note(t, p, NOTHING);
}

static void do_mprotect(struct twin *t, struct twin_part p)
{
    int prot = prots[below(t, NPROTS)];

    if (!is_mapped(t, p))
        return;
    for (int i = 0; i < 2; i++)
        assert_int_equal(side_mprotect(&t->sides[i], twin_addr(t, i, p),
                                       p.npages * page_size(), prot),
                         0);
    for (unsigned i = p.first; i < p.first + p.npages; i++)
        t->prot[i] = prot;
}

static void do_madvise(struct twin *t, struct twin_part p)
{
    static const int advice[] = {
        MADV_SEQUENTIAL, MADV_RANDOM, MADV_NORMAL,     MADV_DONTNEED,
        MADV_DONTFORK,   MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
        MADV_DONTDUMP,   MADV_DODUMP, MADV_NOHUGEPAGE, MADV_DONTNEED,
        MADV_COLD,       MADV_FREE,   MADV_FREE};
    unsigned n = sizeof(advice) / sizeof(advice[0]);
    int which = advice[below(t, t->may_blur ? n : n - 3)], answers[2];

    for (int i = 0; i < 2; i++)
        answers[i] = side_madvise(&t->sides[i], twin_addr(t, i, p),
                                  p.npages * page_size(), which);
    assert_int_equal(answers[OURS], answers[THEIRS]);
}

static void do_lock(struct twin *t, struct twin_part p)
{
    unsigned onfault = below(t, 2) ? MLOCK_ONFAULT : 0;
    bool lock = below(t, 3) > 0;
    int answers[2];

    for (int i = 0; i < 2; i++)
        answers[i] = lock ? side_mlock2(&t->sides[i], twin_addr(t, i, p),
                                        p.npages * page_size(), onfault)
                          : side_munlock(&t->sides[i], twin_addr(t, i, p),
                                         p.npages * page_size());
    assert_int_equal(answers[OURS], answers[THEIRS]);
}

void twin_touch(struct twin *t, struct twin_part p)
{
    bool write = below(t, 3) > 0;

    for (unsigned i = p.first; i < p.first + p.npages; i++) {
        if (t->prot[i] == NOTHING)
            continue;
        for (int s = 0; s < 2; s++) {
            uintptr_t addr = side_at(&t->sides[s], i);
            int signo =
                write ? live_write(addr, 1, NULL) : live_read(addr, NULL, NULL);

            assert_int_equal(
                signo,
                (t->prot[i] & (write ? PROT_WRITE : PROT_READ)) ? 0 : SIGSEGV);
        }
    }
}

void twin_do_any(struct twin *t)
{
    static void (*const ops[])(struct twin *, struct twin_part) = {
        twin_mmap,  twin_mmap,  twin_mmap,  do_munmap,  do_mprotect, do_madvise,
        do_madvise, twin_touch, twin_touch, twin_touch, do_lock};

    ops[below(t, sizeof(ops) / sizeof(ops[0]))](t, any_part(t));
}
