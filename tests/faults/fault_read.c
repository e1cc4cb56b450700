/* Reading, slicing, hashing and advising, of models in every backing. */
#include <stdlib.h>
#include <string.h>

#include "fault_subject.h"

enum { BYTES_MAX = 16384, LIST_MAX = 16 };

static char bytes[BYTES_MAX];
static size_t bytes_size;
static tare_digest digests[LIST_MAX];
static const tare_tensor *list[LIST_MAX];
static tare_load_options how;

static void prepare_with(const char *name, uint32_t backing, uint32_t index)
{
    fault_model = fault_open(name, backing, index);
    how = (tare_load_options)TARE_LOAD_OPTIONS_INIT;
    memset(bytes, 0x11, sizeof bytes);
    memset(digests, 0x11, sizeof digests);
}

static void prepare_mapped(void)
{
    prepare_with("three", TARE_BACKING_MAP, TARE_INDEX_NEVER);
}

static void prepare_read(void)
{
    prepare_with("three", TARE_BACKING_READ, TARE_INDEX_NEVER);
}

static void prepare_reader(void)
{
    prepare_with(NULL, TARE_BACKING_AUTO, TARE_INDEX_NEVER);
}

static void prepare_late(void)
{
    prepare_with("indexed", TARE_BACKING_AUTO, TARE_INDEX_REQUIRE);
}

static void prepare_threads(void)
{
    prepare_mapped();
    how.threads = 3;
}

static void prepare_reader_threads(void)
{
    prepare_reader();
    how.threads = 3;
}

static void prepare_memory(void)
{
    fault_prepare();
    if (fault_open_bytes(&fault_world.one, NULL) != TARE_OK) abort();
}

static const tare_tensor *find(const char *name)
{
    return tare_find(fault_model, name, strlen(name));
}

/* ------------------------------------------------------------------------------------------------
 * Bytes
 */

static uint64_t bytes_outcome(void)
{
    return fault_sum(0, bytes, bytes_size);
}

static tare_status read_tensor(tare_error *error)
{
    const tare_tensor *tensor = find("t6");
    bytes_size = (size_t)tare_size(fault_model, tensor);
    return FAULT_CALL(tare_read, fault_model, tensor, bytes, bytes_size, error);
}

static tare_status read_part(tare_error *error)
{
    bytes_size = 3000;
    return FAULT_CALL(tare_read_at, fault_model, find("t6"), 5001, bytes, bytes_size, error);
}

/* Runs near to each other, which are read over, and far apart. */
static tare_status read_box(tare_error *error)
{
    static const uint64_t start[] = {3, 1, 0}, stop[] = {50, 19, 1};
    bytes_size = (50 - 3) * (19 - 1) * 2;
    return FAULT_CALL(tare_read_slice, fault_model, find("t7"), start, stop, bytes, bytes_size,
                      error);
}

static tare_status read_rows(tare_error *error)
{
    static const uint64_t start[] = {2, 0}, stop[] = {9, 900};
    bytes_size = 7 * 900;
    return FAULT_CALL(tare_read_slice, fault_model, find("t8"), start, stop, bytes, bytes_size,
                      error);
}

/* ------------------------------------------------------------------------------------------------
 * Digests
 */

static uint64_t digest_outcome(void)
{
    return fault_sum(0, digests, sizeof digests);
}

static bool no_digest(void)
{
    static const tare_digest none = {0, 0};
    for (size_t i = 0; i < tare_count(fault_model); i++)
        if (memcmp(&digests[i], &none, sizeof none) != 0) return false;
    return true;
}

static bool no_first_digest(void)
{
    return digests[0].low == 0 && digests[0].high == 0;
}

static tare_status hash_one(tare_error *error)
{
    return FAULT_CALL(tare_hash, fault_model, find("t6"), &digests[0], error);
}

static tare_status hash_all(tare_error *error)
{
    return FAULT_CALL(tare_hash_many, fault_model, NULL, 0, &how, digests, error);
}

/* ------------------------------------------------------------------------------------------------
 * Advice
 */

static tare_status advise(uint32_t advice, tare_error *error)
{
    return FAULT_CALL(tare_advise, fault_model, NULL, 0, advice, error);
}

static tare_status advise_will_need(tare_error *error)
{
    return advise(TARE_ADVISE_WILL_NEED, error);
}

static tare_status advise_do_not_need(tare_error *error)
{
    return advise(TARE_ADVISE_DO_NOT_NEED, error);
}

static tare_status advise_populate(tare_error *error)
{
    return advise(TARE_ADVISE_POPULATE, error);
}

static tare_status advise_lock(tare_error *error)
{
    return advise(TARE_ADVISE_LOCK, error);
}

static tare_status advise_unlock(tare_error *error)
{
    return advise(TARE_ADVISE_UNLOCK, error);
}

/* A list that is out of order: put in order in memory from the hooks. */
static tare_status advise_list(tare_error *error)
{
    size_t count = tare_count(fault_model);
    for (size_t i = 0; i < count; i++) list[i] = tare_at(fault_model, count - 1 - i);
    return FAULT_CALL(tare_advise, fault_model, list, count, TARE_ADVISE_POPULATE, error);
}

#define READS(name, prepare, act)                                         \
    {                                                                     \
        name, prepare, act, bytes_outcome, NULL, fault_finish, 0, NULL, 0 \
    }
#define HASHES(name, prepare, act, empty)                                   \
    {                                                                       \
        name, prepare, act, digest_outcome, empty, fault_finish, 0, NULL, 0 \
    }
#define ADVISES(name, prepare, act)                                             \
    {                                                                           \
        name, prepare, act, fault_model_outcome, NULL, fault_finish, 0, NULL, 0 \
    }

const fault_scenario fault_read_scenarios[] = {
    READS("read", prepare_read, read_tensor),
    READS("read, mapped", prepare_mapped, read_tensor),
    READS("read, of a reader", prepare_reader, read_tensor),
    READS("read, indexed", prepare_late, read_tensor),
    READS("read_at", prepare_read, read_part),
    READS("read_at, of a reader", prepare_reader, read_part),
    READS("read_at, indexed", prepare_late, read_part),
    READS("read_slice", prepare_read, read_box),
    READS("read_slice, rows", prepare_mapped, read_rows),
    READS("read_slice, of a reader", prepare_reader, read_box),
    READS("read_slice, indexed", prepare_late, read_box),
    HASHES("hash", prepare_read, hash_one, no_first_digest),
    HASHES("hash, of a reader", prepare_reader, hash_one, no_first_digest),
    HASHES("hash, indexed", prepare_late, hash_one, no_first_digest),
    HASHES("hash_many", prepare_threads, hash_all, no_digest),
    HASHES("hash_many, of a reader", prepare_reader_threads, hash_all, no_digest),
    HASHES("hash_many, indexed", prepare_late, hash_all, no_digest),
    ADVISES("advise, will need", prepare_mapped, advise_will_need),
    ADVISES("advise, will need, read", prepare_read, advise_will_need),
    ADVISES("advise, do not need", prepare_mapped, advise_do_not_need),
    ADVISES("advise, do not need, read", prepare_read, advise_do_not_need),
    ADVISES("advise, populate", prepare_mapped, advise_populate),
    ADVISES("advise, populate, read", prepare_read, advise_populate),
    ADVISES("advise, populate, memory", prepare_memory, advise_populate),
    ADVISES("advise, lock", prepare_mapped, advise_lock),
    ADVISES("advise, unlock", prepare_mapped, advise_unlock),
    ADVISES("advise, indexed", prepare_late, advise_populate),
    ADVISES("advise, a list", prepare_mapped, advise_list),
    {0},
};
