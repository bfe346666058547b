/* SPDX-License-Identifier: MIT */
/* See libc_brk.h. */
#include "run/libc_brk.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/range.h"
#include "run/heap.h"

#ifdef __x86_64__

static void **libc_curbrk; /* where libc keeps the break, for sbrk */

/* As glibc's own (sysdeps/unix/sysv/linux/brk.c). */
static int replaced_brk(void *address)
{
    uintptr_t now = heap_brk((uintptr_t)address);

    if (now != 0)
        *libc_curbrk = (void *)now; /* NOLINT: addresses are numbers here */
    if (now == 0 || now < (uintptr_t)address) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

/* jmp *(%rip): the address follows. */
struct jump {
    uint8_t opcode[6];
    uint64_t target;
} __attribute__((packed));

static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
/* mov $12,%eax; syscall: what brk begins with, whatever the compiler. */
static const uint8_t brk_start[] = {0xb8, 0x0c, 0, 0, 0, 0x0f, 0x05};

/* Where in brk, `size` bytes long, the jump goes; NULL if it does not look as
 * it should. */
static uint8_t *place_for_jump(uint8_t *code, size_t size)
{
    size_t skip = 0;

    if (size >= sizeof(endbr64) && memcmp(code, endbr64, sizeof(endbr64)) == 0)
        skip = sizeof(endbr64);
    if (size < skip + sizeof(struct jump) ||
        memcmp(code + skip, brk_start, sizeof(brk_start)) != 0)
        return NULL;
    return code + skip;
}

static bool write_code(uint8_t *at, const struct jump *jump)
{
    uintptr_t first = align_down((uintptr_t)at, page_size());
    uintptr_t end = align_up((uintptr_t)at + sizeof(*jump), page_size());
    void *pages = (void *)first; /* NOLINT: addresses are numbers here */

    if (mprotect(pages, end - first, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        return false;
    memcpy(at, jump, sizeof(*jump));
    return mprotect(pages, end - first, PROT_READ | PROT_EXEC) == 0;
}

bool libc_brk_redirect(void)
{
    struct jump jump = {.opcode = {0xff, 0x25},
                        .target = (uintptr_t)replaced_brk};
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    ElfW(Sym) *symbol = NULL;
    uint8_t *at = NULL;
    Dl_info info;
    void *code;

    if (!libc)
        return false;
    code = dlsym(libc, "brk");
    libc_curbrk = dlsym(libc, "__curbrk");
    if (code && libc_curbrk &&
        dladdr1(code, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol)
        at = place_for_jump(code, symbol->st_size);
    dlclose(libc);
    return at && write_code(at, &jump);
}

#else

bool libc_brk_redirect(void)
{
    return false;
}

#endif
