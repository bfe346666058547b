/* SPDX-License-Identifier: MIT */
/*
 * From an image to the guest's first answer. The guest (table.h) has 256 MiB and
 * its request needs about 9,000 pages of them. Its file is dropped from the page
 * cache before each turn, and whether it is gone is looked at.
 *
 *     ours     the image has a working set, recorded once by this request
 *     theirs   the image without one: pages come as they are touched, by the
 *              windows that there are by default
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "table.h"
#include "ufault/image.h"
#include "ufault/ufault.h"
#include "ufault/working_set.h"

#define LEN     ((size_t)256 << 20)
#define LOOKUPS 5000
#define SEED    11

static char plain_path[64], learnt_path[64];
static uint64_t right; /* the answer */

static void remove_files(void)
{
    unlink(plain_path);
    unlink(learnt_path);
}

static struct uf_engine *engine_of(enum uf_engine_kind kind)
{
    static struct uf_engine *engines[2];
    struct uf_engine_opts opts = {.size = sizeof(opts), .kind = kind};

    if (!engines[kind] && uf_engine_create(&opts, &engines[kind]) != 0)
        return NULL;
    return engines[kind];
}

static struct uf_space *start(struct uf_image *image, enum uf_engine_kind kind,
                              uint32_t flags)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .flags = flags, .engine = engine_of(kind)};
    struct uf_space *space = NULL;

    return uf_space_from_image(image, &opts, &space) == 0 ? space : NULL;
}

static bool save_plain(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = LEN + ((size_t)1 << 20)};
    struct uf_space *space;
    char *at;
    int err;

    if (uf_space_create(&opts, &space) != 0)
        return false;
    at = (char *)uf_sbrk(space, (intptr_t)LEN);
    table_make(at, LEN);
    right = table_ask(at, SEED, LOOKUPS);
    err = uf_image_save(space, plain_path, NULL);
    uf_space_destroy(space);
    return err == 0;
}

/* One run under the recorder, and the image again with what it touched. */
static bool learn(void)
{
    struct uf_image *image;
    struct uf_space *space;
    struct uf_working_set *set;
    int err;

    if (uf_image_open(plain_path, &image) != 0)
        return false;
    space = start(image, UF_ENGINE_THREAD, 0);
    err = !space || uf_working_set_record(space);
    if (!err)
        err = table_ask((char *)uf_space_base(space), SEED, LOOKUPS) != right;
    if (!err)
        err = uf_working_set_stop(space, &set);
    if (!err)
        err = uf_image_set_working_set(image, learnt_path, set);
    if (!err)
        printf("# working set of %zu pages\n",
               uf_working_set_pages(set, NULL, 0));
    uf_space_destroy(space);
    uf_image_close(image);
    return err == 0;
}

static bool make_images(void)
{
    static int made; /* 1: yes, -1: no */

    if (made)
        return made > 0;
    snprintf(plain_path, sizeof(plain_path), "/tmp/ufault-bench-%d-plain",
             (int)getpid());
    snprintf(learnt_path, sizeof(learnt_path), "/tmp/ufault-bench-%d-learnt",
             (int)getpid());
    atexit(remove_files);
    made = save_plain() && learn() ? 1 : -1;
    if (made < 0)
        puts("# no image");
    return made > 0;
}

/* Bytes of the file that are in the page cache. */
static size_t cached_bytes(int fd, size_t len)
{
    size_t n = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *vec = malloc(len / page + 1);
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

    if (vec && map != MAP_FAILED && mincore(map, len, vec) == 0)
        for (size_t i = 0; i < (len + page - 1) / page; i++)
            n += (vec[i] & 1) * page;
    if (map != MAP_FAILED)
        munmap(map, len);
    free(vec);
    return n;
}

/* All of it into the page cache, or out of it. */
static bool set_cache(const char *path, bool cold)
{
    static char bytes[1 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t len = lseek(fd, 0, SEEK_END);
    size_t left = 0;

    if (fd < 0)
        return false;
    if (cold) {
        fdatasync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        left = cached_bytes(fd, (size_t)len);
        if (left > 0)
            printf("# %zu bytes of the image cannot be dropped\n", left);
    } else {
        for (off_t at = 0; at < len; at += (off_t)sizeof(bytes))
            (void)!pread(fd, bytes, sizeof(bytes), at);
    }
    close(fd);
    return left == 0;
}

/* Of the last start of either kind. */
static double faults[2];

/* From the file to the answer. */
static bool answer(const struct row *row, bool learnt, struct sample *ret)
{
    const char *path = learnt ? learnt_path : plain_path;
    bool thread = strcmp(row->engine, "thread") == 0;
    struct uf_stats stats = {.size = sizeof(stats)};
    struct uf_image *image;
    struct uf_space *space = NULL;
    double cpu, wall;
    bool ok;

    if (!make_images() || !set_cache(path, row->window == 0))
        return false;
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    ok = uf_image_open(path, &image) == 0;
    if (ok)
        space = start(image, thread ? UF_ENGINE_THREAD : UF_ENGINE_SIGNAL, 0);
    ok = space &&
         table_ask((char *)uf_space_base(space), SEED, LOOKUPS) == right;
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    if (space)
        uf_space_stats(space, &stats);
    faults[learnt] = (double)stats.faults;
    uf_space_destroy(space);
    uf_image_close(image);
    return ok;
}

static bool with_set(const struct row *row, struct sample *ret)
{
    return answer(row, true, ret);
}

static bool without_set(const struct row *row, struct sample *ret)
{
    return answer(row, false, ret);
}

/* Faults that are left, of a hundred that there are without. */
static bool faults_left(const struct row *row, struct sample *ret)
{
    struct sample with, without;

    if (!answer(row, false, &without) || !answer(row, true, &with))
        return false;
    ret->wall_us = 100 * faults[true] / faults[false];
    printf("#   %.0f faults without the set, %.0f with it\n", faults[false],
           faults[true]);
    return true;
}

#define BLOCK_PAGES 16 /* what a fault that continues nothing brings in */
#define TOUCHES_MAX 400
#define BLOCK_OF(i) ((i)*2654435761u % (LEN / 4096 / BLOCK_PAGES))

/* A page of block number `i`, in no order, that the set has not; 0: none. */
static size_t page_outside(const bool *in_set, size_t i)
{
    size_t first = BLOCK_OF(i) * BLOCK_PAGES;

    for (size_t n = first; n < first + BLOCK_PAGES; n++)
        if (!in_set[n])
            return n;
    return 0;
}

static const bool *set_of(struct uf_image *image)
{
    static bool in_set[LEN / 4096 + 1];
    static uint64_t pages[LEN / 4096];
    ssize_t n = uf_image_working_set(image, pages, LEN / 4096);

    for (ssize_t i = 0; i < n; i++)
        in_set[pages[i]] = true;
    return in_set;
}

/* Touches pages outside the set, as long as it comes in. */
static void touch_beside(struct uf_space *space, const bool *in_set, bool ahead,
                         struct sample *ret)
{
    static double us[TOUCHES_MAX];
    const char *at = (const char *)uf_space_base(space);
    size_t n = 0;

    for (size_t i = 1; n < TOUCHES_MAX; i++) {
        struct uf_working_set_report r = {.size = sizeof(r)};
        size_t page = page_outside(in_set, i);
        double begun = bench_wall_us();

        if (page == 0)
            continue;
        (void)((const volatile char *)at)[page * 4096];
        us[n] = bench_wall_us() - begun;
        ret->wall_us += us[n++];
        if (ahead && uf_working_set_report(space, &r) == 0 && r.coming == 0)
            break;
    }
    ret->wall_us /= (double)n;
    ret->p50_us = bench_percentile(us, n, 50);
    ret->p99_us = bench_percentile(us, n, 99);
}

static bool beside(const struct row *row, bool ahead, struct sample *ret)
{
    bool thread = strcmp(row->engine, "thread") == 0;
    const char *path = ahead ? learnt_path : plain_path;
    static const bool *in_set;
    struct uf_image *image;
    struct uf_space *space;

    if (!make_images() || uf_image_open(learnt_path, &image) != 0)
        return false;
    if (!in_set)
        in_set = set_of(image);
    uf_image_close(image);
    *ret = (struct sample){0};
    if (!set_cache(path, row->window == 0) || uf_image_open(path, &image) != 0)
        return false;
    space = start(image, thread ? UF_ENGINE_THREAD : UF_ENGINE_SIGNAL, 0);
    if (space)
        touch_beside(space, in_set, ahead, ret);
    printf("#   %s: p50 %.0f us, p99 %.0f us\n",
           ahead ? "while it comes" : "nothing comes", ret->p50_us,
           ret->p99_us);
    uf_space_destroy(space);
    uf_image_close(image);
    return space != NULL;
}

static bool beside_set(const struct row *row, struct sample *ret)
{
    return beside(row, true, ret);
}

static bool beside_nothing(const struct row *row, struct sample *ret)
{
    return beside(row, false, ret);
}

/* `window` 1: the file stays in the page cache. */
#define START(kind, warm)                                                      \
    .engine = (kind), .window = (warm), .baseline = "no set", .unit = "start", \
    .ours = with_set, .theirs = without_set

#define BESIDE(kind, warm)                                                     \
    .engine = (kind), .window = (warm), .baseline = "no set coming",           \
    .unit = "fault", .ours = beside_set, .theirs = beside_nothing

const struct row image_rows[] = {
    {.work = "from an image to the first answer, cold cache",
     .reach = 1 / 3.7,
     START("thread", 0)},
    {.work = "from an image to the first answer, cold cache",
     .reach = 1 / 3.7,
     START("signal", 0)},
    {.work = "from an image to the first answer, file in memory",
     START("thread", 1)},
    {.work = "from an image to the first answer, file in memory",
     START("signal", 1)},
    {.work = "faults left with a working set, of 100, cold cache",
     .engine = "thread",
     .baseline = "absolute",
     .unit = "faults",
     .reach = 3,
     .ours = faults_left},
    {.work = "faults left with a working set, of 100, cold cache",
     .engine = "signal",
     .baseline = "absolute",
     .unit = "faults",
     .reach = 3,
     .ours = faults_left},
    {.work = "fault outside the set while that comes in, cold cache",
     BESIDE("thread", 0)},
    {.work = "fault outside the set while that comes in, cold cache",
     BESIDE("signal", 0)},
    {.work = "fault outside the set while that comes in, file in memory",
     BESIDE("thread", 1)},
    {.work = "fault outside the set while that comes in, file in memory",
     BESIDE("signal", 1)},
};
const size_t image_nrows = sizeof(image_rows) / sizeof(image_rows[0]);
