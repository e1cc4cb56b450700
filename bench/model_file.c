#define _POSIX_C_SOURCE 200809L

#include "model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHRINK = 512 };

/* The order of the reference's enum Dtype, by which its writer sorts. */
static const char *const dtypes[] = {
    "BOOL",    "F4",          "F6_E2M3",     "F6_E3M2", "U8",  "I8",  "F8_E5M2", "F8_E4M3",
    "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",     "U16", "F16", "BF16",    "I32",
    "U32",     "F32",         "C64",         "F64",     "I64", "U64"};

struct sort_key {
    const char *name;
    uint32_t number;
    int dtype;
};

static int dtype_rank(const char *dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i], dtype) == 0) return (int)i;
    return -1;
}

static int compare_keys(const void *left, const void *right)
{
    const struct sort_key *a = left, *b = right;
    if (a->dtype != b->dtype) return a->dtype > b->dtype ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int sort_shard(const struct names_list *list, size_t first, struct model_shard *shard)
{
    struct sort_key *keys = malloc((shard->count + 1) * sizeof *keys);
    shard->order = malloc((shard->count + 1) * sizeof *shard->order);
    if (keys == NULL || shard->order == NULL) {
        free(keys);
        return ENOMEM;
    }
    const char *dtype = NULL; /* lists repeat the same literals */
    int rank = 0;
    for (size_t i = 0; i < shard->count; i++) {
        const struct names_tensor *tensor = &list->tensors[first + i];
        if (tensor->dtype != dtype) rank = dtype_rank(dtype = tensor->dtype);
        keys[i] = (struct sort_key){tensor->name, (uint32_t)(first + i), rank};
    }
    qsort(keys, shard->count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < shard->count; i++) shard->order[i] = keys[i].number;
    free(keys);
    return 0;
}

uint64_t model_dimension(const struct names_tensor *tensor, uint32_t axis, int data)
{
    uint64_t size = tensor->shape[axis];
    return data == MODEL_DATA_SMALL ? (size + SHRINK - 1) / SHRINK : size;
}

uint64_t model_tensor_size(const struct names_tensor *tensor, int data)
{
    uint64_t size = tensor->element_size;
    for (uint32_t axis = 0; axis < tensor->rank; axis++)
        size *= model_dimension(tensor, axis, data);
    return size;
}

/* The header */

static char *put_text(char *at, const char *text)
{
    size_t size = strlen(text);
    memcpy(at, text, size);
    return at + size;
}

static char *put_number(char *at, uint64_t number)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (count > 0) *at++ = digits[--count];
    return at;
}

/* At most six bytes for each of the name's. */
static char *put_name(char *at, const char *name, size_t size)
{
    *at++ = '"';
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (byte == '"' || byte == '\\') *at++ = '\\';
        if (byte < 0x20)
            at += sprintf(at, "\\u%04x", byte);
        else
            *at++ = (char)byte;
    }
    *at++ = '"';
    return at;
}

static char *put_tensor(char *at, const struct names_tensor *tensor, int data, uint64_t *offset)
{
    at = put_name(at, tensor->name, tensor->name_size);
    at = put_text(at, ":{\"dtype\":\"");
    at = put_text(at, tensor->dtype);
    at = put_text(at, "\",\"shape\":[");
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
        if (axis > 0) *at++ = ',';
        at = put_number(at, model_dimension(tensor, axis, data));
    }
    at = put_text(at, "],\"data_offsets\":[");
    at = put_number(at, *offset);
    *at++ = ',';
    *offset += model_tensor_size(tensor, data);
    at = put_number(at, *offset);
    return put_text(at, "]}");
}

static int write_header(const struct names_list *list, const char *recipe,
                        struct model_shard *shard)
{
    /* 160 is more than what put_tensor writes beside a name, its numbers having 20 digits. */
    size_t room = 256 + (recipe == NULL ? 0 : strlen(recipe));
    for (size_t i = 0; i < shard->count; i++)
        room += list->tensors[shard->order[i]].name_size * 6 + 160;
    char *start = malloc(room);
    if (start == NULL) return ENOMEM;

    char *at = put_text(start + 8, "{\"__metadata__\":{\"format\":\"pt\"");
    if (recipe != NULL) {
        at = put_text(at, ",\"recipe\":\"");
        at = put_text(at, recipe);
        at = put_text(at, "\"");
    }
    at = put_text(at, "}");
    for (size_t i = 0; i < shard->count; i++) {
        *at++ = ',';
        at = put_tensor(at, &list->tensors[shard->order[i]], shard->data, &shard->data_size);
    }
    *at++ = '}';
    while ((at - start) % 8 != 0) *at++ = ' ';
    shard->header_size = (size_t)(at - start);
    uint64_t size = shard->header_size - 8;
    for (int byte = 0; byte < 8; byte++) start[byte] = (char)(size >> (8 * byte) & 0xff);
    char *trimmed = realloc(start, shard->header_size);
    shard->header = trimmed == NULL ? start : trimmed;
    return 0;
}

int model_shard_make(const struct names_list *list, size_t first, size_t count, int data,
                     const char *recipe, struct model_shard *out)
{
    *out = (struct model_shard){.count = count, .data = data};
    int failed = sort_shard(list, first, out);
    if (failed == 0) failed = write_header(list, recipe, out);
    if (failed != 0) model_shard_free(out);
    return failed;
}

void model_shard_free(struct model_shard *shard)
{
    free(shard->header);
    free(shard->order);
    *shard = (struct model_shard){0};
}

/* The data */

/* A weight between -0.1 and 0.1 in the dtypes that lists have; other dtypes get random bytes. */
static unsigned char *put_value(unsigned char *at, const struct names_tensor *tensor,
                                uint64_t random)
{
    float value = ((float)(random >> 40) / 8388608.0f - 1.0f) * 0.1f;
    uint32_t bits = (uint32_t)random;
    if (tensor->dtype[0] != 'U' && tensor->dtype[0] != 'I' && tensor->element_size != 1)
        memcpy(&bits, &value, sizeof bits);
    if (tensor->element_size == 2) bits >>= 16;
    if (tensor->element_size == 1) bits &= 0xb7; /* far from the infinities and NaNs of F8 kinds */
    for (uint32_t byte = 0; byte < tensor->element_size; byte++)
        *at++ = (unsigned char)(byte < 4 ? bits >> (8 * byte) & 0xff : 0);
    return at;
}

void model_shard_fill(const struct names_list *list, const struct model_shard *shard, void *target)
{
    unsigned char *at = target;
    for (size_t i = 0; i < shard->count; i++) {
        const struct names_tensor *tensor = &list->tensors[shard->order[i]];
        uint64_t state = shard->order[i];
        uint64_t count = model_tensor_size(tensor, shard->data) / tensor->element_size;
        while (count-- > 0) at = put_value(at, tensor, names_random(&state));
    }
}

static int write_all(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

static int write_random(int file, uint64_t size)
{
    enum { PIECE = 1 << 20 };
    uint64_t *words = malloc(PIECE), state = size;
    int failed = words == NULL ? ENOMEM : 0;
    while (size > 0 && failed == 0) {
        size_t piece = size < PIECE ? (size_t)size : PIECE;
        for (size_t i = 0; i < PIECE / sizeof *words; i++) words[i] = names_random(&state);
        failed = write_all(file, (const char *)words, piece);
        size -= piece;
    }
    free(words);
    return failed;
}

int model_shard_write(const struct names_list *list, const struct model_shard *shard,
                      const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (file < 0) return errno;
    int failed = write_all(file, shard->header, shard->header_size);
    if (failed == 0 && shard->data == MODEL_DATA_TRUE) {
        if (ftruncate(file, (off_t)(shard->header_size + shard->data_size)) != 0) failed = errno;
    } else if (failed == 0 && shard->data == MODEL_DATA_FILLED) {
        failed = write_random(file, shard->data_size);
    } else if (failed == 0) {
        char *data = malloc((size_t)shard->data_size + 1);
        if (data == NULL) {
            failed = ENOMEM;
        } else {
            model_shard_fill(list, shard, data);
            failed = write_all(file, data, (size_t)shard->data_size);
            free(data);
        }
    }
    if (close(file) != 0 && failed == 0) failed = errno;
    return failed;
}
