/* SPDX-License-Identifier: MIT */
/*
 * Threads fault, map, unmap, protect, move, drop and fork at once, with pauses
 * put between look-up and install: no fault is lost (everything ends), no stale
 * page is seen, and no page is in a range whose munmap has returned.
 *
 *     slot   one owner changes its mapping, round after round; whoever touches
 *            it reads the slot's state before and after, and if it has not
 *            changed meanwhile, the touch must have ended as the state says
 *
 * A mapping of zeros holds zeros. One with a pager holds the pattern of an
 * offset that no other round uses, so a page that outlives its mapping tells.
 * UFAULT_STORM_ROUNDS asks for more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault/engine.h"
#include "lib/live.h"

enum { SLOTS = 3, TOUCHERS = 3, SLOT_PAGES = 48, STABLE_PAGES = 64 };

/* What a touch of a slot must find. */
enum find { NOTHING, ZEROS, PATTERN };

struct slot {
    _Atomic uint32_t turn; /* odd: being changed */
    _Atomic int find;
    _Atomic uint64_t offset; /* PATTERN: of its first page */
    _Atomic uintptr_t start;
    uintptr_t places[2];
};

struct storm {
    struct uf_space *space;
    struct slot slots[SLOTS];
    uintptr_t stable;
    struct uf_pager *pager;
    unsigned rounds;
    atomic_uint owners;       /* not done yet */
    _Atomic uint64_t changes; /* made to slots, ever */
    atomic_uint wrong;
    _Atomic(const char *) what;
    _Atomic uint64_t next_offset;
};

static void wrong(struct storm *storm, const char *what)
{
    atomic_store(&storm->what, what);
    atomic_fetch_add(&storm->wrong, 1);
}

/* ---------------------------------------------------------------- pauses -- */

static _Atomic uint32_t dice = 1;

static uint32_t roll(void)
{
    return (atomic_fetch_add(&dice, 0x9e3779b9u) * 2654435761u) >> 8;
}

static void pause_a_little(void)
{
    for (uint32_t n = roll() % 8; n > 0; n--)
        sched_yield();
}

static struct uffd_ops real, slow;

static struct uffd_result slow_copy(struct uffd *u, struct range dst,
                                    const void *src)
{
    pause_a_little();
    return real.copy(u, dst, src);
}

static struct uffd_result slow_zeropage(struct uffd *u, struct range dst)
{
    pause_a_little();
    return real.zeropage(u, dst);
}

/* Now and then a fill is so slow that its mapping has gone, and others have
 * come in its place, when it ends. */
static ssize_t slow_fill(void *context, const struct uf_fill *request)
{
    struct storm *storm = context;
    uint64_t enough = atomic_load(&storm->changes) + 8 * SLOTS;

    pause_a_little();
    while (roll() % 64 != 0 && request->offset / page_size() % 8 == 0 &&
           atomic_load(&storm->changes) < enough &&
           atomic_load(&storm->owners) > 0)
        sched_yield();
    return live_fill(request, request->len_bytes);
}

static struct uf_engine *make_engine(void)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .nhandlers = 3};
    struct uf_engine *engine;
    struct uffd uffd;

    assert_int_equal(engine_open_uffd(0, UF_ENGINE_THREAD, &uffd), 0);
    uffd.hold_wakes = true;
    real = slow = *uffd.ops;
    slow.copy = slow_copy;
    slow.zeropage = slow_zeropage;
    uffd.ops = &slow;
    assert_int_equal(engine_create_on(&opts, &uffd, &engine), 0);
    return engine;
}

/* ---------------------------------------------------------------- owners -- */

struct owner {
    struct storm *storm;
    struct slot *slot;
};

static size_t slot_bytes(void)
{
    return SLOT_PAGES * page_size();
}

static void begin(struct slot *slot)
{
    atomic_fetch_add(&slot->turn, 1);
}

static void end(struct storm *storm, struct slot *slot, uintptr_t start,
                enum find find)
{
    atomic_fetch_add(&storm->changes, 1);
    atomic_store(&slot->start, start);
    atomic_store(&slot->find, find);
    atomic_fetch_add(&slot->turn, 1);
}

static void map_slot(struct storm *storm, struct slot *slot)
{
    uintptr_t at = slot->places[roll() % 2];
    bool zeros = roll() % 2;
    uint64_t offset = atomic_fetch_add(&storm->next_offset, slot_bytes());
    intptr_t got;

    begin(slot);
    atomic_store(&slot->offset, offset);
    if (zeros)
        got = uf_mmap(storm->space, at, slot_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    else
        got = uf_mmap_pager(storm->space, at, slot_bytes(), PROT_READ,
                            MAP_PRIVATE | MAP_FIXED, storm->pager, offset);
    if (got != (intptr_t)at)
        wrong(storm, "a mapping was refused");
    end(storm, slot, at, zeros ? ZEROS : PATTERN);
}

static void close_and_open(struct storm *storm, struct slot *slot)
{
    uintptr_t at = atomic_load(&slot->start);
    enum find find = (enum find)atomic_load(&slot->find);

    begin(slot);
    if (uf_mprotect(storm->space, at, slot_bytes(), PROT_NONE) != 0)
        wrong(storm, "mprotect(NONE) failed");
    end(storm, slot, at, NOTHING);
    pause_a_little();
    begin(slot);
    if (uf_mprotect(storm->space, at, slot_bytes(), PROT_READ) != 0)
        wrong(storm, "mprotect(READ) failed");
    end(storm, slot, at, find);
}

static void move_slot(struct storm *storm, struct slot *slot)
{
    uintptr_t at = atomic_load(&slot->start);
    uintptr_t to = slot->places[at == slot->places[0]];
    enum find find = (enum find)atomic_load(&slot->find);

    begin(slot);
    if (uf_mremap(storm->space, at, slot_bytes(), slot_bytes(),
                  MREMAP_MAYMOVE | MREMAP_FIXED, to) != (intptr_t)to)
        wrong(storm, "mremap failed");
    if (live_mincore(at, at + slot_bytes()) != 0)
        wrong(storm, "a page stayed behind after mremap");
    end(storm, slot, to, find);
}

static void drop_slot(struct storm *storm, struct slot *slot)
{
    /* What comes back is what belongs there: no state changes. */
    if (uf_madvise(storm->space, atomic_load(&slot->start), slot_bytes(),
                   MADV_DONTNEED) != 0)
        wrong(storm, "madvise failed");
}

static void unmap_slot(struct storm *storm, struct slot *slot)
{
    uintptr_t at = atomic_load(&slot->start);

    begin(slot);
    if (uf_munmap(storm->space, at, slot_bytes()) != 0)
        wrong(storm, "munmap failed");
    end(storm, slot, at, NOTHING);
    for (int i = 0; i < 3; i++) {
        if (live_mincore(at, at + slot_bytes()) != 0)
            wrong(storm, "a page is in a range that munmap took");
        pause_a_little();
    }
}

static void *own(void *arg)
{
    struct owner *owner = arg;
    struct storm *storm = owner->storm;

    for (unsigned i = 0; i < storm->rounds; i++) {
        map_slot(storm, owner->slot);
        for (uint32_t n = roll() % 6; n > 0; n--) {
            pause_a_little();
            switch (roll() % 3) {
            case 0:
                close_and_open(storm, owner->slot);
                break;
            case 1:
                move_slot(storm, owner->slot);
                break;
            default:
                drop_slot(storm, owner->slot);
                break;
            }
        }
        unmap_slot(storm, owner->slot);
    }
    atomic_fetch_sub(&storm->owners, 1);
    return NULL;
}

/* -------------------------------------------------------------- touchers -- */

static void touch(struct storm *storm, struct slot *slot)
{
    uint32_t turn = atomic_load(&slot->turn);
    enum find find = (enum find)atomic_load(&slot->find);
    uintptr_t start = atomic_load(&slot->start);
    uint64_t offset = atomic_load(&slot->offset);
    size_t at = (roll() % SLOT_PAGES) * page_size() + roll() % page_size();
    unsigned char byte = 0;
    int sig = live_read(start + at, &byte, NULL);

    if ((turn & 1) || atomic_load(&slot->turn) != turn)
        return; /* anything may have been there */
    if (find == NOTHING && sig != SIGSEGV)
        wrong(storm, "nothing is mapped, and the touch found a page");
    if (find != NOTHING && sig != 0)
        wrong(storm, "a touch of mapped memory failed");
    if (find == ZEROS && !sig && byte != 0)
        wrong(storm, "zeros were expected");
    if (find == PATTERN && !sig && byte != live_pattern(offset + at))
        wrong(storm, "a byte of another mapping or of none");
}

static void *touch_slots(void *arg)
{
    struct storm *storm = arg;

    while (atomic_load(&storm->owners) > 0)
        touch(storm, &storm->slots[roll() % SLOTS]);
    return NULL;
}

/* --------------------------------------------------------------- forking -- */

/* In the child: what was resident is there, and the map can still change. */
static int look_in_child(struct storm *storm)
{
    const char *p = (const char *)storm->stable;
    intptr_t got;

    for (size_t i = 0; i < STABLE_PAGES; i++)
        if (p[i * page_size()] != (char)(i + 1))
            return 1;
    got = uf_mmap(storm->space, 0, slot_bytes(), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got <= 0)
        return 2;
    *(volatile char *)got = 1;
    return uf_munmap(storm->space, (uintptr_t)got, slot_bytes()) == 0 ? 0 : 3;
}

static void *fork_children(void *arg)
{
    struct storm *storm = arg;
    int status;

    while (atomic_load(&storm->owners) > 0) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(look_in_child(storm));
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            wrong(storm, "a forked child found something else");
    }
    return NULL;
}

/* ------------------------------------------------------------------ main -- */

static void prepare(struct storm *storm, struct uf_engine *engine)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = (size_t)64 << 20,
        .engine = engine,
        .window_pages = 8,
    };
    const char *rounds = getenv("UFAULT_STORM_ROUNDS");
    uintptr_t at;

    assert_int_equal(uf_space_create(&opts, &storm->space), 0);
    assert_int_equal(uf_pager_callback(slow_fill, storm, &storm->pager), 0);
    storm->rounds = rounds ? (unsigned)atoi(rounds) : 150;
    storm->stable = (uintptr_t)uf_mmap(
        storm->space, 0, STABLE_PAGES * page_size(), PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < STABLE_PAGES; i++)
        *(char *)(storm->stable + i * page_size()) = (char)(i + 1);
    at = uf_space_base(storm->space);
    for (size_t i = 0; i < SLOTS; i++) {
        storm->slots[i].places[0] = at + 4 * i * slot_bytes();
        storm->slots[i].places[1] = at + (4 * i + 2) * slot_bytes();
        storm->slots[i].start = storm->slots[i].places[0];
    }
    storm->owners = SLOTS;
}

static void nothing_is_lost_or_stale_in_a_storm(void **state)
{
    static struct storm storm;
    pthread_t threads[SLOTS + TOUCHERS + 1];
    struct owner owners[SLOTS];
    struct uf_engine *engine = make_engine();
    size_t n = 0;

    (void)state;
    prepare(&storm, engine);
    for (size_t i = 0; i < SLOTS; i++) {
        owners[i] = (struct owner){&storm, &storm.slots[i]};
        assert_int_equal(pthread_create(&threads[n++], NULL, own, &owners[i]),
                         0);
    }
    for (size_t i = 0; i < TOUCHERS; i++)
        assert_int_equal(
            pthread_create(&threads[n++], NULL, touch_slots, &storm), 0);
    assert_int_equal(pthread_create(&threads[n++], NULL, fork_children, &storm),
                     0);
    while (n > 0)
        pthread_join(threads[--n], NULL);

    if (storm.wrong > 0)
        print_error("%u wrong, the last: %s\n", storm.wrong, storm.what);
    assert_int_equal(storm.wrong, 0);
    live_assert_law(storm.space);
    assert_true(live_stats(storm.space).installed > 0);
    assert_int_equal(uf_space_destroy(storm.space), 0);
    assert_int_equal(uf_engine_destroy(engine), 0);
    uf_pager_unref(storm.pager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_stale_in_a_storm),
    };
    int rc = live_begin();

    return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
