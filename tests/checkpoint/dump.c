/*
 * What the library sees, for a script to compare with what another reader sees.
 *
 *   dump MODEL map|read     each tensor: a line "NAME_SIZE DTYPE SIZE RANK DIMENSION..." (in bytes
 *                           and decimal), the name, the bytes, and a line end
 *   dump MODEL map|read metadata
 *                           each entry of metadata: a line "KEY_SIZE SHARD KIND COUNT" (the kind of
 *                           the items, with "[]" behind it, of an array), the key, and for each
 *                           item its size, a line end, and its bytes
 *   dump                    for each path on standard input a line: a status, and behind a tab the
 *                           message; then the same lines as above without bytes where it is TARE_OK
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tare.h"

static void print_facts(const tare_model *model, const tare_tensor *tensor)
{
    tare_info info = tare_describe(model, tensor);
    printf("%zu %s %" PRIu64 " %" PRIu32, info.name_size, tare_dtype_name(info.dtype), info.size,
           info.rank);
    for (uint32_t i = 0; i < info.rank; i++) printf(" %" PRIu64, info.shape[i]);
    putchar('\n');
    fwrite(info.name, 1, info.name_size, stdout);
}

static int print_bytes(const tare_model *model, const tare_tensor *tensor)
{
    size_t size = (size_t)tare_size(model, tensor);
    const void *data = tare_data(model, tensor);
    tare_error error;
    if (data != NULL) {
        fwrite(data, 1, size, stdout);
        return 0;
    }
    void *target = malloc(size ? size : 1);
    if (target == NULL || tare_read(model, tensor, target, size, &error) != TARE_OK) {
        fprintf(stderr, "dump: %s\n", target ? error.message : "out of memory");
        free(target);
        return 1;
    }
    fwrite(target, 1, size, stdout);
    free(target);
    return 0;
}

static void print_item(tare_value item)
{
    printf("%zu\n", item.size);
    fwrite(item.data, 1, item.size, stdout);
}

static void print_metadata(const tare_model *model)
{
    tare_string key;
    uint32_t shard;
    for (size_t i = 0; tare_metadata_at(model, i, &key, NULL, &shard); i++) {
        tare_value value = tare_metadata_value_at(model, i), item;
        int array = value.kind == TARE_KIND_ARRAY;
        printf("%zu %" PRIu32 " %s%s %" PRIu64 "\n", key.size, shard,
               tare_kind_name(array ? value.item_kind : value.kind), array ? "[]" : "",
               value.count);
        fwrite(key.data, 1, key.size, stdout);
        if (!array) print_item(value);
        while (tare_value_next(&value, &item)) print_item(item);
    }
}

static void print_tensors(const tare_model *model, int *failed)
{
    for (size_t i = 0; i < tare_count(model) && !*failed; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        print_facts(model, tensor);
        *failed = print_bytes(model, tensor);
        putchar('\n');
    }
}

static int dump_model(const char *path, uint32_t backing, int metadata)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    int failed = 0;
    options.backing = backing;
    if (tare_open(path, &options, &model, &error) != TARE_OK) {
        fprintf(stderr, "dump: %s\n", error.message);
        return 1;
    }
    if (metadata)
        print_metadata(model);
    else
        print_tensors(model, &failed);
    tare_close(model);
    return failed;
}

static void judge(const char *path)
{
    tare_model *model;
    tare_error error;
    tare_status status = tare_open(path, NULL, &model, &error);
    printf("%s\t%s\n", tare_status_name(status), error.message);
    if (status != TARE_OK) return;
    printf("%zu\n", tare_count(model));
    for (size_t i = 0; i < tare_count(model); i++) {
        print_facts(model, tare_at(model, i));
        putchar('\n');
    }
    tare_close(model);
}

int main(int count, char **arguments)
{
    if (count == 3 || count == 4) {
        int read = strcmp(arguments[2], "read") == 0;
        return dump_model(arguments[1], read ? TARE_BACKING_READ : TARE_BACKING_MAP, count == 4);
    }
    char path[4096];
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = 0;
        judge(path);
    }
    return 0;
}
