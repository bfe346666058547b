/* SPDX-License-Identifier: MIT */
/* See kernel_heap.h. */
#include "run/kernel_heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

#define REACH_MAX ((uint64_t)1 << 40)
/* Below the top of every 64-bit user address space. */
#define ADDRESS_MAX (((uintptr_t)1 << 47) - ((uintptr_t)1 << 20))

uintptr_t kernel_brk(uintptr_t brk)
{
    uintptr_t now;

    do {
#ifdef __x86_64__
        /* Not syscall(2): it turns an answer near the top into errno. */
        __asm__ volatile("syscall"
                         : "=a"(now)
                         : "a"(SYS_brk), "D"(brk)
                         : "rcx", "r11", "memory");
#else
        long rc = syscall(SYS_brk, brk);

        now = rc == -1 ? (uintptr_t)-errno : (uintptr_t)rc;
#endif
    } while (now == (uintptr_t)-EINTR);
    return now < (uintptr_t)-4095 ? now : 0;
}

/* The contents of /proc/self/stat. Static buffers are not needed: short. */
static int read_stat(char *text, size_t len_bytes)
{
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -errno;
    do {
        got = read(fd, text, len_bytes - 1);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        got = -errno;
    close(fd);
    if (got < 0)
        return (int)got;
    text[got] = '\0';
    return 0;
}

/* Fields are numbered from 1, as in proc(5). */
enum {
    FIELD_STATE = 3,
    FIELD_START_CODE = 26,
    FIELD_END_CODE = 27,
    FIELD_START_STACK = 28,
    FIELD_START_DATA = 45,
    FIELD_END_DATA = 46,
    FIELD_START_BRK = 47,
    FIELD_ARG_START = 48,
    FIELD_ARG_END = 49,
    FIELD_ENV_START = 50,
    FIELD_ENV_END = 51,
    FIELDS
};

/* The name in field 2 may hold spaces and parentheses: from the last one on. */
static int parse_stat(const char *text, uint64_t *fields)
{
    const char *at = strrchr(text, ')');
    char *end;

    if (!at || at[1] != ' ' || at[2] == '\0')
        return -EPROTO;
    at += 3; /* behind the state's letter */
    for (int i = FIELD_STATE + 1; i < FIELDS; i++) {
        errno = 0;
        fields[i] = strtoull(at, &end, 10);
        if (end == at || errno != 0)
            return -EPROTO;
        at = end;
    }
    return 0;
}

int kernel_heap_read(struct kernel_heap *heap)
{
    uint64_t fields[FIELDS];
    char text[1024];
    int err = read_stat(text, sizeof(text));

    if (!err)
        err = parse_stat(text, fields);
    if (err)
        return err;
    *heap = (struct kernel_heap){
        .map = {.start_code = fields[FIELD_START_CODE],
                .end_code = fields[FIELD_END_CODE],
                .start_data = fields[FIELD_START_DATA],
                .end_data = fields[FIELD_END_DATA],
                .start_brk = fields[FIELD_START_BRK],
                .brk = kernel_brk(0),
                .start_stack = fields[FIELD_START_STACK],
                .arg_start = fields[FIELD_ARG_START],
                .arg_end = fields[FIELD_ARG_END],
                .env_start = fields[FIELD_ENV_START],
                .env_end = fields[FIELD_ENV_END],
                .exe_fd = (uint32_t)-1},
    };
    if (heap->map.start_brk == 0 || heap->map.brk < heap->map.start_brk ||
        heap->map.brk >= ADDRESS_MAX ||
        !is_aligned(heap->map.start_brk, page_size()))
        return -ENOTSUP;
    return 0;
}

struct range kernel_heap_reach(const struct kernel_heap *heap)
{
    uintptr_t start = heap->map.start_brk;
    uint64_t len = REACH_MAX;
    struct sysinfo info;

    if (sysinfo(&info) == 0) {
        uint64_t memory =
            ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;

        if (memory < REACH_MAX / 2)
            len = 2 * memory;
    }
    if (len < heap->map.brk - start)
        len = heap->map.brk - start;
    if (len > ADDRESS_MAX - start)
        len = ADDRESS_MAX - start;
    return (struct range){start, align_up(start + len, page_size())};
}

void kernel_heap_set_brk(struct kernel_heap *heap, uintptr_t brk)
{
    if (heap->out_of_sync)
        return;
    /* Alone it needs CAP_SYS_RESOURCE, but leaves alone what the program may
     * have set of the rest since we read it. */
    if (!heap->by_map) {
        if (prctl(PR_SET_MM, PR_SET_MM_BRK, brk, 0, 0) == 0)
            return;
        heap->by_map = true;
    }
    heap->map.brk = brk;
    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &heap->map, sizeof(heap->map), 0) < 0)
        heap->out_of_sync = true;
}
