/* The header of one shard: what format it is, its bytes, and their parser. */
#include <string.h>

#include "internal.h"

/* What a GGUF file is asked for first; then as much again as there is, since only its parser knows
 * where the header ends. */
#define PIECE_SIZE 65536u

static bool ends_with(tare_string name, const char *end)
{
    size_t size = strlen(end);
    return name.size >= size && memcmp(name.data + name.size - size, end, size) == 0;
}

/* A name need not tell the format, but what it tells must be so: whoever was promised safetensors
 * is not given something else. */
static tare_status check_name(tarei_opening *opening, const tarei_shard *shard, uint32_t number,
                              const uint8_t *head)
{
    bool is_gguf = shard->format == TARE_FORMAT_GGUF;
    if (is_gguf && ends_with(shard->name, ".safetensors"))
        return tarei_error_set(opening->error, TARE_E_FORMAT, number, 0,
                               "not safetensors but GGUF: its name is wrong");
    if (is_gguf || !ends_with(shard->name, ".gguf")) return TARE_OK;
    const char *other = tarei_parse_other_format(head);
    return tarei_error_set(opening->error, TARE_E_FORMAT, number, 0, "does not begin with GGUF%s%s",
                           other != NULL ? ": " : "", other != NULL ? other : "");
}

static tare_status read_safetensors(tarei_opening *opening, tarei_shard *shard, uint32_t number,
                                    const uint8_t *head)
{
    tare_model *model = opening->model;
    tarei_header *header = &opening->headers[number];
    const tarei_source *source = &shard->source;
    uint64_t size;
    tare_status status = tarei_parse_head(head, source->size, opening->options.header_size_max,
                                          number, &size, opening->error);
    if (status != TARE_OK) return status;
    shard->data_offset = TAREI_HEAD_SIZE + size;
    header->names_before = TAREI_HEAD_SIZE - 1; /* a quote */
    if (source->head_size >= shard->data_offset) {
        header->text = source->head + TAREI_HEAD_SIZE;
    } else {
        if (!tarei_buffer_reserve(&header->buffer, &model->memory, size))
            return tarei_error_memory(opening->error);
        header->text = header->buffer.data;
        status = tarei_source_read(source, number, TAREI_HEAD_SIZE, header->buffer.data,
                                   (size_t)size, opening->error);
        if (status != TARE_OK) return status;
    }
    return tarei_parse_safetensors(&model->parsed, header->text, size, source->size, number,
                                   opening->error);
}

/* ------------------------------------------------------------------------------------------------
 * GGUF
 */

typedef struct fetching {
    const tarei_source *source;
    tarei_buffer *buffer;
    tarei_memory *memory;
} fetching;

/* Copies what the source has in memory, up to `size` bytes, to a buffer that can grow. */
static tare_status copy_head(tarei_cursor *cursor, uint64_t size)
{
    fetching *from = cursor->context;
    if (!tarei_buffer_reserve(from->buffer, from->memory, size))
        return tarei_error_memory(cursor->error);
    memcpy(from->buffer->data, cursor->bytes, (size_t)size);
    from->buffer->size = size;
    cursor->bytes = from->buffer->data;
    return TARE_OK;
}

/* Doubles what is there until it is enough: a size that a file merely states takes no memory. */
static tare_status fetch(tarei_cursor *cursor, uint64_t wanted)
{
    fetching *from = cursor->context;
    tarei_buffer *buffer = from->buffer;
    uint64_t most = cursor->file_size < cursor->size_max ? cursor->file_size : cursor->size_max;
    if (buffer->data == NULL && cursor->have != 0) {
        tare_status status = copy_head(cursor, cursor->have);
        if (status != TARE_OK) return status;
    }
    while (cursor->have < wanted) {
        uint64_t piece = cursor->have < PIECE_SIZE ? PIECE_SIZE : cursor->have;
        if (piece > most - cursor->have) piece = most - cursor->have;
        if (!tarei_buffer_reserve(buffer, from->memory, piece))
            return tarei_error_memory(cursor->error);
        cursor->bytes = buffer->data;
        tare_status status =
            tarei_source_read(from->source, cursor->shard, cursor->have,
                              (char *)buffer->data + buffer->size, (size_t)piece, cursor->error);
        if (status != TARE_OK) return status;
        buffer->size += piece;
        cursor->have += piece;
    }
    return TARE_OK;
}

/* Arrays of metadata stay in the header: of that a copy is kept, unless all of the file lies in
 * memory until the model is closed. */
static tare_status keep_arrays(tarei_cursor *cursor, tarei_shard *shard, tarei_header *header)
{
    fetching *from = cursor->context;
    if (shard->source.bytes != NULL) return TARE_OK;
    if (header->buffer.data == NULL) {
        tare_status status = copy_head(cursor, cursor->at);
        if (status != TARE_OK) return status;
    }
    header->buffer.size = cursor->at; /* without the data that came along */
    tarei_buffer_trim(&header->buffer, from->memory, 0);
    header->text = header->buffer.data;
    shard->header = header->buffer;
    memset(&header->buffer, 0, sizeof header->buffer);
    return TARE_OK;
}

static tare_status read_gguf(tarei_opening *opening, tarei_shard *shard, uint32_t number)
{
    tarei_header *header = &opening->headers[number];
    fetching from = {&shard->source, &header->buffer, &opening->model->memory};
    tarei_cursor cursor = {
        .file_size = shard->source.size,
        .size_max = opening->options.header_size_max,
        .bytes = shard->source.head,
        .more = fetch,
        .context = &from,
        .shard = number,
        .error = opening->error,
    };
    cursor.have = shard->source.head_size;
    if (cursor.have > cursor.size_max) cursor.have = cursor.size_max;
    tare_status status = tarei_parse_gguf(&opening->model->parsed, &cursor, &opening->gguf);
    header->text = cursor.bytes;
    header->names_before = (uint64_t)-8; /* its size */
    shard->data_offset = opening->gguf.data_offset;
    if (status == TARE_OK) shard->padding = (uint32_t)(shard->data_offset - cursor.at);
    return status == TARE_OK && opening->gguf.has_arrays ? keep_arrays(&cursor, shard, header)
                                                         : status;
}

tare_status tarei_header_read(tarei_opening *opening, uint32_t number)
{
    tarei_shard *shard = &opening->model->shards[number];
    const tarei_source *source = &shard->source;
    if (source->size > TAREI_OFFSET_MAX)
        return tarei_error_set(opening->error, TARE_E_LIMIT, number, TARE_NO_OFFSET,
                               "larger than 64 TiB");
    uint8_t head[TAREI_HEAD_SIZE] = {0};
    size_t head_size = source->size < sizeof head ? (size_t)source->size : sizeof head;
    tare_status status = tarei_source_read(source, number, 0, head, head_size, opening->error);
    if (status != TARE_OK) return status;
    bool is_gguf = tarei_parse_is_gguf(head, source->size);
    shard->format = is_gguf ? TARE_FORMAT_GGUF : TARE_FORMAT_SAFETENSORS;
    status = check_name(opening, shard, number, head);
    if (status != TARE_OK) return status;
    return is_gguf ? read_gguf(opening, shard, number)
                   : read_safetensors(opening, shard, number, head);
}
