/* SPDX-License-Identifier: MIT */
/*
 * The memory of a space as the lines of /proc/PID/status (task_mem,
 * fs/proc/task_mmu.c). What is mapped comes from the accounting, what is
 * resident from the kernel, VMA by VMA.
 *
 * There is no program text of the space's own, so what is executable counts as
 * VmLib; VmPin and VmPTE are the process's, and left out.
 */
#include "mm/show.h"

#include <errno.h>
#include <stdio.h>

#include "mm/usage.h"
#include "pager/mapped.h"

struct sums {
    uint64_t rss_kb;
    uint64_t anon_kb;
    uint64_t file_kb;
    uint64_t shmem_kb;
    uint64_t swap_kb;
    bool rss_known;
    bool kinds_known;
    bool swap_known;
};

static void add_vma(struct sums *sums, const struct vma *v,
                    const struct usage *u)
{
    uint64_t rss = u->kb[SMAPS_RSS], anon = u->kb[SMAPS_ANONYMOUS];
    uint64_t other = rss > anon ? rss - anon : 0;
    bool shmem = (v->flags & VMA_CACHE) ||
                 ((v->flags & VMA_HOST) && pager_mapped_is_shmem(v->pager));

    sums->rss_known = sums->rss_known && usage_knows(u, SMAPS_RSS);
    sums->kinds_known = sums->kinds_known && usage_knows(u, SMAPS_RSS) &&
                        usage_knows(u, SMAPS_ANONYMOUS);
    sums->swap_known = sums->swap_known && usage_knows(u, SMAPS_SWAP);
    sums->rss_kb += rss;
    sums->anon_kb += anon;
    *(shmem ? &sums->shmem_kb : &sums->file_kb) += other;
    sums->swap_kb += u->kb[SMAPS_SWAP];
}

static int sum_up(struct uf_space *space, struct sums *ret)
{
    struct usage_source source;
    struct shown shown;
    struct usage usage;
    uintptr_t addr = 0;
    int err = usage_open(&source);

    if (err)
        return err;
    *ret = (struct sums){
        .rss_known = true, .kinds_known = true, .swap_known = true};
    while (show_next(space, addr, &shown)) {
        usage_of(&source, &shown.vma, &usage);
        add_vma(ret, &shown.vma, &usage);
        addr = shown.vma.end;
        show_done(&shown);
    }
    usage_close(&source);
    return 0;
}

static void add_line(struct text *text, const char *name, uint64_t kb)
{
    char line[64];

    snprintf(line, sizeof(line), "%s:\t%8llu kB\n", name,
             (unsigned long long)kb);
    text_add(text, line);
}

static uint64_t kb_of(uint64_t npages)
{
    return npages * (page_size() / 1024);
}

static void add_resident(struct text *text, const struct sums *sums,
                         uint64_t peak_kb)
{
    if (sums->rss_known) {
        add_line(text, "VmHWM",
                 peak_kb > sums->rss_kb ? peak_kb : sums->rss_kb);
        add_line(text, "VmRSS", sums->rss_kb);
    }
    if (sums->kinds_known) {
        add_line(text, "RssAnon", sums->anon_kb);
        add_line(text, "RssFile", sums->file_kb);
        add_line(text, "RssShmem", sums->shmem_kb);
    }
}

ssize_t space_status(struct uf_space *space, char *text, size_t len_bytes)
{
    struct uf_stats stats = {.size = sizeof(stats)};
    struct sums sums;
    struct text out;
    int err = sum_up(space, &sums);

    if (err)
        return err;
    space_stats(space, &stats);
    text_init(&out, text, len_bytes);
    add_line(&out, "VmPeak", kb_of(stats.total_vm_peak));
    add_line(&out, "VmSize", kb_of(stats.total_vm));
    add_line(&out, "VmLck", kb_of(stats.locked_vm));
    add_resident(&out, &sums, kb_of(stats.resident_peak));
    add_line(&out, "VmData", kb_of(stats.data_vm));
    add_line(&out, "VmStk", kb_of(stats.stack_vm));
    add_line(&out, "VmExe", 0);
    add_line(&out, "VmLib", kb_of(stats.exec_vm));
    if (sums.swap_known)
        add_line(&out, "VmSwap", sums.swap_kb);
    return (ssize_t)out.length;
}
