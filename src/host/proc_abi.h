/* SPDX-License-Identifier: MIT */
/*
 * proc_abi: the ioctls of files in /proc/PID that older headers lack, under
 * names of our own, so that newer headers do not clash with them. Values are
 * the kernel's ABI (<linux/fs.h>), fixed for ever.
 */
#ifndef UF_HOST_PROC_ABI_H
#define UF_HOST_PROC_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* ---- PAGEMAP_SCAN, on /proc/PID/pagemap, since 6.7 ---- */

#define PAGE_CAT_WRITTEN (1u << 1) /* not protected by a userfaultfd */
#define PAGE_CAT_FILE    (1u << 2) /* of a file, or shared */
#define PAGE_CAT_PRESENT (1u << 3)
#define PAGE_CAT_SWAPPED (1u << 4) /* swap, or a marker (poison, guard) */
#define PAGE_CAT_PFNZERO (1u << 5) /* the shared page of zeros */
#define PAGE_CAT_HUGE    (1u << 6) /* mapped by a huge page */

struct scan_region {
    __u64 start;
    __u64 end;
    __u64 categories;
};

struct scan_arg {
    __u64 size; /* of this struct */
    __u64 flags;
    __u64 start;
    __u64 end;
    __u64 walk_end; /* out: where the scan came to */
    __u64 vec;
    __u64 vec_len;
    __u64 max_pages;
    __u64 category_inverted;
    __u64 category_mask;
    __u64 category_anyof_mask;
    __u64 return_mask;
};

/* Protects what matches; refuses memory that is not registered for it. */
#define SCAN_WP_MATCHING    (1u << 0)
#define SCAN_CHECK_WP_ASYNC (1u << 1)

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)

/* ---- PROCMAP_QUERY, on /proc/PID/maps, since 6.11 ---- */

struct map_query {
    __u64 size; /* of this struct */
    __u64 query_flags;
    __u64 query_addr;
    __u64 vma_start; /* from here: out */
    __u64 vma_end;
    __u64 vma_flags;
    __u64 vma_page_size;
    __u64 vma_offset;
    __u64 inode;
    __u32 dev_major;
    __u32 dev_minor;
    __u32 vma_name_size; /* in: room; out: length with the NUL, 0: no name */
    __u32 build_id_size;
    __u64 vma_name_addr;
    __u64 build_id_addr;
};

#define MAP_QUERY_IOCTL _IOWR('f', 17, struct map_query)

/* ---- Entries of /proc/PID/pagemap ---- */

#define PAGE_ENTRY_PRESENT   (1ull << 63)
#define PAGE_ENTRY_SWAPPED   (1ull << 62)
#define PAGE_ENTRY_FILE      (1ull << 61)
#define PAGE_ENTRY_EXCLUSIVE (1ull << 56) /* mapped once, here */

#endif
