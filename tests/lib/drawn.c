/* SPDX-License-Identifier: MIT */
/* See drawn.h. */
#include "lib/drawn.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these and stddef.h, stdint.h first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "pager/pager.h"

struct uf_space *drawn;

static struct uf_pager *pager_f, *pager_g;

static ssize_t no_fill(void *context, const struct uf_fill *request)
{
    (void)context;
    (void)request;
    return -EIO;
}

static struct uf_pager *make_pager(void)
{
    struct uf_pager_ops ops = {
        .size = sizeof(ops), .name = "test", .fill = no_fill};
    struct uf_pager *pager;

    assert_int_equal(pager_create(&ops, NULL, &pager), 0);
    return pager;
}

int drawn_setup(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = DRAWN_COLUMNS * page_size(),
                                 .fork = UF_FORK_ENGINE};
    struct space_params params = {.opts = &opts};

    (void)state;
    pager_f = make_pager();
    pager_g = make_pager();
    if (space_create(&params, &drawn) != 0)
        return -1;
    /* There is no engine to be made ready for one. */
    atomic_store(&drawn->has_pagers, true);
    return 0;
}

int drawn_teardown(void **state)
{
    (void)state;
    space_destroy(drawn);
    assert_int_equal(atomic_load(&pager_f->refs), 1);
    assert_int_equal(atomic_load(&pager_g->refs), 1);
    pager_unref(pager_f);
    pager_unref(pager_g);
    return 0;
}

uintptr_t drawn_at(size_t column)
{
    return drawn->region.range.start + column * page_size();
}

static size_t bytes(size_t npages)
{
    return npages * page_size();
}

/* ------------------------------------------------------------------ calls --
 */

static int prot_of(char kind)
{
    if (kind == 'N')
        return PROT_NONE;
    return kind == 'B' || kind == 'b' ? PROT_READ : DRAWN_RW;
}

intptr_t drawn_map(char kind, size_t first, size_t end, size_t offset)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    struct uf_pager *pager = NULL;
    intptr_t where;

    if (kind == 'F' || kind == 'b')
        pager = pager_f;
    if (kind == 'G')
        pager = pager_g;
    if (kind == 'S')
        flags |= MAP_NORESERVE;
    if (pager)
        where = uf_mmap_pager(drawn, drawn_at(first), bytes(end - first),
                              prot_of(kind), flags, pager, bytes(offset));
    else
        where = uf_mmap(drawn, drawn_at(first), bytes(end - first),
                        prot_of(kind), flags, -1, 0);
    if (where > 0 && kind == 'L')
        assert_int_equal(drawn_lock(first, end), 0);
    if (where > 0 && kind == 'R')
        assert_int_equal(drawn_advise(first, end, MADV_RANDOM), 0);
    return where;
}

int drawn_unmap(size_t first, size_t end)
{
    return uf_munmap(drawn, drawn_at(first), bytes(end - first));
}

int drawn_protect(size_t first, size_t end, int prot)
{
    return uf_mprotect(drawn, drawn_at(first), bytes(end - first), prot);
}

int drawn_lock(size_t first, size_t end)
{
    return uf_mlock(drawn, drawn_at(first), bytes(end - first));
}

int drawn_unlock(size_t first, size_t end)
{
    return uf_munlock(drawn, drawn_at(first), bytes(end - first));
}

int drawn_advise(size_t first, size_t end, int advice)
{
    return uf_madvise(drawn, drawn_at(first), bytes(end - first), advice);
}

intptr_t drawn_move(size_t from, size_t npages, size_t to)
{
    return uf_mremap(drawn, drawn_at(from), bytes(npages), bytes(npages),
                     MREMAP_MAYMOVE | MREMAP_FIXED, drawn_at(to));
}

intptr_t drawn_resize(size_t from, size_t npages, size_t more)
{
    return uf_mremap(drawn, drawn_at(from), bytes(npages), bytes(more), 0, 0);
}

void drawn_limit(size_t count)
{
    assert_int_equal(uf_space_set_limit(drawn, UF_LIMIT_MAP_COUNT, count), 0);
}

/* ---------------------------------------------------------------- drawing --
 */

static char kind_of(const struct vma *v)
{
    if (v->pager == pager_f)
        return (v->flags & VMA_WRITE) ? 'F' : 'b';
    if (v->pager == pager_g)
        return 'G';
    if (v->flags & VMA_LOCKED)
        return 'L';
    if (v->flags & VMA_RAND_READ)
        return 'R';
    if (v->flags & VMA_NORESERVE)
        return 'S';
    if (v->flags & VMA_WRITE)
        return 'A';
    return (v->flags & VMA_PROT) ? 'B' : 'N';
}

void drawn_draw(const char *drawing)
{
    size_t len = strlen(drawing);

    assert_int_equal(drawn_unmap(0, DRAWN_COLUMNS), 0);
    for (size_t i = 0, end; i < len; i = end) {
        for (end = i + 1; end < len && drawing[end] == drawing[i]; end++)
            ;
        if (drawing[i] != ' ')
            assert_int_equal(drawn_map(drawing[i], i, end, i), drawn_at(i));
    }
}

void drawn_expect(const char *drawing)
{
    char shown[DRAWN_COLUMNS + 1];
    const struct vma *prev = NULL;
    size_t len = 0;

    for (const struct vma *v = vma_set_find(&drawn->vmas, 0); v;
         prev = v, v = vma_set_next(&drawn->vmas, v)) {
        size_t first = (v->start - drawn_at(0)) / page_size();
        size_t end = (v->end - drawn_at(0)) / page_size();

        memset(shown + len, ' ', first - len);
        memset(shown + first, kind_of(v), end - first);
        if (prev && prev->end == v->start && kind_of(prev) == kind_of(v))
            shown[first] = '*';
        len = end;
    }
    shown[len] = '\0';
    assert_string_equal(shown, drawing);
    assert_true(space_is_valid(drawn));
}
