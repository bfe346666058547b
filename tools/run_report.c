/* SPDX-License-Identifier: MIT */
/* See run_report.h: the text. */
#include "run_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define ROWS_MAX 20

/* -------------------------------------------------------------------- units --
 */

struct text {
    char s[48];
};

static struct text bytes(uint64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    unsigned unit = 0;
    struct text t;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(t.s, sizeof(t.s), unit == 0 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return t;
}

static struct text duration(uint64_t ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    double value = (double)ns;
    unsigned unit = 0;
    struct text t;

    while (value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    snprintf(t.s, sizeof(t.s), unit == 0 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return t;
}

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

double run_pages_per_fault(const struct uf_stats *stats)
{
    return stats->faults == 0
               ? 0
               : (double)stats->pages_installed / (double)stats->faults;
}

/* Of the gauges' addresses. */
static uint64_t heap_peak(const struct uf_stats *stats)
{
    return stats->total_vm_peak * page_bytes();
}

/* ------------------------------------------------------------------- totals --
 */

static void print_heading(const struct run_report *r, FILE *to)
{
    const struct run_end *end = r->end;

    fprintf(to, "== ufault run: %s ", r->options->program[0]);
    if (WIFSIGNALED(end->status))
        fprintf(to, "was ended by signal %d (%s)", WTERMSIG(end->status),
                strsignal(WTERMSIG(end->status)));
    else
        fprintf(to, "ended with code %d", WEXITSTATUS(end->status));
    fprintf(to, " after %s\n", duration(end->wall_ns).s);
}

static void print_processes_line(const struct run_report *r, FILE *to)
{
    const struct run_totals *t = &r->ledger->totals;

    fprintf(to, "processes served    %" PRIu64, t->nserved);
    if (t->nunserved > 0)
        fprintf(to, ", %" PRIu64 " could not be", t->nunserved);
    fprintf(to, "  (userfaultfd by %s", r->tier);
    if (r->options->window_pages > 0)
        fprintf(to, ", %" PRIu32 " pages a fault", r->options->window_pages);
    fprintf(to, ")\n");
}

static void print_breaks(const struct uf_stats *s, FILE *to)
{
    fprintf(to, "break calls         %" PRIu64, s->brk_calls);
    if (s->brk_refused > 0)
        fprintf(to, ", %" PRIu64 " refused", s->brk_refused);
    fprintf(to, "\nheap high water     %s", bytes(heap_peak(s)).s);
    fprintf(to, ", %s of it resident\n",
            bytes(s->resident_peak * page_bytes()).s);
}

static void print_faults(const struct uf_stats *s, FILE *to)
{
    fprintf(to,
            "faults              %" PRIu64 "  (%" PRIu64 " read, %" PRIu64
            " write)\n",
            s->faults, s->faults_read, s->faults_write);
    fprintf(to, "pages installed     %" PRIu64 "  (%s, %.1f a fault)\n",
            s->pages_installed, bytes(s->pages_installed * page_bytes()).s,
            run_pages_per_fault(s));
    fprintf(to, "time in faults      %s", duration(s->fault_ns).s);
    fprintf(to, "  (p50 %s", duration(s->fault_p50_ns).s);
    fprintf(to, ", p99 %s", duration(s->fault_p99_ns).s);
    fprintf(to, ", longest %s)\n", duration(s->fault_max_ns).s);
    if (s->huge_installed + s->huge_fallback + s->huge_promoted > 0)
        fprintf(to,
                "huge pages          %" PRIu64 " moved in, %" PRIu64
                " promoted, %" PRIu64 " filled by small ones\n",
                s->huge_installed, s->huge_promoted, s->huge_fallback);
    if (s->prefetched > 0)
        fprintf(to, "pages prefetched    %" PRIu64 "\n", s->prefetched);
    if (s->refused > 0 || s->deferred > 0)
        fprintf(to,
                "faults refused      %" PRIu64 "  (and put off %" PRIu64
                " times)\n",
                s->refused, s->deferred);
}

const char *run_mapping_text(const struct run_process *process)
{
    switch ((enum run_mapping)process->mapped) {
    case RUN_MAPPING_NO_LIBC:
        return "the C library's functions are not those that are known";
    case RUN_MAPPING_LIMITED:
        return "its address space is limited (ulimit -v)";
    default:
        return strerror(-process->mapped_err);
    }
}

static void print_mappings(const struct run_totals *t, FILE *to)
{
    const struct uf_stats *s = &t->mapped_stats;

    fprintf(to, "\nmappings served of  %" PRIu64 " processes\n", t->nmapped);
    fprintf(to,
            "mmap calls          %" PRIu64 ", %" PRIu64
            " more left to the kernel\n",
            s->mmaps, t->mmaps_left);
    fprintf(to,
            "and after them      %" PRIu64 " munmap, %" PRIu64
            " mprotect, %" PRIu64 " mremap, %" PRIu64 " madvise\n",
            s->munmaps, s->mprotects, s->mremaps, s->madvises);
    fprintf(to, "mapped high water   %s", bytes(heap_peak(s)).s);
    fprintf(to, ", %s of it resident\n",
            bytes(s->resident_peak * page_bytes()).s);
    print_faults(s, to);
}

static void print_kernel(const struct run_end *end, FILE *to)
{
    fprintf(to,
            "kernel's ru_minflt  %ld  (all memory, the program and the "
            "children it waited for)\n",
            end->usage.ru_minflt);
}

/* ---------------------------------------------------------------- processes --
 */

static int more_faults(const void *a, const void *b)
{
    const struct run_process *const *p = a, *const *q = b;
    uint64_t m = (*p)->stats.faults, n = (*q)->stats.faults;

    return (m < n) - (m > n);
}

static const char *kind(const struct run_process *p)
{
    if (p->alive)
        return "  (runs on)";
    return p->forked ? "  (forked)" : "";
}

static void print_process(const struct run_process *p, FILE *to)
{
    static const char *const stages[RUN_STAGES] = {
        [RUN_STAGE_STATISTICS] = "mapping the statistics",
        [RUN_STAGE_ENGINE] = "userfaultfd and its threads",
        [RUN_STAGE_HEAP] = "taking the heap over",
    };

    fprintf(to, "%8d  %-16.16s", (int)p->pid, p->program);
    if (p->stage != RUN_STAGE_READY) {
        fprintf(to, "  not served: %s: %s\n",
                p->stage < RUN_STAGES ? stages[p->stage] : "?",
                strerror(-p->err));
        return;
    }
    fprintf(to, "%8" PRIu64 "  %10s", p->stats.brk_calls,
            bytes(heap_peak(&p->stats)).s);
    fprintf(to, "%9" PRIu64 "%9" PRIu64 "%10" PRIu64, p->stats.faults_read,
            p->stats.faults_write, p->stats.pages_installed);
    fprintf(to, "  %10s", duration(p->stats.fault_ns).s);
    fprintf(to, "  %8s", duration(p->stats.fault_p50_ns).s);
    fprintf(to, "  %8s%s\n", duration(p->stats.fault_p99_ns).s, kind(p));
    if (p->mapped > RUN_MAPPING_SERVED)
        fprintf(to, "          mappings not served: %s\n", run_mapping_text(p));
}

static void print_processes(const struct ledger *ledger, FILE *to)
{
    size_t rows = ledger->count < ROWS_MAX ? ledger->count : ROWS_MAX;

    if (ledger->count < 2 && ledger->totals.nunserved == 0 &&
        !(ledger->count == 1 &&
          ledger->processes[0]->mapped > RUN_MAPPING_SERVED))
        return;
    qsort(ledger->processes, ledger->count, sizeof(ledger->processes[0]),
          more_faults);
    fprintf(to, "\n     pid  program           breaks        heap    reads   "
                "writes     pages   in faults       p50       p99\n");
    for (size_t i = 0; i < rows; i++)
        print_process(ledger->processes[i], to);
    if (rows < ledger->count)
        fprintf(to, "          and %zu more with fewer faults\n",
                ledger->count - rows);
}

/* ------------------------------------------------------------------ threads --
 */

static void print_threads(const struct run_process *p, FILE *to)
{
    uint64_t rest = p->stats.faults;

    if (p->nthreads < 2)
        return;
    fprintf(to, "\n  thread  of %d %s\n", (int)p->pid, p->program);
    for (uint32_t i = 0; i < p->nthreads; i++) {
        const struct uf_thread_stats *t = &p->threads[i];

        fprintf(to,
                "%8d  %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64
                " pages, %s in faults\n",
                (int)t->tid, t->faults_read, t->faults_write,
                t->pages_installed, duration(t->fault_ns).s);
        rest -= t->faults_read + t->faults_write;
    }
    if (rest > 0 && p->nthreads == LEDGER_THREADS)
        fprintf(to, "  others  %" PRIu64 " faults\n", rest);
}

void run_report_text(const struct run_report *r, FILE *to)
{
    const struct uf_stats *total = &r->ledger->totals.stats;

    print_heading(r, to);
    print_processes_line(r, to);
    print_breaks(total, to);
    print_faults(total, to);
    if (r->options->mapping_bytes > 0)
        print_mappings(&r->ledger->totals, to);
    print_kernel(r->end, to);
    print_processes(r->ledger, to);
    for (size_t i = 0; i < r->ledger->count && i < ROWS_MAX; i++)
        print_threads(r->ledger->processes[i], to);
}
