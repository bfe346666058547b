/* SPDX-License-Identifier: MIT */
/*
 * Stepping down the ways to a userfaultfd:
 *
 *     userfaultfd(2) ─refused─► /dev/userfaultfd ─► USER_MODE_ONLY ─► none
 *
 * The first two are alike in what they can do; the third cannot serve touches
 * by system calls. What an errno means for the next step is resolution.h's.
 */
#include "fault/engine.h"

#include <errno.h>

#include "fault/resolution.h"
#include "host/uffd_abi.h"
#include "host/uffd_signal.h"

#define FEATURES_WANTED                                                        \
    (UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS |                     \
     UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE |                                 \
     UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |        \
     UFFD_FEATURE_WP_ASYNC)

static const enum uf_tier tiers[] = {UF_TIER_SYSCALL, UF_TIER_DEVICE,
                                     UF_TIER_USER_MODE};

static enum step step_after(enum uf_tier tier, int err)
{
    enum uffd_op op = tier == UF_TIER_DEVICE ? OP_OPEN_DEVICE : OP_OPEN;

    return resolve(op, err, 0).step;
}

/* Only what uf_engine_create documents gets out. */
static int documented(int err)
{
    switch (err) {
    case -EACCES:
        return -EPERM;
    case 0:
    case -EPERM:
    case -ENOSYS:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return err;
    default: /* no device, not that device, a kernel without the flag */
        return -ENOTSUP;
    }
}

static int open_tiers(uint32_t tier_plus_one, uint64_t wanted, struct uffd *ret)
{
    int first_err = 0;

    if (tier_plus_one > 0)
        return documented(
            uffd_init(ret, (enum uf_tier)(tier_plus_one - 1), wanted));
    for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
        int err = uffd_init(ret, tiers[i], wanted);

        if (err == 0)
            return 0;
        if (first_err == 0)
            first_err = err;
        if (step_after(tiers[i], err) == STEP_FAIL)
            return documented(err);
    }
    return documented(first_err);
}

int engine_open_uffd(uint32_t tier_plus_one, enum uf_engine_kind kind,
                     struct uffd *ret)
{
    int err;

    if (kind != UF_ENGINE_SIGNAL)
        return open_tiers(tier_plus_one, FEATURES_WANTED, ret);
    err = open_tiers(tier_plus_one, FEATURES_WANTED | UFFD_FEATURE_SIGBUS, ret);
    if (err)
        return err;
    err = uffd_signal_init(ret);
    if (err)
        uffd_close(ret);
    return documented(err);
}
