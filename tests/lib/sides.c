/* SPDX-License-Identifier: MIT */
/* See sides.h. */
#include "lib/sides.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these and stddef.h, stdint.h first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)

/* ------------------------------------------------------------------ sides --
 */

static void run_on_space(const struct uf_space_opts *opts,
                         uint32_t window_pages, void (*body)(struct side *))
{
    struct uf_space_opts o = opts ? *opts : (struct uf_space_opts){0};
    struct side side = {.name = "a space"};

    o.len_bytes = 2 * SIDE_BYTES;
    o.window_pages = window_pages;
    o.address = live_aligned_address();
    side.space = live_space(&o, 0);
    side.base = uf_space_base(side.space) + HUGE_BYTES;
    body(&side);
    live_assert_law(side.space);
    assert_int_equal(uf_space_destroy(side.space), 0);
}

static void run_on_kernel(void (*body)(struct side *))
{
    struct side side = {.name = "the kernel",
                        .base = live_aligned_address() + HUGE_BYTES};

    body(&side);
    munmap((void *)side.base, SIDE_BYTES);
}

void on_all_sides_with(const struct uf_space_opts *opts,
                       void (*body)(struct side *side))
{
    run_on_kernel(body);
    run_on_space(opts, 1, body);
    run_on_space(opts, 64, body);
    run_on_space(opts, 0, body);
}

void on_all_sides(void (*body)(struct side *side))
{
    on_all_sides_with(NULL, body);
}

uintptr_t side_at(const struct side *side, size_t n)
{
    return side->base + n * page_size();
}

static intptr_t answer(const void *p)
{
    return p == MAP_FAILED ? -errno : (intptr_t)p;
}

static int or_errno(int rc)
{
    return rc < 0 ? -errno : 0;
}

intptr_t side_mmap(const struct side *side, uintptr_t addr, size_t len_bytes,
                   int prot, int flags, int fd, off_t offset)
{
    if (side->space)
        return uf_mmap(side->space, addr, len_bytes, prot, flags, fd, offset);
    return answer(mmap((void *)addr, len_bytes, prot, flags, fd, offset));
}

int side_munmap(const struct side *side, uintptr_t addr, size_t len_bytes)
{
    if (side->space)
        return uf_munmap(side->space, addr, len_bytes);
    return or_errno(munmap((void *)addr, len_bytes));
}

int side_mprotect(const struct side *side, uintptr_t addr, size_t len_bytes,
                  int prot)
{
    if (side->space)
        return uf_mprotect(side->space, addr, len_bytes, prot);
    return or_errno(mprotect((void *)addr, len_bytes, prot));
}

intptr_t side_mremap(const struct side *side, uintptr_t addr, size_t old_len,
                     size_t new_len, int flags, uintptr_t new_addr)
{
    if (side->space)
        return uf_mremap(side->space, addr, old_len, new_len, flags, new_addr);
    return answer(
        (void *)syscall(SYS_mremap, addr, old_len, new_len, flags, new_addr));
}

int side_madvise(const struct side *side, uintptr_t addr, size_t len_bytes,
                 int advice)
{
    if (side->space)
        return uf_madvise(side->space, addr, len_bytes, advice);
    return or_errno(madvise((void *)addr, len_bytes, advice));
}

int side_mincore(const struct side *side, uintptr_t addr, size_t len_bytes,
                 unsigned char *vec)
{
    if (side->space)
        return uf_mincore(side->space, addr, len_bytes, vec);
    return or_errno(mincore((void *)addr, len_bytes, vec));
}

int side_mlock2(const struct side *side, uintptr_t addr, size_t len_bytes,
                unsigned flags)
{
    if (side->space)
        return uf_mlock2(side->space, addr, len_bytes, flags);
    return or_errno((int)syscall(SYS_mlock2, addr, len_bytes, flags));
}

int side_munlock(const struct side *side, uintptr_t addr, size_t len_bytes)
{
    if (side->space)
        return uf_munlock(side->space, addr, len_bytes);
    return or_errno((int)syscall(SYS_munlock, addr, len_bytes));
}

int side_msync(const struct side *side, uintptr_t addr, size_t len_bytes,
               int flags)
{
    if (side->space)
        return uf_msync(side->space, addr, len_bytes, flags);
    return or_errno(msync((void *)addr, len_bytes, flags));
}

uintptr_t side_map(const struct side *side, size_t first, size_t npages,
                   int prot, int flags)
{
    uintptr_t want = side_at(side, first);

    assert_int_equal(side_mmap(side, want, npages * page_size(), prot,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags,
                               -1, 0),
                     want);
    return want;
}

/* --------------------------------------------------------------- contents --
 */

/* Where in a page its tag lies: not always at its start. */
static size_t place_of(size_t n)
{
    return n * 24 % (page_size() - 8) / 8 * 8;
}

static uint64_t value_of(unsigned tag, size_t n)
{
    return ((uint64_t)tag << 32 | n) + 1;
}

void pages_write(uintptr_t addr, size_t npages, unsigned tag)
{
    for (size_t i = 0; i < npages; i++)
        *(volatile uint64_t *)(addr + i * page_size() + place_of(i)) =
            value_of(tag, i);
}

bool pages_are(uintptr_t addr, size_t npages, unsigned tag, size_t first)
{
    for (size_t i = 0; i < npages; i++)
        if (*(volatile uint64_t *)(addr + i * page_size() +
                                   place_of(first + i)) !=
            value_of(tag, first + i))
            return false;
    return true;
}

bool pages_are_zero(uintptr_t addr, size_t npages)
{
    const volatile uint64_t *p = (const volatile uint64_t *)addr;

    for (size_t i = 0; i < npages * page_size() / sizeof(*p); i++)
        if (p[i] != 0)
            return false;
    return true;
}

int pages_file(size_t npages, unsigned tag)
{
    FILE *file = tmpfile();
    uint64_t value;
    int fd;

    assert_non_null(file);
    fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
    fclose(file);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(npages * page_size())), 0);
    for (size_t i = 0; i < npages; i++) {
        value = value_of(tag, i);
        assert_int_equal(pwrite(fd, &value, sizeof(value),
                                (off_t)(i * page_size() + place_of(i))),
                         sizeof(value));
    }
    return fd;
}

size_t side_resident(const struct side *side, uintptr_t addr, size_t npages)
{
    unsigned char vec[SIDE_BYTES / 4096];
    size_t n = 0;

    assert_true(npages <= sizeof(vec));
    assert_int_equal(side_mincore(side, addr, npages * page_size(), vec), 0);
    for (size_t i = 0; i < npages; i++)
        n += vec[i] & 1;
    return n;
}

static void assert_segv(uintptr_t addr, bool write, int code)
{
    siginfo_t info;

    assert_int_equal(write ? live_write(addr, 1, &info)
                           : live_read(addr, NULL, &info),
                     SIGSEGV);
    assert_int_equal(info.si_code, code);
    assert_ptr_equal(info.si_addr, (void *)addr);
}

void assert_unmapped(const struct side *side, uintptr_t addr)
{
    int code = side->space ? live_unmapped_code() : SEGV_MAPERR;

    assert_segv(addr, false, code);
    assert_segv(addr, true, code);
}

void assert_refused(uintptr_t addr, bool write)
{
    assert_segv(addr, write, SEGV_ACCERR);
}

/* --------------------------------------------------------------- the host --
 */

static bool starts_mapping(const char *line, uintptr_t *start, uintptr_t *end)
{
    unsigned long a, b;

    if (sscanf(line, "%lx-%lx ", &a, &b) != 2)
        return false;
    *start = a;
    *end = b;
    return true;
}

size_t host_smaps_kb(uintptr_t start, uintptr_t end, const char *field)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    uintptr_t a = 0, b = 0;
    size_t sum = 0, kb;
    bool seen = false;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (starts_mapping(line, &a, &b) || a < start || b > end)
            continue;
        if (strncmp(line, field, strlen(field)) != 0)
            continue;
        assert_int_equal(sscanf(line + strlen(field), "%zu", &kb), 1);
        seen = true;
        sum += kb;
    }
    fclose(file);
    assert_true(seen);
    return sum;
}

bool host_has_flag(uintptr_t addr, const char *letters)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    uintptr_t a = 0, b = 0;
    bool has = false;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (!starts_mapping(line, &a, &b) && addr >= a && addr < b &&
            strncmp(line, "VmFlags:", 8) == 0)
            has = strstr(line + 8, letters) != NULL;
    fclose(file);
    return has;
}

size_t host_count_vmas(uintptr_t start, uintptr_t end)
{
    FILE *file = fopen("/proc/self/maps", "r");
    uintptr_t a, b;
    char line[512];
    size_t n = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        n += starts_mapping(line, &a, &b) && a < end && b > start;
    fclose(file);
    return n;
}

/* --------------------------------------------------------------- children --
 */

int child_status(void (*body)(void *arg), void *arg)
{
    pid_t pid;
    int status = -1;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        alarm(60);
        body(arg);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

void in_child(void (*body)(void *arg), void *arg)
{
    assert_int_equal(child_status(body, arg), 0);
}
