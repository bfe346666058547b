/* SPDX-License-Identifier: MIT */
/*
 * modules.c: the guests.
 */
#include "module.h"

#include <compress.h>
#include <evil.h>
#include <hash.h>
#include <script.h>

MODULE(hash)
MODULE(compress)
MODULE(script)
MODULE(evil)

const struct module *const modules[MODULES] = {
    [MODULE_HASH] = &module_hash,
    [MODULE_COMPRESS] = &module_compress,
    [MODULE_SCRIPT] = &module_script,
    [MODULE_EVIL] = &module_evil,
};
