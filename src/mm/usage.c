/* SPDX-License-Identifier: MIT */
/* See usage.h. */
#include "mm/usage.h"

#include <errno.h>

#define ALL_FIELDS ((1u << SMAPS_NFIELDS) - 1)

static uint64_t kb_of(size_t npages)
{
    return npages * (page_size() / 1024);
}

void usage_init(struct usage *usage)
{
    *usage = (struct usage){
        .known = ALL_FIELDS, .thp_eligible = -1, .protection_key = -1};
}

/* Figures of the mapping, not of its pages. */
static void add_head(struct usage *u, const struct smaps_entry *e)
{
    if (u->has == 0) {
        u->kernel_page_kb = e->kernel_page_kb;
        u->mmu_page_kb = e->mmu_page_kb;
        u->protection_key = e->protection_key;
    }
    if (e->thp_eligible > u->thp_eligible)
        u->thp_eligible = e->thp_eligible;
    u->has |= e->has;
}

void usage_add_whole(struct usage *usage, const struct smaps_entry *entry)
{
    add_head(usage, entry);
    for (int f = 0; f < SMAPS_NFIELDS; f++)
        usage->kb[f] += entry->kb[f];
}

/* A part of an entry. */
struct share {
    const struct smaps_entry *entry;
    const struct page_counts *counts;
    bool rss_known;
    uint64_t rss_kb; /* of the part */
};

/* Before 6.7 a page of zeros looks like a page that a child shares; there is
 * only the one or the other if the entry has nothing shared. */
static void find_rss(struct share *s)
{
    const struct page_counts *c = s->counts;
    const uint64_t *kb = s->entry->kb;

    s->rss_kb = kb_of(c->present - c->zero);
    s->rss_known = c->zero_is_known || c->zero == 0 ||
                   kb[SMAPS_SHARED_CLEAN] + kb[SMAPS_SHARED_DIRTY] == 0;
}

/* Shared_* or Private_*, if all pages of the entry are dirty, or none. */
static bool by_exclusiveness(const struct share *s, enum smaps_field f,
                             uint64_t *ret)
{
    const uint64_t *kb = s->entry->kb;
    bool dirty = f == SMAPS_SHARED_DIRTY || f == SMAPS_PRIVATE_DIRTY;
    bool shared = f == SMAPS_SHARED_DIRTY || f == SMAPS_SHARED_CLEAN;
    uint64_t others = dirty ? kb[SMAPS_SHARED_CLEAN] + kb[SMAPS_PRIVATE_CLEAN]
                            : kb[SMAPS_SHARED_DIRTY] + kb[SMAPS_PRIVATE_DIRTY];
    uint64_t exclusive = kb_of(s->counts->exclusive);

    if (others != 0 || !s->rss_known || exclusive > s->rss_kb)
        return false;
    *ret = shared ? s->rss_kb - exclusive : exclusive;
    return true;
}

static bool by_swap(const struct share *s, enum smaps_field f, uint64_t *ret)
{
    uint64_t swapped = kb_of(s->counts->swapped);

    *ret = swapped == 0 ? 0 : s->entry->kb[f];
    return swapped == 0 || swapped == s->entry->kb[SMAPS_SWAP];
}

/* What the page counts say by themselves. */
static bool by_pages(const struct share *s, enum smaps_field f, uint64_t *ret)
{
    const struct page_counts *c = s->counts;

    switch (f) {
    case SMAPS_RSS:
        *ret = s->rss_kb;
        return s->rss_known;
    case SMAPS_ANONYMOUS:
        *ret = s->rss_kb - kb_of(c->file);
        return s->rss_known && kb_of(c->file) <= s->rss_kb;
    case SMAPS_SHARED_CLEAN:
    case SMAPS_SHARED_DIRTY:
    case SMAPS_PRIVATE_CLEAN:
    case SMAPS_PRIVATE_DIRTY:
        return by_exclusiveness(s, f, ret);
    case SMAPS_SWAP:
    case SMAPS_SWAP_PSS:
        return by_swap(s, f, ret);
    default:
        return false;
    }
}

static bool find_share(const struct share *s, enum smaps_field f, uint64_t *ret)
{
    uint64_t whole = s->entry->kb[f], rss = s->entry->kb[SMAPS_RSS];
    bool of_swap = f == SMAPS_SWAP || f == SMAPS_SWAP_PSS;

    *ret = whole;
    if (whole == 0)
        return true;
    if (!of_swap && s->rss_known && s->rss_kb == rss)
        return true;
    if (!of_swap && s->rss_known && whole == rss) {
        *ret = s->rss_kb;
        return true;
    }
    return by_pages(s, f, ret);
}

void usage_add_part(struct usage *usage, const struct smaps_entry *entry,
                    const struct page_counts *c)
{
    struct share share = {.entry = entry, .counts = c};

    add_head(usage, entry);
    find_rss(&share);
    for (int f = 0; f < SMAPS_NFIELDS; f++) {
        uint64_t kb;

        if (find_share(&share, (enum smaps_field)f, &kb))
            usage->kb[f] += kb;
        else
            usage->known &= ~(1u << f);
    }
}

void usage_add_unknown(struct usage *usage, const struct smaps_entry *entry)
{
    add_head(usage, entry);
    for (int f = 0; f < SMAPS_NFIELDS; f++)
        if (entry->kb[f] != 0)
            usage->known &= ~(1u << f);
}

int usage_open(struct usage_source *source)
{
    int err;

    *source = (struct usage_source){NULL, NULL};
    err = smaps_open(&source->smaps);
    if (!err)
        err = pages_open(&source->pages);
    if (!err)
        return 0;
    usage_close(source);
    *source = (struct usage_source){NULL, NULL};
    return err == -ENOMEM ? err : 0;
}

void usage_close(struct usage_source *source)
{
    smaps_close(source->smaps);
    pages_close(source->pages);
}

/* Without /proc: what mincore(2) says of memory of ours. */
static void count_by_mincore(const struct vma *v, struct usage *usage)
{
    size_t npages;

    if ((v->flags & VMA_HOST) ||
        pages_count_resident(vma_range(v), &npages) != 0)
        return;
    usage->has = 1u << SMAPS_RSS;
    usage->kb[SMAPS_RSS] = kb_of(npages);
}

static void add_entry(struct usage_source *source, const struct vma *v,
                      const struct smaps_entry *e, struct usage *usage)
{
    struct range part = range_clip(e->vma.range, vma_range(v));
    struct page_counts counts = {.zero_is_known = true};

    if (range_covers(part, e->vma.range)) {
        usage_add_whole(usage, e);
        return;
    }
    /* Nothing there at all: no need to look at the pages. */
    if (e->kb[SMAPS_RSS] + e->kb[SMAPS_SWAP] == 0 ||
        pages_count(source->pages, part, &counts) == 0)
        usage_add_part(usage, e, &counts);
    else
        usage_add_unknown(usage, e);
}

const struct smaps_entry *usage_entry_at_start(struct usage_source *source,
                                               const struct vma *v)
{
    const struct smaps_entry *e;

    if (!source->smaps)
        return NULL;
    e = smaps_find(source->smaps, v->start);
    return e && range_contains(e->vma.range, v->start) ? e : NULL;
}

void usage_of(struct usage_source *source, const struct vma *v,
              struct usage *ret)
{
    const struct smaps_entry *e;
    uintptr_t at = v->start;

    usage_init(ret);
    if (!source->smaps) {
        count_by_mincore(v, ret);
        return;
    }
    while (at < v->end && (e = smaps_find(source->smaps, at)) != NULL &&
           e->vma.range.start < v->end) {
        add_entry(source, v, e, ret);
        at = e->vma.range.end;
    }
}
