/* SPDX-License-Identifier: MIT */
/*
 * trap.c: how a guest is stopped, and how it gives up an attempt of its own;
 * and the numbers of function types, which tell a wrong indirect call.
 */
#include <signal.h>
#include <stdarg.h>
#include <ucontext.h>

#include "runtime.h"

#define TYPES_MAX  256
#define VALUES_MAX 30

_Thread_local struct guest *guest_running;

void wasm_rt_trap(wasm_rt_trap_t code)
{
    siglongjmp(guest_running->stopped, (int)code);
}

void trap_exit(void)
{
    siglongjmp(guest_running->stopped, GUEST_EXITED);
}

/* In the handler of SIGSEGV, on the thread's alternate stack. guest_run saves
 * no signal mask, so that entering a guest is no system call. */
static int on_trap(void *data, struct uf_trap *trap)
{
    const ucontext_t *context = trap->context;
    struct guest *guest = guest_running;

    (void)data;
    if (!guest)
        return UF_TRAP_PASS; /* a bug of the host's: it dies of it */
    guest->trap_address = trap->address;
    pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
    wasm_rt_trap(trap->space == guest->space ? WASM_RT_TRAP_OOB
                                             : WASM_RT_TRAP_EXHAUSTION);
}

int trap_watch(struct uf_space *space)
{
    return uf_space_set_trap(space, on_trap, NULL);
}

const char *trap_name(int trap)
{
    switch (trap) {
    case WASM_RT_TRAP_NONE:
        return "returned";
    case WASM_RT_TRAP_OOB:
        return "stopped: out of bounds";
    case WASM_RT_TRAP_DIV_BY_ZERO:
        return "stopped: division by zero";
    case WASM_RT_TRAP_CALL_INDIRECT:
        return "stopped: no such function";
    case WASM_RT_TRAP_UNREACHABLE:
        return "stopped: gave up (abort)";
    case WASM_RT_TRAP_EXHAUSTION:
        return "stopped: stack exhausted";
    case GUEST_EXITED:
        return "exited";
    default:
        return "stopped: another trap";
    }
}

/* ---------------------------------------------------------- env.attempt -- */

/* The instance that wasm2c hands on is the guest itself. */
void Z_envZ_attempt(void *env, uint32_t f, uint32_t a, uint32_t b);
void Z_envZ_give_up(void *env);

void Z_envZ_attempt(void *env, uint32_t f, uint32_t a, uint32_t b)
{
    struct guest *guest = env;
    jmp_buf *outer = guest->attempt;
    jmp_buf inner;

    guest->attempt = &inner;
    if (_setjmp(inner) == 0)
        guest->module->call(guest->instance, f, a, b);
    guest->attempt = outer;
}

void Z_envZ_give_up(void *env)
{
    struct guest *guest = env;

    if (!guest->attempt)
        wasm_rt_trap(WASM_RT_TRAP_UNREACHABLE);
    _longjmp(*guest->attempt, 1);
}

/* -------------------------------------------------------- function types -- */

struct type {
    uint32_t nparams, nvalues;
    wasm_rt_type_t values[VALUES_MAX];
};

/* Filled by the modules' init functions, before there are threads. */
static struct type types[TYPES_MAX];
static uint32_t ntypes;

uint32_t wasm_rt_register_func_type(uint32_t nparams, uint32_t nresults, ...)
{
    struct type type = {.nparams = nparams, .nvalues = nparams + nresults};
    uint32_t i;
    va_list values;

    if (type.nvalues > VALUES_MAX || ntypes == TYPES_MAX)
        abort();
    va_start(values, nresults);
    for (i = 0; i < type.nvalues; i++)
        type.values[i] = va_arg(values, wasm_rt_type_t);
    va_end(values);
    for (i = 0; i < ntypes; i++)
        if (memcmp(&types[i], &type, sizeof(type)) == 0)
            return i + 1;
    types[ntypes++] = type;
    return ntypes;
}

bool wasm_rt_is_initialized(void)
{
    return true;
}
