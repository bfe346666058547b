/* SPDX-License-Identifier: MIT */
/*
 * Paging with GNU libsigsegv: the memory is PROT_NONE, its handler on the
 * touching thread makes one page accessible, and the kernel brings that page
 * in. See servers.h. The handler is the process's, so one memory at a time.
 */
#include <sigsegv.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "servers.h"

static uintptr_t start, end, page;
static struct sigaction before; /* an engine may have a handler of its own */

static int page_in(void *address, int serious)
{
    uintptr_t at = (uintptr_t)address;

    (void)serious;
    return at >= start && at < end &&
           mprotect((void *)(at & ~(page - 1)), page, PROT_READ | PROT_WRITE) ==
               0;
}

static bool map(const struct wish *wish, struct memory *ret)
{
    char *p = kernel_memory(wish->len_bytes);

    if (!p || mprotect(p, wish->len_bytes, PROT_NONE) < 0)
        return false;
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    start = (uintptr_t)p;
    end = start + wish->len_bytes;
    *ret = (struct memory){p, wish->len_bytes, NULL};
    sigaction(SIGSEGV, NULL, &before);
    return sigsegv_install_handler(page_in) == 0;
}

static void unmap(struct memory *memory)
{
    sigsegv_deinstall_handler();
    sigaction(SIGSEGV, &before, NULL);
    munmap(memory->base, memory->len_bytes);
}

const struct server sigsegv = {.map = map, .unmap = unmap};
