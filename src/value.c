/* Values of metadata by themselves, whatever model they are of. */
#include "value.h"

#include <string.h>

#include "check.h"

const char *tare_kind_name(tare_kind kind)
{
    switch (kind) {
#define NAME(name, value, text) \
    case TARE_KIND_##name: return text;
        TARE_KIND_LIST(NAME)
#undef NAME
    default: return NULL;
    }
}

uint32_t tarei_value_kind_size(tare_kind kind)
{
    switch (kind) {
    case TARE_KIND_U8:
    case TARE_KIND_I8:
    case TARE_KIND_BOOL: return 1;
    case TARE_KIND_U16:
    case TARE_KIND_I16: return 2;
    case TARE_KIND_U32:
    case TARE_KIND_I32:
    case TARE_KIND_F32: return 4;
    case TARE_KIND_U64:
    case TARE_KIND_I64:
    case TARE_KIND_F64: return 8;
    default: return 0;
    }
}

/* TARE_OK where the value is of the kind that is wanted. */
static tare_status expect_kind(const tare_value *value, tare_kind wanted)
{
    if (value->kind == 0) return TARE_E_ABSENT;
    return value->kind == wanted ? TARE_OK : TARE_E_KIND;
}

/* An integer of any width as 64 bits of two's complement; *negative says that it is below 0. */
static tare_status load_integer(const tare_value *value, uint64_t *bits, bool *negative)
{
    const uint8_t *data = value->data;
    int64_t number;
    *negative = false;
    switch (value->kind) {
    case 0: return TARE_E_ABSENT;
    case TARE_KIND_U8: *bits = data[0]; return TARE_OK;
    case TARE_KIND_U16: *bits = tarei_load_le16(data); return TARE_OK;
    case TARE_KIND_U32: *bits = tarei_load_le32(data); return TARE_OK;
    case TARE_KIND_U64: *bits = tarei_load_le64(data); return TARE_OK;
    case TARE_KIND_I8: number = (int8_t)data[0]; break; /* NOLINT(bugprone-signed-char-misuse) */
    case TARE_KIND_I16: number = (int16_t)tarei_load_le16(data); break;
    case TARE_KIND_I32: number = (int32_t)tarei_load_le32(data); break;
    case TARE_KIND_I64: number = (int64_t)tarei_load_le64(data); break;
    default: return TARE_E_KIND;
    }
    *bits = (uint64_t)number;
    *negative = number < 0;
    return TARE_OK;
}

tare_status tare_value_u64(tare_value value, uint64_t *out)
{
    uint64_t bits;
    bool negative;
    tare_status status = load_integer(&value, &bits, &negative);
    if (status == TARE_OK && negative) status = TARE_E_KIND;
    *out = status == TARE_OK ? bits : 0;
    return status;
}

tare_status tare_value_i64(tare_value value, int64_t *out)
{
    uint64_t bits;
    bool negative;
    tare_status status = load_integer(&value, &bits, &negative);
    if (status == TARE_OK && !negative && bits > INT64_MAX) status = TARE_E_KIND;
    *out = status == TARE_OK ? (int64_t)bits : 0;
    return status;
}

tare_status tare_value_f64(tare_value value, double *out)
{
    *out = 0;
    if (value.kind == TARE_KIND_F32) {
        uint32_t bits = tarei_load_le32(value.data);
        float single;
        memcpy(&single, &bits, sizeof single);
        *out = single;
        return TARE_OK;
    }
    tare_status status = expect_kind(&value, TARE_KIND_F64);
    if (status != TARE_OK) return status;
    uint64_t bits = tarei_load_le64(value.data);
    memcpy(out, &bits, sizeof *out);
    return TARE_OK;
}

tare_status tare_value_bool(tare_value value, int *out)
{
    tare_status status = expect_kind(&value, TARE_KIND_BOOL);
    *out = status == TARE_OK && *(const uint8_t *)value.data != 0;
    return status;
}

tare_status tare_value_string(tare_value value, tare_string *out)
{
    tare_status status = expect_kind(&value, TARE_KIND_STRING);
    *out = (tare_string){NULL, 0};
    if (status == TARE_OK) *out = (tare_string){value.data, value.size};
    return status;
}

int tare_value_next(tare_value *array, tare_value *item)
{
    *item = (tare_value){0};
    if (array->kind != TARE_KIND_ARRAY || array->count == 0) return 0;
    const uint8_t *data = array->data;
    uint64_t head = 0, size = tarei_value_kind_size(array->item_kind);
    if (array->item_kind == TARE_KIND_STRING) {
        head = TAREI_TEXT_HEAD_SIZE;
        size = array->size < head ? UINT64_MAX : tarei_load_le64(data);
    }
    /* Sizes were checked when opening; borrowed bytes may have changed, though they must not. */
    if (head > array->size || size > array->size - head) return 0;
    *item = (tare_value){array->item_kind, 0, 1, data + head, (size_t)size};
    array->count--;
    array->data = data + head + size;
    array->size -= (size_t)(head + size);
    return 1;
}
