/* SPDX-License-Identifier: MIT */
/*
 * trap-sandbox: guests that cannot leave their memory.
 *
 *     0 ........ 4 pages              16 pages
 *     mapped     | in the space, not mapped |   not the guest's at all
 *
 * Nobody checks a guest's addresses. One that goes astray runs into memory
 * where nothing is mapped, and the trap hook is told who did what and where. It
 * may end the guest, by leaving for a place from before; or remove the cause
 * and have the access made again. An address that a guest hands to its runtime
 * is not touched but copied, and is an error if it is no good.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define MAPPED   4
#define RESERVED 16

static size_t page;

struct guest {
    struct uf_space *space;
    volatile char *memory;
    size_t may_grow; /* pages it may have more than it has */
    unsigned grown;
    unsigned long sum;
    struct uf_trap trap; /* what it was ended for */
    sigjmp_buf ended;
};

/* In a signal handler, on the guest's thread, in the guest's place. */
static int on_trap(void *data, struct uf_trap *trap)
{
    struct guest *guest = data;

    if (guest->may_grow > 0 && trap->access != UF_TRAP_ACCESS_READ) {
        guest->may_grow--;
        guest->grown++;
        if (uf_sbrk(guest->space, (intptr_t)page) > 0)
            return UF_TRAP_RESUME;
    }
    guest->trap = *trap;
    siglongjmp(guest->ended, 1);
}

/* ------------------------------------------------------------ the guests -- */

/* Writes the number of each page into it, and knows no end. */
static void fill_for_ever(struct guest *guest)
{
    for (size_t i = 0;; i++)
        guest->memory[i * page] = (char)i;
}

/* Adds up what is there and, by mistake, one byte more. */
static void add_up(struct guest *guest)
{
    for (size_t i = 0; i <= MAPPED * page; i++)
        guest->sum += (unsigned char)guest->memory[i];
}

/* Calls a function that it does not have. */
static void call_nowhere(struct guest *guest)
{
    ((void (*)(void))(uintptr_t)(guest->memory + 9 * page))();
}

/* ----------------------------------------------------------- the runtime -- */

static void run(struct guest *guest, const char *name,
                void (*program)(struct guest *))
{
    static const char *const accesses[] = {"an access to", "a read of",
                                           "a write to", "a call of"};
    const struct uf_trap *trap = &guest->trap;

    guest->trap = (struct uf_trap){0};
    if (sigsetjmp(guest->ended, 1) == 0)
        program(guest);
    CHECK(trap->space == guest->space && trap->signo == SIGSEGV);
    printf("%-14s ended by %s page %zu + %zu: %s\n", name,
           accesses[trap->access],
           (trap->address - uf_space_base(guest->space)) / page,
           trap->address % page,
           trap->code == SEGV_MAPERR ? "nothing is mapped" : "forbidden");
}

/* What a guest asks of its runtime: print the string at this offset. */
static void print_string(struct guest *guest, const char *name, size_t offset)
{
    uintptr_t string = uf_space_base(guest->space) + offset;
    ssize_t len = uf_strnlen(guest->space, string, 63);
    char text[64] = "";

    if (len >= 0)
        CHECK(uf_copy_in(guest->space, text, string, (size_t)len, NULL) == 0);
    printf("%-14s %s%s\n", name, len < 0 ? "answered: " : "prints: ",
           len < 0 ? strerror((int)-len) : text);
    CHECK(len >= 0 || len == -EFAULT);
}

int main(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_stats s = {.size = sizeof(s)};
    struct guest guest = {0};
    struct sigaction before, after;

    page = (size_t)getpagesize();
    opts.len_bytes = RESERVED * page;
    CHECK(uf_space_create(&opts, &guest.space) == 0);
    guest.memory = (char *)uf_sbrk(guest.space, (intptr_t)(MAPPED * page));
    CHECK(sigaction(SIGSEGV, NULL, &before) == 0);
    CHECK(uf_trap_install() == 0);
    CHECK(uf_space_set_trap(guest.space, on_trap, &guest) == 0);

    run(&guest, "fill_for_ever", fill_for_ever);
    run(&guest, "add_up", add_up);
    run(&guest, "call_nowhere", call_nowhere);

    /* The hook removes the cause, three times, and then does not. */
    guest.may_grow = 3;
    run(&guest, "fill_for_ever", fill_for_ever);
    printf("%-14s %u pages more, and ended at the next\n\n", "", guest.grown);
    CHECK(guest.grown == 3 && guest.memory[6 * page] == 6);

    strcpy((char *)guest.memory + 100, "hello from the guest");
    print_string(&guest, "offset 100", 100);
    print_string(&guest, "offset 1000000", 1000000);

    CHECK(uf_space_stats(guest.space, &s) == 0);
    printf("\nfaults served meanwhile: %d\n", (int)s.faults);
    CHECK(uf_space_destroy(guest.space) == 0);
    CHECK(uf_trap_remove() == 0);
    CHECK(sigaction(SIGSEGV, NULL, &after) == 0);
    return after.sa_handler == before.sa_handler ? 0 : 1;
}
