/* SPDX-License-Identifier: MIT */
/* See run_report.h: one JSON object. Every counter of ufault/stats.h is in it
 * under its name. */
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "run_report.h"
#include "ufault/ufault.h"

/* JSON is UTF-8 and file names are bytes: what is not ASCII is shown as the
 * character of that number. */
static void print_string(const char *s, FILE *to)
{
    fputc('"', to);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            fprintf(to, "\\u%04x", c);
        else
            fputc(c, to);
    }
    fputc('"', to);
}

static void print_stats(const struct uf_stats *s, FILE *to)
{
#define PRINT(name, sentence)                                                  \
    fprintf(to, "\"" #name "\": %" PRIu64 ", ", s->name);
    UF_COUNTERS(PRINT)
    UF_GAUGES(PRINT)
#undef PRINT
    fprintf(to,
            "\"fault_p50_ns\": %" PRIu64 ", \"fault_p99_ns\": %" PRIu64
            ", \"fault_max_ns\": %" PRIu64 ", \"pages_per_fault\": %.2f",
            s->fault_p50_ns, s->fault_p99_ns, s->fault_max_ns,
            run_pages_per_fault(s));
}

static void print_threads(const struct uf_thread_stats *threads, uint32_t n,
                          FILE *to)
{
    fputs(", \"threads\": [", to);
    for (uint32_t i = 0; i < n; i++) {
        const struct uf_thread_stats *t = &threads[i];

        fprintf(to,
                "%s{\"tid\": %d, \"faults_read\": %" PRIu64
                ", \"faults_write\": %" PRIu64 ", \"pages_installed\": %" PRIu64
                ", \"fault_ns\": %" PRIu64 "}",
                i > 0 ? ", " : "", (int)t->tid, t->faults_read, t->faults_write,
                t->pages_installed, t->fault_ns);
    }
    fputc(']', to);
}

static void print_process(const struct run_process *p, FILE *to)
{
    fprintf(to, "    {\"pid\": %d, \"program\": ", (int)p->pid);
    print_string(p->program, to);
    fprintf(to, ", \"forked\": %s, \"alive\": %s, \"served\": %s, ",
            p->forked ? "true" : "false", p->alive ? "true" : "false",
            p->stage == RUN_STAGE_READY ? "true" : "false");
    if (p->stage != RUN_STAGE_READY) {
        fputs("\"error\": ", to);
        print_string(strerror(-p->err), to);
        fputs(", ", to);
    }
    if (p->minflt > 0)
        fprintf(to, "\"ru_minflt\": %" PRIu64 ", ", p->minflt);
    print_stats(&p->stats, to);
    print_threads(p->threads, p->nthreads, to);
    if (p->mapped == RUN_MAPPING_SERVED) {
        fprintf(to, ", \"mapped\": {\"left_to_kernel\": %" PRIu64 ", ",
                p->mmaps_left);
        print_stats(&p->mapped_stats, to);
        print_threads(p->mapped_threads, p->nmapped_threads, to);
        fputc('}', to);
    } else if (p->mapped != RUN_MAPPING_NOT_ASKED) {
        fputs(", \"mapped\": null, \"mapped_error\": ", to);
        print_string(run_mapping_text(p), to);
    }
    fputc('}', to);
}

static void print_end(const struct run_report *r, FILE *to)
{
    int status = r->end->status;

    fputs("{\n  \"program\": ", to);
    print_string(r->options->program[0], to);
    if (WIFSIGNALED(status))
        fprintf(to, ",\n  \"signal\": %d", WTERMSIG(status));
    else
        fprintf(to, ",\n  \"exit_code\": %d", WEXITSTATUS(status));
    fprintf(to, ",\n  \"wall_ns\": %" PRIu64, r->end->wall_ns);
    fprintf(to, ",\n  \"ru_minflt\": %ld", r->end->usage.ru_minflt);
    fputs(",\n  \"tier\": ", to);
    print_string(r->tier, to);
    fprintf(to, ",\n  \"window_pages\": %" PRIu32, r->options->window_pages);
}

void run_report_json(const struct run_report *r, FILE *to)
{
    const struct run_totals *t = &r->ledger->totals;

    print_end(r, to);
    fprintf(to,
            ",\n  \"processes_served\": %" PRIu64
            ",\n  \"processes_not_served\": %" PRIu64
            ",\n  \"breaks_left_to_kernel\": %" PRIu64 ",\n  \"total\": {",
            t->nserved, t->nunserved, t->npassed);
    print_stats(&t->stats, to);
    if (r->options->mapping_bytes > 0) {
        fprintf(to,
                "},\n  \"processes_mapped\": %" PRIu64
                ",\n  \"mapped\": {\"left_to_kernel\": %" PRIu64 ", ",
                t->nmapped, t->mmaps_left);
        print_stats(&t->mapped_stats, to);
    }
    fputs("},\n  \"processes\": [\n", to);
    for (size_t i = 0; i < r->ledger->count; i++) {
        print_process(r->ledger->processes[i], to);
        fputs(i + 1 < r->ledger->count ? ",\n" : "\n", to);
    }
    fputs("  ]\n}\n", to);
}
