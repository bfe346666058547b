/* SPDX-License-Identifier: MIT */
/* The wide guest, with and without ufault: what wasm_wide.h says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wide.h>

#include "module.h"
#include "wasm_wide.h"

MODULE(wide)

static _Thread_local uint32_t request, answer;

static void touch(void *instance)
{
    answer = Z_wideZ_touch(instance, request);
}

uint32_t wide_answer(struct guest *guest, uint32_t n)
{
    request = n;
    if (guest_run(guest, touch) != WASM_RT_TRAP_NONE)
        abort();
    return answer;
}

bool wide_program(struct program *program)
{
    char path[] = "/tmp/ufault-bench.XXXXXX";
    struct program_opts opts = {
        .image = path, .memory_max = (size_t)128 << 20, .keep = 1};
    int fd = mkstemp(path), err;

    if (fd < 0)
        return false;
    close(fd);
    err = uf_engine_create(NULL, &opts.engine);
    if (err == 0)
        err = program_open(program, &module_wide, &opts);
    unlink(path);
    if (err != 0)
        printf("# no wasm guest: %s\n", strerror(-err));
    return err == 0;
}

bool plain_open(struct plain *plain)
{
    struct program program;
    bool ok;

    if (!wide_program(&program) ||
        guest_create(&plain->guest, &program, 1) != 0 ||
        guest_enter(&plain->guest, &program) != 0)
        return false;
    plain->len_bytes = guest_memory_bytes(&plain->guest);
    plain->image = mmap(NULL, plain->len_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ok = plain->image != MAP_FAILED;
    if (ok)
        memcpy(plain->image, (char *)uf_space_base(plain->guest.space),
               plain->len_bytes);
    guest_leave(&plain->guest, &program);
    program_close(&program);
    return ok;
}

char *plain_reserve(const struct plain *plain)
{
    char *p = mmap(NULL, WASM_REACH, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    if (mprotect(p, plain->len_bytes, PROT_READ | PROT_WRITE) < 0) {
        plain_release(p);
        return NULL;
    }
    return p;
}

void plain_release(char *memory)
{
    munmap(memory, WASM_REACH);
}

void plain_point(struct plain *plain, char *memory)
{
    wasm_rt_memory_t *m = (wasm_rt_memory_t *)((char *)plain->guest.instance +
                                               plain->guest.module->memory);

    m->data = (uint8_t *)memory;
}
