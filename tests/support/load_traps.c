#define _GNU_SOURCE
#include "load_traps.h"

#if defined(__linux__) && defined(__x86_64__)
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { STEP_FLAG = 0x100 }; /* of the processor: a trap after the next instruction */

static struct {
    uint8_t *pages; /* one that cannot be read, those of the bytes, another one */
    size_t page, inner;
    size_t at, loads;
    void (*change)(int step);
    volatile sig_atomic_t armed;
    struct sigaction fault_before, trap_before;
} traps;

static void protect(int protection)
{
    if (mprotect(traps.pages + traps.page, traps.inner, protection) != 0) abort();
}

static int is_inside(const uint8_t *address)
{
    const uint8_t *first = traps.pages + traps.page;
    return address >= first && address < first + traps.inner;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *state = context;
    if (!is_inside(info->si_addr)) { /* comes once more, and then counts */
        sigaction(number, &traps.fault_before, NULL);
        return;
    }
    protect(PROT_READ | PROT_WRITE);
    if (!traps.armed) return;
    traps.loads++;
    if (traps.loads == traps.at) traps.change(0);
    if (traps.loads == traps.at + 1) {
        traps.change(1);
        traps.armed = 0;
        return;
    }
    state->uc_mcontext.gregs[REG_EFL] |= STEP_FLAG;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *state = context;
    (void)number, (void)info;
    state->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)STEP_FLAG;
    if (traps.armed) protect(PROT_NONE);
}

uint8_t *load_traps_take(size_t size)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    traps.page = (size_t)sysconf(_SC_PAGESIZE);
    traps.inner = (size + traps.page - 1) / traps.page * traps.page;
    traps.pages =
        mmap(NULL, traps.inner + 2 * traps.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (traps.pages == MAP_FAILED) abort();
    protect(PROT_READ | PROT_WRITE);
    action.sa_sigaction = on_fault;
    if (sigaction(SIGSEGV, &action, &traps.fault_before) != 0) abort();
    action.sa_sigaction = on_step;
    if (sigaction(SIGTRAP, &action, &traps.trap_before) != 0) abort();
    return traps.pages + traps.page + traps.inner - size;
}

void load_traps_give(void)
{
    sigaction(SIGSEGV, &traps.fault_before, NULL);
    sigaction(SIGTRAP, &traps.trap_before, NULL);
    munmap(traps.pages, traps.inner + 2 * traps.page);
}

void load_traps_begin(size_t at, void (*change)(int step))
{
    traps.at = at;
    traps.loads = 0;
    traps.change = change;
    traps.armed = 1;
    protect(PROT_NONE);
}

size_t load_traps_end(void)
{
    traps.armed = 0;
    protect(PROT_READ | PROT_WRITE);
    return traps.loads;
}

#else

uint8_t *load_traps_take(size_t size)
{
    (void)size;
    return NULL;
}

void load_traps_give(void) {}

void load_traps_begin(size_t at, void (*change)(int step))
{
    (void)at, (void)change;
}

size_t load_traps_end(void)
{
    return 0;
}

#endif
