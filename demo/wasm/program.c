/* SPDX-License-Identifier: MIT */
/*
 * program.c: from a module to a pool of its guests.
 *
 *     1. a space of 8 GiB and a page; instantiate, _initialize, warm
 *     2. the instance's struct goes behind the memory, into the same space
 *     3. uf_image_save: what a later process starts from
 *     4. uf_space_from_image, uf_template_create, uf_pool_create
 *
 * Pointers in that struct are this process's, and are set again for each guest
 * (guest.c). So are the functions that a table names, which no image holds: they
 * are taken from the first instance.
 */
#include <errno.h>
#include <sys/mman.h>

#include "runtime.h"
#include "ufault/image.h"

static int make_space(const struct program_opts *opts,
                      struct uf_space **ret_space)
{
    struct uf_space_opts want = {.size = sizeof(want),
                                 .len_bytes = SPACE_BYTES,
                                 .engine = opts->engine,
                                 .limit_data =
                                     opts->memory_max + GLOBALS_BYTES};
    intptr_t at;
    int err = uf_space_create(&want, ret_space);

    if (err != 0)
        return err;
    at = uf_mmap(*ret_space, uf_space_base(*ret_space) + WASM_REACH,
                 GLOBALS_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    err = at < 0 ? (int)at : trap_watch(*ret_space);
    if (err != 0)
        uf_space_destroy(*ret_space);
    return err;
}

/* instantiate, as guest_run calls it. */
static void instantiate(void *instance)
{
    guest_running->module->instantiate(instance, guest_running);
}

/* Runs what comes before the first request. */
static int warm_up(struct guest *guest, struct program *program)
{
    const struct module *module = guest->module;
    wasm_rt_funcref_table_t table;

    if (guest_run(guest, instantiate) != 0 ||
        guest_run(guest, module->initialize) != 0 ||
        guest_run(guest, module->warm) != 0)
        return -ENOEXEC;
    memcpy(&table, (char *)guest->instance + module->table, sizeof(table));
    program->table = table.data;
    program->ntable = table.size;
    memcpy((void *)(uf_space_base(guest->space) + WASM_REACH), guest->instance,
           module->instance_bytes);
    return 0;
}

/* From the file to a template, as a process that starts later does. */
static int load(struct program *program, const struct program_opts *opts)
{
    struct uf_image_info info = {.size = sizeof(info)};
    struct uf_space_opts want = {.size = sizeof(want), .engine = opts->engine};
    struct uf_image *image;
    struct uf_space *space;
    int err = uf_image_open(opts->image, &image);

    if (err != 0)
        return err;
    uf_image_info(image, &info);
    program->image_bytes = info.file_bytes;
    err = uf_space_from_image(image, &want, &space);
    uf_image_close(image);
    if (err != 0)
        return err;
    err = uf_template_create(space, &program->template);
    uf_space_destroy(space);
    return err;
}

int program_open(struct program *program, const struct module *module,
                 const struct program_opts *opts)
{
    struct uf_space_opts want = {.size = sizeof(want),
                                 .engine = opts->engine,
                                 .limit_data =
                                     opts->memory_max + GLOBALS_BYTES};
    struct guest guest = {.module = module,
                          .instance = calloc(1, module->instance_bytes)};
    int err = guest.instance ? 0 : -ENOMEM;

    *program = (struct program){.module = module, .first = guest.instance};
    if (err == 0)
        err = make_space(opts, &guest.space);
    if (err == 0) {
        module->init();
        err = warm_up(&guest, program);
        if (err == 0)
            err = uf_image_save(guest.space, opts->image, NULL);
        uf_space_destroy(guest.space);
    }
    if (err == 0)
        err = load(program, opts);
    if (err == 0)
        err = uf_pool_create(program->template, &want, opts->keep,
                             &program->pool);
    if (err != 0)
        program_close(program);
    return err;
}

void program_close(struct program *program)
{
    uf_pool_destroy(program->pool);
    uf_template_unref(program->template);
    free(program->table);
    free(program->first);
    *program = (struct program){0};
}
