/* SPDX-License-Identifier: MIT */
/* See context.h. */
#include "host/context.h"

#include <string.h>
#include <ucontext.h>

/* ------------------------------------------------------------ the access -- */

#if defined(__x86_64__) || defined(__i386__)

#ifdef __x86_64__
#define PC_REGISTER REG_RIP
#else
#define PC_REGISTER REG_EIP
#endif

/* The error code of a page fault (arch/x86/include/asm/trap_pf.h). */
#define TRAP_PAGE_FAULT 14
#define PF_WRITE        0x2
#define PF_INSTRUCTION  0x10

uintptr_t context_pc(const void *context)
{
    const ucontext_t *uc = context;

    return (uintptr_t)uc->uc_mcontext.gregs[PC_REGISTER];
}

enum uf_trap_access context_access(const void *context, uintptr_t addr)
{
    const ucontext_t *uc = context;

    (void)addr;
    if (uc->uc_mcontext.gregs[REG_TRAPNO] != TRAP_PAGE_FAULT)
        return UF_TRAP_ACCESS_UNKNOWN;
    if (uc->uc_mcontext.gregs[REG_ERR] & PF_INSTRUCTION)
        return UF_TRAP_ACCESS_EXEC;
    return uc->uc_mcontext.gregs[REG_ERR] & PF_WRITE ? UF_TRAP_ACCESS_WRITE
                                                     : UF_TRAP_ACCESS_READ;
}

#elif defined(__aarch64__)

/* Records behind the registers, each with a magic and a size; struct
 * esr_context of <asm/sigcontext.h> is one of them. */
#define RECORD_ESR        0x45535201u

/* ESR_EL1 (arch/arm64/include/asm/esr.h). */
#define ESR_CLASS(esr)    ((unsigned)((esr) >> 26) & 0x3f)
#define CLASS_INSTRUCTION 0x20
#define CLASS_DATA        0x24
#define ESR_WRITE         (1u << 6)
#define ESR_CACHE         (1u << 8) /* of a cache operation: no real write */

struct record {
    uint32_t magic;
    uint32_t size;
};

uintptr_t context_pc(const void *context)
{
    const ucontext_t *uc = context;

    return (uintptr_t)uc->uc_mcontext.pc;
}

/* The syndrome register, or 0. */
static uint64_t find_esr(const ucontext_t *uc)
{
    const unsigned char *at = uc->uc_mcontext.__reserved;
    const unsigned char *end = at + sizeof(uc->uc_mcontext.__reserved);
    struct record record;
    uint64_t esr = 0;

    while (at + sizeof(record) + sizeof(esr) <= end) {
        memcpy(&record, at, sizeof(record));
        if (record.magic == RECORD_ESR) {
            memcpy(&esr, at + sizeof(record), sizeof(esr));
            return esr;
        }
        if (record.magic == 0 || record.size < sizeof(record))
            break;
        at += record.size;
    }
    return 0;
}

enum uf_trap_access context_access(const void *context, uintptr_t addr)
{
    uint64_t esr = find_esr(context);

    (void)addr;
    switch (ESR_CLASS(esr)) {
    case CLASS_INSTRUCTION:
        return UF_TRAP_ACCESS_EXEC;
    case CLASS_DATA:
        return (esr & ESR_WRITE) && !(esr & ESR_CACHE) ? UF_TRAP_ACCESS_WRITE
                                                       : UF_TRAP_ACCESS_READ;
    default:
        return UF_TRAP_ACCESS_UNKNOWN;
    }
}

#elif defined(__riscv)

uintptr_t context_pc(const void *context)
{
    const ucontext_t *uc = context;

    return (uintptr_t)uc->uc_mcontext.__gregs[REG_PC];
}

/* A jump is known by its address; loads and stores look alike. */
enum uf_trap_access context_access(const void *context, uintptr_t addr)
{
    return context_pc(context) == addr ? UF_TRAP_ACCESS_EXEC
                                       : UF_TRAP_ACCESS_UNKNOWN;
}

#else

uintptr_t context_pc(const void *context)
{
    (void)context;
    return 0;
}

enum uf_trap_access context_access(const void *context, uintptr_t addr)
{
    (void)context;
    (void)addr;
    return UF_TRAP_ACCESS_UNKNOWN;
}

#endif

/* ---------------------------------------------------------- guarded copy -- */

#ifdef __x86_64__

/*
 * One instruction copies, and the processor keeps its registers right at every
 * byte: after a fault rcx is what is left to do. The handler moves the program
 * counter behind it.
 */
__asm__(".text\n"
        ".balign 16\n"
        ".globl guarded_copy\n"
        ".hidden guarded_copy\n"
        ".type guarded_copy, @function\n"
        "guarded_copy:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    movq %rdx, %rcx\n"
        "guarded_copy_at:\n"
        "    rep movsb\n"
        "guarded_copy_behind:\n"
        "    movq %rcx, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size guarded_copy, . - guarded_copy\n"
        ".globl guarded_copy_at, guarded_copy_behind\n"
        ".hidden guarded_copy_at, guarded_copy_behind\n");

extern const char guarded_copy_at[];
extern const char guarded_copy_behind[];

bool guarded_copy_is_known(void)
{
    return true;
}

bool guarded_copy_fix(void *context)
{
    ucontext_t *uc = context;
    greg_t *pc = &uc->uc_mcontext.gregs[PC_REGISTER];

    if (*pc != (greg_t)guarded_copy_at)
        return false;
    *pc = (greg_t)guarded_copy_behind;
    return true;
}

#else

size_t guarded_copy(void *to, const void *from, size_t len_bytes)
{
    (void)to;
    (void)from;
    return len_bytes;
}

bool guarded_copy_is_known(void)
{
    return false;
}

bool guarded_copy_fix(void *context)
{
    (void)context;
    return false;
}

#endif
