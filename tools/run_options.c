/* SPDX-License-Identifier: MIT */
/* See run_options.h. */
#include "run_options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/range.h"
#include "commands.h"
#include "run/protocol.h"
#include "ufault/ufault.h"

#define WINDOW_MAX 512

#define MAPPING_MIN         ((uint64_t)1 << 20)
#define MAPPING_DEFAULT_MIN ((uint64_t)64 << 30)

static const char help[] =
    "usage: ufault run [OPTIONS] [--] PROGRAM [ARGS]\n"
    "\n"
    "Runs PROGRAM with its brk heap served by ufault: every first touch of a\n"
    "heap page is answered in user space. At its end a report goes to stderr.\n"
    "\n"
    "    --window N      pages brought in by one fault, 1 to 512 (it adapts)\n"
    "    --limit SIZE    data limit, as `ulimit -d`: K, M, G, T are powers of\n"
    "                    1024; beyond it malloc returns NULL\n"
    "    --mmap          serve anonymous private mappings, too\n"
    "    --mmap-size S   the same, with S bytes of addresses for them\n"
    "    --stacks        the same, and of the mappings thread stacks, too\n"
    "    --follow        serve forked children and started programs (default)\n"
    "    --no-follow     serve the first program alone\n"
    "    --cpu N         bind the threads that answer faults to CPU N\n"
    "    --report FILE   the report goes there\n"
    "    --json          the report is one JSON object\n"
    "    --quiet         no report\n"
    "    --help\n"
    "\n"
    "The exit code is PROGRAM's; a signal that ended PROGRAM ends ufault. 2: "
    "the\n"
    "command line is wrong; 125: ufault failed; 126: PROGRAM cannot be "
    "started;\n"
    "127: PROGRAM was not found.\n";

bool run_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char suffixes[] = "KMGT";
    unsigned long long value;
    const char *suffix;
    unsigned shift = 0;
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    if (*end != '\0') {
        suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (!suffix || end[1] != '\0')
            return false;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (value > UINT64_MAX >> shift)
        return false;
    *ret_bytes = (uint64_t)value << shift;
    return true;
}

static bool parse_number(const char *text, uint32_t min, uint32_t max,
                         uint32_t *ret)
{
    uint64_t value;

    if (!run_parse_size(text, &value) || value < min || value > max)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static int wrong_value(const char *option, const char *value,
                       const char *expected)
{
    fprintf(stderr, "ufault run: %s \"%s\": expected %s\n", option, value,
            expected);
    return EXIT_USAGE;
}

static int set_window(struct run_options *o, const char *value)
{
    if (parse_number(value, 1, WINDOW_MAX, &o->window_pages))
        return -1;
    return wrong_value("--window", value, "a number of pages from 1 to 512");
}

static int set_limit(struct run_options *o, const char *value)
{
    if (run_parse_size(value, &o->limit_bytes) &&
        o->limit_bytes != UF_UNLIMITED)
        return -1;
    return wrong_value("--limit", value,
                       "a size in bytes, such as 1048576, 512K, 256M or 2G");
}

static int set_cpu(struct run_options *o, const char *value)
{
    char expected[64];
    uint32_t ncpus = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);

    if (parse_number(value, 0, ncpus - 1, &o->cpu_plus_one)) {
        o->cpu_plus_one++;
        return -1;
    }
    snprintf(expected, sizeof(expected), "a CPU number from 0 to %u",
             ncpus - 1);
    return wrong_value("--cpu", value, expected);
}

/* Four times memory and swap: what programs reserve and do not use fits, too. A
 * power of two. */
static uint64_t default_mapping_bytes(void)
{
    uint64_t want = 0, size = MAPPING_DEFAULT_MIN;
    struct sysinfo info;

    if (sysinfo(&info) == 0)
        want = 4 * ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
    while (size < want && size < RUN_MAPPING_MAX)
        size *= 2;
    return size;
}

static int set_mapping_size(struct run_options *o, const char *value)
{
    if (run_parse_size(value, &o->mapping_bytes) &&
        o->mapping_bytes >= MAPPING_MIN &&
        o->mapping_bytes <= RUN_MAPPING_MAX) {
        o->mapping_bytes = align_up(o->mapping_bytes, page_size());
        return -1;
    }
    return wrong_value("--mmap-size", value, "a size from 1M to 1T");
}

enum {
    WINDOW = 1,
    LIMIT,
    MAPPED,
    MAPPED_SIZE,
    STACKS,
    FOLLOW,
    NO_FOLLOW,
    CPU,
    REPORT,
    JSON,
    QUIET,
    HELP
};

static const struct option long_options[] = {
    {"window", required_argument, NULL, WINDOW},
    {"limit", required_argument, NULL, LIMIT},
    {"mmap", no_argument, NULL, MAPPED},
    {"mmap-size", required_argument, NULL, MAPPED_SIZE},
    {"stacks", no_argument, NULL, STACKS},
    {"follow", no_argument, NULL, FOLLOW},
    {"no-follow", no_argument, NULL, NO_FOLLOW},
    {"cpu", required_argument, NULL, CPU},
    {"report", required_argument, NULL, REPORT},
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

/* One option. -1 to go on, or the status to exit with. */
static int apply(struct run_options *o, int option, const char *value)
{
    switch (option) {
    case WINDOW:
        return set_window(o, value);
    case LIMIT:
        return set_limit(o, value);
    case CPU:
        return set_cpu(o, value);
    case MAPPED:
    case STACKS:
        if (o->mapping_bytes == 0)
            o->mapping_bytes = default_mapping_bytes();
        o->stacks |= option == STACKS;
        return -1;
    case MAPPED_SIZE:
        return set_mapping_size(o, value);
    case FOLLOW:
    case NO_FOLLOW:
        o->follow = option == FOLLOW;
        return -1;
    case REPORT:
        o->report = value;
        return -1;
    case JSON:
        o->json = true;
        return -1;
    case QUIET:
        o->quiet = true;
        return -1;
    case 'h':
    case HELP:
        fputs(help, stdout);
        return EXIT_DONE;
    default: /* getopt has said what is wrong */
        fputs("Try ufault run --help.\n", stderr);
        return EXIT_USAGE;
    }
}

int run_options_parse(int argc, char **argv, struct run_options *ret)
{
    char name[] = "ufault run";
    int option, status = -1;

    *ret = (struct run_options){.limit_bytes = UF_UNLIMITED, .follow = true};
    argv[0] = name; /* for getopt's messages */
    /* The "+": what follows PROGRAM is PROGRAM's. */
    while (status < 0 &&
           (option = getopt_long(argc, argv, "+h", long_options, NULL)) != -1)
        status = apply(ret, option, optarg);
    argv[0] = NULL; /* `name` ends here */
    if (status >= 0)
        return status;
    if (optind >= argc) {
        fputs("ufault run: no program to run\nTry ufault run --help.\n",
              stderr);
        return EXIT_USAGE;
    }
    ret->program = argv + optind;
    return -1;
}
