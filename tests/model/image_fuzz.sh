#!/bin/bash
# SPDX-License-Identifier: MIT
#
# image_fuzz.sh IMAGE-FUZZ SCRATCH: a few good images, and then what libFuzzer
# makes of them for UFAULT_IMAGE_FUZZ_SECONDS, 5 if not set. An input that breaks
# a promise stays in SCRATCH.

set -euo pipefail

fuzz=$1 scratch=$2

mkdir -p "$scratch/image_corpus"
"$fuzz" --make "$scratch/image_corpus"
"$fuzz" -max_total_time="${UFAULT_IMAGE_FUZZ_SECONDS:-5}" -timeout=60 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="$scratch/image-" \
    "$scratch/image_corpus"
