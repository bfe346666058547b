/* SPDX-License-Identifier: MIT */
/*
 * Operations as text, one a line, so that a difference can be kept, read and
 * run again:
 *
 *     config pages=64 offset=496 window=1 deep=1
 *     mmap at=base+0x3000 len=0x5000 prot=rw flags=private|anonymous|fixed
 *     mremap at=edge3-0x1000 len=0x2000 extra=0x4000 flags=maymove
 *     write at=base+0x3010 len=0x4 fill=0x41
 *
 * A key that is missing is 0. `extra` is mremap's new length, an offset or a
 * limit; `upto` gives the end instead of the length.
 */
#include "model/mm_twin.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/mm_flags.h"
#include "ufault/ufault.h"

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

const struct mm_name mm_map_flags[] = {
    {MAP_SHARED, "shared"},
    {MAP_PRIVATE, "private"},
    {MAP_FIXED, "fixed"},
    {MAP_ANONYMOUS, "anonymous"},
    {MAP_GROWSDOWN, "growsdown"},
    {MAP_DENYWRITE, "denywrite"},
    {MAP_EXECUTABLE, "executable"},
    {MAP_LOCKED, "locked"},
    {MAP_NORESERVE, "noreserve"},
    {MAP_POPULATE, "populate"},
    {MAP_NONBLOCK, "nonblock"},
    {MAP_STACK, "stack"},
    {MM_MAP_FIXED_NOREPLACE, "noreplace"},
    {0x4000000, "uninitialized"},
#ifdef MAP_32BIT
    {MAP_32BIT, "32bit"},
#endif
};
const size_t mm_map_nflags = LEN(mm_map_flags);

const struct mm_name mm_advice[] = {
    {MADV_NORMAL, "normal"},
    {MADV_RANDOM, "random"},
    {MADV_SEQUENTIAL, "sequential"},
    {MADV_WILLNEED, "willneed"},
    {MADV_DONTNEED, "dontneed"},
    {MADV_FREE, "free"},
    {MADV_REMOVE, "remove"},
    {MADV_DONTFORK, "dontfork"},
    {MADV_DOFORK, "dofork"},
    {MADV_MERGEABLE, "mergeable"},
    {MADV_UNMERGEABLE, "unmergeable"},
    {MADV_HUGEPAGE, "hugepage"},
    {MADV_NOHUGEPAGE, "nohugepage"},
    {MADV_DONTDUMP, "dontdump"},
    {MADV_DODUMP, "dodump"},
    {MADV_WIPEONFORK, "wipeonfork"},
    {MADV_KEEPONFORK, "keeponfork"},
    {MM_MADV_COLD, "cold"},
    {MM_MADV_PAGEOUT, "pageout"},
    {22, "populate_read"},
    {23, "populate_write"},
    {24, "dontneed_locked"},
    {MM_MADV_COLLAPSE, "collapse"},
    {102, "guard_install"},
    {103, "guard_remove"},
};
const size_t mm_nadvice = LEN(mm_advice);

static const struct mm_name remap_flags[] = {
    {1, "maymove"}, {2, "fixed"}, {4, "dontunmap"}};
static const struct mm_name sync_flags[] = {
    {MS_ASYNC, "async"}, {MS_SYNC, "sync"}, {MS_INVALIDATE, "invalidate"}};
static const struct mm_name lockall_flags[] = {
    {1, "current"}, {2, "future"}, {4, "onfault"}};
static const struct mm_name limits[] = {{UF_LIMIT_DATA, "data"},
                                        {UF_LIMIT_AS, "as"},
                                        {UF_LIMIT_STACK, "stack"},
                                        {UF_LIMIT_MEMLOCK, "memlock"},
                                        {UF_LIMIT_MAP_COUNT, "map_count"}};
static const struct mm_name files[] = {
    {FILE_MEM, "mem"},   {FILE_MEM_RDONLY, "mem_rdonly"},
    {FILE_DISK, "disk"}, {FILE_MEM_WRONLY, "mem_wronly"},
    {FILE_PIPE, "pipe"}, {FILE_CLOSED, "closed"},
};

static const char *const kind_names[MM_KINDS] = {
    "mmap",   "munmap", "mprotect", "mremap",   "madvise",    "mincore",
    "mlock",  "mlock2", "munlock",  "mlockall", "munlockall", "msync",
    "brk",    "sbrk",   "populate", "read",     "write",      "pread",
    "pwrite", "fork",   "limit",    "truncate"};
static const char *const from_names[FROM_KINDS] = {"nowhere", "zero", "base",
                                                   "end",     "brk",  "edge"};

/* How `flags` of a kind reads: bits, or one value. */
static const struct mm_name *flag_names(enum mm_kind kind, size_t *ret_n,
                                        bool *ret_bits)
{
    *ret_bits = true;
    switch (kind) {
    case MM_MMAP:
        *ret_n = mm_map_nflags;
        return mm_map_flags;
    case MM_MREMAP:
        *ret_n = LEN(remap_flags);
        return remap_flags;
    case MM_MSYNC:
        *ret_n = LEN(sync_flags);
        return sync_flags;
    case MM_MLOCKALL:
        *ret_n = LEN(lockall_flags);
        return lockall_flags;
    case MM_MADVISE:
        *ret_bits = false;
        *ret_n = mm_nadvice;
        return mm_advice;
    case MM_LIMIT:
        *ret_bits = false;
        *ret_n = LEN(limits);
        return limits;
    default:
        *ret_n = 0;
        return NULL;
    }
}

const char *mm_kind_name(enum mm_kind kind)
{
    return kind_names[kind];
}

enum mm_kind mm_kind_named(const char *name)
{
    int kind = 0;

    while (kind < MM_KINDS && strcmp(kind_names[kind], name) != 0)
        kind++;
    return (enum mm_kind)kind;
}

/* ------------------------------------------------------------- printing -- */

static void print_names(FILE *out, const char *key, int value,
                        const struct mm_name *names, size_t n, bool bits)
{
    const char *between = "";

    fprintf(out, " %s=", key);
    for (size_t i = 0; i < n; i++) {
        if (bits ? !(value & names[i].value) : value != names[i].value)
            continue;
        fprintf(out, "%s%s", between, names[i].name);
        between = "|";
        value = bits ? value & ~names[i].value : 0;
        if (!bits)
            return;
    }
    if (value != 0 || *between == '\0')
        fprintf(out, "%s0x%x", between, (unsigned)value);
}

static void print_place(FILE *out, const char *key,
                        const struct mm_place *place)
{
    uint64_t delta = (uint64_t)place->delta;

    if (place->from == FROM_NOWHERE)
        return;
    fprintf(out, " %s=%s", key, from_names[place->from]);
    if (place->from == FROM_EDGE)
        fprintf(out, "%u", place->nth);
    if (place->delta < 0)
        fprintf(out, "-0x%llx", (unsigned long long)(0 - delta));
    else if (place->delta > 0)
        fprintf(out, "+0x%llx", (unsigned long long)delta);
}

static void print_number(FILE *out, const char *key, uint64_t value)
{
    if (value != 0)
        fprintf(out, " %s=0x%llx", key, (unsigned long long)value);
}

void mm_op_print(FILE *out, const struct mm_op *op)
{
    size_t n;
    bool bits;
    const struct mm_name *names = flag_names((enum mm_kind)op->kind, &n, &bits);

    fprintf(out, "%s", kind_names[op->kind]);
    print_place(out, "at", &op->at);
    print_place(out, "upto", &op->upto);
    print_number(out, "len", op->len);
    if (op->kind == MM_MREMAP)
        print_place(out, "dest", &op->dest);
    if (op->kind == MM_MREMAP && op->extra == MM_AS_LONG)
        fprintf(out, " extra=same");
    else
        print_number(out, "extra", op->extra);
    if (op->kind == MM_MMAP || op->kind == MM_MPROTECT)
        fprintf(out, " prot=0x%x", (unsigned)op->prot);
    if (names || op->flags != 0)
        print_names(out, "flags", op->flags, names, n, bits);
    if (op->file != NO_FILE)
        print_names(out, "file", op->file, files, LEN(files), false);
    print_number(out, "fill", op->fill);
    fprintf(out, "\n");
}

void mm_config_print(FILE *out, const struct mm_config *config)
{
    fprintf(out,
            "config pages=%u offset=%u window=%u threads=%u deep=%u "
            "bottom_up=%d thread_writes=%d disk=%d\n",
            config->npages, config->offset_pages, config->window_pages,
            config->nthreads, config->deep_every, config->bottom_up,
            config->thread_writes, config->disk);
}

/* -------------------------------------------------------------- parsing -- */

static bool parse_names(char *text, const struct mm_name *names, size_t n,
                        int *ret_value)
{
    char *rest = NULL;

    *ret_value = 0;
    for (char *word = strtok_r(text, "|", &rest); word;
         word = strtok_r(NULL, "|", &rest)) {
        size_t i = 0;
        char *end;
        int value;

        while (i < n && strcmp(names[i].name, word) != 0)
            i++;
        value = i < n ? names[i].value : (int)strtoul(word, &end, 0);
        if (i == n && *end != '\0')
            return false;
        *ret_value |= value;
    }
    return true;
}

static bool parse_place(const char *text, struct mm_place *place)
{
    char *end;

    *place = (struct mm_place){0};
    for (uint8_t from = 1; from < FROM_KINDS; from++) {
        size_t len = strlen(from_names[from]);

        if (strncmp(text, from_names[from], len) != 0)
            continue;
        place->from = from;
        text += len;
        if (from == FROM_EDGE) {
            place->nth = (uint8_t)strtoul(text, &end, 10);
            text = end;
        }
        if (*text == '+')
            place->delta = (int64_t)strtoull(text + 1, &end, 0);
        else if (*text == '-')
            place->delta = (int64_t)(0 - strtoull(text + 1, &end, 0));
        else
            return *text == '\0';
        return *end == '\0';
    }
    return false;
}

static bool parse_key(struct mm_op *op, const char *key, char *value)
{
    size_t n;
    bool bits;
    int number;
    const struct mm_name *names = flag_names((enum mm_kind)op->kind, &n, &bits);

    if (strcmp(key, "at") == 0)
        return parse_place(value, &op->at);
    if (strcmp(key, "upto") == 0)
        return parse_place(value, &op->upto);
    if (strcmp(key, "dest") == 0)
        return parse_place(value, &op->dest);
    if (strcmp(key, "flags") == 0)
        return parse_names(value, names, n, &op->flags);
    if (strcmp(key, "file") == 0) {
        if (!parse_names(value, files, LEN(files), &number))
            return false;
        op->file = (uint8_t)number;
        return true;
    }
    if (strcmp(key, "len") == 0)
        op->len = strtoull(value, NULL, 0);
    else if (strcmp(key, "extra") == 0)
        op->extra =
            strcmp(value, "same") == 0 ? MM_AS_LONG : strtoull(value, NULL, 0);
    else if (strcmp(key, "prot") == 0)
        op->prot = (int)strtoul(value, NULL, 0);
    else if (strcmp(key, "fill") == 0)
        op->fill = (uint8_t)strtoul(value, NULL, 0);
    else
        return false;
    return true;
}

bool mm_op_parse(char *line, struct mm_op *op)
{
    char *rest = NULL, *word = strtok_r(line, " \n", &rest);

    *op = (struct mm_op){.file = NO_FILE};
    if (!word)
        return false;
    op->kind = (uint8_t)mm_kind_named(word);
    if (op->kind == MM_KINDS)
        return false;
    while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
        char *value = strchr(word, '=');

        if (!value)
            return false;
        *value++ = '\0';
        if (!parse_key(op, word, value))
            return false;
    }
    return true;
}

bool mm_config_parse(char *line, struct mm_config *config)
{
    int up, writes, disk;

    if (sscanf(line,
               "config pages=%u offset=%u window=%u threads=%u deep=%u "
               "bottom_up=%d thread_writes=%d disk=%d",
               &config->npages, &config->offset_pages, &config->window_pages,
               &config->nthreads, &config->deep_every, &up, &writes,
               &disk) != 8)
        return false;
    config->bottom_up = up;
    config->thread_writes = writes;
    config->disk = disk;
    return config->npages >= 16 && config->npages <= SPACE_PAGES &&
           config->offset_pages >= ZONE_PAGES && config->deep_every > 0 &&
           config->offset_pages + config->npages + ZONE_PAGES <= ARENA_PAGES;
}
