/* SPDX-License-Identifier: MIT */
/* See mapping.h: the space's life. */
#include "run/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/sys.h"
#include "fault/engine.h"
#include "mm/space.h"
#include "run/raw.h"
#include "run/registrar.h"
#include "run/wiped.h"

struct mapping mapping;

static bool led; /* libc's functions lead here */
static _Thread_local bool passes;

/* Where a process counts that nobody asks. */
static struct counters nobodys;
static _Atomic uint64_t nobodys_nleft;

static bool locked_by_fork; /* the space had no engine to lock it */

bool mapping_init(void)
{
    led = libc_patch_all(mapping_calls);
    return led;
}

void mapping_pass_set(bool pass)
{
    passes = pass;
}

void mapping_pass_this_thread(void)
{
    mapping_pass_set(true);
}

bool mapping_is_on(void)
{
    return wiped_get(WIPED_MAPPING_ON) && !passes &&
           !engine_is_handler_thread();
}

/* Stacks of threads that are gone stay with libc, for new ones; in a forked
 * child those of all threads. */
void *mapping_take_stack(size_t len_bytes)
{
    void *p;

    if (!mapping.space || !mapping.stacks)
        return NULL;
    p = sys->mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* -------------------------------------------------------------- adopting --
 */

/* Where vm.overcommit_memory is 0 the kernel commits no more in one call than
 * there is memory and swap (__vm_enough_memory). A reservation hides such a
 * call from it, so calls that large are left to it. */
static uint64_t largest_commitment(void)
{
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    struct sysinfo info;
    char policy = '0';

    if (fd >= 0) {
        if (read(fd, &policy, 1) != 1)
            policy = '0';
        close(fd);
    }
    if (policy != '0' || sysinfo(&info) < 0)
        return UINT64_MAX;
    return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

static bool address_space_is_limited(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

static int make_space(const struct run_welcome *welcome, struct run_slot *slot)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .address = RUN_MAPPING_BASE,
        .len_bytes = welcome->mapping_bytes,
        .fork = UF_FORK_ZERO,
        .window_pages = welcome->window_pages,
    };
    struct space_params params = {.opts = &opts, .counters = &slot->mapped};
    int err = space_create(&params, &mapping.space);

    if (err)
        return err;
    mapping.space->populates_by_kernel = true;
    mapping.range = mapping.space->region.range;
    return 0;
}

static void forget_space(void)
{
    space_destroy(mapping.space);
    mapping.space = NULL;
    mapping.range = (struct range){0, 0};
}

static enum run_mapping refusal(const struct run_welcome *welcome)
{
    if (welcome->mapping_bytes == 0)
        return RUN_MAPPING_NOT_ASKED;
    if (!led)
        return RUN_MAPPING_NO_LIBC;
    if (!mapping.space && address_space_is_limited())
        return RUN_MAPPING_LIMITED;
    return RUN_MAPPING_SERVED;
}

int mapping_adopt(struct uf_engine *engine, const struct run_welcome *welcome,
                  struct run_slot *slot, enum run_mapping *ret)
{
    bool inherited = mapping.space != NULL;
    int err = 0;

    *ret = refusal(welcome);
    if (*ret != RUN_MAPPING_SERVED)
        return 0;
    *ret = RUN_MAPPING_NO_ROOM;
    err = registrar_start();
    if (err)
        return err;
    if (inherited)
        space_count_into(mapping.space, &slot->mapped);
    else
        err = make_space(welcome, slot);
    if (err)
        return err;
    thread_table_lend(&mapping.space->threads, slot->mapped_threads,
                      RUN_THREAD_CHUNKS);
    err = engine_attach(engine, mapping.space);
    if (err && !inherited)
        forget_space();
    if (err)
        return err;
    mapping.nleft = &slot->mmaps_left;
    mapping.stacks = welcome->stacks;
    if (mapping.stacks) {
        raw_expect_served_stacks();
        engine_take_stack = mapping_take_stack;
    }
    mapping.largest = largest_commitment();
    *ret = RUN_MAPPING_SERVED;
    wiped_set(WIPED_MAPPING_ON, 1);
    return 0;
}

/* ------------------------------------------------------------------ fork --
 */

void mapping_fork_prepare(void)
{
    locked_by_fork = mapping.space && !mapping.space->engine;
    if (locked_by_fork)
        rwlock_fork_take(&mapping.space->map_lock);
}

void mapping_fork_parent(void)
{
    if (locked_by_fork)
        rwlock_fork_release(&mapping.space->map_lock);
}

void mapping_fork_child(void)
{
    if (!mapping.space)
        return;
    if (locked_by_fork) {
        rwlock_fork_child(&mapping.space->map_lock);
        space_inherit(mapping.space);
    }
    mapping.nleft = &nobodys_nleft;
    space_count_into(mapping.space, &nobodys);
    thread_table_forget(&mapping.space->threads);
    wiped_set(WIPED_MAPPING_ON, 1);
}
