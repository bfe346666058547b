/* SPDX-License-Identifier: MIT */
/*
 * image-fuzz: the reader of images, with libFuzzer making the files.
 *
 *     image-fuzz --make DIR                 a few good images, to begin with
 *     image-fuzz [libFuzzer's options] DIR
 *
 * A changed file has wrong checksums and would never get past them, so each
 * input is read twice: as it is, and with the checksums of header, index and
 * chunks made right. What is read lands in front of a page that cannot be
 * written. If an image opens, it must keep what the reader promises: the same
 * bytes each time, and in one run as page by page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/range.h"
#include "lib/image_file.h"

#define RUN_PAGES 64u
#define FIRST     24u /* pages looked at, from the base and from a mapping */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes);

static unsigned char *pages; /* RUN_PAGES, and behind them nothing */
static unsigned char *again;

static unsigned char *make_pages(void)
{
    size_t len = RUN_PAGES * page_size();
    unsigned char *p = mmap(NULL, len + page_size(), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + len, page_size(), PROT_NONE) != 0)
        abort();
    return p;
}

static void make_one(const char *dir, int n, const char *drawing,
                     enum uf_image_codec codec, uint32_t npages)
{
    static const uint64_t working[] = {2, 0};
    int fd = image_file_make(drawing, codec, npages * (uint32_t)page_size(),
                             working, n % 2 ? 2 : 0);
    size_t len = image_file_bytes(fd);
    char name[300], *bytes = malloc(len);
    FILE *file;

    snprintf(name, sizeof(name), "%s/good-%d", dir, n);
    file = fopen(name, "w");
    if (!file || !bytes || pread(fd, bytes, len, 0) != (ssize_t)len ||
        fwrite(bytes, 1, len, file) != len || fclose(file) != 0)
        abort();
    free(bytes);
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (*argc == 3 && strcmp((*argv)[1], "--make") == 0) {
        make_one((*argv)[2], 0, "", UF_IMAGE_ZSTD, 1);
        make_one((*argv)[2], 1, "ab.c|..d", UF_IMAGE_ZSTD, 1);
        make_one((*argv)[2], 2, "ab.c", UF_IMAGE_LZ4, 4);
        make_one((*argv)[2], 3, "abc  d|.", UF_IMAGE_NONE, 2);
        make_one((*argv)[2], 4, "aaaaa  zzzz|zzzz", UF_IMAGE_ZSTD, 16);
        exit(0);
    }
    pages = make_pages();
    again = make_pages();
    return 0;
}

/* Chunks whose record lies inside the file. */
static void seal_chunks(unsigned char *bytes, size_t len,
                        const struct image_header *h)
{
    uint64_t at = h->index_offset + 24 * (h->nmappings + h->nextents);

    for (uint64_t i = 0; i < h->nchunks && at <= len - 24; i++, at += 24) {
        struct image_chunk c;

        memcpy(&c, bytes + at, sizeof(c));
        if (c.offset <= len && c.stored_bytes <= len - c.offset)
            c.checksum = image_checksum(bytes + c.offset, c.stored_bytes);
        memcpy(bytes + at, &c, sizeof(c));
    }
}

static void seal(unsigned char *bytes, size_t len)
{
    struct image_header h;

    memcpy(&h, bytes, sizeof(h));
    h.file_bytes = len;
    if (h.index_offset <= len && h.nmappings <= len && h.nextents <= len)
        seal_chunks(bytes, len, &h);
    if (h.index_offset <= len)
        h.index_checksum =
            image_checksum(bytes + h.index_offset, len - h.index_offset);
    image_header_seal(&h);
    memcpy(bytes, &h, sizeof(h));
}

/* [page, page + n) in one run and one by one. */
static void compare(struct uf_image *image, uint64_t page, uint64_t n)
{
    unsigned char *run = pages + (RUN_PAGES - n) * page_size();
    unsigned char *one = again + (RUN_PAGES - 1) * page_size();
    uint64_t done, good;
    int err = image_read(image, IMAGE_ASKED, page, n, run, &good);

    if (good > n || (err == 0) != (good == n))
        abort();
    for (uint64_t i = 0; i < good; i++)
        if (image_read(image, IMAGE_ASKED, page + i, 1, one, &done) != 0 ||
            done != 1 || memcmp(one, run + i * page_size(), page_size()) != 0)
            abort();
    if (err &&
        image_read(image, IMAGE_ASKED, page + good, 1, one, &done) != err)
        abort();
}

static void try_file(const unsigned char *bytes, size_t len)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct uf_image *image;
    uint64_t page;

    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        abort();
    if (image_open_fd(fd, &image) != 0) {
        close(fd);
        return;
    }
    for (uint64_t n = 1; n <= FIRST; n *= 2)
        compare(image, n - 1, n);
    for (size_t i = 0; i < image->header.nmappings && i < 4; i++)
        compare(image, image->index.mappings[i].start / page_size(), 3);
    image_verify(image, &page);
    image_unref(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    unsigned char *copy;

    try_file(bytes, len_bytes);
    if (len_bytes < sizeof(struct image_header))
        return 0;
    copy = malloc(len_bytes);
    if (!copy)
        abort();
    memcpy(copy, bytes, len_bytes);
    seal(copy, len_bytes);
    try_file(copy, len_bytes);
    free(copy);
    return 0;
}
