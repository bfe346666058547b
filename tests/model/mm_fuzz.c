/* SPDX-License-Identifier: MIT */
/*
 * mm-fuzz: mm-twin with libFuzzer choosing the operations.
 *
 * The bytes are the choices that mm-twin's generator makes of a seed, so every
 * input is a list of operations and nearly every change of one is another. The
 * space lives in the fuzzer's process, whose coverage leads it; the kernel side
 * is a child.
 *
 *     mm-fuzz [libFuzzer's options] [mm_corpus]
 *
 * A difference is printed as mm-twin prints it, shrunk and ready for
 * `mm-twin --replay`, and is a crash to libFuzzer, which keeps the input.
 */
#include "model/mm_twin.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FUZZ_OPS 96u /* as many as one input makes */

static struct mm_pair pair;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    /* The kernel side is this program, begun anew. */
    if (*argc == 8 && strcmp((*argv)[1], "--serve") == 0)
        _exit(mm_side_serve(*argv + 2));
    signal(SIGPIPE, SIG_IGN);
    mm_pair_open(&pair, false, mm_space_side());
    pair.exchange->dump_at = UINT32_MAX;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    struct mm_source source = {.bytes = bytes, .left = len_bytes};
    struct mm_exchange *exchange = pair.exchange;
    const struct mm_plan plan = {.ops = FUZZ_OPS};

    if (len_bytes < 8)
        return -1;
    mm_make_config(&source, &plan, &exchange->config);
    exchange->config.deep_every = 8;
    exchange->nops =
        mm_make_ops(&source, &plan, &exchange->config, exchange->ops, FUZZ_OPS);
    if (exchange->nops == 0)
        return -1;
    mm_catch_signals(); /* libFuzzer's own came after the first time */
    if (mm_pair_run(&pair) &&
        mm_first_difference(exchange, NULL) == exchange->nops)
        return 0;
    mm_report(&pair, NULL);
    abort();
}
