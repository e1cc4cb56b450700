/* The head of an index file: whether it is one, of this version, and whole. */
#include <inttypes.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "line.h"
#include "prebuilt.h"

uint64_t tarei_prebuilt_digest(const void *bytes, uint64_t size)
{
    return XXH3_64bits(bytes, (size_t)size);
}

tare_status tarei_prebuilt_damaged(tare_error *error, uint64_t offset, const char *what)
{
    return tarei_error_set(error, TARE_E_PREBUILT, TARE_NO_SHARD, offset,
                           "the index file is damaged: %s", what);
}

uint64_t tarei_prebuilt_size_max(uint64_t file_count, uint64_t header_size)
{
    /* A file takes its name and a record; the table and what fills up sections are the rest. */
    return 16 * header_size + (file_count + 8) * 2 * TAREI_SHARD_NAME_SIZE_MAX;
}

/* One behind the other, each at the next multiple of the unit, the last one up to the end. */
static bool sections_follow(const tarei_prebuilt_head *head)
{
    uint64_t at = sizeof *head;
    for (uint32_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        const tarei_section *section = &head->sections[i];
        if (section->offset != at || section->size > head->file_size - at) return false;
        at += section->size; /* no more than a file has, far below 2^64 */
        at = (at + TAREI_PREBUILT_UNIT - 1) & ~(uint64_t)(TAREI_PREBUILT_UNIT - 1);
        if (at > head->file_size) return false;
    }
    return at == head->file_size;
}

static bool table_fits(const tarei_prebuilt_head *head)
{
    uint64_t count = head->tensor_count, size = head->sections[TAREI_SECTION_TABLE].size;
    if (head->table == TAREI_TABLE_SORTED)
        return head->reach <= 32 && size == count * sizeof(uint32_t);
    bool power = tarei_check_is_power(head->line_count);
    bool lines = head->table == TAREI_TABLE_LARGE ? head->line_count != 0
                                                  : head->table == TAREI_TABLE_SMALL && power;
    return lines && head->reach >= 1 && head->reach <= TAREI_REACH_MAX &&
           size % sizeof(tarei_line) == 0 &&
           (uint64_t)head->line_count + head->reach - 1 <= size / sizeof(tarei_line) &&
           head->line_count <= UINT32_MAX / sizeof(tarei_line);
}

static bool parts_fit(uint64_t size)
{
    return size % sizeof(tarei_part) == 0 && size / sizeof(tarei_part) - 1 < UINT16_MAX;
}

/* Whether sections are as large as the counts need. */
static bool counts_fit(const tarei_prebuilt_head *head)
{
    const tarei_section *sections = head->sections;
    uint64_t count = head->tensor_count, keys = head->key_count;
    uint64_t groups = (count + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    uint64_t wide = (groups + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    uint64_t files = head->shard_count + (uint64_t)(head->origin == TAREI_ORIGIN_LISTED);
    return count < TAREI_RECORD_COUNT_MAX && keys < TAREI_RECORD_COUNT_MAX &&
           head->shard_count <= TAREI_SHARD_COUNT_MAX && table_fits(head) &&
           sections[TAREI_SECTION_SHARDS].size == files * sizeof(tarei_prebuilt_shard) &&
           sections[TAREI_SECTION_SHARD_NAMES].size <=
               (files + 1) * (TAREI_SHARD_NAME_SIZE_MAX + 1) &&
           parts_fit(sections[TAREI_SECTION_PREFIXES].size) &&
           parts_fit(sections[TAREI_SECTION_SUFFIXES].size) &&
           sections[TAREI_SECTION_LAYOUTS].size % sizeof(uint64_t) == 0 &&
           sections[TAREI_SECTION_COMMONS].size == groups * sizeof(uint32_t) &&
           sections[TAREI_SECTION_WIDE_COMMONS].size == wide * sizeof(uint32_t) &&
           sections[TAREI_SECTION_RECORDS].size == (count + 1) * sizeof(tarei_record) &&
           sections[TAREI_SECTION_TEXT].size <= TAREI_NAMES_SIZE_MAX &&
           sections[TAREI_SECTION_KEYS].size == (keys + 1) * sizeof(tarei_record) &&
           sections[TAREI_SECTION_KEY_ORDER].size == keys * sizeof(uint32_t) &&
           sections[TAREI_SECTION_KEY_TEXT].size <= TAREI_NAMES_SIZE_MAX &&
           sections[TAREI_SECTION_VALUES].size == keys * sizeof(tarei_prebuilt_value);
}

tare_status tarei_prebuilt_head_check(tarei_prebuilt_head *head, const void *bytes, uint64_t size,
                                      tare_error *error)
{
    memset(head, 0, sizeof *head);
    if (size != 0) tarei_once_copy(head, bytes, size < sizeof *head ? (size_t)size : sizeof *head);
    if (memcmp(head->magic, TAREI_PREBUILT_MAGIC, sizeof head->magic) != 0)
        return tarei_error_set(error, TARE_E_PREBUILT, TARE_NO_SHARD, 0, "is no index file");
    if (size < offsetof(tarei_prebuilt_head, file_size))
        return tarei_prebuilt_damaged(error, size, "it ends within its head");
    if (head->order != TAREI_PREBUILT_ORDER)
        return tarei_error_set(error, TARE_E_ENDIAN, TARE_NO_SHARD,
                               offsetof(tarei_prebuilt_head, order),
                               "the index file and this host differ in their byte order");
    if (head->version != TAREI_PREBUILT_VERSION)
        return tarei_error_set(error, TARE_E_VERSION, TARE_NO_SHARD,
                               offsetof(tarei_prebuilt_head, version),
                               "an index file of version %" PRIu32 ", this library reads %u",
                               head->version, TAREI_PREBUILT_VERSION);
    if (size < sizeof *head) return tarei_prebuilt_damaged(error, size, "it ends within its head");
    uint64_t digest = tarei_prebuilt_digest(head, offsetof(tarei_prebuilt_head, digest));
    if (digest != head->digest || head->unused[0] != 0 || head->unused[1] != 0)
        return tarei_prebuilt_damaged(error, 0, "its head does not have its digest");
    if (head->file_size != size)
        return tarei_error_set(error, TARE_E_PREBUILT, TARE_NO_SHARD,
                               offsetof(tarei_prebuilt_head, file_size),
                               "the index file is damaged: it has %" PRIu64 " bytes, not %" PRIu64,
                               size, head->file_size);
    if (!sections_follow(head) || !counts_fit(head))
        return tarei_prebuilt_damaged(error, offsetof(tarei_prebuilt_head, sections),
                                      "its sections are not as large as they must be");
    return TARE_OK;
}

tare_status tarei_prebuilt_head_read(tarei_prebuilt_head *head, const tarei_source *file,
                                     tare_error *error)
{
    uint8_t bytes[sizeof *head] = {0};
    size_t size = file->size < sizeof bytes ? (size_t)file->size : sizeof bytes;
    tare_status status = tarei_source_read(file, TARE_NO_SHARD, 0, bytes, size, error);
    return status == TARE_OK ? tarei_prebuilt_head_check(head, bytes, file->size, error) : status;
}
