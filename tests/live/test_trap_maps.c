/* SPDX-License-Identifier: MIT */
/*
 * The trap hook and mappings: signal, si_code and address are those that the
 * kernel gives for the same access to the same mapping of its own, beside the
 * space; and so are those that the handler before ours gets.
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
#include <unistd.h>

#include "lib/traps.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define RW     (PROT_READ | PROT_WRITE)
#define PAGES  4
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS)
#define KINDS  6
#define CALLER ((void *)1)

/* A mapping whose access fails: made by the kernel (space NULL) or in a space;
 * both begin at `at`. */
struct kind {
    const char *name;
    int prot;
    bool unmapped, guard, file;
};

static const struct kind kinds[KINDS] = {
    {.name = "nothing", .unmapped = true},
    {.name = "PROT_NONE", .prot = PROT_NONE},
    {.name = "read only", .prot = PROT_READ},
    {.name = "not executable", .prot = RW},
    {.name = "a guard", .prot = RW, .guard = true},
    {.name = "behind a file", .prot = RW, .file = true},
};

/* Makes `kind` of pages [1, 3) of a mapping of PAGES pages. 0: not here. */
static uintptr_t make(struct uf_space *space, const struct kind *kind)
{
    size_t page = page_size(), len = PAGES * page;
    int fd = kind->file ? memfd_create("short", MFD_CLOEXEC) : -1;
    int flags = kind->file ? MAP_SHARED : ANON, err = 0;
    char *p = space ? (char *)uf_mmap(space, 0, len, RW, flags, fd, 0)
                    : mmap(NULL, len, RW, flags, fd, 0);
    uintptr_t hole = (uintptr_t)p + page;

    assert_true((intptr_t)p > 0);
    if (fd >= 0)
        close(fd);
    if (kind->unmapped)
        err = space ? uf_munmap(space, hole, 2 * page)
                    : munmap((void *)hole, 2 * page);
    else if (kind->guard)
        err = space ? uf_madvise(space, hole, 2 * page, MADV_GUARD_INSTALL)
                    : madvise((void *)hole, 2 * page, MADV_GUARD_INSTALL);
    else if (kind->prot != RW)
        err = space ? uf_mprotect(space, hole, 2 * page, kind->prot)
                    : mprotect((void *)hole, 2 * page, kind->prot);
    if (err)
        assert_true(kind->guard);
    return err ? 0 : hole;
}

static void call(uintptr_t addr)
{
    if (sigsetjmp(trap_escape, 1) == 0)
        ((void (*)(void))addr)();
}

/* ------------------------------------------------- as the kernel's handler --
 */

static struct found {
    int signo, code;
    uintptr_t addr;
} kernel_says;

static void note(int signo, siginfo_t *info, void *context)
{
    (void)context;
    kernel_says =
        (struct found){signo, info->si_code, (uintptr_t)info->si_addr};
    siglongjmp(trap_escape, 1);
}

static void install_note(void)
{
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* Access number `i` (read, write, call) of addr, somewhere inside the page. */
static void access_it(uintptr_t addr, int i)
{
    if (i == 2)
        call(addr);
    else
        (void)trapped(addr, i == 1);
}

/* What note() finds for it; signo 0: the access went well. */
static struct found ask(uintptr_t addr, int i)
{
    kernel_says = (struct found){0, 0, 0};
    access_it(addr, i);
    if (kernel_says.addr)
        kernel_says.addr -= addr;
    return kernel_says;
}

/* A read or a write that succeeds says nothing; what may be called? Only what
 * fails: bytes of zeros are no program. */
static bool is_asked(const struct kind *kind, int i)
{
    bool readable = kind->prot & PROT_READ && !kind->guard && !kind->file;

    return !(i == 0 && readable) &&
           !(i == 1 && readable && kind->prot & PROT_WRITE);
}

static int pass(void *data, struct uf_trap *trap)
{
    if (data == CALLER) {
        trap_told++;
        trap_last = *trap;
    }
    return UF_TRAP_PASS;
}

/* The hook is told, and the handler before us is told, what the kernel says. */
static void compare(struct uf_space *space, const struct kind *kind)
{
    uintptr_t native = make(NULL, kind), ours = make(space, kind);

    if (!native || !ours) {
        assert_int_equal(native, ours);
        return;
    }
    for (int i = 0; i < 3; i++) {
        struct found want, chained;

        if (!is_asked(kind, i))
            continue;
        want = ask(native + 1000, i);
        trap_told = 0;
        chained = ask(ours + 1000, i);
        if (want.signo == 0 || trap_told != 1 || want.signo != chained.signo ||
            want.code != chained.code || want.addr != chained.addr ||
            trap_last.signo != want.signo || trap_last.code != want.code ||
            trap_last.address != ours + 1000)
            fail_msg("%s, access %d: kernel %d/%d, hook %d/%d (%u), chain "
                     "%d/%d",
                     kind->name, i, want.signo, want.code, trap_last.signo,
                     trap_last.code, trap_told, chained.signo, chained.code);
    }
}

static void as_the_kernel_says(void **state)
{
    struct uf_space *space = live_space(NULL, TRAP_PAGES);

    (void)state;
    install_note();
    assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_space_set_trap(space, pass, CALLER), 0);
    for (int i = 0; i < KINDS; i++)
        compare(space, &kinds[i]);
    trap_destroy(space);
}

/* --------------------------------------------------------- a guest's stack --
 */

#if !LIVE_SANITIZED /* whose idea of a stack is another */

#define STACK_BYTES ((size_t)256 << 10)

/* Stack and guard page lie in the space, as an embedder would have them. */
static void a_stack_in_the_space(void **state)
{
    static char alt[TRAP_ALT_BYTES];
    struct uf_space *space = trap_space(trap_note_and_leave, NULL);
    uintptr_t at = (uintptr_t)uf_mmap(space, 0, STACK_BYTES, RW, ANON, -1, 0);
    pthread_attr_t attr;
    pthread_t thread;
    void *times = NULL;

    (void)state;
    assert_int_equal(uf_mprotect(space, at, page_size(), PROT_NONE), 0);
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstack(&attr, (void *)at, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, trap_overflow, alt), 0);
    pthread_join(thread, &times);
    pthread_attr_destroy(&attr);
    assert_int_equal((uintptr_t)times, 10);
    trap_destroy(space);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_kernel_says),
#if !LIVE_SANITIZED
        cmocka_unit_test(a_stack_in_the_space),
#endif
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("trap_maps", tests, NULL, NULL);
}
