/* SPDX-License-Identifier: MIT */
/*
 * wasm: real programs, compiled for wasm, as guests that serve requests.
 *
 *     hash, compress, script     answers as the native libraries give them
 *     evil                       what a guest must not do, and what comes of it
 *
 * Each request has a guest as it was after initialisation, in a space of a pool;
 * then the space is put back. The runtime is in runtime.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "native.h"
#include "runtime.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define THREADS    4
#define REQUESTS   60 /* of each kind, for each thread */
#define MEMORY_MAX ((size_t)16 << 20)
#define SECRET     "the-first-guest's-secret"

static struct program programs[MODULES];

static double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* ------------------------------------------------------------ looking -- */

/* Pages of the guest's linear memory for which smaps has `name` KiB. */
static size_t pages_of(const struct guest *guest, const char *name)
{
    static char text[1 << 16];
    uintptr_t base = uf_space_base(guest->space), start = 0, end;
    size_t kib = 0, n;
    char *line = text;

    CHECK(uf_space_smaps(guest->space, text, sizeof(text)) > 0);
    for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        sscanf(line, "%lx-%lx ", &start, &end);
        if (start < base + WASM_REACH &&
            strncmp(line, name, strlen(name)) == 0 &&
            sscanf(line + strlen(name), "%zu", &n) == 1)
            kib += n;
    }
    return kib * 1024 / (size_t)sysconf(_SC_PAGESIZE);
}

/* How often the text lies anywhere in what the guest can reach. */
static size_t count_in_memory(const struct guest *guest, const char *text)
{
    const char *at = (const char *)uf_space_base(guest->space);
    const char *end = at + guest_memory_bytes(guest);
    size_t n = 0;

    while ((at = memmem(at, (size_t)(end - at), text, strlen(text)))) {
        n++;
        at++;
    }
    return n;
}

/* ----------------------------------------------------------- programs -- */

static void open_programs(const char *folder, struct uf_engine *engine)
{
    char path[4096];
    struct program_opts opts = {
        .image = path, .memory_max = MEMORY_MAX, .keep = 2, .engine = engine};

    printf("%-9s  %13s  %10s  %12s\n", "guest", "memory, KiB", "image, KiB",
           "template, KiB");
    for (int i = 0; i < MODULES; i++) {
        struct guest guest;

        snprintf(path, sizeof(path), "%s/%s.image", folder, modules[i]->name);
        if (i == MODULE_EVIL)
            opts.keep = 1;
        CHECK(program_open(&programs[i], modules[i], &opts) == 0);
        unlink(path);
        CHECK(guest_create(&guest, &programs[i], 64) == 0);
        CHECK(guest_enter(&guest, &programs[i]) == 0);
        printf("%-9s  %13zu  %10zu  %12zu\n", modules[i]->name,
               guest_memory_bytes(&guest) / 1024,
               (size_t)programs[i].image_bytes / 1024,
               uf_template_bytes(programs[i].template) / 1024);
        CHECK(guest_leave(&guest, &programs[i]) == 0);
        guest_destroy(&guest);
    }
}

/* What one request touches and writes, seen in a guest that served no other. */
static void show_pages(int module)
{
    char *request = malloc(REQUEST_MAX);
    struct guest guest;
    size_t n = native_request(module, 1, request);

    CHECK(guest_create(&guest, &programs[module], REQUEST_MAX) == 0);
    CHECK(guest_enter(&guest, &programs[module]) == 0);
    CHECK(guest_serve(&guest, request, n) == WASM_RT_TRAP_NONE);
    printf("%-9s  a request of %zu bytes: %zu pages touched, %zu written\n",
           modules[module]->name, n, pages_of(&guest, "Rss:"),
           pages_of(&guest, "Anonymous:"));
    CHECK(guest_leave(&guest, &programs[module]) == 0);
    guest_destroy(&guest);
    free(request);
}

/* ------------------------------------------------------------ serving -- */

struct worker {
    pthread_t thread;
    unsigned number;
    unsigned served, agreed;
    double us; /* in guests, their coming and going included */
};

static void serve_one(struct worker *w, struct guest *guest, int module,
                      unsigned n, char *request)
{
    const struct program *program = &programs[module];
    size_t len = native_request(module, n, request);
    double begun = now_us();

    CHECK(guest_enter(guest, program) == 0);
    CHECK(guest_serve(guest, request, len) == WASM_RT_TRAP_NONE);
    CHECK(guest_leave(guest, program) == 0);
    w->us += now_us() - begun;
    w->served++;
    w->agreed +=
        native_agrees(module, request, len, guest->answer, guest->answer_bytes);
}

static void *work(void *data)
{
    struct worker *w = data;
    struct guest guests[MODULE_EVIL];
    char *request = malloc(REQUEST_MAX);

    CHECK(request);
    for (int m = 0; m < MODULE_EVIL; m++)
        CHECK(guest_create(&guests[m], &programs[m], REQUEST_MAX) == 0);
    for (unsigned i = 0; i < REQUESTS; i++)
        for (int m = 0; m < MODULE_EVIL; m++)
            serve_one(w, &guests[m], m, w->number * REQUESTS + i, request);
    for (int m = 0; m < MODULE_EVIL; m++)
        guest_destroy(&guests[m]);
    free(request);
    return NULL;
}

static void serve_all(struct stacks *stacks)
{
    struct worker workers[THREADS] = {0};
    unsigned served = 0, agreed = 0;
    double us = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].number = i;
        CHECK(stacks_start(stacks, i, &workers[i].thread, work, &workers[i]) ==
              0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        served += workers[i].served;
        agreed += workers[i].agreed;
        us += workers[i].us;
    }
    printf("\n%u requests by %d threads, %u answers as the native libraries "
           "give them\n",
           served, THREADS, agreed);
    printf("%.0f us each, the guest's coming and going included\n",
           us / served);
    CHECK(agreed == served && served == THREADS * REQUESTS * MODULE_EVIL);
}

/* --------------------------------------------------------------- evil -- */

static int evil(struct guest *guest, const char *deed)
{
    return guest_serve(guest, deed, strlen(deed));
}

static void keep_secret(struct guest *guest)
{
    const struct program *program = &programs[MODULE_EVIL];
    struct uf_space *first;
    size_t left, found;

    CHECK(guest_enter(guest, program) == 0);
    CHECK(evil(guest, "k" SECRET) == WASM_RT_TRAP_NONE);
    first = guest->space;
    left = count_in_memory(guest, SECRET);
    CHECK(guest_leave(guest, program) == 0);
    CHECK(guest_enter(guest, program) == 0 && guest->space == first);
    found = count_in_memory(guest, SECRET);
    CHECK(guest_leave(guest, program) == 0);
    printf("\na guest left its secret in %zu places; the next one in the same "
           "space finds %zu\n\n",
           left, found);
    CHECK(left >= 4 && found == 0);
}

/* One deed, in the space that the one before was stopped in. */
static void misbehave(struct guest *guest, const char *what, const char *deed,
                      int expected)
{
    const struct program *program = &programs[MODULE_EVIL];
    int trap;

    CHECK(guest_enter(guest, program) == 0);
    trap = evil(guest, deed);
    printf("%-42s %s", what, trap_name(trap));
    if (trap == WASM_RT_TRAP_OOB)
        printf(" at %#zx", guest->trap_address - uf_space_base(guest->space));
    if (trap == WASM_RT_TRAP_NONE)
        printf(", answered: %.*s", (int)guest->answer_bytes, guest->answer);
    puts("");
    CHECK(trap == expected);
    CHECK(guest_leave(guest, program) == 0);
    CHECK(uf_pool_ready(program->pool) == 1);
}

static void *do_evil(void *data)
{
    struct guest guest;

    (void)data;
    CHECK(guest_create(&guest, &programs[MODULE_EVIL], 4096) == 0);
    keep_secret(&guest);
    misbehave(&guest, "reads one byte beyond its memory", "r",
              WASM_RT_TRAP_OOB);
    misbehave(&guest, "writes far away", "w", WASM_RT_TRAP_OOB);
    misbehave(&guest, "grows without end", "g", WASM_RT_TRAP_NONE);
    misbehave(&guest, "calls itself without end", "d", WASM_RT_TRAP_EXHAUSTION);
    misbehave(&guest, "the same on the stack in its memory", "s",
              WASM_RT_TRAP_OOB);
    misbehave(&guest, "has the host read and write outside of it", "h",
              WASM_RT_TRAP_NONE);
    misbehave(&guest, "divides by zero", "z", WASM_RT_TRAP_DIV_BY_ZERO);
    misbehave(&guest, "calls a function that there is not", "c",
              WASM_RT_TRAP_CALL_INDIRECT);
    misbehave(&guest, "ends itself", "x", GUEST_EXITED);
    CHECK(guest.exit_code == 3);
    guest_destroy(&guest);
    return NULL;
}

int main(void)
{
    char folder[] = "/tmp/ufault-wasm.XXXXXX";
    struct uf_engine *engine;
    struct stacks stacks;
    pthread_t thread;

    if (uf_engine_create(NULL, &engine) != 0) {
        puts("skipped: no userfaultfd here; `ufault probe` says why");
        return 77;
    }
    CHECK(mkdtemp(folder));
    CHECK(uf_trap_install() == 0);
    open_programs(folder, engine);
    CHECK(rmdir(folder) == 0);
    puts("");
    for (int m = 0; m < MODULE_EVIL; m++)
        show_pages(m);
    CHECK(stacks_create(&stacks, THREADS, engine) == 0);
    serve_all(&stacks);
    CHECK(stacks_start(&stacks, 0, &thread, do_evil, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < MODULES; i++)
        program_close(&programs[i]);
    stacks_destroy(&stacks);
    CHECK(uf_engine_destroy(engine) == 0);
    return uf_trap_remove() == 0 ? 0 : 1;
}
