/* SPDX-License-Identifier: MIT */
/*
 * Linked into a moved program: when it ends, says on the descriptor named by
 * PROOF_FD what happened in the default space. `mapped_now` is what the
 * workload calls, if it is there, while its files are open.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ufault/posix.h"
#include "ufault/ufault.h"

void mapped_now(void);

static unsigned nfiles;

static int count_file(void *data, const struct uf_vma_info *vma)
{
    (void)data;
    nfiles += (vma->flags & UF_VMA_KERNEL) != 0;
    return 0;
}

void mapped_now(void)
{
    uf_space_walk(uf_posix_space(), count_file, NULL);
}

__attribute__((destructor)) static void prove(void)
{
    struct uf_stats s = {.size = sizeof(s)};
    const char *fd = getenv("PROOF_FD");

    if (fd && uf_space_stats(uf_posix_space(), &s) == 0)
        dprintf(atoi(fd), "mmaps %llu faults %llu files %u\n",
                (unsigned long long)s.mmaps, (unsigned long long)s.faults,
                nfiles);
}
