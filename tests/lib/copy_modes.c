/* SPDX-License-Identifier: MIT */
/* See copy_modes.h. */
#include "lib/copy_modes.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants these and stddef.h, stdint.h first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static struct mode {
    const char *name;
    enum uf_tier tier; /* NONE: the best */
    bool guarded;
} mode;

const char *mode_name(void)
{
    return mode.name;
}

struct uf_space *mode_space(const struct uf_space_opts *opts)
{
    struct uf_space_opts o = opts ? *opts : (struct uf_space_opts){0};
    struct uf_engine_opts engine = {
        .size = sizeof(engine),
        .tier_plus_one = mode.tier == UF_TIER_NONE ? 0 : mode.tier + 1};

    /* Here, since cmocka puts handlers of its own in place for every test. */
    if (mode.guarded)
        assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_engine_create(&engine, &o.engine), 0);
    return live_space(&o, MODE_PAGES);
}

void mode_destroy(struct uf_space *space)
{
    struct uf_engine *engine = uf_space_engine(space);

    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_destroy(engine), 0);
    if (mode.guarded)
        assert_int_equal(uf_trap_remove(), 0);
}

struct uf_space *mode_pattern_space(struct live_pager *p)
{
    struct uf_space_opts opts = {.window_pages = 4};
    struct uf_space *space;

    live_pager_init(p, p->behave, p->arg);
    opts.heap_pager = p->pager;
    space = mode_space(&opts);
    uf_pager_unref(p->pager);
    return space;
}

void mode_assert_pattern(const unsigned char *bytes, uint64_t offset,
                         size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        assert_int_equal(bytes[i], live_pattern(offset + i));
}

void mode_assert_refused(struct uf_space *space, uintptr_t addr,
                         size_t len_bytes, size_t good)
{
    unsigned char *bytes = malloc(len_bytes);
    size_t copied = SIZE_MAX;

    assert_non_null(bytes);
    memset(bytes, 77, len_bytes);
    assert_int_equal(uf_copy_in(space, bytes, addr, len_bytes, &copied),
                     -EFAULT);
    assert_int_equal(copied, good);
    for (size_t i = good; i < len_bytes; i++)
        assert_int_equal(bytes[i], 77);
    copied = SIZE_MAX;
    assert_int_equal(uf_copy_out(space, addr, bytes, len_bytes, &copied),
                     -EFAULT);
    assert_int_equal(copied, good);
    assert_int_equal(uf_populate_read(space, addr, len_bytes), -EFAULT);
    assert_int_equal(uf_populate_write(space, addr, len_bytes), -EFAULT);
    free(bytes);
}

static int run_in(struct mode m, const struct CMUnitTest *tests, size_t ntests)
{
    mode = m;
    return _cmocka_run_group_tests(m.name, tests, ntests, NULL, NULL);
}

/* As nobody, whose userfaultfd is USER_MODE_ONLY if there is one. */
static int run_as_nobody(const struct CMUnitTest *tests, size_t ntests)
{
    struct uf_probe probe = {.size = sizeof(probe)};
    int status = 0;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0 || uf_probe(&probe) < 0 ||
            probe.tier == UF_TIER_NONE)
            puts("as nobody: skipped, no userfaultfd");
        else
            status =
                run_in((struct mode){"as nobody", 0, false}, tests, ntests);
        fflush(NULL);
        _exit(status);
    }
    waitpid(pid, &status, 0);
    return status == 0 ? 0 : 1;
}

int modes_run(const struct CMUnitTest *tests, size_t ntests)
{
    static const struct mode modes[] = {
        {"best tier", UF_TIER_NONE, false},
        {"best tier, guarded", UF_TIER_NONE, true},
        {"user mode only", UF_TIER_USER_MODE, false},
        {"user mode only, guarded", UF_TIER_USER_MODE, true},
    };
    struct uf_probe probe = {.size = sizeof(probe)};
    int failed = live_begin();

    if (failed)
        return failed;
#if !defined(__SANITIZE_THREAD__) /* no threads in forked children there */
    failed = run_as_nobody(tests, ntests);
#else
    (void)run_as_nobody;
#endif
    uf_probe(&probe);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (modes[i].tier == UF_TIER_NONE ||
            probe.items[UF_PROBE_USER_MODE].available)
            failed += run_in(modes[i], tests, ntests);
    return failed;
}
