/* SPDX-License-Identifier: MIT */
/*
 * The mappings as entries of /proc/PID/smaps (show_smap, fs/proc/task_mmu.c):
 * the line of maps, the figures of usage.h, the flags.
 *
 * The flags are the space's, in the kernel's letters and order: what the host's
 * own mapping has of its own (um, for the userfaultfd) is not the guest's. Only
 * what a file allows (mr mw me ms) is asked of the host. "ac" is never there:
 * no memory of a space is accounted, its reservation is MAP_NORESERVE.
 */
#include "mm/show.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/slab.h"
#include "mm/usage.h"

#define ENTRY_BYTES (MAPS_LINE_BYTES + 4096)

/* An entry being written; there is room for all of it. */
struct entry {
    size_t length;
    char text[ENTRY_BYTES];
};

static void __attribute__((format(printf, 2, 3)))
add(struct entry *entry, const char *format, ...)
{
    size_t room = sizeof(entry->text) - entry->length;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(entry->text + entry->length, room, format, args);
    va_end(args);
    entry->length += (size_t)n < room ? (size_t)n : room - 1;
}

static void add_kb(struct entry *entry, const char *label, uint64_t kb)
{
    add(entry, "%-16s%8llu kB\n", label, (unsigned long long)kb);
}

/* Which flag a mnemonic stands for: one of the VMA's, or, for memory that the
 * kernel serves, one that the host's mapping has. */
struct mnemonic {
    char letters[3];
    uint32_t flag; /* VMA_*; 0: the host knows */
    bool plain;    /* anonymous private memory has it always */
};

static const struct mnemonic mnemonics[] = {
    {"rd", VMA_READ, false},
    {"wr", VMA_WRITE, false},
    {"ex", VMA_EXEC, false},
    {"sh", 0, false},
    {"mr", 0, true},
    {"mw", 0, true},
    {"me", 0, true},
    {"ms", 0, false},
    {"gd", VMA_GROWSDOWN, false},
    {"pf", 0, false},
    {"lo", VMA_LOCKED, false},
    {"io", 0, false},
    {"sr", VMA_SEQ_READ, false},
    {"rr", VMA_RAND_READ, false},
    {"dc", VMA_DONTCOPY, false},
    {"de", 0, false},
    {"lf", VMA_LOCKONFAULT, false},
    {"nr", VMA_NORESERVE, false},
    {"ht", 0, false},
    {"sf", 0, false},
    {"wf", VMA_WIPEONFORK, false},
    {"dd", VMA_DONTDUMP, false},
    {"mm", 0, false},
    {"hg", VMA_HUGEPAGE, false},
    {"nh", VMA_NOHUGEPAGE, false},
    {"mg", VMA_MERGEABLE, false},
};

static bool has_mnemonic(const struct mnemonic *m, const struct vma *v,
                         const struct smaps_entry *host)
{
    if (m->flag)
        return (v->flags & m->flag) != 0;
    if (!(v->flags & VMA_HOST))
        return m->plain;
    return host && smaps_has_flag(host, m->letters);
}

/* "VmFlags: rd wr mr mw me \n" into line. */
static void flags_line(char *line, const struct vma *v,
                       const struct smaps_entry *host)
{
    line += sprintf(line, "VmFlags: ");
    for (size_t i = 0; i < sizeof(mnemonics) / sizeof(mnemonics[0]); i++)
        if (has_mnemonic(&mnemonics[i], v, host))
            line += sprintf(line, "%s ", mnemonics[i].letters);
    strcpy(line, "\n");
}

static void add_usage(struct entry *entry, const struct usage *usage)
{
    if (usage->kernel_page_kb)
        add_kb(entry, "KernelPageSize:", usage->kernel_page_kb);
    if (usage->mmu_page_kb)
        add_kb(entry, "MMUPageSize:", usage->mmu_page_kb);
    for (int f = 0; f < SMAPS_NFIELDS; f++)
        if (usage_knows(usage, (enum smaps_field)f))
            add_kb(entry, smaps_labels[f], usage->kb[f]);
    if (usage->thp_eligible >= 0)
        add(entry, "%-16s%8d\n", "THPeligible:", usage->thp_eligible);
    if (usage->protection_key >= 0)
        add(entry, "%-16s%8d\n", "ProtectionKey:", usage->protection_key);
}

static void write_entry(struct entry *entry, struct usage_source *source,
                        const struct shown *shown)
{
    const struct vma *v = &shown->vma;
    const struct smaps_entry *host = usage_entry_at_start(source, v);
    struct usage usage;
    char flags[128];

    /* The host's entry is gone when the next one is read. */
    entry->length = maps_line(entry->text, shown, host ? &host->vma : NULL);
    flags_line(flags, v, host);
    usage_of(source, v, &usage);
    add_kb(entry, "Size:", (v->end - v->start) / 1024);
    add_usage(entry, &usage);
    add(entry, "%s", flags);
}

ssize_t space_smaps(struct uf_space *space, char *text, size_t len_bytes)
{
    struct usage_source source;
    struct entry *entry = slab_pages(sizeof(*entry));
    struct shown shown;
    struct text out;
    uintptr_t addr = 0;

    if (!entry)
        return -ENOMEM;
    if (usage_open(&source) != 0) {
        slab_pages_free(entry, sizeof(*entry));
        return -ENOMEM;
    }
    text_init(&out, text, len_bytes);
    while (show_next(space, addr, &shown)) {
        write_entry(entry, &source, &shown);
        text_add(&out, entry->text);
        addr = shown.vma.end;
        show_done(&shown);
    }
    usage_close(&source);
    slab_pages_free(entry, sizeof(*entry));
    return (ssize_t)out.length;
}
