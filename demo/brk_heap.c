/* SPDX-License-Identifier: MIT */
/*
 * brk-heap: the program break goes up and down; which pages are there?
 *
 * The break is the end of the heap, to the byte. The pages below it are mapped;
 * which of them are resident, the touches decide. After each step the space is
 * drawn, one character a page:
 *
 *     #  resident      .  mapped, not yet touched      space: not mapped
 *
 * and compared with what the step should have led to. One fault brings in two
 * pages here. Exits with 0 if every drawing was right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define NPAGES 16

static struct uf_space *space;
static char *base;
static size_t page;

/* For uf_space_walk: data is a drawing, page by page. */
static int draw_mapping(void *data, const struct uf_vma_info *vma)
{
    unsigned char vec[NPAGES];
    size_t first = (vma->start - uf_space_base(space)) / page;
    size_t n = (vma->end - vma->start) / page;

    CHECK(mincore(base + first * page, n * page, vec) == 0);
    for (size_t i = 0; i < n; i++)
        ((char *)data)[first + i] = (vec[i] & 1) ? '#' : '.';
    return 0;
}

static void show(const char *step, const char *expected)
{
    char drawing[NPAGES + 1], maps[256];
    double brk = (double)(uf_brk(space, 0) - uf_space_base(space));

    memset(drawing, ' ', NPAGES);
    drawing[NPAGES] = '\0';
    uf_space_walk(space, draw_mapping, drawing);
    CHECK(uf_space_maps(space, maps, sizeof(maps)) < (ssize_t)sizeof(maps));
    printf("%-38s break %5.2f pages  |%s|\n  %s", step, brk / (double)page,
           drawing, maps[0] ? maps : "(nothing is mapped)\n");
    CHECK(strcmp(drawing, expected) == 0);
}

static char *at(double npages)
{
    return base + (size_t)(npages * (double)page);
}

static uintptr_t set_brk(double npages)
{
    return uf_brk(space, (uintptr_t)at(npages));
}

int main(void)
{
    /* The address is aligned to windows, so that the drawings do not depend on
     * where the kernel would put the space. */
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = NPAGES * (size_t)getpagesize(),
                                 .address = (uintptr_t)1 << 45,
                                 .window_pages = 2};
    int err = uf_space_create(&opts, &space);

    if (err) {
        fprintf(stderr, "no space: %s\n", strerror(-err));
        return 1;
    }
    base = (char *)uf_space_base(space);
    page = (size_t)getpagesize();
    show("a new space", "                ");

    CHECK(set_brk(7.5) == (uintptr_t)at(7.5));
    show("brk up: whole pages are mapped", "........        ");

    *at(0) = 'a';
    *at(5) = 'b';
    show("two writes, each with its window", "##..##..        ");

    CHECK(set_brk(8) == (uintptr_t)at(8));
    show("up within the page: only a number", "##..##..        ");

    *at(4.5) = 'd'; /* above the break to come, and on its page */
    CHECK(set_brk(4.25) == (uintptr_t)at(4.25));
    show("brk down: pages above it are gone", "##..#           ");

    CHECK(set_brk(12) == (uintptr_t)at(12));
    show("up again: they come back untouched", "##..#.......    ");
    CHECK(*at(4.5) == 'd'); /* the page that held the break kept its bytes */
    CHECK(*at(5) == 0);     /* a page that was gone reads as new */
    show("one of them read: zero, not 'b'", "##..###.....    ");

    CHECK(set_brk(17) == (uintptr_t)at(12));
    CHECK(uf_space_set_limit(space, UF_LIMIT_DATA, 12 * page) == 0);
    CHECK(uf_sbrk(space, 1) < 0);
    show("past the space, past a limit: refused", "##..###.....    ");

    CHECK(uf_sbrk(space, (intptr_t)(-12 * (long)page)) == (intptr_t)at(12));
    show("down to the start", "                ");
    return uf_space_destroy(space) == 0 ? 0 : 1;
}
