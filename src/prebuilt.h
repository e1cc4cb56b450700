/*
 * The index file: what opening makes of the headers of a model, built once, mapped by whoever opens
 * the model later. docs/format_index.md tells every byte of it.
 *
 *   head | shards | shard names | prefixes | suffixes | layouts | commons | wide commons
 *        | table | records | text | keys | key order | key text | values | value bytes
 *
 *   prebuilt_build.c   what a file holds, from an open model
 *   prebuilt_write.c   the public calls that write and compare one
 *   prebuilt_open.c    a file to a model: what is checked when opening
 *   prebuilt_shard.c   files of the model: who they are, and opening them late
 *   prebuilt_find.c    finding in a table that is not trusted
 *   prebuilt_look.c    facts, names and values, checked where they are used
 *
 * Nobody trusts such a file, and it may change while it is mapped. So opening copies what it checks
 * once and for all (the head and the shards), and of everything else each number is loaded once,
 * with tarei_once_*, compared, and only then used.
 */
#ifndef TAREI_PREBUILT_H
#define TAREI_PREBUILT_H

#include "internal.h"

#define TAREI_PREBUILT_MAGIC "TareIdx\x1a"
#define TAREI_PREBUILT_ORDER UINT32_C(0x04030201) /* bytes 1 2 3 4 on hosts that can use the file */
#define TAREI_PREBUILT_VERSION 1u
#define TAREI_PREBUILT_UNIT 64u /* sections begin at multiples of it, in file and memory */

_Static_assert(TAREI_ORIGIN_FILE == 1 && TAREI_ORIGIN_LISTED == 2 && TAREI_ORIGIN_SPLIT == 3,
               "they stand in files");

enum { TAREI_TABLE_SMALL = 1, TAREI_TABLE_LARGE = 2, TAREI_TABLE_SORTED = 3 };

enum {
    TAREI_SECTION_SHARDS,
    TAREI_SECTION_SHARD_NAMES,
    TAREI_SECTION_PREFIXES,
    TAREI_SECTION_SUFFIXES,
    TAREI_SECTION_LAYOUTS,
    TAREI_SECTION_COMMONS,
    TAREI_SECTION_WIDE_COMMONS,
    TAREI_SECTION_TABLE,
    TAREI_SECTION_RECORDS,
    TAREI_SECTION_TEXT,
    TAREI_SECTION_KEYS,
    TAREI_SECTION_KEY_ORDER,
    TAREI_SECTION_KEY_TEXT,
    TAREI_SECTION_VALUES,
    TAREI_SECTION_VALUE_BYTES,
    TAREI_SECTION_COUNT,
};

typedef struct tarei_section {
    uint64_t offset;
    uint64_t size;
    uint64_t digest; /* XXH3-64 of its bytes */
} tarei_section;

typedef struct tarei_prebuilt_head {
    char magic[8];
    uint32_t order;
    uint32_t version;
    uint64_t file_size;
    uint64_t seed;
    uint32_t tensor_count;
    uint32_t key_count;
    uint32_t shard_count;
    uint32_t origin;
    uint32_t table;
    uint32_t line_count; /* that a hash can name */
    uint32_t reach;
    uint32_t reseeds;
    tarei_section sections[TAREI_SECTION_COUNT];
    uint64_t digest; /* of all before it */
    uint64_t unused[2];
} tarei_prebuilt_head;

_Static_assert(sizeof(tarei_prebuilt_head) == 448, "as docs/format_index.md has it");
_Static_assert(offsetof(tarei_prebuilt_head, sections) == 64, "as docs/format_index.md has it");
_Static_assert(sizeof(tarei_prebuilt_head) % TAREI_PREBUILT_UNIT == 0, "sections follow at once");

/* One file of the model. Where a shard index lists them, that file stands behind the shards. */
typedef struct tarei_prebuilt_shard {
    uint64_t size;
    int64_t modified_s;
    int64_t modified_ns;
    tare_digest digest; /* XXH3-128 of its header, of a shard index of all of it */
    uint64_t data_offset;
    uint32_t name; /* place in the shard names */
    uint32_t name_size;
    uint32_t format;
    uint32_t padding; /* of GGUF: from the end of its header to data_offset */
} tarei_prebuilt_shard;

_Static_assert(sizeof(tarei_prebuilt_shard) == 64, "as docs/format_index.md has it");

typedef struct tarei_prebuilt_value {
    uint32_t kind;
    uint32_t item_kind;
    uint64_t count;
    uint64_t place; /* in the value bytes */
    uint64_t size;
} tarei_prebuilt_value;

_Static_assert(sizeof(tarei_prebuilt_value) == 32, "as docs/format_index.md has it");

/* Checked when opening: the counts, and that sections are as large as those need. */
struct tarei_prebuilt {
    const uint8_t *bytes; /* all of the file */
    uint64_t size;
    enum { TAREI_BYTES_MAPPED, TAREI_BYTES_TAKEN, TAREI_BYTES_BORROWED } held;
    tarei_index table; /* not that of the model, which leads here */
    uint32_t prefix_count, suffix_count;
    const uint64_t *layouts;
    uint64_t layout_words;
    const uint32_t *key_order;
    const tarei_prebuilt_value *values;
    const char *value_bytes;
    uint64_t value_bytes_size;
    uint32_t rank_max;
    int folder; /* of the shards, or -1 */
    uint32_t backing;
    bool copy_on_write;
};

/* ------------------------------------------------------------------------------------------------
 * prebuilt_build.c
 */

typedef struct tarei_prebuilt_image {
    tarei_prebuilt_head head;
    const void *sections[TAREI_SECTION_COUNT];
    uint32_t mode; /* of the model's first file, as tarei_os_identity has it */
    tarei_memory *memory;
    tarei_arena arena;
    tarei_parsed parsed; /* layouts, in its buffer */
    tarei_buffer records, keys, values, value_bytes;
} tarei_prebuilt_image;

/* Free it whatever comes of it. */
tare_status tarei_prebuilt_build(tarei_prebuilt_image *image, const tare_model *model,
                                 tarei_memory *memory, tare_error *error);
void tarei_prebuilt_free(tarei_prebuilt_image *image);

/* ------------------------------------------------------------------------------------------------
 * prebuilt_head.c
 */

/* Of a head and of a section. */
uint64_t tarei_prebuilt_digest(const void *bytes, uint64_t size);

/* Bytes of a shard that are its header. */
static inline uint64_t tarei_prebuilt_header_end(const tarei_prebuilt_shard *shard)
{
    return shard->data_offset - shard->padding;
}

/* More than any index file has that is of so many files with headers of so many bytes in all. What
 * takes most for its size is metadata of short keys and no values: 7 bytes of a header, 57 here. */
uint64_t tarei_prebuilt_size_max(uint64_t file_count, uint64_t header_size);

tare_status tarei_prebuilt_damaged(tare_error *error, uint64_t offset, const char *what);

/* The head of a file of `size` bytes, of which as many are here as a head has, or all where there are
 * fewer: copied, and checked by itself. */
tare_status tarei_prebuilt_head_check(tarei_prebuilt_head *head, const void *bytes, uint64_t size,
                                      tare_error *error);

/* The same of an index file, of which no more than the head is read. */
tare_status tarei_prebuilt_head_read(tarei_prebuilt_head *head, const tarei_source *file,
                                     tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * prebuilt_look.c
 */

/* Whether there are limits for which all of the index file has to be looked through. */
bool tarei_prebuilt_is_limited(const tare_options *options);

/* Looks through an opened model for what goes beyond the limits of the options, if there are
 * any. */
tare_status tarei_prebuilt_check_limits(tarei_opening *opening);

/* ------------------------------------------------------------------------------------------------
 * prebuilt_shard.c
 */

/* Compares a file as it is now with what the index says; `number` is for the error. */
tare_status tarei_prebuilt_compare(const tarei_prebuilt_shard *built,
                                   const tarei_os_identity *found, uint32_t number,
                                   tare_error *error);

/* XXH3-128 of the first `size` bytes. */
tare_status tarei_prebuilt_hash(const tarei_source *source, uint32_t number, uint64_t size,
                                tare_digest *out, tare_error *error);

#endif
