/* SPDX-License-Identifier: MIT */
/*
 * install_refusal, against a simulated descriptor: SIGBUS for the toucher, or a
 * verdict that says what else became of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>

#include "fault/install.h"
#include "lib/fake_uffd.h"

#define BASE ((uintptr_t)0x10000000)

static enum install_verdict refusal_after(int err, enum fake_state *ret_state,
                                          unsigned *ret_faults)
{
    struct fake_uffd *fake = fake_uffd_create();
    struct uffd uffd = fake_uffd_handle(fake);
    struct range page = {BASE, BASE + page_size()};
    struct install_result r;
    size_t index;

    fake_segment_add(fake, page);
    fake_map(fake, page);
    index = fake_touch(fake, 1, BASE, false);
    if (err)
        fake_script_add(&fake->script,
                        (struct fake_row){FAKE_POISON, 1, err, err});
    r = install_refusal(&uffd, page);
    *ret_state = fake_toucher_state(fake, index);
    *ret_faults = fake->touchers[index].faults;
    fake_uffd_destroy(fake);
    return r.verdict;
}

/* A refusal ends in SIGBUS, in another look, or in a verdict that says that the
 * thread still sleeps. */
static void a_refusal_answers_or_says_that_it_does_not(void **state)
{
    static const struct {
        int err;
        enum install_verdict verdict;
        bool woken; /* and, the page being absent, asleep again */
    } cases[] = {
        {-EAGAIN, INSTALL_BUSY, false},   {-ENOMEM, INSTALL_BUSY, false},
        {-EEXIST, INSTALL_PRESENT, true}, {-ENOENT, INSTALL_STALE, true},
        {-ESRCH, INSTALL_GONE, true},     {-EINVAL, INSTALL_REFUSED, false},
        {-ENOTTY, INSTALL_REFUSED, false}};
    enum fake_state toucher;
    unsigned faults;

    (void)state;
    assert_int_equal(refusal_after(0, &toucher, &faults), INSTALL_DONE);
    assert_int_equal(toucher, TOUCHER_REFUSED);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(refusal_after(cases[i].err, &toucher, &faults),
                         cases[i].verdict);
        assert_int_equal(faults, cases[i].woken ? 2 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_answers_or_says_that_it_does_not),
    };

    return cmocka_run_group_tests_name("refusal", tests, NULL, NULL);
}
