/* Every tensor under a prefix, and how many bytes they take together. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tare.h"

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: %s MODEL PREFIX\n", arguments[0]);
        return 2;
    }
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], NULL, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    uint64_t total = 0;
    tare_range range = tare_prefix(model, arguments[2], strlen(arguments[2]));
    for (const tare_tensor *tensor; (tensor = tare_next(model, &range)) != NULL;) {
        printf("%s\n", tare_name(model, tensor).data);
        total += tare_size(model, tensor);
    }
    printf("%" PRIu64 " bytes\n", total);
    tare_close(model);
    return 0;
}
