/* SPDX-License-Identifier: MIT */
/*
 * module.h: MODULE(x) defines module_x, a struct module, of what wasm2c makes
 * of x.wasm: its names have x in them. Included after x.h.
 */
#ifndef DEMO_WASM_MODULE_H
#define DEMO_WASM_MODULE_H

#include "runtime.h"

#define MODULE(NAME)                                                           \
    static void NAME##_instantiate(void *instance, struct guest *guest)        \
    {                                                                          \
        Z_##NAME##_instantiate(                                                \
            instance, (struct Z_env_instance_t *)guest,                        \
            (struct Z_wasi_snapshot_preview1_instance_t *)guest);              \
    }                                                                          \
    static void NAME##_initialize(void *instance)                              \
    {                                                                          \
        Z_##NAME##Z__initialize(instance);                                     \
    }                                                                          \
    static void NAME##_warm(void *instance)                                    \
    {                                                                          \
        Z_##NAME##Z_warm(instance);                                            \
    }                                                                          \
    static void NAME##_serve(void *instance)                                   \
    {                                                                          \
        Z_##NAME##Z_serve(instance);                                           \
    }                                                                          \
    static void NAME##_call(void *instance, uint32_t f, uint32_t a,            \
                            uint32_t b)                                        \
    {                                                                          \
        Z_##NAME##Z_call(instance, f, a, b);                                   \
    }                                                                          \
    static const struct module module_##NAME = {                               \
        .name = #NAME,                                                         \
        .instance_bytes = sizeof(Z_##NAME##_instance_t),                       \
        .memory = offsetof(Z_##NAME##_instance_t, w2c_memory),                 \
        .table = offsetof(Z_##NAME##_instance_t, w2c_T0),                      \
        .env = offsetof(Z_##NAME##_instance_t, Z_env_instance),                \
        .wasi = offsetof(Z_##NAME##_instance_t,                                \
                         Z_wasi_snapshot_preview1_instance),                   \
        .init = Z_##NAME##_init_module,                                        \
        .instantiate = NAME##_instantiate,                                     \
        .initialize = NAME##_initialize,                                       \
        .warm = NAME##_warm,                                                   \
        .serve = NAME##_serve,                                                 \
        .call = NAME##_call,                                                   \
    };

#endif
