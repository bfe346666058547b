/* SPDX-License-Identifier: MIT */
/* See hostmap.h: the entries of /proc/PID/smaps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/slab.h"
#include "host/hostmap.h"
#include "host/lines.h"

#define SMAPS_LABEL(name, label) label,
const char *const smaps_labels[SMAPS_NFIELDS] = {SMAPS_FIELDS(SMAPS_LABEL)};
#undef SMAPS_LABEL

struct smaps {
    bool any; /* entry is one */
    struct smaps_entry entry;
    struct lines lines;
};

int smaps_open(struct smaps **ret)
{
    struct smaps *smaps = slab_pages(sizeof(*smaps));
    int err;

    if (!smaps)
        return -ENOMEM;
    err = lines_open(&smaps->lines, "/proc/thread-self/smaps");
    if (err) {
        slab_pages_free(smaps, sizeof(*smaps));
        return err;
    }
    *ret = smaps;
    return 0;
}

void smaps_close(struct smaps *smaps)
{
    if (!smaps)
        return;
    lines_close(&smaps->lines);
    slab_pages_free(smaps, sizeof(*smaps));
}

/* If the line is that of `label`, *ret is its number. */
static bool is_line(const char *line, const char *label, uint64_t *ret)
{
    size_t len = strlen(label);

    if (strncmp(line, label, len) != 0)
        return false;
    *ret = strtoull(line + len, NULL, 10);
    return true;
}

static void parse_rest(const char *line, struct smaps_entry *e)
{
    uint64_t n;

    if (is_line(line, "KernelPageSize:", &e->kernel_page_kb) ||
        is_line(line, "MMUPageSize:", &e->mmu_page_kb))
        return;
    if (is_line(line, "THPeligible:", &n))
        e->thp_eligible = (int)n;
    else if (is_line(line, "ProtectionKey:", &n))
        e->protection_key = (int)n;
}

static void parse_line(const char *line, struct smaps_entry *e)
{
    for (int f = 0; f < SMAPS_NFIELDS; f++) {
        if (is_line(line, smaps_labels[f], &e->kb[f])) {
            e->has |= 1u << f;
            return;
        }
    }
    parse_rest(line, e);
}

static void start_entry(struct smaps_entry *e)
{
    e->has = 0;
    memset(e->kb, 0, sizeof(e->kb));
    e->kernel_page_kb = 0;
    e->mmu_page_kb = 0;
    e->thp_eligible = -1;
    e->protection_key = -1;
    e->flags[0] = '\0';
}

/* Reads the lines of an entry whose first one is parsed; VmFlags ends it. An
 * entry that is not wanted is passed over. */
static void read_entry(struct smaps *smaps, bool wanted)
{
    struct smaps_entry *e = &smaps->entry;
    char *line;

    start_entry(e);
    while ((line = lines_next(&smaps->lines)) != NULL) {
        if (strncmp(line, "VmFlags:", 8) == 0) {
            strncat(e->flags, line + 8, sizeof(e->flags) - 1);
            return;
        }
        if (wanted)
            parse_line(line, e);
    }
}

const struct smaps_entry *smaps_find(struct smaps *smaps, uintptr_t addr)
{
    while (!smaps->any || smaps->entry.vma.range.end <= addr) {
        const char *line = lines_next(&smaps->lines);

        if (!line)
            return NULL;
        smaps->any = host_vma_parse(line, &smaps->entry.vma);
        if (smaps->any)
            read_entry(smaps, smaps->entry.vma.range.end > addr);
    }
    return &smaps->entry;
}

bool smaps_has_flag(const struct smaps_entry *entry, const char *letters)
{
    const char want[] = {' ', letters[0], letters[1], '\0'};

    return strstr(entry->flags, want) != NULL;
}
