/* The head of an index file: what opening must know before it points anywhere. */
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "prebuilt.h"
#include "support/expect.h"
#include "support/index_probe.h"
#include "support/temp_files.h"

static temp_path folder;
static build_text file;
static index_image image;

static void make_image(void)
{
    static const build_tensor some[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};
    folder = temp_folder_make();
    file = build_file(some, 2, "{\"k\":\"v\"}");
    tare_model *model = expect_open_bytes("the model", &file);
    image = index_make(model, temp_join(&folder, "a").text);
    tare_close(model);
}

static void free_image(void)
{
    index_free(&image);
    build_free(&file);
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_head, .init = make_image, .fini = free_image);

typedef struct row {
    const char *what;
    size_t at;
    uint64_t value;
    size_t size;
    int sealed;
    tare_status status;
    uint64_t offset;
} row;

#define SECTION(number, field)                                                    \
    (offsetof(tarei_prebuilt_head, sections) + (number) * sizeof(tarei_section) + \
     offsetof(tarei_section, field))
#define AT(field) offsetof(tarei_prebuilt_head, field)

static const row rows[] = {
    {"as it is", 0, 0, 0, 1, TARE_OK, TARE_NO_OFFSET},
    {"another magic", 0, 0, 8, 1, TARE_E_PREBUILT, 0},
    {"big-endian", AT(order), 0x01020304, 4, 1, TARE_E_ENDIAN, 8},
    {"version 0", AT(version), 0, 4, 1, TARE_E_VERSION, 12},
    {"version 2", AT(version), 2, 4, 1, TARE_E_VERSION, 12},
    {"no digest", AT(seed), 7, 8, 0, TARE_E_PREBUILT, 0},
    {"another seed is one", AT(seed), 7, 8, 1, TARE_OK, TARE_NO_OFFSET},
    {"another size", AT(file_size), 448, 8, 1, TARE_E_PREBUILT, 16},
    {"2^64-1 bytes", AT(file_size), UINT64_MAX, 8, 1, TARE_E_PREBUILT, 16},
    {"more tensors than records", AT(tensor_count), 3, 4, 1, TARE_E_PREBUILT, 64},
    {"2^32-1 tensors", AT(tensor_count), UINT32_MAX, 4, 1, TARE_E_PREBUILT, 64},
    {"more keys", AT(key_count), 2, 4, 1, TARE_E_PREBUILT, 64},
    {"more shards", AT(shard_count), 2, 4, 1, TARE_E_PREBUILT, 64},
    {"a list behind the shards", AT(origin), TAREI_ORIGIN_LISTED, 4, 1, TARE_E_PREBUILT, 64},
    {"no table", AT(table), 0, 4, 1, TARE_E_PREBUILT, 64},
    {"a table that is none", AT(table), 4, 4, 1, TARE_E_PREBUILT, 64},
    {"a sorted table of lines", AT(table), TAREI_TABLE_SORTED, 4, 1, TARE_E_PREBUILT, 64},
    {"large lines are as large", AT(table), TAREI_TABLE_LARGE, 4, 1, TARE_OK, TARE_NO_OFFSET},
    {"no lines", AT(line_count), 0, 4, 1, TARE_E_PREBUILT, 64},
    {"more lines", AT(line_count), 4, 4, 1, TARE_E_PREBUILT, 64},
    {"2^31 lines", AT(line_count), UINT32_C(1) << 31, 4, 1, TARE_E_PREBUILT, 64},
    {"no reach", AT(reach), 0, 4, 1, TARE_E_PREBUILT, 64},
    {"a reach beyond the lines", AT(reach), 3, 4, 1, TARE_E_PREBUILT, 64},
    {"a reach of 2^32-1", AT(reach), UINT32_MAX, 4, 1, TARE_E_PREBUILT, 64},
    {"a section elsewhere", SECTION(3, offset), 448, 8, 1, TARE_E_PREBUILT, 64},
    {"a section at 2^64-64", SECTION(3, offset), UINT64_MAX - 63, 8, 1, TARE_E_PREBUILT, 64},
    {"a section of 2^64-1 bytes", SECTION(14, size), UINT64_MAX, 8, 1, TARE_E_PREBUILT, 64},
    {"a section beyond the file", SECTION(14, size), 65, 8, 1, TARE_E_PREBUILT, 64},
    {"shards of another size", SECTION(0, size), 63, 8, 1, TARE_E_PREBUILT, 64},
    {"no prefixes", SECTION(2, size), 0, 8, 1, TARE_E_PREBUILT, 64},
    {"half a prefix", SECTION(2, size), 12, 8, 1, TARE_E_PREBUILT, 64},
    {"layouts of odd size", SECTION(4, size), 33, 8, 1, TARE_E_PREBUILT, 64},
    {"fewer records", SECTION(8, size), 32, 8, 1, TARE_E_PREBUILT, 64},
    {"no key", SECTION(11, size), 0, 8, 1, TARE_E_PREBUILT, 64},
    {"what is unused", AT(unused), 1, 8, 1, TARE_E_PREBUILT, 0},
};

Test(prebuilt_head, each_damage_has_its_status_and_offset)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *one = &rows[i];
        index_image changed = index_copy(image.bytes, image.size);
        memcpy(changed.bytes + one->at, &one->value, one->size);
        if (one->sealed) index_seal(&changed);
        tarei_prebuilt_head head;
        tare_error error;
        tarei_error_clear(&error);
        tare_status status = tarei_prebuilt_head_check(&head, changed.bytes, changed.size, &error);
        cr_expect_eq(status, one->status, "%s: %s", one->what, error.message);
        cr_expect_eq(error.offset, one->offset, "%s: at %lu", one->what,
                     (unsigned long)error.offset);
        cr_expect_eq(index_use(&changed, file.data, file.size), one->status, "%s", one->what);
        index_free(&changed);
    }
}

/* Heads of files of any size, of which no more than the head is looked at. */
typedef struct sizes {
    const char *what;
    uint32_t section; /* whose size is another */
    uint64_t size;
    uint32_t table, line_count, reach;
    uint64_t cut; /* bytes that the file lacks at its end */
    tare_status status;
} sizes;

#define GIB (UINT64_C(1) << 30)
#define LINE sizeof(tarei_line)

static const sizes large[] = {
    {"sorted", TAREI_SECTION_TABLE, 8, TAREI_TABLE_SORTED, 0, 32, 0, TARE_OK},
    {"a sorted search of 33 steps", TAREI_SECTION_TABLE, 8, TAREI_TABLE_SORTED, 0, 33, 0,
     TARE_E_PREBUILT},
    {"a sorted table of one", TAREI_SECTION_TABLE, 4, TAREI_TABLE_SORTED, 0, 1, 0, TARE_E_PREBUILT},
    {"small lines", TAREI_SECTION_TABLE, 4 * LINE, TAREI_TABLE_SMALL, 4, 1, 0, TARE_OK},
    {"three small lines", TAREI_SECTION_TABLE, 4 * LINE, TAREI_TABLE_SMALL, 3, 1, 0,
     TARE_E_PREBUILT},
    {"large lines", TAREI_SECTION_TABLE, 4 * LINE, TAREI_TABLE_LARGE, 3, 2, 0, TARE_OK},
    {"more lines than there are", TAREI_SECTION_TABLE, 2 * LINE, TAREI_TABLE_LARGE, 3, 1, 0,
     TARE_E_PREBUILT},
    {"half a line more", TAREI_SECTION_TABLE, 4 * LINE + LINE / 2, TAREI_TABLE_LARGE, 3, 1, 0,
     TARE_E_PREBUILT},
    {"the longest reach", TAREI_SECTION_TABLE, 90 * LINE, TAREI_TABLE_LARGE, 3, TAREI_REACH_MAX, 0,
     TARE_OK},
    {"a longer one", TAREI_SECTION_TABLE, 90 * LINE, TAREI_TABLE_LARGE, 3, TAREI_REACH_MAX + 1, 0,
     TARE_E_PREBUILT},
    {"2^32 bytes of lines", TAREI_SECTION_TABLE, 8 * GIB, TAREI_TABLE_LARGE,
     (uint32_t)(4 * GIB / LINE), 1, 0, TARE_E_PREBUILT},
    {"65,536 prefixes", TAREI_SECTION_PREFIXES, 65536 * sizeof(tarei_part), TAREI_TABLE_LARGE, 1, 1,
     0, TARE_E_PREBUILT},
    {"half a suffix", TAREI_SECTION_SUFFIXES, 4, TAREI_TABLE_LARGE, 1, 1, 0, TARE_E_PREBUILT},
    {"4 GiB of names of shards", TAREI_SECTION_SHARD_NAMES, 4 * GIB, TAREI_TABLE_LARGE, 1, 1, 0,
     TARE_E_PREBUILT},
    {"names of shards as long as they may be", TAREI_SECTION_SHARD_NAMES, 2 * 4097,
     TAREI_TABLE_LARGE, 1, 1, 0, TARE_OK},
    {"longer ones", TAREI_SECTION_SHARD_NAMES, 2 * 4097 + 1, TAREI_TABLE_LARGE, 1, 1, 0,
     TARE_E_PREBUILT},
    {"8 GiB of names", TAREI_SECTION_TEXT, 8 * GIB, TAREI_TABLE_LARGE, 1, 1, 0, TARE_E_PREBUILT},
    {"8 GiB of keys", TAREI_SECTION_KEY_TEXT, 8 * GIB, TAREI_TABLE_LARGE, 1, 1, 0, TARE_E_PREBUILT},
    {"a value more", TAREI_SECTION_VALUES, 2 * sizeof(tarei_prebuilt_value), TAREI_TABLE_LARGE, 1,
     1, 0, TARE_E_PREBUILT},
    {"an end within a unit", TAREI_SECTION_VALUE_BYTES, 65, TAREI_TABLE_LARGE, 1, 1, 1,
     TARE_E_PREBUILT},
};

static const uint64_t usual[TAREI_SECTION_COUNT] = {
    [TAREI_SECTION_SHARDS] = sizeof(tarei_prebuilt_shard),
    [TAREI_SECTION_PREFIXES] = sizeof(tarei_part),
    [TAREI_SECTION_SUFFIXES] = sizeof(tarei_part),
    [TAREI_SECTION_COMMONS] = sizeof(uint32_t),
    [TAREI_SECTION_WIDE_COMMONS] = sizeof(uint32_t),
    [TAREI_SECTION_TABLE] = LINE,
    [TAREI_SECTION_RECORDS] = 3 * sizeof(tarei_record),
    [TAREI_SECTION_KEYS] = 2 * sizeof(tarei_record),
    [TAREI_SECTION_KEY_ORDER] = sizeof(uint32_t),
    [TAREI_SECTION_VALUES] = sizeof(tarei_prebuilt_value)};

/* Of two tensors, one key and one shard. */
static tarei_prebuilt_head make_head(const sizes *of)
{
    tarei_prebuilt_head head = {.order = TAREI_PREBUILT_ORDER,
                                .version = TAREI_PREBUILT_VERSION,
                                .tensor_count = 2,
                                .key_count = 1,
                                .shard_count = 1,
                                .table = of->table,
                                .line_count = of->line_count,
                                .reach = of->reach};
    uint64_t at = sizeof head;
    memcpy(head.magic, TAREI_PREBUILT_MAGIC, sizeof head.magic);
    for (uint32_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        head.sections[i].offset = at;
        head.sections[i].size = i == of->section ? of->size : usual[i];
        at = (at + head.sections[i].size + 63) & ~UINT64_C(63);
    }
    head.file_size = at - of->cut;
    head.digest = tarei_prebuilt_digest(&head, offsetof(tarei_prebuilt_head, digest));
    return head;
}

Test(prebuilt_head, sizes_are_what_counts_need_and_within_the_limits)
{
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        tarei_prebuilt_head head = make_head(&large[i]), checked;
        tare_error error;
        tarei_error_clear(&error);
        tare_status status = tarei_prebuilt_head_check(&checked, &head, head.file_size, &error);
        cr_expect_eq(status, large[i].status, "%s: %s", large[i].what, error.message);
    }
}

/* Those of a count are neither longer nor shorter, by a byte or by one of what they hold. */
Test(prebuilt_head, sections_are_as_long_as_the_counts_say)
{
    static const struct {
        uint32_t section;
        uint64_t one;
    } of[] = {{TAREI_SECTION_SHARDS, sizeof(tarei_prebuilt_shard)},
              {TAREI_SECTION_COMMONS, sizeof(uint32_t)},
              {TAREI_SECTION_WIDE_COMMONS, sizeof(uint32_t)},
              {TAREI_SECTION_RECORDS, sizeof(tarei_record)},
              {TAREI_SECTION_KEYS, sizeof(tarei_record)},
              {TAREI_SECTION_KEY_ORDER, sizeof(uint32_t)},
              {TAREI_SECTION_VALUES, sizeof(tarei_prebuilt_value)}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        uint64_t right = usual[of[i].section], one = of[i].one;
        const uint64_t tried[] = {right, right - one, right + one, right - 1, right + 1};
        for (size_t t = 0; t < sizeof tried / sizeof tried[0]; t++) {
            const sizes other = {"", of[i].section, tried[t], TAREI_TABLE_LARGE, 1, 1, 0, TARE_OK};
            tarei_prebuilt_head head = make_head(&other), checked;
            tare_error error;
            tarei_error_clear(&error);
            tare_status status = tarei_prebuilt_head_check(&checked, &head, head.file_size, &error);
            cr_expect_eq(status, t == 0 ? TARE_OK : TARE_E_PREBUILT, "section %u of %u bytes",
                         of[i].section, (unsigned)tried[t]);
        }
    }
}
