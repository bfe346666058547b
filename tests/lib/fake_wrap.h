/* SPDX-License-Identifier: MIT */
/*
 * fake_wrap: a real userfaultfd with a script in front of it, so that threads
 * that really sleep in a fault meet errnos that the kernel rarely gives. A
 * partial answer is made for real as far as it says.
 */
#ifndef TESTS_LIB_FAKE_WRAP_H
#define TESTS_LIB_FAKE_WRAP_H

#include "lib/fake_script.h"

struct fake_wrap {
    struct fake_script script;
    struct uffd real;
};

/* Opens the best descriptor there is. 0 or -errno. The wrap must outlive the
 * engine that takes the handle and closes it. */
int fake_wrap_init(struct fake_wrap *wrap);
struct uffd fake_wrap_handle(struct fake_wrap *wrap);

#endif
