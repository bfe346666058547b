/* SPDX-License-Identifier: MIT */
/* run_report: what a person, or a program, reads at the end. */
#ifndef UF_TOOLS_RUN_REPORT_H
#define UF_TOOLS_RUN_REPORT_H

#include <stdio.h>

#include "run_launch.h"
#include "run_ledger.h"
#include "run_options.h"

struct run_report {
    const struct run_options *options;
    const struct ledger *ledger;
    const struct run_end *end;
    const char *tier; /* uf_tier_name */
};

void run_report_text(const struct run_report *report, FILE *to);

/* run_json.c */
void run_report_json(const struct run_report *report, FILE *to);

/* Why a process's mappings were not served. Requires: they were asked for. */
const char *run_mapping_text(const struct run_process *process);

/* Bytes per page of this machine, and of the whole report. */
double run_pages_per_fault(const struct uf_stats *stats);

#endif
