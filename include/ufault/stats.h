/* SPDX-License-Identifier: MIT */
/*
 * ufault/stats.h: what a space counts, declared once.
 *
 * UF_COUNTERS and UF_GAUGES list every statistic as X(name, sentence). The
 * snapshot struct, its text and its JSON are made from these lists, so a
 * statistic that is counted is also shown. Counters only grow; gauges are
 * values now. They are checked in the tests against a recount.
 *
 * One law binds them:
 *   faults = installed + present + stale + refused + folded + pending
 */
#ifndef UFAULT_STATS_H
#define UFAULT_STATS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UF_COUNTERS(X)                                                         \
    X(brk_calls, "uf_brk calls, sbrk included")                                \
    X(brk_grown, "break calls that mapped pages")                              \
    X(brk_shrunk, "break calls that unmapped pages")                           \
    X(brk_refused, "break calls that left the break where it was, though "     \
                   "another was asked for")                                    \
    X(mmaps, "uf_mmap calls that mapped something")                            \
    X(munmaps, "uf_munmap calls that unmapped something")                      \
    X(mprotects, "uf_mprotect calls that succeeded")                           \
    X(mremaps, "uf_mremap calls that succeeded")                               \
    X(madvises, "uf_madvise calls that succeeded")                             \
    X(stack_grown, "touches below a stack that made it grow")                  \
    X(faults, "first-touch faults received")                                   \
    X(faults_read, "of these, reads")                                          \
    X(faults_write, "of these, writes")                                        \
    X(installed, "faults answered by installing their page")                   \
    X(present, "faults whose page was there already (lost race)")              \
    X(stale, "faults on a mapping that had gone or changed; the thread "       \
             "looks again")                                                    \
    X(refused, "faults answered with SIGBUS")                                  \
    X(folded, "faults answered by the window of another in the same batch")    \
    X(deferred, "times a fault was put off and tried again")                   \
    X(pages_installed, "pages made resident")                                  \
    X(pages_zero, "of these, mappings of the shared zero page")                \
    X(pages_prefetched, "of these, pages beside the touched one")              \
    X(prefetched, "of these, pages made resident in the background")           \
    X(huge_installed, "huge pages moved in, each answering one fault")         \
    X(huge_fallback, "blocks of 2 MiB to be huge that came as small pages")    \
    X(huge_promoted, "blocks of small pages made huge in the background")      \
    X(huge_unpromoted, "blocks of small pages that could not be made huge")    \
    X(pages_dropped, "pages taken away by a shrinking break, munmap, madvise") \
    X(installs, "install calls to the kernel (copy, zeropage)")                \
    X(install_retries, "install calls repeated for a partial or busy result")  \
    X(pager_calls, "fills asked of pagers")                                    \
    X(pager_bytes, "bytes that pagers supplied")                               \
    X(pager_failures, "fills that failed honestly")                            \
    X(pager_lies, "fills refused because the pager broke its contract")        \
    X(protect_faults,                                                          \
      "first writes to pages that dirty tracking had protected, "              \
      "where the kernel does not answer them itself")                          \
    X(self_touches, "touches of a space by a handler thread")                  \
    X(fault_ns, "nanoseconds from receiving a fault to waking its thread")     \
    X(pager_ns, "of these, nanoseconds inside pagers")

#define UF_GAUGES(X)                                                           \
    X(start_brk, "address where the heap begins")                              \
    X(brk, "address of the break")                                             \
    X(brk_peak, "highest break so far")                                        \
    X(total_vm, "pages mapped")                                                \
    X(total_vm_peak, "most pages mapped so far")                               \
    X(data_vm, "pages mapped private and writable")                            \
    X(data_vm_peak, "most such pages so far")                                  \
    X(stack_vm, "pages mapped MAP_GROWSDOWN")                                  \
    X(exec_vm, "pages mapped executable and not writable")                     \
    X(shared_vm, "pages mapped MAP_SHARED")                                    \
    X(locked_vm, "pages mapped locked")                                        \
    X(locked_vm_peak, "most such pages so far")                                \
    X(map_count, "mappings (VMAs)")                                            \
    X(map_count_peak, "most mappings so far")                                  \
    X(resident, "pages resident, by what was installed and dropped")           \
    X(resident_peak, "most pages resident so far")                             \
    X(huge_pool_ready, "huge pages that the engine's pool has ready now")      \
    X(pending, "faults received and not yet answered")

#define UF_STATS_VERSION 1

/* A snapshot. Its values are each exact, but not of one common instant. */
struct uf_stats {
    size_t size;      /* set by the caller to sizeof(struct uf_stats) */
    uint32_t version; /* UF_STATS_VERSION of the library, on return */
    uint32_t page_bytes;
#define UF_STATS_FIELD(name, sentence) uint64_t name;
    UF_COUNTERS(UF_STATS_FIELD)
    UF_GAUGES(UF_STATS_FIELD)
#undef UF_STATS_FIELD
    /* Service time of a fault, from received to woken, in nanoseconds: the
     * upper bound of the histogram bucket that holds the percentile. */
    uint64_t fault_p50_ns;
    uint64_t fault_p99_ns;
    uint64_t fault_max_ns;
};

/* Who touched: one record per thread that ever faulted on the space. */
struct uf_thread_stats {
    pid_t tid; /* 0: the kernel did not say */
    uint32_t reserved;
    uint64_t faults_read;
    uint64_t faults_write;
    uint64_t pages_installed;
    uint64_t fault_ns;
};

#ifdef __cplusplus
}
#endif

#endif
