/*
 * GGUF files made to be costly: work and memory stay in proportion to their bytes.
 *
 *     plain_gguf                 all checks
 *     plain_gguf corpus          those of the files of the corpus, for valgrind
 *     plain_gguf tensors COUNT   opens one file of so many empty tensors, for count_gguf.py
 *     plain_gguf keys COUNT      the same of so many keys
 */
#include <string.h>

#include "plain_check.h"
#include "support/alloc_probe.h"
#include "support/builder.h"
#include "support/corpus_list.h"
#include "support/temp_files.h"

enum { VALUE_U8 = 0, TYPE_F32 = 0 };

static void put(build_text *file, uint64_t number, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(number >> (8 * i));
    build_add(file, bytes, size);
}

static size_t write_name(char name[16], char letter, size_t number)
{
    return (size_t)snprintf(name, 16, "%c%zx", letter, number);
}

static void put_name(build_text *file, char letter, size_t number)
{
    char name[16];
    size_t size = write_name(name, letter, number);
    put(file, size, 8);
    build_add(file, name, size);
}

/* Tensors have the shape [0]: all of them at offset 0, none with a byte. */
static build_text make_file(size_t tensors, size_t keys)
{
    build_text file = {0};
    build_add(&file, "GGUF", 4);
    put(&file, 3, 4);
    put(&file, tensors, 8);
    put(&file, keys, 8);
    for (size_t i = 0; i < keys; i++) {
        put_name(&file, 'k', i);
        put(&file, VALUE_U8, 4);
        put(&file, i, 1);
    }
    for (size_t i = 0; i < tensors; i++) {
        put_name(&file, 't', i);
        put(&file, 1, 4);
        put(&file, 0, 8);
        put(&file, TYPE_F32, 4);
        put(&file, 0, 8);
    }
    while (tensors > 0 && file.size % 32 != 0) put(&file, 0, 1);
    return file;
}

static void check_content(const tare_model *model, size_t tensors, size_t keys)
{
    char name[16];
    PLAIN_CHECK(tare_count(model) == tensors);
    PLAIN_CHECK(tare_metadata_count(model) == keys);
    for (size_t i = 0; i < tensors; i++)
        PLAIN_CHECK(tare_find(model, name, write_name(name, 't', i)) == tare_at(model, i));
    PLAIN_CHECK(tare_find(model, name, write_name(name, 't', tensors)) == NULL);
    for (size_t i = 0; i < keys; i++) {
        uint64_t value = 256;
        size_t size = write_name(name, 'k', i);
        PLAIN_CHECK(tare_metadata_u64(model, name, size, &value, NULL) == TARE_OK);
        PLAIN_CHECK(value == i % 256);
    }
    PLAIN_CHECK(tare_metadata_value(model, name, write_name(name, 'k', keys)).kind == 0);
}

/* Few allocations, however much there is, and no more memory than a few times the file. */
static void check_cost(size_t tensors, size_t keys)
{
    static alloc_probe probe;
    build_text file = make_file(tensors, keys);
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    if (tare_open_bytes(file.data, file.size, &options, &model, &error) != TARE_OK)
        fprintf(stderr, "%zu tensors, %zu keys: %s\n", tensors, keys, error.message);
    PLAIN_CHECK(error.status == TARE_OK);
    printf("%zu tensors, %zu keys in %zu bytes: %zu allocations, %zu bytes at most, %zu held\n",
           tensors, keys, file.size, probe.calls, probe.peak_size, probe.block_size);
    PLAIN_CHECK(probe.calls < 150);
    PLAIN_CHECK(probe.peak_size < 8 * file.size);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    PLAIN_CHECK(stat.index_sorted == 0);
    PLAIN_CHECK(stat.memory_size == probe.block_size);
    check_content(model, tensors, keys);
    tare_close(model);
    PLAIN_CHECK(probe.block_count == 0 && probe.mistakes == 0);
    build_free(&file);
}

/* The last of many names is the first one again: found like any other pair. */
static void check_duplicates(size_t tensors, size_t keys)
{
    build_text file = make_file(tensors, keys);
    char name[16];
    size_t size = write_name(name, tensors > 0 ? 't' : 'k', (tensors > 0 ? tensors : keys) - 1);
    char *at = file.data + file.size - size;
    while (memcmp(at, name, size) != 0) at--;
    memset(at + 1, '1', size - 1); /* 1, 11, 111 ...: there as well, since it is lower */
    tare_model *model;
    tare_error error;
    PLAIN_CHECK(tare_open_bytes(file.data, file.size, NULL, &model, &error) == TARE_E_DUPLICATE);
    PLAIN_CHECK(model == NULL);
    build_free(&file);
}

/* Whatever counts and sizes a hostile file claims, memory is taken for bytes that are there. */
static void check_corpus(void)
{
    static alloc_probe probe;
    corpus_list list = corpus_read();
    const temp_path corpus = {TARE_TEST_DATA "/corpus"};
    for (size_t i = 0; i < list.case_count; i++) {
        if (!list.cases[i].is_gguf) continue;
        size_t size;
        void *bytes = temp_read(temp_join(&corpus, list.cases[i].path).text, &size);
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        alloc_probe_init(&probe);
        options.allocator = &probe.hooks;
        tare_open_bytes(bytes, size, &options, &model, NULL);
        tare_close(model);
        PLAIN_CHECK(probe.peak_size < 64 * 1024 + 8 * size);
        PLAIN_CHECK(probe.block_count == 0 && probe.mistakes == 0);
        free(bytes);
    }
    corpus_free(&list);
}

/* The same names get the same table in every run. */
static void open_once(size_t tensors, size_t keys)
{
    build_text file = make_file(tensors, keys);
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    options.flags = TARE_SEED_FIXED;
    options.seed = 1;
    PLAIN_CHECK(tare_open_bytes(file.data, file.size, &options, &model, NULL) == TARE_OK);
    tare_close(model);
    build_free(&file);
}

int main(int count, char **arguments)
{
    if (count == 3) {
        size_t number = strtoul(arguments[2], NULL, 10);
        int keys = strcmp(arguments[1], "keys") == 0;
        open_once(keys ? 0 : number, keys ? number : 0);
        return 0;
    }
    if (count == 2) {
        check_corpus();
        return 0;
    }
    check_cost(40000, 0);
    check_cost(1000000, 0);
    check_cost(0, 1000000);
    check_cost(300000, 300000);
    check_duplicates(0x20000, 0);
    check_duplicates(0, 0x20000);
    check_corpus();
    return 0;
}
