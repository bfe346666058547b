/* SPDX-License-Identifier: MIT */
/* The functions of ufault/working_set.h. */
#include "ufault/working_set.h"

#include "api.h"
#include "fault/ahead.h"
#include "fault/recording.h"
#include "fault/working_set.h"

int uf_working_set_record(struct uf_space *space)
{
    int err = api_may_call(space);

    return err ? err : recording_start(space);
}

int uf_working_set_stop(struct uf_space *space, struct uf_working_set **ret_set)
{
    int err = api_may_call(space);

    return err ? err : recording_stop(space, ret_set);
}

int uf_working_set_create(const uint64_t *pages, size_t npages,
                          struct uf_working_set **ret_set)
{
    if (!ret_set || (!pages && npages > 0))
        return -EINVAL;
    return working_set_create(pages, npages, ret_set);
}

void uf_working_set_destroy(struct uf_working_set *set)
{
    working_set_destroy(set);
}

size_t uf_working_set_pages(const struct uf_working_set *set, uint64_t *pages,
                            size_t max)
{
    if (!set)
        return 0;
    for (size_t i = 0; i < max && i < set->npages; i++)
        pages[i] = set->pages[i];
    return set->npages;
}

int uf_working_set_merge(const struct uf_working_set *const *sets, size_t nsets,
                         size_t at_least, struct uf_working_set **ret_set)
{
    if (!sets || nsets == 0 || !ret_set)
        return -EINVAL;
    for (size_t i = 0; i < nsets; i++)
        if (!sets[i])
            return -EINVAL;
    return working_set_merge(sets, nsets, at_least, ret_set);
}

int uf_working_set_ahead(struct uf_space *space,
                         const struct uf_working_set *set, uint32_t leave)
{
    int err = api_may_call(space);

    if (!err && !set)
        err = -EINVAL;
    return err ? err : ahead_start(space, set->pages, set->npages, leave);
}

int uf_working_set_report(struct uf_space *space,
                          struct uf_working_set_report *report)
{
    int err = api_may_call(space);

    if (!err && (!report || report->size != sizeof(*report)))
        err = -EINVAL;
    return err ? err : ahead_report(space, report);
}
