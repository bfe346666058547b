/* SPDX-License-Identifier: MIT */
/* See direct_file.h. */
#include "lib/direct_file.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/range.h"
#include "pager/file.h"
#include "ufault/mman.h"

unsigned char direct_file_byte(size_t n)
{
    return (unsigned char)(n * 31 + n / 251 + 1);
}

void direct_file_make(struct direct_file *f, const char *dir, size_t len_bytes)
{
    unsigned char *bytes = malloc(len_bytes);
    char path[128];
    int err;

    snprintf(path, sizeof(path), "%s/ufault-direct-XXXXXX", dir);
    f->fd = mkstemp(path);
    assert_true(f->fd >= 0);
    unlink(path);
    assert_non_null(bytes);
    for (size_t i = 0; i < len_bytes; i++)
        bytes[i] = direct_file_byte(i / page_size());
    assert_int_equal(write(f->fd, bytes, len_bytes), len_bytes);
    free(bytes);
    assert_int_equal(fdatasync(f->fd), 0);
    err = uf_store_fd(f->fd, UF_STORE_DIRECT, &f->store);
    if (err == -ENOTSUP)
        err = uf_store_fd(f->fd, 0, &f->store);
    assert_int_equal(err, 0);
    assert_int_equal(uf_pager_store(f->store, 0, &f->pager), 0);
    pager_file_of(f->pager)->ahead.calm_ms = 0;
}

void direct_file_end(struct direct_file *f)
{
    uf_pager_unref(f->pager);
    uf_store_unref(f->store);
    close(f->fd);
}

uintptr_t direct_file_map(struct uf_space *space, struct direct_file *f)
{
    intptr_t base =
        uf_mmap_pager(space, 0, DIRECT_FILE_PAGES * page_size(),
                      PROT_READ | PROT_WRITE, MAP_PRIVATE, f->pager, 0);

    assert_true(base > 0);
    posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
    return (uintptr_t)base;
}
