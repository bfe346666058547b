/* SPDX-License-Identifier: MIT */
/*
 * The trap hook is told of an access outside the mappings of its space, truly,
 * and the thread goes on where the hook says, a million times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "lib/traps.h"
#include "mm/space.h"

#define MANY (LIVE_SANITIZED ? 5000 : 1000000)

static bool knows_access(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

/* ----------------------------------------------------------------- told -- */

static void assert_told(const struct uf_space *space, uintptr_t addr,
                        enum uf_trap_access access)
{
    assert_int_equal(trap_last.size, sizeof(trap_last));
    assert_ptr_equal(trap_last.space, space);
    assert_int_equal(trap_last.address, addr);
    assert_int_equal(trap_last.signo, SIGSEGV);
    assert_int_equal(trap_last.code, SEGV_MAPERR);
    assert_int_equal(trap_last.tid, live_tid());
    if (knows_access()) {
        assert_int_equal(trap_last.access, access);
        assert_int_not_equal(trap_last.pc, 0);
    }
}

/* Every fact is right, for each kind of access and at the borders. */
static void the_hook_is_told_the_truth(void **state)
{
    struct uf_space *space = trap_space(trap_note_and_leave, NULL);
    uintptr_t end = live_page(space, TRAP_PAGES);
    uintptr_t last_byte = uf_space_base(space) + uf_space_len(space) - 1;

    (void)state;
    assert_false(trapped(end - 1, true));
    assert_false(trapped(live_page(space, 0), false));
    assert_true(trapped(end, true));
    assert_told(space, end, UF_TRAP_ACCESS_WRITE);
    assert_true(trapped(end + 12345, false));
    assert_told(space, end + 12345, UF_TRAP_ACCESS_READ);
    assert_true(trapped(last_byte, false));
    assert_told(space, last_byte, UF_TRAP_ACCESS_READ);
    if (sigsetjmp(trap_escape, 1) == 0)
        ((void (*)(void))(end + 64))();
    assert_told(space, end + 64, UF_TRAP_ACCESS_EXEC);
    if (knows_access())
        assert_int_equal(trap_last.pc, end + 64);
    /* Mapped now, and not told any more; unmapped, and told again. */
    assert_int_equal(uf_brk(space, end + 100), end + 100);
    assert_false(trapped(end, true));
    assert_int_equal(uf_brk(space, end), end);
    assert_true(trapped(end, true));
    assert_int_equal(uf_space_set_trap(space, trap_note_and_leave, NULL), 0);
    trap_destroy(space);
}

/* Each hook for its own space, and none for a space without. */
static int count_and_leave(void *data, struct uf_trap *trap)
{
    (*(unsigned *)data)++;
    return trap_note_and_leave(NULL, trap);
}

static void many_spaces(void **state)
{
    enum { N = 100 };
    struct uf_space_opts opts = {.len_bytes = 1 << 20};
    struct uf_space *spaces[N];
    unsigned counts[N] = {0};

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    opts.size = sizeof(opts);
    for (int i = 0; i < N; i++) {
        if (i == N / 2)
            assert_int_equal(uf_trap_install(), 0);
        spaces[i] = live_space(&opts, 1);
        assert_int_equal(
            uf_space_set_trap(spaces[i], count_and_leave, &counts[i]), 0);
    }
    for (int round = 1; round <= 3; round++)
        for (int i = 0; i < N; i++) {
            assert_true(trapped(live_page(spaces[i], 2), true));
            assert_ptr_equal(trap_last.space, spaces[i]);
            assert_int_equal(counts[i], round);
        }
    for (int i = 0; i < N; i += 2)
        assert_int_equal(uf_space_destroy(spaces[i]), 0);
    for (int i = 1; i < N; i += 2) {
        assert_true(trapped(live_page(spaces[i], 2), false));
        assert_int_equal(uf_space_destroy(spaces[i]), 0);
    }
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    assert_int_equal(uf_trap_remove(), 0);
}

static ssize_t refuse(struct live_pager *p, const struct uf_fill *request)
{
    (void)p;
    (void)request;
    return -EIO;
}

/* A page that its pager refused is told as SIGBUS. */
static void a_refused_page_is_told(void **state)
{
    struct live_pager p;
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, refuse, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, TRAP_PAGES);
    assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_space_set_trap(space, trap_note_and_leave, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(trapped(live_page(space, 1) + 5, false));
        assert_int_equal(align_down(trap_last.address, page_size()),
                         live_page(space, 1));
        if (trap_last.signo == SIGSEGV) /* Linux before 6.6 */
            assert_int_equal(trap_last.code, SEGV_ACCERR);
        else if (trap_last.code !=
                 BUS_ADRERR) /* without CONFIG_MEMORY_FAILURE */
            assert_int_equal(trap_last.code, BUS_MCEERR_AR);
    }
    uf_pager_unref(p.pager);
    trap_destroy(space);
}

/* While another thread changes the map the hook is told that the code is not
 * known; it is not kept waiting. */
static void a_busy_map_is_not_waited_for(void **state)
{
    struct uf_space *space = trap_space(trap_note_and_leave, NULL);

    (void)state;
    rwlock_take_write(&space->map_lock);
    /* In this thread, so that it would hang for ever. */
    assert_true(trapped(live_page(space, TRAP_PAGES), true));
    rwlock_release(&space->map_lock);
    assert_int_equal(trap_last.code, UF_TRAP_CODE_UNKNOWN);
    assert_true(trapped(live_page(space, TRAP_PAGES), true));
    assert_int_equal(trap_last.code, SEGV_MAPERR);
    trap_destroy(space);
}

/* ------------------------------------------------------------- going on -- */

static bool masks_are_equal(const sigset_t *a, const sigset_t *b)
{
    for (int signo = 1; signo < 32; signo++)
        if (sigismember(a, signo) != sigismember(b, signo))
            return false;
    return true;
}

/* Out of the hook by siglongjmp, a million times; errno and the signal mask are
 * as they were. */
static void a_million_times(void **state)
{
    struct uf_space *space = trap_space(trap_note_and_leave, NULL);
    uintptr_t end = live_page(space, TRAP_PAGES);
    sigset_t before, after;

    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    trap_told = 0;
    for (unsigned i = 0; i < MANY; i++) {
        if (!trapped(end + i % 100000, i & 1) ||
            trap_last.address != end + i % 100000)
            fail_msg("not told of number %u", i);
    }
    assert_int_equal(trap_told, MANY);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_true(masks_are_equal(&before, &after));
    trap_destroy(space);
}

/* The cheap way in: no mask is saved; the hook puts it back. */
static int restore_mask_and_leave(void *data, struct uf_trap *trap)
{
    sigset_t mask;

    sigemptyset(&mask);
    memcpy(&mask, &((ucontext_t *)trap->context)->uc_sigmask, 8);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return trap_note_and_leave(data, trap);
}

static void without_a_saved_mask(void **state)
{
    struct uf_space *space = trap_space(restore_mask_and_leave, NULL);
    sigset_t before, after;

    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    trap_told = 0;
    for (unsigned i = 0; i < 1000; i++)
        if (sigsetjmp(trap_escape, 0) == 0)
            trap_put(live_page(space, TRAP_PAGES));
    assert_int_equal(trap_told, 1000);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_true(masks_are_equal(&before, &after));
    trap_destroy(space);
}

/* The cause is removed, and the access made again. */
static int map_and_resume(void *data, struct uf_trap *trap)
{
    uintptr_t next = align_down(trap->address, page_size()) + page_size();

    trap_told++;
    errno = EXDEV;
    return uf_brk(data, next) == next ? UF_TRAP_RESUME : UF_TRAP_PASS;
}

static void the_cause_is_removed(void **state)
{
    struct uf_space *space = live_space(NULL, TRAP_PAGES);

    (void)state;
    assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_space_set_trap(space, map_and_resume, space), 0);
    trap_told = 0;
    errno = ENOTTY;
    for (size_t i = 0; i < 50; i++)
        trap_put(live_page(space, i));
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(trap_told, 50 - TRAP_PAGES);
    assert_int_equal(uf_brk(space, 0), live_page(space, 50));
    trap_destroy(space);
}

/* A load whose result the hook supplies: unsigned guest_load(uintptr_t). */
#if defined(__x86_64__)
#define HAVE_GUEST_LOAD  1
#define GUEST_PC(uc)     (uc)->uc_mcontext.gregs[REG_RIP]
#define GUEST_RESULT(uc) (uc)->uc_mcontext.gregs[REG_RAX]
__asm__(".text\n"
        ".globl guest_load, guest_load_done\n"
        "guest_load:\n"
        "    movzbl (%rdi), %eax\n"
        "guest_load_done:\n"
        "    ret\n");
#elif defined(__aarch64__)
#define HAVE_GUEST_LOAD  1
#define GUEST_PC(uc)     (uc)->uc_mcontext.pc
#define GUEST_RESULT(uc) (uc)->uc_mcontext.regs[0]
__asm__(".text\n"
        ".globl guest_load, guest_load_done\n"
        "guest_load:\n"
        "    ldrb w0, [x0]\n"
        "guest_load_done:\n"
        "    ret\n");
#else
#define HAVE_GUEST_LOAD 0
#endif

#if HAVE_GUEST_LOAD
unsigned guest_load(uintptr_t addr);
extern const char guest_load_done[];

static int supply_result(void *data, struct uf_trap *trap)
{
    ucontext_t *uc = trap->context;

    (void)data;
    if (trap->pc != (uintptr_t)guest_load)
        return UF_TRAP_PASS;
    GUEST_RESULT(uc) = 4711;
    __typeof__(GUEST_PC(uc)) pc = (__typeof__(GUEST_PC(uc)))guest_load_done;
    GUEST_PC(uc) = pc;
    return UF_TRAP_RESUME;
}

/* The hook changes registers: the instruction is skipped, its result is made
 * up. */
static void a_changed_context(void **state)
{
    struct uf_space *space = trap_space(supply_result, NULL);

    (void)state;
    trap_put(live_page(space, 1));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(guest_load(live_page(space, TRAP_PAGES)), 4711);
        assert_int_equal(guest_load(live_page(space, 1)), 1);
    }
    trap_destroy(space);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hook_is_told_the_truth),
        cmocka_unit_test(many_spaces),
        cmocka_unit_test(a_refused_page_is_told),
        cmocka_unit_test(a_busy_map_is_not_waited_for),
        cmocka_unit_test(a_million_times),
        cmocka_unit_test(without_a_saved_mask),
        cmocka_unit_test(the_cause_is_removed),
#if HAVE_GUEST_LOAD
        cmocka_unit_test(a_changed_context),
#endif
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("trap", tests, NULL, NULL);
}
