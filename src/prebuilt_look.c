/* What an index file says of a tensor or a value, checked each time that somebody asks. */
#include "prebuilt.h"
#include "value.h"

/* Whether dtype and shape take that many bytes. A zero first: the others' product may then be
 * beyond 64 bits. */
static bool is_size(uint64_t size, uint32_t dtype, uint64_t elements, bool fits)
{
    uint64_t block_count = tare_dtype_block_count(dtype), bytes;
    if (block_count == 0 || !fits || elements % block_count != 0) return false;
    return !tarei_check_multiply(elements / block_count, tare_dtype_block_size(dtype), &bytes) &&
           bytes == size;
}

static bool look_at_layout(const tarei_prebuilt *prebuilt, uint32_t place, uint64_t *shape_copy,
                           tarei_look *look)
{
    if (place > prebuilt->layout_words || prebuilt->layout_words - place < 2) return false;
    const uint64_t *words = prebuilt->layouts + place;
    const tarei_layout *layout = (const void *)words;
    uint64_t elements = 1;
    bool fits = true, zero = false;
    look->size = tarei_once_64(&layout->size);
    look->dtype = tarei_once_32(&layout->dtype);
    look->rank = tarei_once_32(&layout->rank);
    look->shape = shape_copy != NULL ? shape_copy : layout->shape;
    if (look->rank > prebuilt->rank_max || look->rank > prebuilt->layout_words - place - 2)
        return false;
    for (uint32_t d = 0; d < look->rank; d++) {
        uint64_t dimension = tarei_once_64(layout->shape + d);
        if (shape_copy != NULL) shape_copy[d] = dimension;
        zero |= dimension == 0;
        fits &= !tarei_check_multiply(elements, dimension, &elements);
    }
    return zero ? is_size(look->size, look->dtype, 0, true)
                : is_size(look->size, look->dtype, elements, fits);
}

bool tarei_prebuilt_look(const tare_model *model, const tarei_record *record, uint64_t *shape_copy,
                         tarei_look *look)
{
    static const uint64_t no_shape[1];
    uint64_t where = tarei_once_64(&record->where);
    look->offset = where & TAREI_OFFSET_MAX;
    look->shard = (uint32_t)(where >> TAREI_OFFSET_BITS);
    if (look->shard < model->shard_count &&
        look_at_layout(model->prebuilt, tarei_once_32(&record->layout), shape_copy, look)) {
        const tarei_shard *shard = &model->shards[look->shard];
        uint64_t size = shard->source.size;
        if (look->size == 0 || (look->offset >= shard->data_offset && look->offset <= size &&
                                look->size <= size - look->offset))
            return true;
    }
    *look = (tarei_look){.shape = no_shape, .shard = TARE_NO_SHARD};
    return false;
}

tare_value tarei_prebuilt_value_of(const tare_model *model, const tarei_record *entry)
{
    const tarei_prebuilt *prebuilt = model->prebuilt;
    const tarei_prebuilt_value *at = &prebuilt->values[entry - model->metadata.records];
    tare_value value = {
        .kind = tarei_once_32(&at->kind),
        .item_kind = tarei_once_32(&at->item_kind),
        .count = tarei_once_64(&at->count),
    };
    uint64_t place = tarei_once_64(&at->place), size = tarei_once_64(&at->size);
    uint64_t all = prebuilt->value_bytes_size, wanted = tarei_value_kind_size(value.kind);
    bool good = place < all && size < all - place; /* a terminator stands behind each */
    if (value.kind == TARE_KIND_ARRAY && value.item_kind == TARE_KIND_STRING) {
        good &= value.count <= size / TAREI_TEXT_HEAD_SIZE;
    } else if (value.kind == TARE_KIND_ARRAY) {
        uint64_t item_size = tarei_value_kind_size(value.item_kind);
        good &= item_size != 0 && !tarei_check_multiply(value.count, item_size, &wanted) &&
                wanted == size;
    } else {
        good &= value.item_kind == 0 && value.count == 1;
        good &= value.kind == TARE_KIND_STRING ? good && prebuilt->value_bytes[place + size] == 0
                                               : wanted != 0 && wanted == size;
    }
    if (!good) return (tare_value){0};
    value.data = prebuilt->value_bytes + place;
    value.size = (size_t)size;
    return value;
}

static tare_status fail_limit(tarei_opening *opening, const char *what, tare_string name,
                              uint32_t shard, const char *fault)
{
    tarei_error_set(opening->error, TARE_E_LIMIT, shard, TARE_NO_OFFSET, "%s %s: %s", what,
                    tarei_quote(name.data, name.size).text, fault);
    tare_string file = {"", 0};
    if (shard != TARE_NO_SHARD) file = opening->model->shards[shard].name;
    return tarei_error_prefix(opening->error, file);
}

bool tarei_prebuilt_is_limited(const tare_options *options)
{
    return (options->rank_max | options->name_size_max | options->metadata_size_max) != 0;
}

tare_status tarei_prebuilt_check_limits(tarei_opening *opening)
{
    tare_model *model = opening->model;
    if (!tarei_prebuilt_is_limited(&opening->options)) return TARE_OK;
    for (size_t i = 0; i < model->tensors.count; i++) {
        tarei_look look;
        const tarei_record *record = &model->tensors.records[i];
        tare_string name = tarei_names_get(&model->tensors, record);
        tarei_prebuilt_look(model, record, NULL, &look);
        const char *fault = tarei_parsed_fault(model->parsed.limits, 0, look.rank, name.size, 0);
        if (fault != NULL) return fail_limit(opening, "tensor", name, look.shard, fault);
    }
    tare_string key;
    for (size_t i = 0; tare_metadata_at(model, i, &key, NULL, NULL); i++) {
        uint64_t size = tare_metadata_value_at(model, i).size;
        const char *fault = tarei_parsed_metadata_fault(&model->parsed, key.size + size);
        if (fault != NULL) return fail_limit(opening, "metadata", key, TARE_NO_SHARD, fault);
    }
    if (model->parsed.limits[TAREI_LIMIT_RANK] < TAREI_PREBUILT_RANK_MAX)
        model->prebuilt->rank_max = (uint32_t)model->parsed.limits[TAREI_LIMIT_RANK];
    return TARE_OK;
}
