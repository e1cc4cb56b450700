/*
 *     test_faults                all scenarios
 *     test_faults TEXT           those whose names hold TEXT
 *     test_faults --part PART    those of one file, fault_PART.c
 *     test_faults --symbols      only whether a scenario calls each function of tare.h
 *
 * The tests of a build are one for each PART, which can run side by side, and the last.
 */
#include <stdio.h>
#include <string.h>

#include "fault_engine.h"
#include "fault_world.h"
#include "support/os_faults.h"

static const struct part {
    const char *name;
    const fault_scenario *scenarios;
} parts[] = {
    {"open", fault_open_scenarios},     {"index", fault_index_scenarios},
    {"read", fault_read_scenarios},     {"load", fault_load_scenarios},
    {"device", fault_device_scenarios}, {"save", fault_save_scenarios},
    {"plain", fault_plain_scenarios},
};

enum { PART_COUNT = sizeof parts / sizeof parts[0] };

static size_t run_parts(const char *part, const char *only)
{
    size_t mistakes = 0, found = 0;
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (part != NULL && strcmp(part, parts[i].name) != 0) continue;
        mistakes += fault_run(parts[i].scenarios, only);
        found++;
    }
    if (found == 0) fprintf(stderr, "%s: no such part\n", part);
    return mistakes + (found == 0);
}

static size_t check_symbols(void)
{
    size_t mistakes = 0;
    for (size_t i = 0; i < PART_COUNT; i++) mistakes += fault_run_without(parts[i].scenarios);
    return mistakes + fault_check_symbols(TARE_SYMBOLS);
}

int main(int count, char **arguments)
{
    const char *option = count > 1 ? arguments[1] : NULL;
    size_t mistakes;
    os_without_disk = 1;
    fault_world_make();
    if (option != NULL && strcmp(option, "--symbols") == 0)
        mistakes = check_symbols();
    else if (count > 2 && strcmp(option, "--part") == 0)
        mistakes = run_parts(arguments[2], NULL);
    else
        mistakes = run_parts(NULL, option);
    if (option == NULL) mistakes += check_symbols();
    fault_world_remove();
    if (mistakes != 0) fprintf(stderr, "%zu mistakes\n", mistakes);
    return mistakes != 0;
}
