/* SPDX-License-Identifier: MIT */
/*
 * show: what the texts about a space share.
 *
 *     show.c          the walk, snapshots
 *     show_maps.c     /proc/PID/maps
 *     show_smaps.c    /proc/PID/smaps, on usage.h
 *     show_status.c   the memory lines of /proc/PID/status, on usage.h
 *
 * Each goes from VMA to VMA by show_next, which copies one under the lock. All
 * else (asking the kernel, formatting, writing to the caller's buffer, which
 * may lie in a space) is done without it.
 */
#ifndef UF_MM_SHOW_H
#define UF_MM_SHOW_H

#include "host/hostmap.h"
#include "mm/space.h"

struct shown {
    struct vma vma; /* cut below where the walk is; its pager is referenced */
    bool heap;      /* overlaps [start_brk, brk) */
};

/* VMA_* as UF_VMA_*. */
uint32_t show_flags(uint32_t vma_flags);

/* The first VMA that ends above addr; false: none. show_done lets go of it. */
bool show_next(struct uf_space *space, uintptr_t addr, struct shown *ret);
void show_done(struct shown *shown);

/* ---- a text that may not fit, as snprintf ---- */

struct text {
    char *at;
    size_t room;   /* bytes left, the final NUL included */
    size_t length; /* of the whole text */
    bool full;     /* a piece did not fit: nothing more is written */
};

void text_init(struct text *text, char *buffer, size_t len_bytes);

/* Adds a piece (a line, an entry) whole, or nothing from now on. */
void text_add(struct text *text, const char *piece);

/* ---- one line ---- */

/* Bytes of a line of maps, its newline and NUL included. */
#define MAPS_LINE_BYTES (HOST_NAME_MAX_BYTES + 128)

/*
 * Writes the line of maps into line[MAPS_LINE_BYTES]; returns its length.
 * `host`: what the kernel has there, for a mapping that it serves; NULL: not
 * known, then the line has no device and no path.
 */
size_t maps_line(char *line, const struct shown *shown,
                 const struct host_vma *host);

#endif
