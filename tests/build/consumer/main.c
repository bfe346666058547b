/* SPDX-License-Identifier: MIT */
/* A user's program: the version is the package's, and the library answers. Its
 * own names are allowed to be the ones that ufault uses inside. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <ufault/posix.h>
#include <ufault/ufault.h>

int lock_take(void);
int lock_take(void)
{
    return 42;
}

/* Linked with ufault::wrap, what mmap maps lies in the default space. */
static int mmap_is_wrapped(void)
{
#ifdef WRAPPED
    struct uf_space *space = uf_posix_space();
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (!space)
        return p == MAP_FAILED; /* no userfaultfd */
    p[0] = 1;
    return (uintptr_t)p - uf_space_base(space) < uf_space_len(space) &&
           munmap(p, 4096) == 0;
#else
    return 1;
#endif
}

int main(void)
{
    struct uf_probe probe = {.size = sizeof(probe)};

    if (strcmp(uf_version(), EXPECTED) != 0) {
        printf("library %s, package %s\n", uf_version(), EXPECTED);
        return 1;
    }
    if (uf_probe(&probe) != 0 || lock_take() != 42 || !mmap_is_wrapped())
        return 1;
    printf("ufault %s: %s\n", uf_version(), uf_tier_name(probe.tier));
    return 0;
}
