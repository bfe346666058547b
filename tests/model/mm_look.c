/* SPDX-License-Identifier: MIT */
/*
 * What is to be seen of a side's memory, as numbers that can be compared: its
 * mappings, which pages are resident, what is in them, and totals. Looking
 * changes nothing: only resident pages are read, those without access through
 * /proc/self/mem.
 */
#include "model/mm_twin.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"
#include "ufault/ufault.h"

static unsigned char vec[VEC_PAGES];
static uint64_t prints[SPACE_PAGES]; /* as of the last deep look */

uint64_t mm_hash(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9fb21c651e98df25u;
    return hash ^ (hash >> 29);
}

/* 0 if all bytes are 0, so that pages that are zero or absent are alike. */
uint64_t mm_page_print(const void *page, size_t len_bytes)
{
    const uint64_t *word = page;
    uint64_t print = 1;

    if (word[0] == 0 && memcmp(word, word + 1, len_bytes - 8) == 0)
        return 0;
    for (size_t i = 0; i < len_bytes / sizeof(word[0]); i++)
        print = (print ^ word[i]) * 0x9fb21c651e98df25u;
    return print;
}

/* ------------------------------------------------------------- mappings -- */

/*
 * The kernel keeps private neighbours apart that are alike but were written to
 * (anon_vma) or charged (VM_ACCOUNT) before they met, and so depends on when a
 * page was touched; a space does not. What a program can tell them by is
 * compared: see mm_meant.c.
 */
static bool alike(const struct mm_map *a, const struct mm_map *b)
{
    uint32_t kind = UF_VMA_SHARED | UF_VMA_KERNEL;

    if (a->end != b->start || a->prot != b->prot ||
        ((a->flags ^ b->flags) & kind))
        return false;
    return !(a->flags & UF_VMA_KERNEL) ||
           a->offset + (a->end - a->start) == b->offset;
}

static void look_at_maps(struct mm_side *side, struct mm_record *record)
{
    int n = side->list(side, side->raw);
    uint64_t hash = 1;

    if (n < 0) {
        record->wrong = __LINE__;
        n = 0;
    }
    side->nraw = record->nmaps = (uint32_t)n;
    side->nmaps = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && alike(&side->raw[i - 1], &side->raw[i]))
            side->maps[side->nmaps - 1].end = side->raw[i].end;
        else
            side->maps[side->nmaps++] = side->raw[i];
    }
    for (uint32_t i = 0; i < side->nmaps; i++) {
        const struct mm_map *map = &side->maps[i];

        hash = mm_hash(hash, map->start);
        hash = mm_hash(hash, map->end);
        hash = mm_hash(hash, map->offset);
        hash = mm_hash(hash, map->prot | (uint64_t)(map->flags & UF_VMA_SHARED)
                                             << 8);
    }
    record->maps = hash;
}

static void look_at_flags(struct mm_side *side, struct mm_record *record)
{
    const uint32_t mask = ~(UF_VMA_HEAP | UF_VMA_KERNEL);
    struct mm_map *raw = side->raw;
    int n = (int)side->nraw;
    uint64_t hash = 1;

    if (side->list_flags(side, raw, n) < 0)
        record->wrong = __LINE__;
    for (int i = 0; i < n; i++) {
        if (i > 0 && alike(&raw[i - 1], &raw[i]) &&
            !((raw[i - 1].flags ^ raw[i].flags) & mask))
            continue;
        hash = mm_hash(hash, raw[i].start);
        hash = mm_hash(hash, raw[i].flags & mask);
    }
    record->flags = hash;
}

/* ------------------------------------------------------------ residency -- */

/* Calls `each` for runs of mappings without a hole between them. */
static void note_resident(struct mm_side *side, struct mm_record *record,
                          uintptr_t start, uintptr_t end, uint64_t *bits)
{
    size_t page = page_size(), npages = (end - start) / page;
    size_t first = (start - side->base) / page;

    if (side->mincore(side, start, end - start, vec) < 0) {
        record->wrong = __LINE__;
        return;
    }
    for (size_t i = 0; i < npages; i++) {
        if (!(vec[i] & 1))
            continue;
        record->nresident++;
        record->resident = mm_hash(record->resident, first + i);
        bits[(first + i) / BITS] |= (uint64_t)1 << ((first + i) % BITS);
    }
}

static void look_at_pages(struct mm_side *side, struct mm_record *record,
                          uint64_t *bits)
{
    const struct mm_map *maps = side->maps;

    memset(bits, 0, (side->config.npages + BITS - 1) / BITS * sizeof(bits[0]));
    record->resident = 1;
    record->nresident = 0;
    for (uint32_t i = 0; i < side->nmaps;) {
        uintptr_t start = maps[i].start;

        while (i + 1 < side->nmaps && maps[i].end == maps[i + 1].start)
            i++;
        note_resident(side, record, start, maps[i].end, bits);
        i++;
    }
}

/* ------------------------------------------------------------- contents -- */

/* Of a page that may not be read by a plain load. */
static uint64_t print_by_force(uintptr_t page, size_t len_bytes)
{
    static _Alignas(8) unsigned char bytes[4096];
    static int fd = -1;
    size_t len = len_bytes < sizeof(bytes) ? len_bytes : sizeof(bytes);

    if (fd < 0)
        fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (pread(fd, bytes, len, (off_t)page) != (ssize_t)len)
        return 0;
    return mm_page_print(bytes, len);
}

static void look_at_contents(struct mm_side *side, struct mm_record *record,
                             const uint64_t *bits)
{
    size_t page = page_size();
    size_t len = page - (side->config.thread_writes ? THREADS_BYTES : 0);

    record->contents = 0;
    memset(prints, 0, side->config.npages * sizeof(prints[0]));
    for (uint32_t i = 0; i < side->nmaps; i++) {
        const struct mm_map *map = &side->maps[i];

        for (uintptr_t at = map->start; at < map->end; at += page) {
            size_t nth = (at - side->base) / page;
            uint64_t print = 0;

            if (!(bits[nth / BITS] >> (nth % BITS) & 1))
                continue;
            if (!(map->prot & 1) || mm_read_page(at, len, &print) != 0)
                print = print_by_force(at, len);
            prints[nth] = print;
            if (print)
                record->contents += mm_hash(mm_hash(1, nth), print);
        }
    }
}

void mm_look(struct mm_side *side, struct mm_record *record, uint32_t nth)
{
    uint64_t *bits = side->exchange->pages[side->id][nth];

    record->brk = side->brk_now(side);
    look_at_maps(side, record);
    look_at_pages(side, record, bits);
    if (!record->deep)
        return;
    look_at_flags(side, record);
    look_at_contents(side, record, bits);
    if (side->gauges(side, record->gauges) < 0)
        record->wrong = __LINE__;
}

/* ----------------------------------------------------------------- text -- */

static const char *const flag_names[] = {
    "heap",     "locked",    "shared",    "growsdown",  "kernel",
    "onfault",  "noreserve", "dontfork",  "wipeonfork", "dontdump",
    "hugepage", "nohuge",    "mergeable", "sequential", "random"};

/* Appends to a dump. Not stdio: that allocates, in a process that must not. */
static __attribute__((format(printf, 3, 4))) void
say(struct mm_side *side, size_t *len, const char *format, ...)
{
    char *text = side->exchange->dump[side->id];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text + *len, DUMP_BYTES - *len, format, args);
    va_end(args);
    if (n > 0 && *len + (size_t)n < DUMP_BYTES)
        *len += (size_t)n;
    text[*len] = '\0';
}

static void say_map(struct mm_side *side, size_t *len, const struct mm_map *map,
                    const uint64_t *bits)
{
    size_t page = page_size();
    size_t first = (map->start - side->base) / page;
    size_t end = (map->end - side->base) / page;

    say(side, len, "  %5zu-%-5zu %c%c%c%c", first, end,
        map->prot & 1 ? 'r' : '-', map->prot & 2 ? 'w' : '-',
        map->prot & 4 ? 'x' : '-', map->flags & UF_VMA_SHARED ? 's' : 'p');
    if (map->offset)
        say(side, len, " offset 0x%llx", (unsigned long long)map->offset);
    for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++)
        if (map->flags >> i & 1 && i != 2)
            say(side, len, " %s", flag_names[i]);
    say(side, len, " :");
    for (size_t nth = first; nth < end; nth++)
        if (bits[nth / BITS] >> (nth % BITS) & 1)
            say(side, len, " %zu=%04llx", nth,
                (unsigned long long)(prints[nth] & 0xffff));
    say(side, len, "\n");
}

/* After a look at everything. */
void mm_dump(struct mm_side *side, const struct mm_record *record)
{
    static const char *const names[MM_GAUGES] = {"total", "data", "stack",
                                                 "exec", "locked"};
    uint32_t nth = (uint32_t)(record - side->exchange->records[side->id]);
    size_t len = 0;

    for (int i = 0; i < MM_GAUGES; i++)
        say(side, &len, "  %s %lld", names[i], (long long)record->gauges[i]);
    say(side, &len, "\n");
    for (uint32_t i = 0; i < side->nraw; i++)
        say_map(side, &len, &side->raw[i],
                side->exchange->pages[side->id][nth]);
}
