/*
 * One round is: prepare, act under one fault, look, act again without, look, finish, look what is
 * left. After each fault
 *   - the status is one that such a fault may have, or success where the library has another way,
 *     and then the outcome is that of a run without faults;
 *   - the error says the same, in a line of text, with the errno of the fault;
 *   - outputs are empty, the second try succeeds;
 *   - no memory was taken past the hooks;
 *   - every file was opened close-on-exec and as no terminal, every mapping of one is private;
 *   - no byte, descriptor, mapping, thread or object of the driver is left.
 */
#define _XOPEN_SOURCE 700 /* O_CLOEXEC */
#include "fault_engine.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_kinds.h"
#include "fault_world.h"
#include "support/fake_cuda.h"
#include "support/os_faults.h"
#include "support/process_probe.h"

enum { CALLED_MAX = 200, MISTAKES_MAX = 5 /* of one scenario, before it is given up */ };

alloc_probe fault_memory;

static struct {
    const fault_scenario *scenario;
    const fault_condition *condition;
    const fault_kind *kind; /* NULL: nothing fails */
    int failure;
    bool onwards;
    size_t number;
    size_t mistakes, rounds;
    uint64_t outcome;
    tare_error error;
    size_t calls[OS_CALL_COUNT]; /* of the last round, as the next three */
    size_t hook_calls, driver_calls, reader_calls;
    bool armed;
} now;

static const char *called[CALLED_MAX];
static size_t called_count;

void fault_called(const char *function)
{
    if (!now.armed) return;
    for (size_t i = 0; i < called_count; i++)
        if (strcmp(called[i], function) == 0) return;
    if (called_count == CALLED_MAX) abort();
    called[called_count++] = function;
}

bool fault_said(const char *text)
{
    return strstr(now.error.message, text) != NULL;
}

static void complain(const char *what, const char *more)
{
    now.mistakes++;
    fprintf(stderr, "%s%s%s", now.scenario->name, now.condition->name[0] ? ", " : "",
            now.condition->name);
    if (now.kind != NULL)
        fprintf(stderr, ", %s %zu%s fails (%d)", now.kind->name, now.number,
                !now.onwards         ? ""
                : now.kind->run != 0 ? " and the next"
                                     : " and all later ones",
                now.failure);
    fprintf(stderr, ": %s%s%s\n", what, more[0] ? ": " : "", more);
}

/* ------------------------------------------------------------------------------------------------
 * What a call left
 */

static bool is_line(const char *text)
{
    if (text[0] == 0) return false;
    for (; *text != 0; text++)
        if (!isprint((unsigned char)*text)) return false;
    return true;
}

static bool is_listed(const tare_status *list, tare_status status)
{
    for (; list != NULL && *list != TARE_OK; list++)
        if (*list == status) return true;
    return false;
}

static void check_error(tare_status status, const tare_error *error)
{
    bool failed = status != TARE_OK;
    if ((now.scenario->flags & FAULT_HAS_NO_ERROR) != 0) return;
    if (error->status != status) complain("the error has another status", error->message);
    if (failed != is_line(error->message)) complain("the message is no line", error->message);
    if (!failed && error->system_error != 0) complain("an errno without a failure", "");
    bool has_errno = status == TARE_E_OPEN || status == TARE_E_READ || status == TARE_E_MAP ||
                     status == TARE_E_WRITE;
    int wanted = now.failure;
    if (now.kind != NULL && now.kind->how == FAULT_OF_READER)
        wanted = now.failure < 0 ? -now.failure : EIO; /* more than was asked for */
    if (has_errno && now.kind != NULL && now.kind->has_errno && wanted > 0 &&
        status != now.scenario->wanted && error->system_error != wanted)
        complain("the errno is another", error->message);
}

static void check_outcome(void)
{
    if (now.scenario->outcome == NULL) return;
    uint64_t outcome = now.scenario->outcome();
    if (now.outcome == 0) now.outcome = outcome;
    if (outcome != now.outcome) complain("the outcome is another", "");
}

static void check_left(size_t descriptors)
{
    char text[64];
    if (fault_memory.block_count != 0) {
        snprintf(text, sizeof text, "%zu blocks", fault_memory.block_count);
        complain("memory is left", text);
    }
    if (fault_memory.mistakes != 0) complain("memory came back otherwise than it went", "");
    if (probe_descriptor_count() != descriptors) complain("a descriptor is left", "");
    if (os_hold.mapped_size != 0) complain("a mapping is left", "");
    if (os_hold.threads != 0) complain("a thread is left", "");
    if (!fake_cuda_clean()) complain("something of the driver is left", fake_cuda()->mistake);
}

/* ------------------------------------------------------------------------------------------------
 * One round
 */

static void arm(void)
{
    const fault_kind *kind = now.kind;
    os_faults_reset();
    fake_cuda_reset();
    reader_probe_reset(&fault_world.reader);
    fault_memory.calls = 0;
    if (now.condition->begin != NULL) now.condition->begin();
    now.armed = true;
    if (kind == NULL) return;
    size_t run = now.onwards ? kind->run : 1; /* 0 is all */
    switch (kind->how) {
    case FAULT_OF_HOOKS:
        fault_memory.fail_at = now.number;
        fault_memory.fail_more = run - 1;
        break;
    case FAULT_OF_SYSTEM:
        os_fault.fail_at[kind->call] = now.number;
        os_fault.fail_count = run;
        os_fault.error = now.failure;
        break;
    case FAULT_OF_DRIVER:
        fake_cuda()->fail_at = now.number;
        fake_cuda()->fail_count = run;
        fake_cuda()->fail_result = now.failure;
        break;
    case FAULT_OF_READER:
        fault_world.reader.answer_at = now.number;
        fault_world.reader.answer = now.failure;
        break;
    }
}

/* Returns how many calls failed; *effect becomes whether the condition did anything. */
static size_t disarm(bool *effect)
{
    size_t failed = os_fault.failed + fake_cuda()->failed + fault_memory.refused;
    if (fault_world.reader.answer_at != 0 &&
        fault_world.reader.calls >= fault_world.reader.answer_at)
        failed++;
    now.armed = false;
    memcpy(now.calls, os_fault.calls, sizeof now.calls);
    now.hook_calls = fault_memory.calls;
    now.driver_calls = fake_cuda()->call_count;
    now.reader_calls = fault_world.reader.calls;
    *effect = os_fault.refused != 0;
    os_faults_reset();
    fake_cuda()->fail_at = 0;
    fault_world.reader.answer_at = 0;
    fault_memory.fail_at = fault_memory.refused = 0;
    return failed;
}

static tare_error poisoned(void)
{
    tare_error error;
    memset(&error, 0x5A, sizeof error);
    error.message[sizeof error.message - 1] = 0;
    return error;
}

static void check_quiet(void)
{
    size_t calls = fault_memory.calls + fault_world.reader.calls + fake_cuda()->call_count;
    for (int call = 0; call < OS_CALL_COUNT; call++) calls += os_fault.calls[call];
    if (calls != 0) complain("something was called", "");
}

static void check_status(tare_status status, const tare_error *error, size_t failed)
{
    const fault_scenario *scenario = now.scenario;
    check_error(status, error);
    if (status == scenario->wanted) {
        check_outcome();
        return;
    }
    const tare_status *allowed = now.kind != NULL ? now.kind->statuses : now.condition->statuses;
    bool may_fail = (failed != 0 || now.kind == NULL) && (scenario->flags & FAULT_NEVER_FAILS) == 0;
    bool known = is_listed(allowed, status) || is_listed(scenario->also, status) ||
                 is_listed(now.condition->statuses, status) ||
                 (scenario->flags & FAULT_HAS_NO_ERROR) != 0;
    if (!may_fail || !known) complain(tare_status_name(status), error->message);
    if (scenario->is_empty != NULL && !scenario->is_empty()) complain("an output is left", "");
}

/* Returns how many calls failed. */
static size_t round_once(tare_status *status, bool *effect)
{
    const fault_scenario *scenario = now.scenario;
    size_t descriptors = probe_descriptor_count(), failed;
    now.error = poisoned();
    now.rounds++;
    alloc_probe_init(&fault_memory);
    if (scenario->prepare != NULL) scenario->prepare();
    arm();
    *status = scenario->act(&now.error);
    if ((scenario->flags & FAULT_ASKS_NOTHING) != 0) check_quiet();
    if ((scenario->flags & FAULT_WITHOUT_HOOKS) == 0 && os_fault.calls[OS_MALLOC] != 0)
        complain("memory is taken past the hooks", "");
    if ((os_fault.open_flags_missing & (O_CLOEXEC | O_NOCTTY)) != 0)
        complain("a file is opened for children, or as a terminal", "");
    if (os_fault.mapped_shared != 0) complain("a mapping of a file is not private", "");
    failed = disarm(effect);
    check_status(*status, &now.error, failed);
    if (fault_said("is in place")) {
        check_outcome(); /* what failed came after all that matters */
    } else if (*status != scenario->wanted && (scenario->flags & FAULT_ONLY_ONCE) == 0) {
        now.error = poisoned();
        tare_status again = scenario->act(&now.error);
        check_error(again, &now.error);
        if (again != scenario->wanted)
            complain("a second try fails", now.error.message);
        else
            check_outcome();
    }
    if (scenario->finish != NULL) scenario->finish();
    check_left(descriptors);
    return failed;
}

/* ------------------------------------------------------------------------------------------------
 * All of them
 */

static void run_kind(const fault_kind *kind, int failure, bool onwards)
{
    tare_status status;
    bool effect;
    now.kind = kind;
    now.failure = failure;
    now.onwards = onwards;
    for (now.number = 1; now.mistakes < MISTAKES_MAX; now.number++)
        if (round_once(&status, &effect) == 0) break;
    now.kind = NULL;
}

static size_t calls_of(const fault_kind *kind)
{
    switch (kind->how) {
    case FAULT_OF_HOOKS: return now.hook_calls;
    case FAULT_OF_DRIVER: return now.driver_calls;
    case FAULT_OF_READER: return now.reader_calls;
    default: return now.calls[kind->call];
    }
}

/* Beside something else that fails each failure of each kind, once, is enough. */
static void run_condition(const fault_condition *condition)
{
    tare_status status;
    bool effect, alone = condition->begin == NULL;
    unsigned flags = now.scenario->flags;
    now.condition = condition;
    round_once(&status, &effect);
    if (!alone && !effect) return;
    if (now.mistakes != 0 || status != now.scenario->wanted) return;
    if ((flags & FAULT_ASKS_NOTHING) != 0) return;
    bool can_fail[FAULT_KIND_MAX]; /* what is never called cannot */
    for (const fault_kind *kind = fault_kinds; kind->name != NULL; kind++)
        can_fail[kind - fault_kinds] = calls_of(kind) != 0;
    for (const fault_kind *kind = fault_kinds; kind->name != NULL; kind++) {
        if (!can_fail[kind - fault_kinds]) continue;
        if ((flags & FAULT_MEMORY_ONLY) != 0 && kind->how != FAULT_OF_HOOKS) continue;
        for (size_t i = 0; i < FAULT_FAILURE_MAX; i++) {
            int failure = kind->failures[i];
            if (failure == FAULT_NO_FAILURE) break;
            bool is_pair = kind->how == FAULT_OF_HOOKS && kind->run != 0;
            if (!is_pair) run_kind(kind, failure, false);
            bool goes_on = kind->how != FAULT_OF_READER && failure != OS_SHORT;
            if (alone && goes_on) run_kind(kind, failure, true);
        }
    }
}

static void begin(const fault_scenario *scenario)
{
    now.scenario = scenario;
    now.condition = fault_conditions;
    now.mistakes = now.rounds = 0;
    now.outcome = 0;
}

size_t fault_run(const fault_scenario *scenarios, const char *only)
{
    size_t mistakes = 0;
    for (const fault_scenario *scenario = scenarios; scenario->name != NULL; scenario++) {
        if (only != NULL && strstr(scenario->name, only) == NULL) continue;
        begin(scenario);
        for (const fault_condition *c = fault_conditions; c->name != NULL; c++) run_condition(c);
        if (probe_mapping_count(fault_world.folder.text) != 0)
            complain("the kernel knows of a mapping", "");
        printf("%-40s %6zu rounds\n", scenario->name, now.rounds);
        mistakes += now.mistakes;
    }
    return mistakes;
}

size_t fault_run_without(const fault_scenario *scenarios)
{
    size_t mistakes = 0;
    tare_status status;
    bool effect;
    for (const fault_scenario *scenario = scenarios; scenario->name != NULL; scenario++) {
        begin(scenario);
        round_once(&status, &effect);
        mistakes += now.mistakes;
    }
    return mistakes;
}

size_t fault_check_symbols(const char *path)
{
    char name[128];
    size_t missing = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) abort();
    while (fscanf(file, "%127s", name) == 1) {
        bool found = false;
        for (size_t i = 0; i < called_count; i++) found = found || strcmp(called[i], name) == 0;
        if (found) continue;
        fprintf(stderr, "%s: no scenario calls it\n", name);
        missing++;
    }
    fclose(file);
    return missing;
}
