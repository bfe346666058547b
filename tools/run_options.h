/* SPDX-License-Identifier: MIT */
/* run_options: the command line of `ufault run`. */
#ifndef UF_TOOLS_RUN_OPTIONS_H
#define UF_TOOLS_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct run_options {
    uint32_t window_pages;
    uint64_t limit_bytes; /* RLIMIT_DATA; UF_UNLIMITED: as it is */
    uint32_t cpu_plus_one;
    uint64_t mapping_bytes; /* room for mappings; 0: not served */
    bool stacks;            /* of threads are served, too */
    bool follow;
    bool quiet;
    bool json;
    const char *report; /* file, or NULL: stderr */
    char **program;     /* its argv */
};

/*
 * Reads the command line; argv[0] is "run". Returns -1 to go on, or the status
 * to exit with, all being said.
 */
int run_options_parse(int argc, char **argv, struct run_options *ret);

/* A size with an optional suffix K, M, G or T (powers of 1024). */
bool run_parse_size(const char *text, uint64_t *ret_bytes);

#endif
