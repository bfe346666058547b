/* SPDX-License-Identifier: MIT */
/* See libc_patch.h. */
#include "run/libc_patch.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/range.h"
#include "base/sys.h"

void *libc_symbol(const char *name)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void *symbol = libc ? dlsym(libc, name) : NULL;

    if (libc)
        dlclose(libc);
    return symbol;
}

#ifdef __x86_64__

/* jmp *(%rip): the address follows. */
struct jump {
    uint8_t opcode[6];
    uint64_t target;
} __attribute__((packed));

static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

/* mov $number,%eax; syscall. */
static bool makes_call(const uint8_t *code, size_t size, long number)
{
    uint8_t wanted[] = {0xb8, 0, 0, 0, 0, 0x0f, 0x05};
    uint32_t nr = (uint32_t)number;

    memcpy(wanted + 1, &nr, sizeof(nr));
    return memmem(code, size, wanted, sizeof(wanted)) != NULL;
}

/* libc's function of that name and its size; NULL if there is none. */
static uint8_t *find_code(const char *name, size_t *ret_size)
{
    uint8_t *code = libc_symbol(name);
    ElfW(Sym) *symbol = NULL;
    Dl_info info;

    if (!code || !dladdr1(code, &info, (void **)&symbol, RTLD_DL_SYMENT) ||
        !symbol)
        return NULL;
    *ret_size = symbol->st_size;
    return code;
}

/* Where in libc's function the jump goes; NULL if it is not what it should be,
 * or some library's of the same name. */
static uint8_t *place_for_jump(const struct libc_call *call)
{
    size_t size = 0, skip = 0;
    uint8_t *code = find_code(call->name, &size);

    if (!code || !makes_call(code, size, call->number))
        return NULL;
    if (memcmp(code, endbr64, sizeof(endbr64)) == 0)
        skip = sizeof(endbr64);
    return size >= skip + sizeof(struct jump) ? code + skip : NULL;
}

static bool write_code(uint8_t *at, const void *code, size_t len)
{
    uintptr_t first = align_down((uintptr_t)at, page_size());
    uintptr_t end = align_up((uintptr_t)at + len, page_size());
    void *pages = (void *)first; /* NOLINT: addresses are numbers here */

    if (sys->mprotect(pages, end - first, PROT_READ | PROT_WRITE | PROT_EXEC) <
        0)
        return false;
    memcpy(at, code, len);
    return sys->mprotect(pages, end - first, PROT_READ | PROT_EXEC) == 0;
}

bool libc_patch(const struct libc_call *call)
{
    struct jump jump = {.opcode = {0xff, 0x25},
                        .target = (uintptr_t)call->ours};
    uint8_t *at = place_for_jump(call);

    return at && write_code(at, &jump, sizeof(jump));
}

bool libc_patch_all(const struct libc_call *calls)
{
    const struct libc_call *c;

    for (c = calls; c->name; c++)
        if (!place_for_jump(c))
            return false;
    for (c = calls; c->name; c++)
        if (!libc_patch(c))
            return false;
    return true;
}

/* call rel32: relative to what follows it. */
#define CALL_BYTES 5

static bool is_call_of(const uint8_t *at, const void *target)
{
    int32_t offset;

    memcpy(&offset, at + 1, sizeof(offset));
    return at[0] == 0xe8 &&
           (uintptr_t)at + CALL_BYTES + (uintptr_t)(intptr_t)offset ==
               (uintptr_t)target;
}

static bool lead_call(uint8_t *at, void (*ours)(void))
{
    intptr_t offset = (intptr_t)((uintptr_t)ours - (uintptr_t)at - CALL_BYTES);
    int32_t short_offset = (int32_t)offset;

    return short_offset == offset &&
           write_code(at + 1, &short_offset, sizeof(short_offset));
}

bool libc_patch_calls(const char *name, const void *target, void (*ours)(void))
{
    size_t size = 0;
    uint8_t *code = find_code(name, &size);
    bool found = false;

    for (size_t i = 0; code && i + CALL_BYTES <= size; i++) {
        if (!is_call_of(code + i, target))
            continue;
        if (!lead_call(code + i, ours))
            return false;
        found = true;
    }
    return found;
}

#else

bool libc_patch_calls(const char *name, const void *target, void (*ours)(void))
{
    (void)name;
    (void)target;
    (void)ours;
    return false;
}

bool libc_patch(const struct libc_call *call)
{
    (void)call;
    return false;
}

bool libc_patch_all(const struct libc_call *calls)
{
    (void)calls;
    return false;
}

#endif
