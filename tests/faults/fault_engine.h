/*
 * Scenarios, and an engine that makes every call in them fail: each allocation, each system call,
 * each call of a driver or of a reader, once and from then on; and all that once more while
 * something else, such as mapping files, fails all the time. See fault_engine.c for what is
 * checked.
 */
#ifndef FAULT_ENGINE_H
#define FAULT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/alloc_probe.h"
#include "tare.h"

/* Neither allocates nor enters the kernel: that nothing is called is all there is to check. */
#define FAULT_ASKS_NOTHING 1u
/* `act` gives something back, and cannot be done twice. */
#define FAULT_ONLY_ONCE 2u
/* What this scenario does has another way when it fails, so that it succeeds in any case. */
#define FAULT_NEVER_FAILS 4u
/* Failures are told by the result alone, without a tare_error: any status may stand for them. */
#define FAULT_HAS_NO_ERROR 8u
/* A large model, for storage that grows: only memory fails. Small ones are for all else. */
#define FAULT_MEMORY_ONLY 16u
/* Memory comes from malloc; elsewhere nothing may go past the hooks. */
#define FAULT_WITHOUT_HOOKS 32u

typedef struct fault_scenario {
    const char *name;
    void (*prepare)(void);                 /* before each round, without faults; or NULL */
    tare_status (*act)(tare_error *error); /* under faults; after a failure once more without */
    uint64_t (*outcome)(void);             /* of success, always the same; or NULL */
    bool (*is_empty)(void);  /* whether outputs are as a failure leaves them; or NULL */
    void (*finish)(void);    /* gives back what a round made; or NULL */
    tare_status wanted;      /* without faults */
    const tare_status *also; /* what faults may lead to beside the usual; ends with 0 */
    unsigned flags;          /* FAULT_* */
} fault_scenario;

/* Each ends with one without a name. */
extern const fault_scenario fault_open_scenarios[], fault_index_scenarios[], fault_read_scenarios[],
    fault_load_scenarios[], fault_device_scenarios[], fault_save_scenarios[],
    fault_plain_scenarios[];

/* Hooks for whatever a scenario opens; all that they gave must be back when it has finished. */
extern alloc_probe fault_memory;

/* True when the error of the round holds this text. */
bool fault_said(const char *text);

/* Calls a function of tare.h, and remembers that it was called while faults were about. */
#define FAULT_CALL(function, ...) (fault_called(#function), function(__VA_ARGS__))
void fault_called(const char *function);

/* Runs all, or those whose names hold `only`; returns how many mistakes there were. */
size_t fault_run(const fault_scenario *scenarios, const char *only);

/* Each once, and nothing fails: enough to know what they call. */
size_t fault_run_without(const fault_scenario *scenarios);

/* Names in the file tests/symbols.txt that no FAULT_CALL was about: mistakes too. */
size_t fault_check_symbols(const char *path);

#endif
