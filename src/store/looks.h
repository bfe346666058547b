/* SPDX-License-Identifier: MIT */
/*
 * looks: whether parts of a mapped file are in the page cache, with fewer looks
 * than questions. At random pages mincore(2) costs more than their copies; of a
 * whole block it costs no more than of one page where the block is mapped, and
 * as much as 30 where none of it is. What has been copied from is mapped.
 *
 *     of a block     the first questions   one more      others
 *     looked at      what is asked         all of it     nothing, if all is there;
 *                                                        else what is asked
 *
 * All of them soon after each other. So an answer may be LOOKS_MS old. Who relies
 * on it and is wrong waits for a disk where it did not mean to, and nothing else.
 */
#ifndef UF_STORE_LOOKS_H
#define UF_STORE_LOOKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOOKS_PAGES  512 /* of a block */
#define LOOKS_BLOCKS 512
#define LOOKS_ASKED  16 /* questions before a block is worth a look */
#define LOOKS_MS     100

/* Zeros: nothing is known. A block is where its number modulo their count is. */
struct looks {
    _Atomic uint64_t blocks[LOOKS_BLOCKS];
};

/*
 * True if [offset, offset + len_bytes) of the view_bytes at `view`, whole pages,
 * at most LOOKS_PAGES, are in the page cache, or were lately. now_ms: of a clock
 * that does not go back. Any thread, signal handlers too; no lock.
 */
bool looks_find(struct looks *looks, char *view, size_t view_bytes,
                uint64_t offset, size_t len_bytes, uint64_t now_ms);

#endif
