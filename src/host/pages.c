/* SPDX-License-Identifier: MIT */
/* See pages.h. */
#include "host/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/slab.h"
#include "host/proc_abi.h"
#include "host/region.h"

#define ENTRIES 8192
#define REGIONS 512

struct pages {
    int fd;
    bool no_scan;
    uint64_t entries[ENTRIES];
    struct scan_region regions[REGIONS];
};

int pages_open(struct pages **ret)
{
    struct pages *pages = slab_pages(sizeof(*pages));
    int err;

    if (!pages)
        return -ENOMEM;
    pages->fd = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pages->fd < 0) {
        err = -errno;
        slab_pages_free(pages, sizeof(*pages));
        return err;
    }
    *ret = pages;
    return 0;
}

void pages_close(struct pages *pages)
{
    if (!pages)
        return;
    close(pages->fd);
    slab_pages_free(pages, sizeof(*pages));
}

void pages_forbid_scan(struct pages *pages)
{
    pages->no_scan = true;
}

static void count_entry(uint64_t entry, struct page_counts *c)
{
    bool file = (entry & PAGE_ENTRY_FILE) != 0;
    bool exclusive = (entry & PAGE_ENTRY_EXCLUSIVE) != 0;

    if (entry & PAGE_ENTRY_PRESENT) {
        c->present++;
        c->file += file;
        c->exclusive += exclusive;
        c->zero += !c->zero_is_known && !file && !exclusive;
    } else if (entry & PAGE_ENTRY_SWAPPED) {
        c->swapped++;
    }
}

static int count_entries(struct pages *pages, struct range part,
                         struct page_counts *c)
{
    while (!range_is_empty(part)) {
        size_t n = range_len(part) / page_size();
        ssize_t got;

        n = n < ENTRIES ? n : ENTRIES;
        got = pread(
            pages->fd, pages->entries, n * sizeof(pages->entries[0]),
            (off_t)(part.start / page_size() * sizeof(pages->entries[0])));
        if (got < (ssize_t)sizeof(pages->entries[0]))
            return got < 0 ? -errno : -EFAULT;
        n = (size_t)got / sizeof(pages->entries[0]);
        for (size_t i = 0; i < n; i++)
            count_entry(pages->entries[i], c);
        part.start += n * page_size();
    }
    return 0;
}

static int count_region(struct pages *pages, const struct scan_region *r,
                        struct page_counts *c)
{
    struct range part = {(uintptr_t)r->start, (uintptr_t)r->end};

    if (!(r->categories & PAGE_CAT_PFNZERO))
        return count_entries(pages, part, c);
    c->present += range_len(part) / page_size();
    c->zero += range_len(part) / page_size();
    return 0;
}

/* One ioctl's worth; *ret_end is where it came to. */
static int scan_some(struct pages *pages, struct range part,
                     struct page_counts *c, uintptr_t *ret_end)
{
    struct scan_arg arg = {
        .size = sizeof(arg),
        .start = part.start,
        .end = part.end,
        .vec = (uintptr_t)pages->regions,
        .vec_len = REGIONS,
        .category_anyof_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED,
        .return_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED | PAGE_CAT_PFNZERO,
    };
    int n = ioctl(pages->fd, SCAN_IOCTL, &arg), err = 0;

    if (n < 0)
        return -errno;
    for (int i = 0; i < n && !err; i++)
        err = count_region(pages, &pages->regions[i], c);
    *ret_end = (uintptr_t)arg.walk_end;
    return err;
}

static int scan(struct pages *pages, struct range part, struct page_counts *c)
{
    int err = 0;

    while (!err && !range_is_empty(part))
        err = scan_some(pages, part, c, &part.start);
    return err;
}

int pages_count(struct pages *pages, struct range part, struct page_counts *ret)
{
    int err = -ENOTTY;

    if (!pages->no_scan) {
        *ret = (struct page_counts){.zero_is_known = true};
        err = scan(pages, part, ret);
    }
    if (err == -ENOTTY) {
        pages->no_scan = true;
        *ret = (struct page_counts){.zero_is_known = false};
        err = count_entries(pages, part, ret);
    }
    return err;
}

ssize_t pages_count_huge(const struct pages *pages, struct range part)
{
    struct scan_region found;
    struct scan_arg arg = {
        .size = sizeof(arg),
        .start = part.start,
        .end = part.end,
        .vec = (uintptr_t)&found,
        .vec_len = 1,
        .category_mask = PAGE_CAT_PRESENT | PAGE_CAT_HUGE,
        .return_mask = PAGE_CAT_PRESENT,
    };
    int n = ioctl(pages->fd, SCAN_IOCTL, &arg);

    if (n < 0)
        return -errno;
    return n == 0 ? 0 : (ssize_t)((found.end - found.start) / page_size());
}

int pages_count_resident(struct range part, size_t *ret_npages)
{
    unsigned char vec[1024];
    size_t npages = 0;
    int err = 0;

    while (!err && !range_is_empty(part)) {
        struct range some = part;

        if (range_len(some) > sizeof(vec) * page_size())
            some.end = some.start + sizeof(vec) * page_size();
        err = region_residency(some, vec);
        for (size_t i = 0; !err && i < range_len(some) / page_size(); i++)
            npages += vec[i] & 1;
        part.start = some.end;
    }
    *ret_npages = npages;
    return err;
}
