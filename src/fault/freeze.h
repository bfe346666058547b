/* SPDX-License-Identifier: MIT */
/*
 * freeze: a space's memory as it is at one moment (host/frozen.h), with those of
 * its mappings that a forked child does not get.
 */
#ifndef UF_FAULT_FREEZE_H
#define UF_FAULT_FREEZE_H

#include "host/frozen.h"
#include "mm/space.h"

/*
 * As frozen_take; after an error nothing is to be ended. -ENOMEM also if the host
 * cannot have again what keeps a mapping out of children (vm.max_map_count).
 * Requires: the map lock, shared or not. A touch that needs a page, and any call
 * that maps, waits meanwhile.
 */
int freeze_locked(struct uf_space *space, struct frozen *ret);

#endif
