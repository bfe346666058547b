/* SPDX-License-Identifier: MIT */
/*
 * uf_posix_early: the default space before anything is allocated.
 *
 * An allocator asks for memory while it holds its locks. Were its first mmap to
 * make the space, which starts a thread, whose start allocates, it would wait
 * for itself. A program whose malloc is moved therefore has the space made
 * first, in a constructor, by pulling this object out of libufault_wrap.a:
 *
 *     -Wl,-u,uf_posix_early -lufault_wrap -lufault
 *
 * What is allocated meanwhile comes from the kernel (default_space.h).
 */
#include "ufault/posix.h"

extern const char uf_posix_early[];
const char uf_posix_early[] = "the default space is made by a constructor";

/* After the fork handlers of a static libufault, before constructors without a
 * number. If it cannot be made now, a later call says why. */
__attribute__((constructor(103))) static void make_early(void)
{
    uf_posix_space();
}
