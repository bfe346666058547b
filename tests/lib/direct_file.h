/* SPDX-License-Identifier: MIT */
/*
 * direct_file: a file whose every page says which one it is, and a pager that
 * reads it past the page cache; where there is no direct I/O the file is pushed
 * out of the cache when it is mapped. It was written just now, and is read ahead
 * all the same. All assert.
 */
#ifndef TESTS_LIB_DIRECT_FILE_H
#define TESTS_LIB_DIRECT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "ufault/store.h"
#include "ufault/ufault.h"

#define DIRECT_FILE_PAGES 1536

struct direct_file {
    int fd;
    struct uf_store *store;
    struct uf_pager *pager;
};

/* What all bytes of page n are. */
unsigned char direct_file_byte(size_t n);

/* Without a name, in the directory. */
void direct_file_make(struct direct_file *f, const char *dir, size_t len_bytes);
void direct_file_end(struct direct_file *f);

/* Where DIRECT_FILE_PAGES of it are, private and writable. */
uintptr_t direct_file_map(struct uf_space *space, struct direct_file *f);

#endif
