/* SPDX-License-Identifier: MIT */
/*
 * ufault-bench: the rows of the README's table and those that explain them.
 *
 *     ufault-bench [--quick] [--only PATTERN] [--json FILE]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/ufault.h"

static int usage(FILE *to)
{
    fprintf(
        to,
        "usage: ufault-bench [--quick] [--only PATTERN] "
        "[--json FILE]\n"
        "  --quick         3 repetitions and not 9\n"
        "  --only PATTERN  rows whose work, engine or baseline has PATTERN\n"
        "                  in it\n"
        "  --json FILE     the rows as a JSON array, too\n");
    return to == stdout ? 0 : 2;
}

static void print_machine(void)
{
    struct uf_probe probe = {.size = sizeof(probe)};
    struct utsname name;

    uname(&name);
    uf_probe(&probe);
    printf("# ufault %s, Linux %s %s, %ld CPUs, page %ld, userfaultfd by %s\n",
           uf_version(), name.release, name.machine,
           sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_PAGESIZE),
           uf_tier_name(probe.tier));
}

/* Latency to a handler thread is that of a free CPU: who reads a table should
 * know whether there was one. */
static void print_load(void)
{
    double load[1];

    if (getloadavg(load, 1) == 1)
        printf("# load %.1f before the first row%s\n", load[0],
               load[0] > 0.5 ? ": others run here, too" : "");
}

static size_t append(struct row *rows, size_t n, const struct row *more,
                     size_t nmore)
{
    if (nmore > BENCH_ROWS_MAX - n)
        abort();
    memcpy(rows + n, more, nmore * sizeof(rows[0]));
    return n + nmore;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"quick", 0, NULL, 'q'},
                                            {"only", 1, NULL, 'o'},
                                            {"json", 1, NULL, 'j'},
                                            {"help", 0, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct bench_opts opts = {.reps = 9};
    static struct row rows[BENCH_ROWS_MAX];
    size_t n = 0;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h')
            return usage(stdout);
        if (c == 'q')
            opts.reps = 3;
        else if (c == 'o')
            opts.only = optarg;
        else if (c == 'j')
            opts.json = optarg;
        else
            return usage(stderr);
    }
    if (optind < argc) {
        fprintf(stderr, "ufault-bench: '%s': no arguments are expected\n",
                argv[optind]);
        return usage(stderr);
    }
    n = append(rows, n, touch_rows, touch_nrows);
    n = append(rows, n, huge_rows, huge_nrows);
    n = append(rows, n, peer_rows, peer_nrows);
    n = append(rows, n, thread_rows, thread_nrows);
    n = append(rows, n, resident_rows, resident_nrows);
    n = append(rows, n, pinned_rows, pinned_nrows);
    n = append(rows, n, part_rows, part_nrows);
    n = append(rows, n, idle_rows, idle_nrows);
    n = append(rows, n, map_rows, map_nrows);
    n = append(rows, n, file_rows, file_nrows);
    n = append(rows, n, cold_rows, cold_nrows);
    n = append(rows, n, clone_rows, clone_nrows);
    n = append(rows, n, image_rows, image_nrows);
    n = append(rows, n, checkpoint_rows, checkpoint_nrows);
    n = append(rows, n, wasm_rows, wasm_nrows);
    n = append(rows, n, beside_rows, beside_nrows);
    n = append(rows, n, program_rows, program_nrows);
    n = append(rows, n, mapped_rows, mapped_nrows);
    print_machine();
    print_load();
    return bench_run(rows, n, &opts);
}
