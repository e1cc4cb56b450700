/* Saving, to a file and to memory. */
#include <stdlib.h>

#include "fault_subject.h"

enum { LIST_MAX = 16, LARGE = 1100000 /* more than the buffer that small pieces go through */ };

static tare_save_options how;
static tare_save_tensor tensors[LIST_MAX];
static size_t count;
static char large[LARGE];
static void *memory;
static uint64_t memory_size, told;

static void prepare_with(uint32_t flags)
{
    static const tare_save_metadata metadata[] = {{{"format", 6}, {"pt", 2}}};
    how = (tare_save_options)TARE_SAVE_OPTIONS_INIT;
    how.flags = flags;
    how.metadata = metadata;
    how.metadata_count = 1;
    how.allocator = &fault_memory.hooks;
    fault_target_make((flags & TARE_SAVE_REPLACE) != 0 ? "before" : NULL);
}

static void prepare_bytes(void)
{
    static const uint64_t small_shape[] = {3}, large_shape[] = {LARGE};
    prepare_with(0);
    tensors[0] = (tare_save_tensor){.name = "a",
                                    .name_size = 1,
                                    .shape = small_shape,
                                    .rank = 1,
                                    .dtype = TARE_DTYPE_U8,
                                    .data = "xyz",
                                    .size = 3};
    tensors[1] = (tare_save_tensor){.name = "b",
                                    .name_size = 1,
                                    .shape = large_shape,
                                    .rank = 1,
                                    .dtype = TARE_DTYPE_I8,
                                    .data = large,
                                    .size = LARGE};
    count = 2;
}

static void prepare_plain_bytes(void)
{
    prepare_bytes();
    how.allocator = NULL;
}

static void take_model(const char *name, uint32_t backing, uint32_t index)
{
    fault_model = fault_open(name, backing, index);
    count = tare_count(fault_model);
    for (size_t i = 0; i < count; i++)
        tensors[i] = (tare_save_tensor){.model = fault_model, .tensor = tare_at(fault_model, i)};
}

static void prepare_mapped(void)
{
    prepare_with(TARE_SAVE_REPLACE);
    take_model("three", TARE_BACKING_MAP, TARE_INDEX_NEVER);
}

static void prepare_read(void)
{
    prepare_with(TARE_SAVE_REPLACE);
    take_model("three", TARE_BACKING_READ, TARE_INDEX_NEVER);
}

static void prepare_late(void)
{
    prepare_with(0);
    take_model("indexed", TARE_BACKING_AUTO, TARE_INDEX_REQUIRE);
}

static void prepare_reader(void)
{
    prepare_with(0);
    take_model(NULL, TARE_BACKING_AUTO, TARE_INDEX_NEVER);
}

static void finish(void)
{
    fault_target_remove();
    fault_finish();
    free(memory);
    memory = NULL;
}

static tare_status save(tare_error *error)
{
    const char *path = fault_target();
    return FAULT_CALL(tare_save, path, tensors, count, &how, error);
}

static void prepare_memory(void)
{
    prepare_mapped();
    if (tare_save_bytes(tensors, count, &how, NULL, 0, &memory_size, NULL) != TARE_OK) abort();
    memory = calloc(1, (size_t)memory_size);
}

static tare_status save_bytes(tare_error *error)
{
    told = 1;
    return FAULT_CALL(tare_save_bytes, tensors, count, &how, memory, (size_t)memory_size, &told,
                      error);
}

static uint64_t saved_bytes(void)
{
    return fault_sum(told, memory, (size_t)memory_size);
}

static bool nothing_told(void)
{
    return told == 0;
}

const fault_scenario fault_save_scenarios[] = {
    FAULT_WRITES("save, bytes", prepare_bytes, save, finish, 0),
    FAULT_WRITES("save, bytes, without hooks", prepare_plain_bytes, save, finish,
                 FAULT_WITHOUT_HOOKS),
    FAULT_WRITES("save, mapped", prepare_mapped, save, finish, 0),
    FAULT_WRITES("save, read", prepare_read, save, finish, 0),
    FAULT_WRITES("save, indexed", prepare_late, save, finish, 0),
    FAULT_WRITES("save, of a reader", prepare_reader, save, finish, 0),
    {"save_bytes", prepare_memory, save_bytes, saved_bytes, nothing_told, finish, 0, NULL, 0},
    {0},
};
