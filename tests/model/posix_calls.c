/* SPDX-License-Identifier: MIT */
/* See posix_calls.h. */
#include "model/posix_calls.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these and stddef.h, stdint.h first. */
#include <cmocka.h>
#include <sys/mman.h>

#include "base/range.h"

static uint64_t state;

void posix_random_seed(uint64_t seed)
{
    state = seed * 2 + 1;
}

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t below(size_t n)
{
    return (size_t)(next_random() % n);
}

static bool one_in(size_t n)
{
    return below(n) == 0;
}

#define PICK(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

static const char *const kind_names[CALL_KINDS] = {
    "mmap",    "munmap", "mprotect", "mremap", "madvise",
    "mincore", "msync",  "mlock",    "mlock2", "munlock"};

static intptr_t random_place(void)
{
    intptr_t at = (intptr_t)(below(ARENA_PAGES) * page_size());

    return one_in(24) ? at + (intptr_t)below(page_size()) : at;
}

/* Lengths that end in the arena or just behind it, or that no call takes: one
 * that did would act on the whole process. */
static size_t random_len(intptr_t at)
{
    const size_t odd[] = {0,
                          1,
                          page_size() - 1,
                          SIZE_MAX,
                          SIZE_MAX - page_size() + 1,
                          SIZE_MAX - 3 * page_size() + 1};
    size_t room = ARENA_PAGES - (size_t)at / page_size();

    if (one_in(16))
        return PICK(odd);
    if (room > 8 && !one_in(4))
        room = 8;
    return (1 + below(room)) * page_size() - (one_in(8) ? 5 : 0);
}

static int random_prot(void)
{
    const int prots[] = {PROT_NONE,
                         PROT_READ,
                         PROT_READ | PROT_WRITE,
                         PROT_READ | PROT_WRITE,
                         PROT_READ | PROT_EXEC,
                         PROT_READ | PROT_WRITE | PROT_EXEC,
                         PROT_WRITE};

    return PICK(prots);
}

static void random_mmap(const struct posix_files *files, struct posix_call *c)
{
    const int fds[] = {files->rw,     files->rw, files->ro,  files->wo,
                       files->folder, -1,        files->gone};
    const int types[] = {MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED,
                         MAP_SHARED_VALIDATE, 0};
    const int more[] = {0,
                        MAP_NORESERVE,
                        MAP_POPULATE,
                        MAP_LOCKED,
                        MAP_DENYWRITE | MAP_EXECUTABLE,
                        MAP_STACK,
                        MAP_POPULATE | MAP_NONBLOCK};

    c->how = random_prot();
    c->flags = PICK(types) | (one_in(3) ? PICK(more) : 0);
    c->fd = -1;
    if (one_in(4)) {
        c->fd = PICK(fds);
        c->offset = (off_t)(below(FILE_PAGES) * page_size());
    } else {
        c->flags |= MAP_ANONYMOUS;
    }
    if (one_in(24))
        c->offset += (off_t)(one_in(2) ? 1 : -(1 << 20));
    if (one_in(32))
        c->flags |= MAP_GROWSDOWN;
    if (!one_in(6))
        c->flags |= one_in(6) ? MAP_FIXED_NOREPLACE : MAP_FIXED;
}

/* Of one page: over several mappings kernels differ (and the space follows the
 * newest), and where the kernel sees two the space may see one. */
static void random_mremap(struct posix_call *c)
{
    const int flags[] = {0,
                         MREMAP_MAYMOVE,
                         MREMAP_MAYMOVE | MREMAP_FIXED,
                         MREMAP_MAYMOVE | MREMAP_FIXED,
                         MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
                         MREMAP_FIXED,
                         8};

    c->flags = PICK(flags);
    c->to = random_place();
    c->new_len = random_len(c->to);
    if (c->len - 1 < SIZE_MAX / 2)
        c->len = page_size();
    if (one_in(3))
        c->new_len = c->len;
    if ((c->flags & MREMAP_FIXED) &&
        c->to + (intptr_t)c->new_len > (intptr_t)(ARENA_PAGES * page_size()))
        c->to = 0;
}

/* All but HWPOISON, SOFT_OFFLINE (nobody may, in a space) and COLLAPSE (there
 * are huge pages, or there are none). */
static int random_advice(void)
{
    const int advices[] = {MADV_NORMAL,
                           MADV_RANDOM,
                           MADV_SEQUENTIAL,
                           MADV_WILLNEED,
                           MADV_DONTNEED,
                           MADV_DONTNEED,
                           MADV_FREE,
                           MADV_REMOVE,
                           MADV_DONTFORK,
                           MADV_DOFORK,
                           MADV_WIPEONFORK,
                           MADV_KEEPONFORK,
                           MADV_DONTDUMP,
                           MADV_DODUMP,
                           MADV_COLD,
                           MADV_POPULATE_READ,
                           MADV_POPULATE_WRITE,
                           -1,
                           5,
                           77,
                           1000};

    return PICK(advices);
}

struct posix_call posix_random_call(const struct posix_files *files,
                                    bool with_mremap)
{
    const enum kind kinds[] = {
        CALL_MMAP,    CALL_MMAP,     CALL_MMAP,     CALL_MMAP,   CALL_MUNMAP,
        CALL_MUNMAP,  CALL_MPROTECT, CALL_MPROTECT, CALL_MREMAP, CALL_MREMAP,
        CALL_MADVISE, CALL_MADVISE,  CALL_MINCORE,  CALL_MSYNC,  CALL_MLOCK,
        CALL_MLOCK2,  CALL_MUNLOCK};
    const int syncs[] = {MS_ASYNC,           MS_SYNC, MS_SYNC | MS_INVALIDATE,
                         MS_ASYNC | MS_SYNC, 64,      0};
    const int locks[] = {0, MLOCK_ONFAULT, 2};
    struct posix_call c = {.kind = PICK(kinds), .at = random_place()};

    if (c.kind == CALL_MREMAP && !with_mremap)
        c.kind = CALL_MUNMAP;
    c.len = random_len(c.at);
    switch (c.kind) {
    case CALL_MMAP:
        random_mmap(files, &c);
        break;
    case CALL_MPROTECT:
        c.how = one_in(24) ? 0x100 : random_prot();
        break;
    case CALL_MREMAP:
        random_mremap(&c);
        break;
    case CALL_MADVISE:
        c.how = random_advice();
        break;
    case CALL_MINCORE:
        c.null_vec = one_in(16);
        break;
    case CALL_MSYNC:
        c.how = PICK(syncs);
        break;
    case CALL_MLOCK2:
        c.how = PICK(locks);
        break;
    default:
        break;
    }
    return c;
}

void posix_print_call(uint64_t seed, unsigned n, const struct posix_call *c)
{
    print_message("seed %llu, call %u: %s at page %g, len %#zx, how %d, flags "
                  "%#x, fd %d, offset %lld, new_len %#zx, to page %g\n",
                  (unsigned long long)seed, n, kind_names[c->kind],
                  (double)c->at / (double)page_size(), c->len, c->how,
                  (unsigned)c->flags, c->fd, (long long)c->offset, c->new_len,
                  (double)c->to / (double)page_size());
}
