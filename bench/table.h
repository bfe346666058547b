/* SPDX-License-Identifier: MIT */
/*
 * table: a guest program, in memory that is given to it. It keeps records under
 * keys, as a store or an interpreter does: an array of buckets, and records of
 * about a kilobyte, half of it text, in the order in which they came. A request
 * looks up key after key, and each key depends on the record before, so that
 * nothing but the last run knows which page is next.
 */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* Fills [at, at + len_bytes) with a table; len_bytes is a multiple of 1 MiB. */
void table_make(char *at, size_t len_bytes);

/* Looks up `n` records; what was found, in one number. */
uint64_t table_ask(const char *at, uint64_t seed, size_t n);

#endif
