/* SPDX-License-Identifier: MIT */
/*
 * custom-pager: memory whose bytes are made when they are touched.
 *
 *     page   0 ........ 15   16 ................. 31
 *            this program,   a table that nobody has stored:
 *            compressed      byte i of page n is n * i; page 21 is "broken"
 *
 * A pager makes bytes from an offset. It is asked for windows, of 4 pages here,
 * and may answer with fewer. A page that it cannot supply is SIGBUS for whoever
 * touches it, EFAULT in a system call, and hurts no other page.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define PAGE       4096
#define FILE_PAGES 16
#define NPAGES     32
#define BROKEN     21

#ifdef HAVE_LZ4
#include <lz4.h>
#else /* the same lesson, with pages that are stored as they are */
#define LZ4_compress_default(from, to, n, room) (memcpy(to, from, PAGE), PAGE)
#define LZ4_decompress_safe(from, to, n, room)  (memcpy(to, from, PAGE), PAGE)
#endif

static char file[FILE_PAGES * PAGE]; /* to compare with; may end in zeros */
static char packed[FILE_PAGES][2 * PAGE];
static int packed_len[FILE_PAGES];
static struct uf_space *space;
static sigjmp_buf touch;

/* Returns PAGE, or something else if page n cannot be had. */
static int make_page(int n, char *page)
{
    if (n < FILE_PAGES)
        return LZ4_decompress_safe(packed[n], page, packed_len[n], PAGE);
    for (int i = 0; i < PAGE; i++)
        page[i] = (char)(n * i);
    return n == BROKEN ? -1 : PAGE;
}

/* Runs on the engine's threads, with the library's buffer; no lock is held. */
static ssize_t fill(void *context, const struct uf_fill *want)
{
    int n = (int)(want->offset / PAGE);
    size_t done = 0;

    (void)context;
    for (; done < want->len_bytes; done += PAGE, n++)
        if (make_page(n, (char *)want->buffer + done) != PAGE)
            return done > 0 ? (ssize_t)done : -EIO;
    return (ssize_t)done;
}

static void show(const char *step)
{
    struct uf_stats s = {.size = sizeof(s)};

    CHECK(uf_space_stats(space, &s) == 0);
    printf("%-38s faults %2d  fills %2d  failed %2d  pages %2d\n", step,
           (int)s.faults, (int)s.pager_calls, (int)s.pager_failures,
           (int)s.resident);
}

static void caught(int sig)
{
    siglongjmp(touch, sig);
}

int main(void)
{
    struct uf_space_opts opts = {sizeof(opts), .len_bytes = NPAGES * PAGE};
    ssize_t nread = read(open("/proc/self/exe", O_RDONLY), file, sizeof(file));
    int npacked = 0, fds[2], sig;
    volatile char *p;

    for (int n = 0; n < FILE_PAGES; n++)
        npacked += packed_len[n] =
            LZ4_compress_default(file + n * PAGE, packed[n], PAGE, 2 * PAGE);

    opts.window_pages = 4;
    CHECK(uf_pager_callback(fill, NULL, &opts.heap_pager) == 0);
    CHECK(uf_space_create(&opts, &space) == 0);
    uf_pager_unref(opts.heap_pager); /* the space has a reference of its own */
    p = (volatile char *)uf_sbrk(space, NPAGES * PAGE);
    printf("%zd bytes of this program, kept in %d\n\n", nread, npacked);
    show("mapped");
    CHECK(nread > 0 && p[2 * PAGE] == file[2 * PAGE]);
    show("one byte of the program read");
    CHECK(memcmp((char *)p, file, sizeof(file)) == 0);
    show("all of it compared");

    signal(SIGBUS, caught);
    signal(SIGSEGV, caught); /* it is that on Linux before 6.6 */
    sig = sigsetjmp(touch, 1);
    if (sig == 0)
        (void)p[BROKEN * PAGE];
    CHECK(sig != 0);
    CHECK(pipe(fds) == 0);
    CHECK(write(fds[1], (char *)p + BROKEN * PAGE, 1) < 0 && errno == EFAULT);
    show(sig == SIGBUS ? "broken: SIGBUS, EFAULT" : "broken: SIGSEGV, EFAULT");
    for (int n = FILE_PAGES; n < NPAGES; n++)
        CHECK(n == BROKEN || p[n * PAGE + 7] == (char)(n * 7));
    show("the rest of the table");
    return uf_space_destroy(space) == 0 ? 0 : 1;
}
