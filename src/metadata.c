/* Metadata: values moved to where they stay while a model is opened, and the public calls. */
#include <string.h>

#include "internal.h"

/*
 * Values are copied, each with a terminator, but for arrays, of which some have hundreds of
 * thousands of items: those stay in the header, which the shard keeps.
 */
bool tarei_metadata_store(tarei_opening *opening)
{
    tare_model *model = opening->model;
    tarei_parsed *parsed = &model->parsed;
    tarei_record *record = parsed->metadata.data;
    tare_value *typed = parsed->values.data;
    uint64_t count = parsed->metadata.size / sizeof *record;
    char *values = tarei_arena_take(&model->arena, parsed->metadata_value_size + count, 1);
    if (values == NULL) return false;
    char *at = values;
    for (uint64_t i = 0; i < count; i++, record++) {
        uint32_t shard = tarei_record_shard(record);
        const uint8_t *text = opening->headers[shard].text + tarei_record_offset(record);
        record->where = tarei_record_where(shard, (uint64_t)(at - values));
        if (typed != NULL && typed[i].kind == TARE_KIND_ARRAY) {
            typed[i].data = text;
            continue;
        }
        if (typed != NULL) {
            typed[i].data = at;
            if (record->layout != 0) memcpy(at, text, record->layout);
        } else {
            tarei_json_unescape(text, record->layout, at);
        }
        at += record->layout;
        *at++ = 0;
    }
    model->values = values;
    return true;
}

size_t tare_metadata_count(const tare_model *model)
{
    return model->metadata.count;
}

static tare_value value_of(const tare_model *model, const tarei_record *entry)
{
    const tare_value *typed = model->parsed.values.data;
    if (entry == NULL) return (tare_value){0};
    if (model->prebuilt != NULL) return tarei_prebuilt_value_of(model, entry);
    if (typed != NULL) return typed[entry - model->metadata.records];
    return (tare_value){TARE_KIND_STRING, 0, 1, model->values + tarei_record_offset(entry),
                        entry->layout};
}

static const tarei_record *entry_at(const tare_model *model, size_t index)
{
    return index < model->metadata.count ? &model->metadata.records[index] : NULL;
}

static const tarei_record *entry_of(const tare_model *model, const char *key, size_t key_size)
{
    if (model->metadata.count == 0) return NULL;
    if (model->prebuilt != NULL) return tarei_prebuilt_find_key(model, key, key_size);
    return tarei_find_name(&model->metadata_index, key, key_size);
}

static uint32_t shard_of(const tare_model *model, const tarei_record *entry)
{
    uint64_t shard = entry != NULL ? tarei_once_64(&entry->where) >> TAREI_OFFSET_BITS : UINT64_MAX;
    return shard < model->shard_count ? (uint32_t)shard : TARE_NO_SHARD;
}

tare_value tare_metadata_value_at(const tare_model *model, size_t index)
{
    return value_of(model, entry_at(model, index));
}

tare_value tare_metadata_value(const tare_model *model, const char *key, size_t key_size)
{
    return value_of(model, entry_of(model, key, key_size));
}

int tare_metadata_at(const tare_model *model, size_t index, tare_string *key, tare_string *value,
                     uint32_t *shard)
{
    const tarei_record *entry = entry_at(model, index);
    if (key != NULL)
        *key = entry != NULL ? tarei_names_get(&model->metadata, entry) : (tare_string){NULL, 0};
    if (value != NULL) tare_value_string(value_of(model, entry), value);
    if (shard != NULL) *shard = shard_of(model, entry);
    return entry != NULL;
}

tare_string tare_metadata_find(const tare_model *model, const char *key, size_t key_size)
{
    tare_string text;
    tare_value_string(tare_metadata_value(model, key, key_size), &text);
    return text;
}

/* ------------------------------------------------------------------------------------------------
 * Typed
 */

/* Every integer fits into one of them. */
static bool is_integer(tare_value value)
{
    uint64_t u64;
    int64_t i64;
    return tare_value_u64(value, &u64) == TARE_OK || tare_value_i64(value, &i64) == TARE_OK;
}

/* `range` is of integers, else NULL: what one that is an integer did not fit in. */
static tare_status report(const tare_model *model, const char *key, size_t key_size,
                          tare_status status, const char *wanted, const char *range,
                          tare_error *error)
{
    if (error == NULL) return status;
    tarei_error_clear(error);
    if (status == TARE_OK) return TARE_OK;
    tarei_quoted quoted = tarei_quote(key, key_size);
    const tarei_record *entry = entry_of(model, key, key_size);
    if (entry == NULL)
        return tarei_error_set(error, status, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "metadata %s: there is none", quoted.text);
    uint32_t shard = shard_of(model, entry);
    tare_value value = value_of(model, entry);
    const char *name = tare_kind_name(value.kind); /* none in a damaged index file */
    if (name == NULL) name = "unknown";
    if (range != NULL && is_integer(value))
        tarei_error_set(error, status, shard, TARE_NO_OFFSET,
                        "metadata %s: its %s does not fit in %s", quoted.text, name, range);
    else
        tarei_error_set(error, status, shard, TARE_NO_OFFSET, "metadata %s: is of kind %s, not %s",
                        quoted.text, name, wanted);
    return shard != TARE_NO_SHARD ? tarei_error_prefix(error, model->shards[shard].name) : status;
}

tare_status tare_metadata_u64(const tare_model *model, const char *key, size_t key_size,
                              uint64_t *out, tare_error *error)
{
    tare_status status = tare_value_u64(tare_metadata_value(model, key, key_size), out);
    return report(model, key, key_size, status, "an integer", "u64", error);
}

tare_status tare_metadata_i64(const tare_model *model, const char *key, size_t key_size,
                              int64_t *out, tare_error *error)
{
    tare_status status = tare_value_i64(tare_metadata_value(model, key, key_size), out);
    return report(model, key, key_size, status, "an integer", "i64", error);
}

tare_status tare_metadata_f64(const tare_model *model, const char *key, size_t key_size,
                              double *out, tare_error *error)
{
    tare_status status = tare_value_f64(tare_metadata_value(model, key, key_size), out);
    return report(model, key, key_size, status, "f64", NULL, error);
}

tare_status tare_metadata_bool(const tare_model *model, const char *key, size_t key_size, int *out,
                               tare_error *error)
{
    tare_status status = tare_value_bool(tare_metadata_value(model, key, key_size), out);
    return report(model, key, key_size, status, "bool", NULL, error);
}

tare_status tare_metadata_string(const tare_model *model, const char *key, size_t key_size,
                                 tare_string *out, tare_error *error)
{
    tare_status status = tare_value_string(tare_metadata_value(model, key, key_size), out);
    return report(model, key, key_size, status, "string", NULL, error);
}

tare_status tare_metadata_array(const tare_model *model, const char *key, size_t key_size,
                                tare_value *out, tare_error *error)
{
    *out = tare_metadata_value(model, key, key_size);
    tare_status status = out->kind == TARE_KIND_ARRAY ? TARE_OK
                         : out->kind != 0             ? TARE_E_KIND
                                                      : TARE_E_ABSENT;
    if (status != TARE_OK) *out = (tare_value){0};
    return report(model, key, key_size, status, "array", NULL, error);
}
