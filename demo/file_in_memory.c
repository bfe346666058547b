/* SPDX-License-Identifier: MIT */
/*
 * file_in_memory: a file is edited through memory, by two mappings that are one.
 *
 *     a ──┐
 *         ├─► the pager's cache ◄──fill── file
 *     b ──┘         └──── uf_msync ─────►
 *
 * Only pages that were written go back. What fails to go back stays where it is:
 * here by a limit on the length of files that is lifted again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ufault/mman.h"
#include "ufault/store.h"
#include "ufault/ufault.h"

#define PAGES 256

static void need(int holds, const char *what)
{
    if (!holds) {
        printf("file_in_memory: %s: no\n", what);
        exit(1);
    }
}

/* A file with a line at the start of each page. */
static int make_file(char *path, size_t page)
{
    int fd = mkstemp(path);

    need(fd >= 0, "a file");
    for (size_t i = 0; i < PAGES; i++) {
        char line[64];
        int n = snprintf(line, sizeof(line), "page %zu, as it was\n", i);

        need(pwrite(fd, line, (size_t)n, (off_t)(i * page)) == n, "a line");
    }
    need(ftruncate(fd, (off_t)(PAGES * page)) == 0, "its length");
    return fd;
}

/* The line at the start of a page, as who reads the file finds it. */
static void show(int fd, size_t page, size_t n, const char *expected)
{
    char line[64] = "";

    need(pread(fd, line, sizeof(line) - 1, (off_t)(n * page)) > 0, "a read");
    line[strcspn(line, "\n")] = '\0';
    printf("  in the file: %s\n", line);
    need(strcmp(line, expected) == 0, expected);
}

static void limit_files(size_t len_bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = len_bytes ? len_bytes : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

int main(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 16 << 20};
    struct uf_writeback counts = {.size = sizeof(counts)};
    char path[] = "/tmp/ufault-demo-XXXXXX";
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len = PAGES * page;
    int fd = make_file(path, page), rw = PROT_READ | PROT_WRITE;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_space *space;
    char *a, *b;

    signal(SIGXFSZ, SIG_IGN);
    need(uf_space_create(&opts, &space) == 0, "a space");
    need(uf_store_open(path, UF_STORE_WRITE, &store) == 0, "a store");
    need(uf_pager_store(store, 0, &pager) == 0, "its pager");
    uf_pager_set_writeback(pager, 0); /* nothing happens by itself here */
    a = (char *)uf_mmap_pager(space, 0, len, rw, MAP_SHARED, pager, 0);
    b = (char *)uf_mmap_pager(space, 0, len, rw, MAP_SHARED, pager, 0);

    strcpy(a + 7 * page, "page 7, edited\n");
    printf("a page is edited; the other mapping: %s", b + 7 * page);
    need(strcmp(b + 7 * page, "page 7, edited\n") == 0, "one memory");
    show(fd, page, 7, "page 7, as it was");
    need(uf_msync(space, (uintptr_t)b, len, MS_SYNC) == 0, "uf_msync");
    printf("uf_msync\n");
    show(fd, page, 7, "page 7, edited");
    uf_pager_writeback(pager, &counts);
    printf("  pages written: %llu of %d\n",
           (unsigned long long)counts.pages_written, PAGES);
    need(counts.pages_written == 1, "one page");

    limit_files(100 * page);
    strcpy(a + 200 * page, "page 200, edited\n");
    printf("one that may not be written: uf_pager_sync: %s\n",
           strerror(-uf_pager_sync(pager)));
    show(fd, page, 200, "page 200, as it was");
    limit_files(0);
    need(uf_munmap(space, (uintptr_t)a, len) == 0, "uf_munmap");
    printf("unmapping tries again\n");
    show(fd, page, 200, "page 200, edited");

    uf_space_destroy(space);
    uf_pager_unref(pager);
    uf_store_unref(store);
    unlink(path);
    return 0;
}
