/* SPDX-License-Identifier: MIT */
/*
 * The kernel side's process as a room with one free place.
 *
 * What fills it must not merge with the range's mappings, must not be locked by
 * mlockall and must cost nothing: MAP_DROPPABLE memory without access. The
 * zones beside the range, which come and go, are of a shared file instead,
 * since what is droppable cannot be unlocked when MCL_FUTURE made it locked.
 *
 * Limits count all that a process has. So the range's limits are set with what
 * stands outside of it added.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/range.h"
#include "ufault/ufault.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define MAP_DROPPABLE_TYPE 0x08 /* MAP_DROPPABLE, Linux 6.11 */
#define OWN_MAX            256
#define LIMITS             (UF_LIMIT_MAP_COUNT + 1)

static struct {
    uintptr_t task_size;
    uintptr_t arena, arena_end;
    uintptr_t base, end;
    struct range own[OWN_MAX];
    size_t nown;
    int zone_fd;
    uint32_t low_open, high_open;
    uint64_t total_bytes, data_bytes; /* outside of the range */
    uint64_t limits[LIMITS];
    bool lifted;
} room = {.zone_fd = -1};

/* munmap answers -EINVAL from TASK_SIZE on, and unmaps nothing at the top. */
uintptr_t mm_room_task_size(void)
{
    static const unsigned bits[] = {47, 48, 52, 56};
    size_t page = page_size();

    for (size_t i = 0; !room.task_size && i < 4; i++) {
        uintptr_t top = (uintptr_t)1 << bits[i];

        if (syscall(SYS_munmap, top, page) == 0)
            continue;
        room.task_size =
            syscall(SYS_munmap, top - page, page) == 0 ? top : top - page;
    }
    return room.task_size;
}

/* -------------------------------------------------------------- filling -- */

static int take(uintptr_t start, uintptr_t end)
{
    void *p;

    if (start >= end)
        return 0;
    p = mmap((void *)start, end - start, PROT_NONE,
             MAP_DROPPABLE_TYPE | MAP_ANONYMOUS | MAP_NORESERVE |
                 MAP_FIXED_NOREPLACE,
             -1, 0);
    return p == MAP_FAILED ? -errno : 0;
}

static int take_zone(uintptr_t start, uint32_t pages)
{
    void *p;

    if (pages == 0)
        return 0;
    p = mmap((void *)start, pages * page_size(), PROT_NONE,
             MAP_SHARED | MAP_FIXED_NOREPLACE, room.zone_fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    return syscall(SYS_munlock, start, pages * page_size()) < 0 ? -errno : 0;
}

/* The mappings that the process has now. */
static int read_own(void)
{
    static char text[64 << 10];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = 0;

    if (fd < 0)
        return -errno;
    while (len < sizeof(text) - 1 &&
           (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    room.nown = 0;
    for (char *at = text; *at != '\0' && room.nown < OWN_MAX;) {
        struct range *own = &room.own[room.nown];

        own->start = strtoull(at, &at, 16);
        own->end = strtoull(at + 1, &at, 16);
        if (own->start < room.task_size)
            room.nown++;
        at = strchr(at, '\n');
        if (!at)
            return -E2BIG;
        at++;
    }
    return room.nown < OWN_MAX ? 0 : -E2BIG;
}

/* Takes [start, end) but for the arena. */
static int take_around(uintptr_t start, uintptr_t end)
{
    int err;

    if (end <= room.arena || start >= room.arena_end)
        return take(start, end);
    err = take(start, room.arena);
    return err ? err : take(room.arena_end, end);
}

static uintptr_t lowest_address(void)
{
    char text[32] = "";
    int fd = open("/proc/sys/vm/mmap_min_addr", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    uintptr_t lowest = got > 0 ? strtoull(text, NULL, 10) : 0;

    if (fd >= 0)
        close(fd);
    return align_up(lowest > 0 ? lowest : page_size(), page_size());
}

int mm_room_fill(uintptr_t arena, size_t len_bytes)
{
    uintptr_t at = lowest_address();
    int err;

    room.arena = arena;
    room.arena_end = arena + len_bytes;
    mm_room_task_size();
    room.zone_fd = memfd_create("mm-twin-zone", MFD_CLOEXEC);
    if (room.zone_fd < 0)
        return -errno;
    err = read_own();
    for (size_t i = 0; !err && i < room.nown; i++) {
        err = take_around(at, room.own[i].start);
        at = room.own[i].end;
    }
    return err ? err : take_around(at, room.task_size);
}

int mm_room_set(uintptr_t base, uintptr_t end)
{
    size_t zone = ZONE_PAGES * page_size();
    uint64_t gauges[MM_GAUGES];
    int err;

    syscall(SYS_munlockall);
    for (int i = 0; i < LIMITS; i++)
        room.limits[i] = UF_UNLIMITED;
    mm_room_limit_lift(false);
    room.base = base;
    room.end = end;
    room.low_open = room.high_open = 0;
    if (munmap((void *)room.arena, room.arena_end - room.arena) < 0)
        return -errno;
    err = take(room.arena, base - zone);
    if (!err)
        err = take_zone(base - zone, ZONE_PAGES);
    if (!err)
        err = take_zone(end, ZONE_PAGES);
    if (!err)
        err = take(end + zone, room.arena_end);
    if (!err)
        err = mm_maps_gauges(gauges);
    if (!err) {
        room.total_bytes = gauges[MM_TOTAL] * page_size();
        room.data_bytes = gauges[MM_DATA] * page_size();
    }
    return err;
}

/* ---------------------------------------------------------------- zones -- */

static void free_pages(uintptr_t start, uint32_t pages)
{
    if (pages > 0)
        munmap((void *)start, pages * page_size());
}

int mm_room_open(uint32_t low_pages, uint32_t high_pages)
{
    size_t page = page_size();

    free_pages(room.base - low_pages * page, low_pages);
    free_pages(room.end, high_pages);
    room.low_open = low_pages;
    room.high_open = high_pages;
    mm_room_limit_lift(false);
    return 0;
}

int mm_room_close(void)
{
    uint32_t low = room.low_open, high = room.high_open;
    int err;

    if (low + high == 0)
        return 0;
    room.low_open = room.high_open = 0;
    mm_room_limit_lift(true);
    err = take_zone(room.base - low * page_size(), low);
    if (!err)
        err = take_zone(room.end, high);
    mm_room_limit_lift(false);
    return err;
}

void mm_room_unlock(void)
{
    size_t zone = ZONE_PAGES * page_size();

    for (size_t i = 0; i < room.nown; i++)
        syscall(SYS_munlock, room.own[i].start,
                room.own[i].end - room.own[i].start);
    syscall(SYS_munlock, room.base - zone, zone);
    syscall(SYS_munlock, room.end, zone);
}

/* --------------------------------------------------------------- limits -- */

static void set_soft(int which, uint64_t bytes)
{
    struct rlimit limit;

    getrlimit((__rlimit_resource_t)which, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit((__rlimit_resource_t)which, &limit);
}

static uint64_t plus(uint64_t value, uint64_t more)
{
    return value + more < value ? UF_UNLIMITED : value + more;
}

static void apply(int which)
{
    size_t page = page_size();
    uint64_t open_bytes = (room.low_open + room.high_open) * page;
    uint64_t value = room.lifted ? UF_UNLIMITED : room.limits[which];

    switch (which) {
    case UF_LIMIT_AS:
        set_soft(RLIMIT_AS, plus(value, room.total_bytes - open_bytes));
        break;
    case UF_LIMIT_DATA:
        set_soft(RLIMIT_DATA, plus(value, room.data_bytes));
        break;
    case UF_LIMIT_STACK:
        set_soft(RLIMIT_STACK, value);
        break;
    case UF_LIMIT_MEMLOCK:
        set_soft(RLIMIT_MEMLOCK, value);
        mm_room_may_lock(value == UF_UNLIMITED);
        break;
    default:
        break;
    }
}

void mm_room_limit(int which, uint64_t value)
{
    if (which < 0 || which >= LIMITS)
        return;
    room.limits[which] = value;
    apply(which);
}

void mm_room_limit_lift(bool lift)
{
    room.lifted = lift;
    for (int i = 0; i < LIMITS; i++)
        apply(i);
}

uint64_t mm_room_limit_now(int which)
{
    return room.limits[which];
}

/* The hard limit may be low and not ours to raise: no limit is the right not to
 * have one. */
int mm_room_may_lock(bool may)
{
    struct __user_cap_header_struct header = {.version =
                                                  _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = may ? 1u << CAP_IPC_LOCK : 0,
         .permitted = 1u << CAP_IPC_LOCK}};

    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* ---------------------------------------------------------------- break -- */

/* brk(2) compares the limit of data with the heap and with end_data -
 * start_data, mmap(2) with what is mapped: made one number. */
int mm_room_set_brk(uintptr_t base)
{
    uintptr_t here = align_down((uintptr_t)&mm_room_set_brk, page_size());
    struct prctl_mm_map map = {
        .start_code = here,
        .end_code = here + 1,
        .start_data = here,
        .end_data = here + room.data_bytes,
        .start_brk = base,
        .brk = base,
        .start_stack = here,
        .arg_start = here,
        .arg_end = here,
        .env_start = here,
        .env_end = here,
        .exe_fd = (uint32_t)-1,
    };

    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) < 0)
        return -errno;
    return 0;
}
