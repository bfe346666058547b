/* SPDX-License-Identifier: MIT */
/*
 * usage: what the memory of one VMA comes to, in the kernel's own figures.
 *
 * The kernel counts by its VMAs, and they are not ours:
 *
 *     ours     [  v1  ][ v2 ]        [  v3  ]        v1, v2: two pagers, say
 *     host     [   rw      ][ closed.........  )     v3: PROT_NONE
 *              [ 1 ][   2   ][   3 ...               or split by mremap
 *
 * A host entry inside a VMA is added to it as it stands. Of one that reaches
 * beyond, the pages of our part are counted (host/pages.h), and a field of the
 * entry is ours
 *
 *     whole          if all of its resident pages are
 *     not at all     if it is 0
 *     page by page   if it is true of every page (Private_Dirty as a rule), or
 *                    the page counts say it (Rss, Anonymous, what is shared)
 *     not known      else: nobody without a privilege could say
 *
 * What is not known is left out of the texts, never guessed.
 */
#ifndef UF_MM_USAGE_H
#define UF_MM_USAGE_H

#include "host/hostmap.h"
#include "host/pages.h"
#include "mm/show.h"

struct usage {
    uint32_t has;   /* bit f: the kernel counts field f */
    uint32_t known; /* bit f: kb[f] is right */
    uint64_t kb[SMAPS_NFIELDS];
    uint64_t kernel_page_kb; /* 0: not known */
    uint64_t mmu_page_kb;
    int thp_eligible;   /* -1: not known */
    int protection_key; /* -1: not known */
};

/* Where the figures come from. */
struct usage_source {
    struct smaps *smaps; /* NULL: /proc cannot be had */
    struct pages *pages; /* NULL: the same */
};

/* 0 or -ENOMEM. Without /proc it is 0, too: then Rss alone is known. */
int usage_open(struct usage_source *source);
void usage_close(struct usage_source *source);

/* What the host has at the VMA's start, valid until the next call; NULL: not
 * known. Rising VMAs only, as for the next. */
const struct smaps_entry *usage_entry_at_start(struct usage_source *source,
                                               const struct vma *v);

void usage_of(struct usage_source *source, const struct vma *v,
              struct usage *ret);

/* True if field f is there and right. */
static inline bool usage_knows(const struct usage *usage, enum smaps_field f)
{
    return (usage->has & usage->known & (1u << f)) != 0;
}

/* ---- the rules, pure ---- */

/* Adds what of `entry` belongs to a part whose pages are counted in *c. */
void usage_add_part(struct usage *usage, const struct smaps_entry *entry,
                    const struct page_counts *c);

/* Adds an entry of which nobody can say what belongs to the part. */
void usage_add_unknown(struct usage *usage, const struct smaps_entry *entry);

/* Adds an entry that is ours as a whole. */
void usage_add_whole(struct usage *usage, const struct smaps_entry *entry);

void usage_init(struct usage *usage);

#endif
