/* SPDX-License-Identifier: MIT */
/*
 * Every difference between a space and the kernel that is meant, in one table.
 * What stands here is not compared; all else must agree.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "model/mm_flags.h"

#define ALWAYS 256u /* also when nothing differs yet */

struct meant {
    const char *name;
    uint32_t aspects; /* that are not compared */
    bool (*applies)(const struct mm_case *c);
    const char *reason;
};

static bool failed(const struct mm_record *record)
{
    return (int64_t)record->result < 0 && (int64_t)record->result > -4096;
}

static bool is_hugetlb(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MMAP &&
           (c->kernel->args.flags & MAP_HUGETLB) && failed(c->kernel) &&
           failed(c->tested);
}

/* Without a reservation the kernel needs no page to map one. */
static bool is_hugetlb_without_pages(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MMAP &&
           (c->kernel->args.flags & MAP_HUGETLB) &&
           (c->kernel->args.flags & MAP_NORESERVE) && !failed(c->kernel) &&
           failed(c->tested);
}

static bool is_collapse(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MADVISE &&
           c->kernel->args.flags == MM_MADV_COLLAPSE && c->kernel->args.len > 0;
}

/* What the kernel sees as two mappings, mremap cannot treat as one; nor does
 * mprotect find the start of both for PROT_GROWSDOWN, and it changes one and
 * stops at the other for a limit that both together exceed; mlockall goes on
 * with the second after a page of the first that cannot be had. */
static bool is_across(const struct mm_case *c)
{
    return c->kernel->torn && (c->kernel->args.kind == MM_MREMAP ||
                               c->kernel->args.kind == MM_MPROTECT ||
                               c->kernel->args.kind == MM_MLOCKALL);
}

static bool is_touch(const struct mm_record *record)
{
    switch (record->args.kind) {
    case MM_READ:
    case MM_WRITE:
    case MM_PREAD:
    case MM_PWRITE:
    case MM_FORK:
        return true;
    default:
        return false;
    }
}

/* A stack that either side has as two mappings: the kernel compares the limit
 * with the lower one's size, a space with all of it. */
static bool is_stack_across(const struct mm_case *c)
{
    return is_touch(c->kernel) && c->tested->stacks &&
           c->kernel->stack_limited &&
           (c->kernel->stack_parts || c->tested->stack_parts);
}

/* A touch below a stack that it may not be read or written. */
static bool is_vain_growth(const struct mm_case *c)
{
    bool by_hand =
        c->kernel->args.kind == MM_READ || c->kernel->args.kind == MM_WRITE;

    return is_touch(c->kernel) && c->tested->stacks &&
           c->kernel->maps != c->tested->maps &&
           c->kernel->result == c->tested->result &&
           (!by_hand ||
            (c->kernel->signal == SIGSEGV && c->tested->signal == SIGSEGV));
}

static bool is_half_unlocked(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MREMAP && c->tested->locked &&
           (c->kernel->args.flags & 4) &&
           c->kernel->result != (uint64_t)-EINVAL;
}

static bool is_poison(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MADVISE &&
           (c->kernel->args.flags == MM_MADV_HWPOISON ||
            c->kernel->args.flags == MM_MADV_SOFT_OFFLINE);
}

static bool is_child_with_stacks(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_FORK && c->tested->stacks;
}

static bool is_wrapping_lock(const struct mm_case *c)
{
    const struct mm_args *args = &c->kernel->args;

    return (args->kind == MM_MLOCK || args->kind == MM_MLOCK2) &&
           args->len > UINT64_MAX / 2 && failed(c->kernel) && failed(c->tested);
}

/* thp_get_unmapped_area, as ext4 and others have it. */
static bool is_aligned_file(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MMAP &&
           c->kernel->args.file == FILE_DISK &&
           c->kernel->args.len >= (uint64_t)2 << 20 && !failed(c->kernel) &&
           !failed(c->tested);
}

static bool is_pageout(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MADVISE &&
           c->kernel->args.flags == MM_MADV_PAGEOUT &&
           c->kernel->result == c->tested->result;
}

static bool is_at_the_top(const struct mm_case *c)
{
    return c->kernel->args.kind == MM_MMAP &&
           c->kernel->args.at > (uintptr_t)-4096 && failed(c->kernel) &&
           failed(c->tested);
}

static bool has_window(const struct mm_case *c)
{
    return c->config->window_pages != 1 && c->kernel->args.kind == MM_MINCORE;
}

static bool has_threads(const struct mm_case *c)
{
    return c->config->nthreads > 0;
}

static bool threads_look(const struct mm_case *c)
{
    return c->config->nthreads > 0 && c->kernel->args.kind == MM_MINCORE;
}

static bool by_reclaim(const struct mm_case *c)
{
    return c->reclaimed;
}

static const struct meant table[] = {
    {"hugetlb", ASPECT_RESULT, is_hugetlb,
     "a space has no pool of huge pages; which of two errors comes first in a "
     "call that cannot succeed is not followed"},
    {"hugetlb", ASPECT_ALL | REST_OF_RUN, is_hugetlb_without_pages,
     "with MAP_NORESERVE the kernel maps huge pages that its pool has not got; "
     "a space refuses"},
    {"across", ASPECT_ALL | REST_OF_RUN, is_across,
     "the kernel keeps alike neighbours apart that were written to or charged "
     "before they met (anon_vma, VM_ACCOUNT), a space joins them: bounds "
     "between such, and which of them is called [heap], are not compared "
     "(mm_look.c), and a run in which a call could tell ends there"},
    {"stack across", ASPECT_ALL | REST_OF_RUN, is_stack_across,
     "for the same reason the limit of stacks is compared with other sizes"},
    {"vain growth", ASPECT_ALL | REST_OF_RUN, is_vain_growth,
     "the kernel grows a stack before it finds that the touch is not allowed; "
     "in a space such a touch is the host's SIGSEGV, which nobody sees"},
    {"half unlocked", ASPECT_ALL | REST_OF_RUN | ALWAYS, is_half_unlocked,
     "MREMAP_DONTUNMAP of locked memory: the kernel unlocks all of the mapping "
     "that was moved from, and leaves its pages in locked_vm for ever"},
    {"child with stacks", ASPECT_SEEN, is_child_with_stacks,
     "in a child that the kernel serves (UF_FORK_ZERO) nobody grows a stack"},
    {"hwpoison", ASPECT_RESULT, is_poison,
     "-EPERM in a space; -EINVAL where the kernel is built without it"},
    {"wrapping lock", ASPECT_RESULT, is_wrapping_lock,
     "on the kernel side to be unlimited is a capability, in a space a number, "
     "and a length that wraps may exceed it first"},
    {"aligned file", ASPECT_ALL | REST_OF_RUN, is_aligned_file,
     "some file systems place large mappings as huge pages would lie; a space "
     "places all files alike"},
    {"pageout", ASPECT_ALL | REST_OF_RUN, is_pageout,
     "what MADV_FREE gave up, PAGEOUT takes if the host has put the page on "
     "its lists by now"},
    {"reclaim", ASPECT_RESIDENT | ASPECT_CONTENTS | ASPECT_SEEN | REST_OF_RUN,
     by_reclaim,
     "the host takes what MADV_FREE gave up, and clean pages of a file on "
     "disk, "
     "whenever it is short of memory (mm_reclaim.c)"},
    {"at the top", ASPECT_RESULT, is_at_the_top,
     "the kernel takes a fixed address of the last page for an error number"},
    {"collapse", ASPECT_ALL | REST_OF_RUN, is_collapse,
     "whether there is a huge page now is the host's luck, and a space brings "
     "in the whole huge pages of the range before it asks"},
    {"window", ASPECT_SEEN, has_window,
     "one fault brings in more pages than one: what the kernel has, the space "
     "has, and not the other way round (mm_compare.c)"},
    {"threads", ASPECT_RESIDENT, has_threads,
     "which pages the threads touched by now is chance"},
    {"threads", ASPECT_SEEN, threads_look, "the same, seen by mincore"},
};

uint32_t mm_meant(const struct mm_case *c, uint32_t differ)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct meant *meant = &table[i];

        if ((!differ && !(meant->aspects & ALWAYS)) || !meant->applies(c))
            continue;
        if (meant->aspects & REST_OF_RUN)
            return REST_OF_RUN;
        differ &= ~meant->aspects;
    }
    return differ;
}

void mm_meant_print(FILE *out)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        fprintf(out, "%s: %s\n", table[i].name, table[i].reason);
}
