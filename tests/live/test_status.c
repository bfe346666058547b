/* SPDX-License-Identifier: MIT */
/*
 * uf_space_status and the gauges beside /proc/self/status. One script of calls
 * and touches runs in a child on plain mappings, where the kernel's lines are
 * read before and after each step, and then on a space. What the kernel's grew
 * by is what ours must say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW    (PROT_READ | PROT_WRITE)
#define FIXED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)

enum line {
    PEAK,
    SIZE,
    LCK,
    HWM,
    RSS,
    ANON,
    FILE_RSS,
    SHMEM,
    DATA,
    STK,
    EXE,
    LIB,
    SWAP,
    LINES
};

static const char *const labels[LINES] = {
    "VmPeak:",  "VmSize:",  "VmLck:",    "VmHWM:",  "VmRSS:",
    "RssAnon:", "RssFile:", "RssShmem:", "VmData:", "VmStk:",
    "VmExe:",   "VmLib:",   "VmSwap:"};

struct status {
    long kb[LINES];
};

static void parse(const char *text, struct status *ret)
{
    for (int i = 0; i < LINES; i++) {
        const char *line = strstr(text, labels[i]);
        size_t len = strlen(labels[i]);
        char *end;

        assert_non_null(line);
        assert_int_equal(line[len], '\t');
        ret->kb[i] = strtol(line + len, &end, 10);
        assert_true(end >= line + len + 9); /* eight columns, or more */
        assert_memory_equal(end, " kB\n", 4);
    }
}

static void kernel_status(struct status *ret)
{
    static char text[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    close(fd);
    text[n > 0 ? n : 0] = '\0';
    parse(text, ret);
}

static void space_status_of(struct uf_space *space, struct status *ret)
{
    char text[1024];
    ssize_t len = uf_space_status(space, text, sizeof(text));

    assert_int_equal(strlen(text), len);
    parse(text, ret);
}

/* ---------------------------------------------------------------- script --
 */

static int memory_fd, file_fd;

static void write_pages(const struct side *s, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++)
        assert_int_equal(live_write(side_at(s, i), 1, NULL), 0);
}

static void read_pages(const struct side *s, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++)
        assert_int_equal(live_read(side_at(s, i), NULL, NULL), 0);
}

static void map_and_write(const struct side *s)
{
    side_map(s, 0, 64, RW, 0);
    side_map(s, 100, 30, PROT_READ, 0);
    write_pages(s, 5, 40);
}

static void unmap_some(const struct side *s)
{
    assert_int_equal(side_munmap(s, side_at(s, 20), 20 * page_size()), 0);
    assert_int_equal(
        side_madvise(s, side_at(s, 5), 5 * page_size(), MADV_DONTNEED), 0);
}

static void protect(const struct side *s)
{
    assert_int_equal(side_mprotect(s, side_at(s, 100), 10 * page_size(), RW),
                     0);
    assert_int_equal(side_mprotect(s, side_at(s, 110), 10 * page_size(),
                                   PROT_READ | PROT_EXEC),
                     0);
    assert_int_equal(
        side_mprotect(s, side_at(s, 120), 5 * page_size(), RW | PROT_EXEC), 0);
}

static void lock(const struct side *s)
{
    assert_int_equal(side_mlock2(s, side_at(s, 0), 15 * page_size(), 0), 0);
    assert_int_equal(
        side_mlock2(s, side_at(s, 50), 10 * page_size(), MLOCK_ONFAULT), 0);
    assert_int_equal(side_munlock(s, side_at(s, 10), 3 * page_size()), 0);
}

static void stack(const struct side *s)
{
    side_map(s, 2000, 10, RW, MAP_GROWSDOWN);
    write_pages(s, 1997, 3); /* grows */
}

static void share(const struct side *s)
{
    assert_true(side_mmap(s, side_at(s, 3000), 50 * page_size(), RW,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) > 0);
    assert_true(side_mmap(s, side_at(s, 3100), 50 * page_size(), RW,
                          MAP_SHARED | MAP_FIXED, memory_fd, 0) > 0);
    write_pages(s, 3000, 7);
    write_pages(s, 3120, 9);
}

static void map_files(const struct side *s)
{
    assert_true(side_mmap(s, side_at(s, 3200), 50 * page_size(), RW,
                          MAP_PRIVATE | MAP_FIXED, file_fd, 0) > 0);
    assert_true(side_mmap(s, side_at(s, 3300), 50 * page_size(),
                          PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED,
                          file_fd, 0) > 0);
    read_pages(s, 3200, 4);
    read_pages(s, 3340, 4);
    write_pages(s, 3210, 5);
}

static void move(const struct side *s)
{
    assert_true(side_mremap(s, side_at(s, 3200), 50 * page_size(),
                            70 * page_size(), MREMAP_MAYMOVE | MREMAP_FIXED,
                            side_at(s, 3500)) > 0);
    assert_true(side_mremap(s, side_at(s, 40), 8 * page_size(),
                            16 * page_size(), MREMAP_MAYMOVE | MREMAP_FIXED,
                            side_at(s, 3600)) > 0);
}

static void unmap_more(const struct side *s)
{
    assert_int_equal(side_munmap(s, side_at(s, 0), 3050 * page_size()), 0);
}

static void (*const steps[])(const struct side *) = {
    map_and_write, unmap_some, protect, lock,      stack,
    share,         map_files,  move,    unmap_more};
#define NSTEPS (sizeof(steps) / sizeof(steps[0]))

/* ----------------------------------------------------------------- sides --
 */

static void clear(const struct side *s)
{
    assert_int_equal(side_munmap(s, s->base, SIDE_BYTES), 0);
}

/* In a child: what each step added to the process's own lines. The first time
 * brings in the pages of the script itself. */
static void run_on_kernel(struct status *ret, uintptr_t base)
{
    struct side side = {.name = "the kernel", .base = base};
    struct status before, now;

    for (int round = 0; round < 2; round++) {
        kernel_status(&before);
        for (size_t i = 0; i < NSTEPS; i++) {
            steps[i](&side);
            kernel_status(&now);
            for (int f = 0; f < LINES; f++)
                ret[i].kb[f] = now.kb[f] - before.kb[f];
            ret[i].kb[PEAK] = now.kb[PEAK] - before.kb[SIZE];
            ret[i].kb[HWM] = now.kb[HWM] - before.kb[RSS];
        }
        clear(&side);
    }
}

static void run_in_child(struct status *ret, uintptr_t base)
{
    int status;
    pid_t pid = fork();

    assert_return_code(pid, errno);
    if (pid == 0) {
        run_on_kernel(ret, base);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static struct side a_space(void)
{
    struct uf_space_opts opts = {.len_bytes = 2 * SIDE_BYTES,
                                 .window_pages = 1};
    struct side side = {.name = "a space"};

    opts.address = live_aligned_address();
    side.space = live_space(&opts, 0);
    side.base = opts.address + ((size_t)2 << 20);
    return side;
}

static void open_files(void)
{
    FILE *file = tmpfile();
    size_t len = 64 * page_size();
    char *bytes = calloc(1, len);

    assert_non_null(file);
    file_fd = dup(fileno(file));
    fclose(file);
    memory_fd = memfd_create("status", 0);
    assert_int_equal(write(file_fd, bytes, len), len);
    assert_int_equal(write(memory_fd, bytes, len), len);
    free(bytes);
}

static struct status *shared_results(void)
{
    struct status *p =
        mmap(NULL, NSTEPS * sizeof(*p), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    return p;
}

/* A sanitizer's own pages come in as it likes, and are the process's too. */
static bool may_differ(int f, long ours, long theirs)
{
    return f == PEAK || f == HWM ||
           (LIVE_SANITIZED && theirs > ours && theirs - ours <= 1024);
}

/* VmExe is what lies in a program's text, VmLib what is executable elsewhere;
 * the child's mappings are elsewhere. Peaks are those of both rounds: looked at
 * apart. */
static void compare(size_t step, const struct status *ours,
                    const struct status *theirs)
{
    for (int f = 0; f < LINES; f++) {
        if (ours->kb[f] == theirs->kb[f] ||
            may_differ(f, ours->kb[f], theirs->kb[f]))
            continue;
        printf("step %zu, %s ours %ld, the kernel's %ld\n", step, labels[f],
               ours->kb[f], theirs->kb[f]);
        fail();
    }
}

static void status_is_what_the_kernels_grows_by(void **state)
{
    struct status *theirs = shared_results(), ours;
    struct side side;

    (void)state;
    open_files();
    run_in_child(theirs, live_aligned_address() + ((size_t)2 << 20));
    side = a_space();
    for (size_t i = 0; i < NSTEPS; i++) {
        steps[i](&side);
        space_status_of(side.space, &ours);
        compare(i, &ours, &theirs[i]);
    }
    assert_int_equal(ours.kb[PEAK], theirs[NSTEPS - 1].kb[PEAK]);
    close(file_fd);
    close(memory_fd);
    assert_int_equal(uf_space_destroy(side.space), 0);
}

/* The gauges say the same, and the peaks are the most there was. */
static void gauges_and_peaks(void **state)
{
    struct side side = a_space();
    uint64_t most_vm = 0, most_locked = 0, most_data = 0;
    struct status status;

    (void)state;
    open_files();
    for (size_t i = 0; i < NSTEPS; i++) {
        struct uf_stats g;
        long kb = (long)page_size() / 1024;

        steps[i](&side);
        space_status_of(side.space, &status);
        g = live_stats(side.space);
        assert_int_equal((long)g.total_vm * kb, status.kb[SIZE]);
        assert_int_equal((long)g.data_vm * kb, status.kb[DATA]);
        assert_int_equal((long)g.stack_vm * kb, status.kb[STK]);
        assert_int_equal((long)g.exec_vm * kb, status.kb[LIB]);
        assert_int_equal((long)g.locked_vm * kb, status.kb[LCK]);
        assert_int_equal((long)g.total_vm_peak * kb, status.kb[PEAK]);
        most_vm = g.total_vm > most_vm ? g.total_vm : most_vm;
        most_data = g.data_vm > most_data ? g.data_vm : most_data;
        most_locked = g.locked_vm > most_locked ? g.locked_vm : most_locked;
        assert_true(g.total_vm_peak >= most_vm);
        assert_true(g.data_vm_peak >= most_data);
        assert_true(g.locked_vm_peak >= most_locked);
        if (i < 1) /* only writes to memory of ours so far */
            assert_int_equal((long)g.resident * kb, status.kb[ANON]);
        assert_true(status.kb[HWM] >= status.kb[RSS]);
    }
    close(file_fd);
    close(memory_fd);
    assert_int_equal(uf_space_destroy(side.space), 0);
}

/* The most pages that were there at once, also when they are gone. */
static void the_high_water_mark(void **state)
{
    struct side side = a_space();
    struct status status;
    long kb = (long)page_size() / 1024;

    (void)state;
    side_map(&side, 0, 64, RW, 0);
    write_pages(&side, 0, 50);
    assert_int_equal(side_munmap(&side, side.base, 40 * page_size()), 0);
    write_pages(&side, 60, 2);
    space_status_of(side.space, &status);
    assert_int_equal(status.kb[HWM], 50 * kb);
    assert_int_equal(status.kb[RSS], 12 * kb);
    assert_int_equal(uf_space_destroy(side.space), 0);
}

/* Cut at a line's end. */
static void a_text_that_does_not_fit(void **state)
{
    struct uf_space *space = live_space(NULL, 3);
    char whole[1024], part[1024];
    ssize_t len = uf_space_status(space, whole, sizeof(whole));

    (void)state;
    assert_int_equal(strncmp(whole, "VmPeak:\t      12 kB\nVmSize:\t", 28), 0);
    assert_int_equal(uf_space_status(space, NULL, 0), len);
    for (size_t room = 1; room <= (size_t)len + 1; room++) {
        size_t kept;

        memset(part, 'x', sizeof(part));
        assert_int_equal(uf_space_status(space, part, room), len);
        kept = strlen(part);
        assert_true(kept < room && room - kept <= 24);
        assert_memory_equal(part, whole, kept);
        assert_true(kept == 0 || part[kept - 1] == '\n');
    }
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_is_what_the_kernels_grows_by),
        cmocka_unit_test(gauges_and_peaks),
        cmocka_unit_test(the_high_water_mark),
        cmocka_unit_test(a_text_that_does_not_fit),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
