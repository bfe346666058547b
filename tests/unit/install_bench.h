/* SPDX-License-Identifier: MIT */
/*
 * install_bench: one window on a simulated descriptor, a thread waiting at each
 * of its pages, and what must hold after every install, whatever the descriptor
 * answered:
 *
 *   - the counts are those of the pages that went in,
 *   - who waited for a page that is there, or for nothing any more, is awake,
 *   - who is still asleep was promised another try (BUSY) or a SIGBUS
 *     (REFUSED), or waits for a page of the window that was not reached.
 */
#ifndef TESTS_UNIT_INSTALL_BENCH_H
#define TESTS_UNIT_INSTALL_BENCH_H

#include "fault/install.h"
#include "lib/fake_uffd.h"

#define NPAGES 4

struct bench {
    struct fake_uffd *fake;
    struct uffd uffd;
    struct range window;
    char *bytes;
};

/* Where an install takes its pages from. */
enum source { BYTES, ZEROS_READ, ZEROS_WRITE, MOVED, MOVED_READ };

uintptr_t bench_page(size_t i);
void bench_set_up(struct bench *b);
void bench_tear_down(struct bench *b);

/* An install of all of the window. */
struct install bench_what(struct bench *b, enum source source, size_t touched,
                          bool again);

/* A thread waits at every page; returns the index of the first. */
size_t bench_touch_all(struct bench *b);

bool bench_is_in(enum fake_page page);

/* Installs and checks what always holds. */
struct install_result bench_install(struct bench *b,
                                    const struct install *what);

#endif
