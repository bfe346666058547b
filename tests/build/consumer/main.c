/* SPDX-License-Identifier: MIT */
/* A user's program: the version is the package's, and the library answers. Its
 * own names are allowed to be the ones that ufault uses inside. */
#include <stdio.h>
#include <string.h>

#include <ufault/ufault.h>

int lock_take(void);
int lock_take(void)
{
    return 42;
}

int main(void)
{
    struct uf_probe probe = {.size = sizeof(probe)};

    if (strcmp(uf_version(), EXPECTED) != 0) {
        printf("library %s, package %s\n", uf_version(), EXPECTED);
        return 1;
    }
    if (uf_probe(&probe) != 0 || lock_take() != 42)
        return 1;
    printf("ufault %s: %s\n", uf_version(), uf_tier_name(probe.tier));
    return 0;
}
