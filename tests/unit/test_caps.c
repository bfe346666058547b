/* SPDX-License-Identifier: MIT */
/*
 * caps: every way of being refused is told apart, every cause has a reason and
 * a remedy, and the probe's answer agrees with itself. Needs no userfaultfd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/caps.h"
#include "host/caps_cause.h"
#include "host/uffd_abi.h"

#define EMPTY_WHY(cause) (cause_why(cause)[0] == '\0')

/* --------------------------------------------------------------- texts -- */

static void every_cause_has_a_why_and_a_remedy(void **state)
{
    (void)state;
    assert_string_equal(cause_why(CAUSE_NONE), "");
    assert_string_equal(cause_remedy(CAUSE_NONE), "");
    for (int c = CAUSE_NONE + 1; c < CAUSE_COUNT; c++) {
        assert_non_null(cause_why((enum caps_cause)c));
        assert_non_null(cause_remedy((enum caps_cause)c));
        assert_true(strlen(cause_why((enum caps_cause)c)) > 10);
        assert_true(strlen(cause_remedy((enum caps_cause)c)) > 10);
    }
}

static void no_two_causes_share_a_why(void **state)
{
    (void)state;
    for (int a = 0; a < CAUSE_COUNT; a++) {
        for (int b = a + 1; b < CAUSE_COUNT; b++)
            assert_string_not_equal(cause_why((enum caps_cause)a),
                                    cause_why((enum caps_cause)b));
    }
}

static void assert_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(*text >= ' ' && *text <= '~');
        assert_true(*text != '"' && *text != '\\');
    }
}

static void texts_need_no_escaping_in_json(void **state)
{
    (void)state;
    for (int c = 0; c < CAUSE_COUNT; c++) {
        assert_plain(cause_why((enum caps_cause)c));
        assert_plain(cause_remedy((enum caps_cause)c));
    }
}

/* -------------------------------------------------------------- causes -- */

enum facility { SYSCALL, USER_MODE, DEVICE, URING, NOTIFY };

struct row {
    enum facility facility;
    struct caps_trial trial;
    struct caps_trial user_mode; /* for SYSCALL */
    struct caps_evidence seen;
    enum caps_cause cause;
};

#define FAILS(e)                                                               \
    {                                                                          \
        .err = -(e)                                                            \
    }
#define KILLED                                                                 \
    {                                                                          \
        .err = -EPERM, .killed = true                                          \
    }
#define WORKS                                                                  \
    {                                                                          \
        .err = 0                                                               \
    }

/* Evidence of usual machines. */
#define ROOT                                                                   \
    .uffd_sysctl = 0, .uring_sysctl = 0, .init_userns = true,                  \
    .sys_ptrace = true, .device_listed = true, .device_allowed = true
#define USER                                                                   \
    .uffd_sysctl = 0, .uring_sysctl = 0, .init_userns = true,                  \
    .device_listed = true
#define USER_SYSCTL_1                                                          \
    .uffd_sysctl = 1, .uring_sysctl = 0, .init_userns = true,                  \
    .device_listed = true
#define USERNS_ROOT                                                            \
    .uffd_sysctl = 0, .uring_sysctl = 0, .sys_ptrace = true,                   \
    .device_listed = true
#define NO_UFFD  .uffd_sysctl = -1, .uring_sysctl = -1, .init_userns = true
#define FILTERED .filtered = true

/* clang-format off */
static const struct row rows[] = {
    {SYSCALL, WORKS, WORKS, {ROOT}, CAUSE_NONE},
    /* The sysctl; who got past with the flag was not filtered. */
    {SYSCALL, FAILS(EPERM), WORKS, {USER}, CAUSE_SYSCTL},
    {SYSCALL, FAILS(EPERM), WORKS, {USER, FILTERED}, CAUSE_SYSCTL},
    {SYSCALL, FAILS(EPERM), WORKS, {USERNS_ROOT}, CAUSE_SYSCTL_USERNS},
    /* Linux 5.2 to 5.10: no flag, and the sysctl is asked first. */
    {SYSCALL, FAILS(EPERM), FAILS(EPERM), {USER}, CAUSE_SYSCTL},
    {USER_MODE, FAILS(EPERM), WORKS, {USER}, CAUSE_SYSCTL},
    {USER_MODE, FAILS(EPERM), WORKS, {USERNS_ROOT}, CAUSE_SYSCTL_USERNS},
    /* A filter: on its own, and in front of the sysctl. */
    {SYSCALL, FAILS(EPERM), FAILS(EPERM), {ROOT, FILTERED}, CAUSE_FILTER},
    {SYSCALL, FAILS(EPERM), WORKS, {ROOT, FILTERED}, CAUSE_FILTER},
    {SYSCALL, FAILS(EPERM), WORKS, {USER_SYSCTL_1, FILTERED}, CAUSE_FILTER},
    {SYSCALL, FAILS(EPERM), FAILS(EPERM), {USER, FILTERED},
     CAUSE_FILTER_AND_SYSCTL},
    {SYSCALL, FAILS(EPERM), KILLED, {USER, FILTERED}, CAUSE_FILTER_AND_SYSCTL},
    {USER_MODE, FAILS(EPERM), WORKS, {USER, FILTERED}, CAUSE_FILTER},
    {USER_MODE, FAILS(EPERM), WORKS, {ROOT, FILTERED}, CAUSE_FILTER},
    {SYSCALL, FAILS(ENOSYS), WORKS, {ROOT, FILTERED}, CAUSE_FILTER_ENOSYS},
    {USER_MODE, FAILS(ENOSYS), WORKS, {USER, FILTERED}, CAUSE_FILTER_ENOSYS},
    {SYSCALL, KILLED, KILLED, {ROOT, FILTERED}, CAUSE_KILLED},
    {DEVICE, KILLED, WORKS, {ROOT, FILTERED}, CAUSE_KILLED},
    /* Refused, and nothing that can be seen explains it. */
    {SYSCALL, FAILS(EPERM), FAILS(EPERM), {ROOT}, CAUSE_SANDBOX},
    {SYSCALL, FAILS(ENOSYS), WORKS, {ROOT}, CAUSE_SANDBOX},
    {SYSCALL, FAILS(EACCES), WORKS, {ROOT}, CAUSE_SECURITY_MODULE},
    /* Not in the kernel. */
    {SYSCALL, FAILS(ENOSYS), FAILS(ENOSYS), {NO_UFFD}, CAUSE_NO_UFFD},
    {SYSCALL, FAILS(ENOSYS), WORKS, {NO_UFFD, FILTERED}, CAUSE_NO_UFFD},
    {USER_MODE, FAILS(EINVAL), WORKS, {USER}, CAUSE_NO_USER_MODE},

    {DEVICE, WORKS, WORKS, {ROOT}, CAUSE_NONE},
    {DEVICE, FAILS(ENOENT), WORKS, {NO_UFFD}, CAUSE_DEVICE_MISSING},
    {DEVICE, FAILS(ENOENT), WORKS, {ROOT}, CAUSE_DEVICE_HIDDEN},
    {DEVICE, FAILS(EACCES), WORKS, {USER}, CAUSE_DEVICE_MODE},
    {DEVICE, FAILS(EACCES), WORKS, {ROOT}, CAUSE_DEVICE_NODEV},
    {DEVICE, FAILS(EPERM), WORKS, {ROOT}, CAUSE_DEVICE_CGROUP},
    {DEVICE, FAILS(ENXIO), WORKS, {ROOT}, CAUSE_DEVICE_DEAD},
    {DEVICE, FAILS(ENODEV), WORKS, {ROOT}, CAUSE_DEVICE_DEAD},
    {DEVICE, FAILS(ENOTTY), WORKS, {ROOT}, CAUSE_DEVICE_MASKED},
    {DEVICE, FAILS(EISDIR), WORKS, {ROOT}, CAUSE_DEVICE_MASKED},
    {DEVICE, FAILS(EMFILE), WORKS, {ROOT}, CAUSE_DESCRIPTORS},

    {URING, WORKS, WORKS, {USER}, CAUSE_NONE},
    {URING, FAILS(EPERM), WORKS, {.uring_sysctl = 2}, CAUSE_URING_DISABLED},
    {URING, FAILS(EPERM), WORKS, {.uring_sysctl = 1}, CAUSE_URING_GROUP},
    {URING, FAILS(EPERM), WORKS, {USER, FILTERED}, CAUSE_URING_FILTER},
    {URING, FAILS(EPERM), WORKS, {USER}, CAUSE_SANDBOX},
    {URING, FAILS(ENOSYS), WORKS, {USER, FILTERED}, CAUSE_URING_FILTER_ENOSYS},
    {URING, FAILS(ENOSYS), WORKS, {NO_UFFD, FILTERED}, CAUSE_NO_URING},
    {URING, FAILS(ENOSYS), WORKS, {NO_UFFD}, CAUSE_NO_URING},
    {URING, FAILS(ENOMEM), WORKS, {USER}, CAUSE_URING_MEMLOCK},
    {URING, KILLED, WORKS, {USER, FILTERED}, CAUSE_KILLED},

    {NOTIFY, WORKS, WORKS, {USER}, CAUSE_NONE},
    {NOTIFY, FAILS(EBUSY), WORKS, {USER, FILTERED}, CAUSE_NOTIFY_TAKEN},
    {NOTIFY, FAILS(EPERM), WORKS, {USER, FILTERED}, CAUSE_NOTIFY_FILTER},
    {NOTIFY, FAILS(EACCES), WORKS, {USER}, CAUSE_NOTIFY_FILTER},
    {NOTIFY, FAILS(ENOSYS), WORKS, {USER, FILTERED}, CAUSE_NOTIFY_FILTER},
    {NOTIFY, FAILS(ENOSYS), WORKS, {USER}, CAUSE_NO_NOTIFY},
    {NOTIFY, FAILS(EINVAL), WORKS, {USER}, CAUSE_NO_NOTIFY},
    {NOTIFY, FAILS(EOPNOTSUPP), WORKS, {USER}, CAUSE_NO_NOTIFY},
    {NOTIFY, {.err = -EAGAIN, .no_child = true}, WORKS, {USER}, CAUSE_NO_CHILD},

    {SYSCALL, FAILS(EMFILE), WORKS, {USER}, CAUSE_DESCRIPTORS},
    {SYSCALL, FAILS(ENFILE), WORKS, {USER}, CAUSE_FILES},
    {SYSCALL, FAILS(ENOMEM), WORKS, {USER}, CAUSE_MEMORY},
};
/* clang-format on */

#define NROWS (sizeof(rows) / sizeof(rows[0]))

static enum caps_cause cause_of(enum facility facility, struct caps_trial trial,
                                struct caps_trial user_mode,
                                const struct caps_evidence *seen)
{
    switch (facility) {
    case SYSCALL:
        return cause_of_syscall(trial, user_mode, seen);
    case USER_MODE:
        return cause_of_user_mode(trial, seen);
    case DEVICE:
        return cause_of_device(trial, seen);
    case URING:
        return cause_of_uring(trial, seen);
    default:
        return cause_of_notify(trial, seen);
    }
}

static void each_refusal_has_its_cause(void **state)
{
    (void)state;
    for (size_t i = 0; i < NROWS; i++) {
        enum caps_cause cause = cause_of(rows[i].facility, rows[i].trial,
                                         rows[i].user_mode, &rows[i].seen);

        if (cause != rows[i].cause)
            fail_msg("row %zu: got \"%s\", not \"%s\"", i, cause_why(cause),
                     cause_why(rows[i].cause));
    }
}

/* Each cause but OTHER has a row above: no text is dead. */
static void each_cause_is_reached(void **state)
{
    bool reached[CAUSE_COUNT] = {[CAUSE_OTHER] = true};

    (void)state;
    for (size_t i = 0; i < NROWS; i++)
        reached[rows[i].cause] = true;
    for (int c = 0; c < CAUSE_COUNT; c++) {
        if (!reached[c])
            fail_msg("never given: \"%s\"", cause_why((enum caps_cause)c));
    }
}

/* Any errno under any evidence: a failure always has a reason, and success
 * never has one. */
static void every_errno_has_a_cause(void **state)
{
    (void)state;
    for (int bits = 0; bits < 1 << 8; bits++) {
        struct caps_evidence seen = {
            .uffd_sysctl = (bits & 3) - 1,
            .uring_sysctl = (bits & 3) - 1,
            .filtered = (bits & 4) != 0,
            .sys_ptrace = (bits & 8) != 0,
            .init_userns = (bits & 16) != 0,
            .device_listed = (bits & 32) != 0,
            .device_allowed = (bits & 64) != 0,
        };
        struct caps_trial user_mode = {.err = bits & 128 ? -EPERM : 0};

        for (int e = 0; e < 256; e++) {
            for (int f = SYSCALL; f <= NOTIFY; f++) {
                enum caps_cause cause =
                    cause_of((enum facility)f, (struct caps_trial)FAILS(e),
                             user_mode, &seen);

                assert_true(cause < CAUSE_COUNT);
                assert_int_equal(EMPTY_WHY(cause), e == 0);
            }
        }
    }
}

/* ------------------------------------------------------------ features -- */

static void features_have_the_names_of_the_header(void **state)
{
    (void)state;
#define CHECK_NAME(name)                                                       \
    assert_string_equal(                                                       \
        caps_feature_name((unsigned)__builtin_ctzll(UFFD_FEATURE_##name)),     \
        #name)
    CHECK_NAME(PAGEFAULT_FLAG_WP);
    CHECK_NAME(EVENT_FORK);
    CHECK_NAME(EVENT_REMAP);
    CHECK_NAME(EVENT_REMOVE);
    CHECK_NAME(MISSING_HUGETLBFS);
    CHECK_NAME(MISSING_SHMEM);
    CHECK_NAME(EVENT_UNMAP);
    CHECK_NAME(SIGBUS);
    CHECK_NAME(THREAD_ID);
    CHECK_NAME(MINOR_HUGETLBFS);
    CHECK_NAME(MINOR_SHMEM);
    CHECK_NAME(EXACT_ADDRESS);
    CHECK_NAME(WP_HUGETLBFS_SHMEM);
    CHECK_NAME(WP_UNPOPULATED);
    CHECK_NAME(POISON);
    CHECK_NAME(WP_ASYNC);
    CHECK_NAME(MOVE);
#undef CHECK_NAME
}

static void features_are_unique_and_dated(void **state)
{
    (void)state;
    for (unsigned a = 0; a <= 16; a++) {
        int major, minor, end = 0;

        assert_int_equal(
            sscanf(caps_feature_since(a), "%d.%d%n", &major, &minor, &end), 2);
        assert_int_equal(caps_feature_since(a)[end], '\0');
        assert_true(major * 1000 + minor >= 4011);
        assert_plain(caps_feature_name(a));
        for (unsigned b = a + 1; b <= 16; b++)
            assert_string_not_equal(caps_feature_name(a), caps_feature_name(b));
    }
}

static void bits_without_a_name_are_null(void **state)
{
    const unsigned bits[] = {17, 18, 31, 32, 63, 64, ~0u};

    (void)state;
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        assert_null(caps_feature_name(bits[i]));
        assert_null(caps_feature_since(bits[i]));
    }
}

/* --------------------------------------------------------------- probe -- */

static void the_tier_is_the_best_that_is_available(void **state)
{
    (void)state;
    for (int bits = 0; bits < 8; bits++) {
        struct uf_probe probe = {0};
        enum uf_tier best = UF_TIER_NONE;

        if (bits & 4)
            best = UF_TIER_USER_MODE;
        if (bits & 2)
            best = UF_TIER_DEVICE;
        if (bits & 1)
            best = UF_TIER_SYSCALL;
        probe.items[UF_PROBE_SYSCALL].available = bits & 1;
        probe.items[UF_PROBE_DEVICE].available = (bits & 2) != 0;
        probe.items[UF_PROBE_USER_MODE].available = (bits & 4) != 0;
        /* These two never make a tier. */
        probe.items[UF_PROBE_IO_URING].available = 1;
        probe.items[UF_PROBE_SECCOMP_NOTIFY].available = 1;
        assert_int_equal(caps_tier(&probe), best);
    }
}

/* Whatever this machine allows, no field is left as it was. */
static void the_probe_fills_every_field(void **state)
{
    struct uf_probe probe;

    (void)state;
    memset(&probe, 0xa5, sizeof(probe));
    probe.size = sizeof(probe);
    assert_int_equal(caps_probe(&probe), 0);
    assert_int_equal(probe.size, sizeof(probe));
    assert_int_equal(probe.tier, caps_tier(&probe));
    assert_int_equal(probe.features != 0, probe.tier != UF_TIER_NONE);
    for (int i = 0; i < UF_PROBE_COUNT; i++) {
        const struct uf_probe_item *item = &probe.items[i];

        assert_true(strlen(item->name) > 0);
        assert_plain(item->name);
        assert_true(item->available == 0 || item->available == 1);
        assert_int_equal(item->error == 0, item->available);
        assert_true(item->error <= 0 && item->error > -4096);
        assert_int_equal(item->why[0] == '\0', item->available);
        assert_int_equal(item->remedy[0] == '\0', item->available);
    }
}

static void two_probes_agree(void **state)
{
    struct uf_probe a = {.size = sizeof(a)}, b = {.size = sizeof(b)};

    (void)state;
    assert_int_equal(caps_probe(&a), 0);
    assert_int_equal(caps_probe(&b), 0);
    assert_int_equal(a.tier, b.tier);
    assert_true(a.features == b.features);
    for (int i = 0; i < UF_PROBE_COUNT; i++) {
        assert_ptr_equal(a.items[i].name, b.items[i].name);
        assert_ptr_equal(a.items[i].why, b.items[i].why);
        assert_ptr_equal(a.items[i].remedy, b.items[i].remedy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cause_has_a_why_and_a_remedy),
        cmocka_unit_test(no_two_causes_share_a_why),
        cmocka_unit_test(texts_need_no_escaping_in_json),
        cmocka_unit_test(each_refusal_has_its_cause),
        cmocka_unit_test(each_cause_is_reached),
        cmocka_unit_test(every_errno_has_a_cause),
        cmocka_unit_test(features_have_the_names_of_the_header),
        cmocka_unit_test(features_are_unique_and_dated),
        cmocka_unit_test(bits_without_a_name_are_null),
        cmocka_unit_test(the_tier_is_the_best_that_is_available),
        cmocka_unit_test(the_probe_fills_every_field),
        cmocka_unit_test(two_probes_agree),
    };

    return cmocka_run_group_tests_name("caps", tests, NULL, NULL);
}
