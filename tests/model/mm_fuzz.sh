#!/bin/bash
# SPDX-License-Identifier: MIT
#
# mm_fuzz.sh MM-FUZZ SCRATCH: the corpus, and then what libFuzzer makes of it for
# UFAULT_MM_FUZZ_SECONDS, 5 if not set. What is new goes into SCRATCH, and so
# does an input that shows a difference.

set -euo pipefail

fuzz=$1 scratch=$2
corpus=$(dirname "$0")/mm_corpus

mkdir -p "$scratch/mm_corpus_new"
"$fuzz" -max_total_time="${UFAULT_MM_FUZZ_SECONDS:-5}" -timeout=60 \
    -max_len=4096 -print_final_stats=1 -artifact_prefix="$scratch/" \
    "$scratch/mm_corpus_new" "$corpus"
