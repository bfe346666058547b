/* SPDX-License-Identifier: MIT */
/*
 * resolution: every answer of userfaultfd that we know of has its next step,
 * and the table has no row that cannot be reached. One case per known answer,
 * named after it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "fault/resolution.h"

#define PAGE 4096

struct answer {
    const char *name;
    enum uffd_op op;
    int err;
    int64_t done;
    enum step step;
};

/* clang-format off */
static const struct answer answers[] = {
    {"userfaultfd EPERM: sysctl, capability or seccomp",
     OP_OPEN, -EPERM, 0, STEP_NEXT_TIER},
    {"userfaultfd ENOSYS: no such call", OP_OPEN, -ENOSYS, 0, STEP_NEXT_TIER},
    {"userfaultfd EINVAL: unknown flag", OP_OPEN, -EINVAL, 0, STEP_PLAIN_FLAGS},
    {"userfaultfd EMFILE", OP_OPEN, -EMFILE, 0, STEP_FAIL},
    {"userfaultfd ENFILE", OP_OPEN, -ENFILE, 0, STEP_FAIL},
    {"userfaultfd ENOMEM", OP_OPEN, -ENOMEM, 0, STEP_FAIL},
    {"device ENOENT: not there", OP_OPEN_DEVICE, -ENOENT, 0, STEP_NEXT_TIER},
    {"device EACCES: closed to us", OP_OPEN_DEVICE, -EACCES, 0, STEP_NEXT_TIER},
    {"device ENXIO: no driver", OP_OPEN_DEVICE, -ENXIO, 0, STEP_NEXT_TIER},
    {"device EMFILE", OP_OPEN_DEVICE, -EMFILE, 0, STEP_FAIL},
    {"UFFDIO_API EPERM: EVENT_FORK", OP_API, -EPERM, 0, STEP_DROP_FEATURE},
    {"UFFDIO_API EINVAL: unknown bits", OP_API, -EINVAL, 0, STEP_PROBE_AGAIN},
    {"REGISTER EBUSY: another's", OP_REGISTER, -EBUSY, 0, STEP_FAIL},
    {"REGISTER EINVAL", OP_REGISTER, -EINVAL, 0, STEP_FAIL},
    {"REGISTER EPERM: shared file", OP_REGISTER, -EPERM, 0, STEP_FAIL},
    {"REGISTER ENOMEM: max_map_count", OP_REGISTER, -ENOMEM, 0, STEP_FAIL},
    {"UNREGISTER ENOMEM: gone", OP_UNREGISTER, -ENOMEM, 0, STEP_TEARDOWN},
    {"UNREGISTER EINVAL", OP_UNREGISTER, -EINVAL, 0, STEP_IGNORE},
    {"read EAGAIN: another took it", OP_READ, -EAGAIN, 0, STEP_POLL_AGAIN},
    {"read EINTR", OP_READ, -EINTR, 0, STEP_POLL_AGAIN},
    {"read EINVAL: small buffer", OP_READ, -EINVAL, 0, STEP_BUG},
    {"read EBADF", OP_READ, -EBADF, 0, STEP_TEARDOWN},
    {"poll POLLERR", OP_POLL, -EBADF, 0, STEP_TEARDOWN},
    {"poll EINTR", OP_POLL, -EINTR, 0, STEP_POLL_AGAIN},
    {"poll ENOMEM", OP_POLL, -ENOMEM, 0, STEP_POLL_AGAIN},

    {"COPY done", OP_COPY, 0, PAGE, STEP_DONE},
    {"COPY EAGAIN, nothing done", OP_COPY, -EAGAIN, -EAGAIN, STEP_DEFER},
    {"COPY EAGAIN, out field 0", OP_COPY, -EAGAIN, 0, STEP_DEFER},
    {"COPY EAGAIN, part done", OP_COPY, -EAGAIN, PAGE, STEP_RETRY_REST},
    {"COPY EEXIST: nobody is woken", OP_COPY, -EEXIST, -EEXIST, STEP_WAKE},
    {"COPY ENOENT: not one mapping", OP_COPY, -ENOENT, -ENOENT,
     STEP_LOOK_AGAIN},
    {"COPY EFAULT: bad source", OP_COPY, -EFAULT, -EFAULT, STEP_BUG},
    {"COPY ENOMEM: cgroup", OP_COPY, -ENOMEM, -ENOMEM, STEP_DEFER},
    {"COPY EINVAL: unaligned", OP_COPY, -EINVAL, 0, STEP_BUG},
    {"COPY ESRCH: mm gone", OP_COPY, -ESRCH, 0, STEP_TEARDOWN},
    {"COPY ENOSPC: mm gone, 4.11 to 4.13", OP_COPY, -ENOSPC, 0, STEP_TEARDOWN},

    {"ZEROPAGE done", OP_ZEROPAGE, 0, PAGE, STEP_DONE},
    {"ZEROPAGE EAGAIN, nothing", OP_ZEROPAGE, -EAGAIN, -EAGAIN, STEP_DEFER},
    {"ZEROPAGE EAGAIN, part", OP_ZEROPAGE, -EAGAIN, PAGE, STEP_RETRY_REST},
    {"ZEROPAGE EEXIST", OP_ZEROPAGE, -EEXIST, -EEXIST, STEP_WAKE},
    {"ZEROPAGE EEXIST on a marker, seen twice", OP_ZEROPAGE_AGAIN, -EEXIST,
     -EEXIST, STEP_COPY_INSTEAD},
    {"ZEROPAGE ENOENT", OP_ZEROPAGE, -ENOENT, -ENOENT, STEP_LOOK_AGAIN},
    {"ZEROPAGE ENOMEM", OP_ZEROPAGE, -ENOMEM, -ENOMEM, STEP_DEFER},
    {"ZEROPAGE EINVAL: hugetlb", OP_ZEROPAGE, -EINVAL, -EINVAL,
     STEP_COPY_INSTEAD},
    {"ZEROPAGE ESRCH", OP_ZEROPAGE, -ESRCH, 0, STEP_TEARDOWN},
    {"ZEROPAGE ENOSPC", OP_ZEROPAGE, -ENOSPC, 0, STEP_TEARDOWN},

    {"WRITEPROTECT ENOENT: a hole", OP_WRITEPROTECT, -ENOENT, 0, STEP_POPULATE},
    {"WRITEPROTECT EAGAIN", OP_WRITEPROTECT, -EAGAIN, 0, STEP_DEFER},
    {"MOVE EBUSY: pinned", OP_MOVE, -EBUSY, -EBUSY, STEP_COPY_INSTEAD},
    {"MOVE ENOENT: hole in source", OP_MOVE, -ENOENT, 0, STEP_COPY_INSTEAD},
    {"MOVE EAGAIN: race", OP_MOVE, -EAGAIN, -EAGAIN, STEP_COPY_INSTEAD},
    {"MOVE EAGAIN, part", OP_MOVE, -EAGAIN, PAGE, STEP_RETRY_REST},
    {"MOVE EINVAL: unlike mappings", OP_MOVE, -EINVAL, 0, STEP_COPY_INSTEAD},
    {"MOVE EEXIST", OP_MOVE, -EEXIST, 0, STEP_WAKE},
    {"MOVE ESRCH", OP_MOVE, -ESRCH, 0, STEP_TEARDOWN},
    {"CONTINUE EEXIST: mapped already", OP_CONTINUE, -EEXIST, 0, STEP_WAKE},
    {"CONTINUE EFAULT: not cached", OP_CONTINUE, -EFAULT, 0, STEP_COPY_INSTEAD},
    {"CONTINUE EAGAIN", OP_CONTINUE, -EAGAIN, 0, STEP_DEFER},
    {"CONTINUE EAGAIN, part", OP_CONTINUE, -EAGAIN, PAGE, STEP_RETRY_REST},
    {"CONTINUE ENOENT", OP_CONTINUE, -ENOENT, 0, STEP_LOOK_AGAIN},
    {"POISON EEXIST: something is there", OP_POISON, -EEXIST, 0, STEP_WAKE},
    {"POISON EAGAIN", OP_POISON, -EAGAIN, -EAGAIN, STEP_DEFER},
    {"POISON ENOENT", OP_POISON, -ENOENT, 0, STEP_LOOK_AGAIN},
    {"POISON ESRCH", OP_POISON, -ESRCH, 0, STEP_TEARDOWN},
    {"WAKE: never matters", OP_WAKE, -EINVAL, 0, STEP_IGNORE},
};
/* clang-format on */

/* One of the answers above. */
static void the_answer_has_its_step(void **state)
{
    const struct answer *a = *state;
    struct resolution res = resolve(a->op, a->err, a->done);

    assert_string_equal(step_name(res.step), step_name(a->step));
    assert_true(strlen(res.why) > 0);
}

static bool row_takes(const struct resolution_row *row, int err, int64_t done)
{
    return (row->err == err || row->err == ANY_ERROR) &&
           (row->partial < 0 || row->partial == (done > 0));
}

/* A probe that hits `row` and no row above it. */
static bool row_is_reached(const struct resolution_row *table, size_t n)
{
    const struct resolution_row *row = &table[n];

    for (int e = 1; e < 134; e++) {
        for (int64_t done = 0; done <= PAGE; done += PAGE) {
            bool taken = false;

            for (size_t i = 0; i < n && !taken; i++)
                taken =
                    table[i].op == row->op && row_takes(&table[i], -e, done);
            if (!taken && row_takes(row, -e, done))
                return true;
        }
    }
    return false;
}

/* A row below another that takes all of its answers would be dead. */
static void no_row_is_unreachable(void **state)
{
    size_t rows;
    const struct resolution_row *table = resolution_table(&rows);

    (void)state;
    for (size_t i = 0; i < rows; i++)
        if (!row_is_reached(table, i))
            fail_msg("row %zu (%s %d) is never reached", i,
                     uffd_op_name(table[i].op), table[i].err);
}

/* No two rows answer the same (operation, errno, partial). */
static void no_row_stands_twice(void **state)
{
    size_t rows;
    const struct resolution_row *table = resolution_table(&rows);

    (void)state;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = i + 1; j < rows; j++)
            assert_false(table[i].op == table[j].op &&
                         table[i].err == table[j].err &&
                         table[i].partial == table[j].partial);
}

/* Every operation has rows, every row a known step and a sentence. */
static void every_operation_has_rows_and_every_row_a_sentence(void **state)
{
    size_t rows;
    const struct resolution_row *table = resolution_table(&rows);
    unsigned per_op[OP_COUNT] = {0};

    (void)state;
    for (size_t i = 0; i < rows; i++) {
        per_op[table[i].op]++;
        assert_true(table[i].err < 0 || table[i].err == ANY_ERROR);
        assert_true(table[i].partial >= -1 && table[i].partial <= 1);
        assert_true(strlen(table[i].resolution.why) > 5);
        assert_true(strlen(step_name(table[i].resolution.step)) > 0);
    }
    for (int op = 0; op < OP_COUNT; op++) {
        assert_true(per_op[op] > 0);
        assert_true(strlen(uffd_op_name((enum uffd_op)op)) > 0);
    }
}

/* The operations that answer a fault never go on as if they had succeeded, nor
 * wait for a caller that does not exist. */
static void an_unexpected_errno_is_refused(void **state)
{
    static const enum uffd_op ops[] = {OP_COPY,         OP_ZEROPAGE,
                                       OP_POISON,       OP_CONTINUE,
                                       OP_WRITEPROTECT, OP_ZEROPAGE_AGAIN};

    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        assert_int_equal(resolve(ops[i], -EXFULL, 0).step, STEP_REFUSE);
}

/* Success is success for every operation and out field. */
static void no_error_is_done(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++)
        for (int64_t done = -PAGE; done <= PAGE; done += PAGE)
            assert_int_equal(resolve((enum uffd_op)op, 0, done).step,
                             STEP_DONE);
}

/* A fault that was put off comes back as ZEROPAGE_AGAIN, so apart from -EEXIST
 * that is answered like ZEROPAGE. */
static void zeropage_again_differs_in_eexist_alone(void **state)
{
    (void)state;
    for (int e = 1; e < 134; e++)
        for (int64_t done = 0; done <= PAGE; done += PAGE)
            if (e != EEXIST)
                assert_int_equal(resolve(OP_ZEROPAGE_AGAIN, -e, done).step,
                                 resolve(OP_ZEROPAGE, -e, done).step);
}

#define NANSWERS (sizeof(answers) / sizeof(answers[0]))

int main(void)
{
    const struct CMUnitTest table_tests[] = {
        cmocka_unit_test(no_row_is_unreachable),
        cmocka_unit_test(no_row_stands_twice),
        cmocka_unit_test(every_operation_has_rows_and_every_row_a_sentence),
        cmocka_unit_test(an_unexpected_errno_is_refused),
        cmocka_unit_test(no_error_is_done),
        cmocka_unit_test(zeropage_again_differs_in_eexist_alone),
    };
    struct CMUnitTest tests[NANSWERS];
    int failed;

    for (size_t i = 0; i < NANSWERS; i++)
        tests[i] = (struct CMUnitTest){.name = answers[i].name,
                                       .test_func = the_answer_has_its_step,
                                       .initial_state = (void *)&answers[i]};
    failed = cmocka_run_group_tests_name("answers", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("resolution table", table_tests,
                                                NULL, NULL);
}
