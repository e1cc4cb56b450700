/* One model, many threads, no locks: each thread looks up every name and reads every tensor. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tare.h"

enum { THREADS = 4, BUFFER_SIZE = 1 << 16 };

/* Returns its argument when everything was found as it should be, NULL otherwise. */
static void *work(void *argument)
{
    const tare_model *model = argument;
    unsigned char *buffer = malloc(BUFFER_SIZE);
    if (buffer == NULL) return NULL;
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_string name = tare_name(model, tensor);
        size_t size = (size_t)tare_size(model, tensor);
        tare_error error; /* one for each thread */
        if (tare_find(model, name.data, name.size) != tensor || size > BUFFER_SIZE ||
            tare_read(model, tensor, buffer, size, &error) != TARE_OK) {
            argument = NULL;
            break;
        }
    }
    free(buffer);
    return argument;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s MODEL\n", arguments[0]);
        return 2;
    }
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], NULL, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    pthread_t threads[THREADS];
    size_t started = 0, fine = 0;
    while (started < THREADS && pthread_create(&threads[started], NULL, work, model) == 0)
        started++;
    for (size_t i = 0; i < started; i++) {
        void *result;
        if (pthread_join(threads[i], &result) == 0 && result == model) fine++;
    }
    tare_close(model); /* after the last thread is done */
    printf("%zu threads agree\n", fine);
    return fine == THREADS ? 0 : 1;
}
