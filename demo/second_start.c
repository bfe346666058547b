/* SPDX-License-Identifier: MIT */
/*
 * second-start: a guest that is started from a file knows, the second time, which
 * of its pages it will need.
 *
 *     image ─► first start    each page is a fault; which ones is recorded
 *     image + working set ─► second start    they come in ahead, in that order,
 *                                            while the guest runs
 *
 * The guest is a table of 64 MiB, of which a request follows a chain through
 * 2,000 pages, in no order that a window could guess.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ufault/image.h"
#include "ufault/ufault.h"
#include "ufault/working_set.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define LEN   ((size_t)64 << 20)
#define NODES (LEN / 4096) /* one in each 4 KiB */
#define STEPS 2000

struct node {
    uint64_t value;
    uint64_t next;
    char rest[4080];
};

static char path[] = "/tmp/ufault-second-start.XXXXXX";

static void save_guest(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = LEN * 2};
    struct uf_space *space;
    struct node *nodes;
    int err;

    CHECK(uf_space_create(&opts, &space) == 0);
    nodes = (struct node *)uf_sbrk(space, (intptr_t)LEN);
    for (uint64_t i = 0; i < NODES; i++)
        nodes[i] =
            (struct node){.value = i * i, .next = (i * 5573 + 4097) % NODES};
    err = uf_image_save(space, path, NULL);
    uf_space_destroy(space);
    if (err == -ENOSYS) {
        puts("built without images: nothing to show");
        exit(0);
    }
    CHECK(err == 0);
}

/* The guest's request. */
static uint64_t answer(struct uf_space *space)
{
    const struct node *nodes = (const struct node *)uf_space_base(space);
    uint64_t sum = 0, at = 1;

    for (int i = 0; i < STEPS; i++) {
        sum += nodes[at].value;
        at = nodes[at].next;
    }
    return sum;
}

static uint64_t faults_of(struct uf_space *space)
{
    struct uf_stats stats = {.size = sizeof(stats)};

    CHECK(uf_space_stats(space, &stats) == 0);
    return stats.faults;
}

int main(void)
{
    struct uf_working_set_report report = {.size = sizeof(report)};
    struct uf_working_set *set;
    struct uf_image *image;
    struct uf_space *space;
    uint64_t first, second, sum;

    CHECK(close(mkstemp(path)) == 0);
    save_guest();

    CHECK(uf_image_open(path, &image) == 0);
    CHECK(uf_space_from_image(image, NULL, &space) == 0);
    CHECK(uf_working_set_record(space) == 0);
    sum = answer(space);
    CHECK(uf_working_set_stop(space, &set) == 0);
    first = faults_of(space);
    printf("first start:  %d steps, %d faults\n", STEPS, (int)first);
    CHECK(uf_working_set_pages(set, NULL, 0) == first);
    CHECK(uf_image_set_working_set(image, path, set) == 0);
    uf_space_destroy(space);
    uf_image_close(image);

    CHECK(uf_image_open(path, &image) == 0);
    CHECK(uf_space_from_image(image, NULL, &space) == 0);
    CHECK(answer(space) == sum);
    second = faults_of(space);
    CHECK(uf_working_set_report(space, &report) == 0);
    printf("second start: the same answer, more than nine in ten faults gone: "
           "%s\n",
           second < first / 10 ? "yes" : "no");
    CHECK(second < first / 2 && report.pages == first && report.missed == 0);

    uf_working_set_destroy(set);
    uf_space_destroy(space);
    uf_image_close(image);
    unlink(path);
    return 0;
}
