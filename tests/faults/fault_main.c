/*
 *     test_faults [TEXT]      only the scenarios whose names hold TEXT
 */
#include <stdio.h>

#include "fault_engine.h"
#include "fault_world.h"
#include "support/os_faults.h"

int main(int count, char **arguments)
{
    static const fault_scenario *const all[] = {
        fault_open_scenarios,   fault_index_scenarios, fault_read_scenarios, fault_load_scenarios,
        fault_device_scenarios, fault_save_scenarios,  fault_plain_scenarios};
    const char *only = count > 1 ? arguments[1] : NULL;
    size_t mistakes = 0;
    os_without_disk = 1;
    fault_world_make();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mistakes += fault_run(all[i], only);
    if (only == NULL) mistakes += fault_check_symbols(TARE_SYMBOLS);
    fault_world_remove();
    if (mistakes != 0) fprintf(stderr, "%zu mistakes\n", mistakes);
    return mistakes != 0;
}
