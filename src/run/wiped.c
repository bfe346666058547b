/* SPDX-License-Identifier: MIT */
/* See wiped.h. */
#include "run/wiped.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/range.h"
#include "base/sys.h"

static _Atomic uint32_t *words;

int wiped_init(void)
{
    size_t len = page_size();
    void *page = sys->mmap(NULL, len, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return -errno;
    if (sys->madvise(page, len, MADV_WIPEONFORK) < 0) {
        int err = -errno;

        sys->munmap(page, len);
        return err;
    }
    words = page;
    return 0;
}

uint32_t wiped_get(enum wiped_word which)
{
    return words ? atomic_load_explicit(&words[which], memory_order_acquire)
                 : 0;
}

void wiped_set(enum wiped_word which, uint32_t value)
{
    atomic_store_explicit(&words[which], value, memory_order_release);
}
