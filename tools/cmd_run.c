/* SPDX-License-Identifier: MIT */
/*
 * ufault run: an unmodified program with its heap served by ufault.
 *
 *     options ─► program found and fit? ─► userfaultfd there? ─► session server
 *        ─► first program under the filter ─► its end ─► report ─► end alike
 *
 * One file per step: run_options, run_program, run_session, run_launch,
 * run_report. What happens inside the program is src/run's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "commands.h"
#include "host/caps.h"
#include "host/uffd.h"
#include "run_launch.h"
#include "run_options.h"
#include "run_program.h"
#include "run_report.h"
#include "run_session.h"

/* -------------------------------------------------------------------- tier --
 */

/* Why neither of the two that serve touches by system calls is to be had. */
static int explain_refusal(void)
{
    static const enum uf_probe_id needed[] = {UF_PROBE_SYSCALL,
                                              UF_PROBE_DEVICE};
    struct uf_probe probe = {.size = sizeof(probe)};

    fputs("ufault run: no userfaultfd that also serves touches by system "
          "calls, without which programs would see read(2) and others fail\n",
          stderr);
    caps_probe(&probe);
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        const struct uf_probe_item *item = &probe.items[needed[i]];

        fprintf(stderr, "  %s: %s\n", item->name, item->why);
        if (item->remedy[0] != '\0')
            fprintf(stderr, "    to allow it: %s\n", item->remedy);
    }
    return EXIT_RUN_FAILED;
}

/* -1, or the status to exit with. */
static int find_tier(enum uf_tier *ret)
{
    static const enum uf_tier full[] = {UF_TIER_SYSCALL, UF_TIER_DEVICE};

    for (size_t i = 0; i < sizeof(full) / sizeof(full[0]); i++) {
        int fd = uffd_open_tier(full[i]);

        if (fd >= 0) {
            close(fd);
            *ret = full[i];
            return -1;
        }
    }
    return explain_refusal();
}

/* ------------------------------------------------------------------- report --
 */

/* Opened before the program runs, so that a wrong path costs nothing. */
static int open_report(const struct run_options *options, FILE **ret)
{
    int fd;

    *ret = stderr;
    if (options->quiet || !options->report)
        return -1;
    fd = open(options->report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    *ret = fd < 0 ? NULL : fdopen(fd, "w");
    if (*ret)
        return -1;
    fprintf(stderr, "ufault run: --report \"%s\": %s\n", options->report,
            strerror(errno));
    return EXIT_RUN_FAILED;
}

static void write_report(const struct run_report *report, FILE *to)
{
    if (report->options->json)
        run_report_json(report, to);
    else
        run_report_text(report, to);
    if (fflush(to) != 0)
        fprintf(stderr, "ufault run: the report could not be written: %s\n",
                strerror(errno));
}

/* ---------------------------------------------------------------------- run --
 */

/* -1, or the status to exit with. */
static int check_room(const struct run_options *options)
{
    struct rlimit limit;

    if (options->mapping_bytes == 0 || getrlimit(RLIMIT_AS, &limit) < 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return -1;
    fputs("ufault run: --mmap: the address space is limited (ulimit -v), and "
          "the limit would count all that is reserved for mappings\n",
          stderr);
    return EXIT_RUN_FAILED;
}

/* -1, or the status to exit with. */
static int prepare(const struct run_options *options, char path[PATH_MAX],
                   enum uf_tier *ret_tier)
{
    int status;

    if (getenv(RUN_ENV)) {
        fputs("ufault run: already under `ufault run`, which serves this "
              "program's children too; one cannot run in the other\n",
              stderr);
        return EXIT_RUN_FAILED;
    }
    status = check_room(options);
    if (status >= 0)
        return status;
    status = run_program_find(options->program[0], path);
    if (!status)
        status = run_program_check(path);
    return status ? status : find_tier(ret_tier);
}

static int run(const struct run_options *options, const char *path,
               enum uf_tier tier, FILE *report_to)
{
    struct run_welcome welcome = {.window_pages = options->window_pages,
                                  .tier = tier,
                                  .stacks = options->stacks,
                                  .mapping_bytes = options->mapping_bytes,
                                  .cpu_plus_one = options->cpu_plus_one};
    struct run_end end = {0};
    struct ledger ledger;
    struct run_report report = {.options = options,
                                .ledger = &ledger,
                                .end = &end,
                                .tier = uf_tier_name(tier)};
    struct session session;
    int err = session_start(&welcome, &session);
    int status;

    if (err) {
        fprintf(stderr, "ufault run: no session server: %s\n", strerror(-err));
        return EXIT_RUN_FAILED;
    }
    status = run_launch(options, path, &session, &end);
    if (status >= 0)
        return status;
    err = session_finish(&session, &ledger);
    if (err)
        fprintf(stderr, "ufault run: the session server is gone: %s\n",
                strerror(-err));
    else if (!options->quiet)
        write_report(&report, report_to);
    ledger_free(&ledger);
    run_end_alike(&end);
}

int cmd_run(int argc, char **argv)
{
    struct run_options options;
    char path[PATH_MAX];
    enum uf_tier tier = UF_TIER_NONE;
    FILE *report_to = stderr;
    int status = run_options_parse(argc, argv, &options);

    if (status < 0)
        status = prepare(&options, path, &tier);
    if (status < 0)
        status = open_report(&options, &report_to);
    return status < 0 ? run(&options, path, tier, report_to) : status;
}
