/* SPDX-License-Identifier: MIT */
/*
 * caps: what this kernel lets this process do, found by doing it.
 *
 * Versions, build options and sysctls only hint at what is allowed: a seccomp
 * filter or a container overrules them all. So each facility is used for real,
 * in a child that shares our memory but not our descriptors (as vfork(2)
 * makes, without the fork handlers and without SIGCHLD):
 *
 *     parent     asks /proc ──┐            ┌── collects the exit status: errno
 *                (suspended)  └─ clone ────┘
 *     child                       opens, closes, exits
 *
 * Whatever the child opens, installs or is killed for ends with it: a filter
 * that answers with SIGSYS is a finding, not the end of the program. (Before
 * Linux 5.16 a core dump takes all who share the memory along, as the same
 * call from the program itself would.)
 *
 * What is read from /proc serves only to explain a refusal; see caps_cause.h.
 */
#ifndef UF_HOST_CAPS_H
#define UF_HOST_CAPS_H

#include "ufault/ufault.h"

/*
 * Fills everything but probe->size. Always 0. Any thread may call, also one
 * that is being cancelled: nothing here is a cancellation point.
 */
int caps_probe(struct uf_probe *probe);

/* The tier that an engine gets, from probe->items alone: full service before
 * user mode, the system call before the device. */
enum uf_tier caps_tier(const struct uf_probe *probe);

/* UFFD_FEATURE_* without its prefix, and the kernel that first had it, as
 * "5.7"; NULL for a bit without a name. */
const char *caps_feature_name(unsigned bit);
const char *caps_feature_since(unsigned bit);

#endif
