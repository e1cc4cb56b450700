/*
 * The corpus without a framework, for hosts and tools that have none: every file gets its verdict
 * from a path with either backing, from memory that ends where the file does, before a page that
 * may not be touched, and through readers that answer in pieces; everything is asked of those that
 * are accepted. An index is handed in so with the files beside it.
 *
 *     plain_corpus         that
 *     plain_corpus flips   and of every good file each bit changed, and each cut, in memory
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "plain_check.h"
#include "support/alloc_probe.h"
#include "support/corpus_list.h"
#include "support/file_list.h"
#include "support/temp_files.h"

static const size_t pieces[] = {1, 7, 4096};
enum { PIECE_COUNT = sizeof pieces / sizeof pieces[0] };

/* Memory whose last byte is followed by a page without any rights. */
typedef struct guarded {
    uint8_t *pages;
    size_t capacity;
    size_t page;
} guarded;

static guarded guarded_make(size_t capacity)
{
    guarded memory = {NULL, 0, (size_t)sysconf(_SC_PAGESIZE)};
    memory.capacity = (capacity + memory.page) / memory.page * memory.page;
    memory.pages = mmap(NULL, memory.capacity + memory.page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PLAIN_CHECK(memory.pages != MAP_FAILED);
    PLAIN_CHECK(mprotect(memory.pages + memory.capacity, memory.page, PROT_NONE) == 0);
    return memory;
}

static uint8_t *guarded_fill(const guarded *memory, const void *bytes, size_t size)
{
    uint8_t *at = memory->pages + memory->capacity - size;
    if (size != 0) memcpy(at, bytes, size);
    return at;
}

static void guarded_free(const guarded *memory)
{
    munmap(memory->pages, memory->capacity + memory->page);
}

static void check_path(const corpus_case *one, const char *path, uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    options.backing = backing;
    tare_status status = tare_open(path, &options, &model, &error);
    if ((status == TARE_OK) != one->accept)
        fprintf(stderr, "%s, rule %s: %s\n", one->path, one->rule, error.message);
    PLAIN_CHECK((status == TARE_OK) == one->accept && status == error.status);
    if (status == TARE_OK && backing != TARE_BACKING_READ && !one->is_index)
        fuzz_model(model, tare_shard_at(model, 0).size);
    tare_close(model);
}

/* Only its name makes this file wrong. */
static int accepts_bytes(const corpus_case *one)
{
    return one->accept || strcmp(one->path, "gguf/bad/safetensors-file-as-gguf.gguf") == 0;
}

static void check_bytes(const corpus_case *one, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < PIECE_COUNT; i++)
        PLAIN_CHECK(fuzz_file(bytes, size, pieces[i]) == accepts_bytes(one));
    guarded memory = guarded_make(size);
    uint8_t *at = guarded_fill(&memory, bytes, size);
    PLAIN_CHECK(fuzz_bytes(at, size) == accepts_bytes(one));
    guarded_free(&memory);
}

/* Every tensor is found by its name, and read as it stands in its file. */
static void check_tensors(const tare_model *model, file_list *files)
{
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_info info = tare_describe(model, tensor);
        const tare_file *file = file_list_find(files, tare_shard_at(model, info.shard).name.data);
        PLAIN_CHECK(file != NULL && tare_find(model, info.name, info.name_size) == tensor);
        const reader_probe *whole = &files->probes[file - files->files];
        PLAIN_CHECK(info.offset <= whole->size && info.size <= whole->size - info.offset);
        void *bytes = fuzz_copy(whole->bytes, (size_t)info.size);
        PLAIN_CHECK(tare_read(model, tensor, bytes, (size_t)info.size, NULL) == TARE_OK);
        PLAIN_CHECK(memcmp(bytes, whole->bytes + info.offset, (size_t)info.size) == 0);
        free(bytes);
    }
}

/* Opens an index with its files, from wherever they are. */
static void check_files(const corpus_case *one, file_list *files, tare_error *error)
{
    static alloc_probe memory;
    uint64_t bound = 0;
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    alloc_probe_init(&memory);
    options.allocator = &memory.hooks;
    for (size_t i = 0; i < files->count; i++) bound += fuzz_memory_bound(files->probes[i].size);
    tare_status status = tare_open_files(files->files, files->count, &options, &model, error);
    if ((status == TARE_OK) != one->accept)
        fprintf(stderr, "%s, rule %s: %s\n", one->path, one->rule, error->message);
    PLAIN_CHECK((status == TARE_OK) == one->accept && status == error->status);
    PLAIN_CHECK((status == TARE_OK) == (model != NULL) && memory.peak_size <= bound);
    if (status == TARE_OK) check_tensors(model, files);
    tare_close(model);
    PLAIN_CHECK(memory.block_count == 0 && memory.mistakes == 0);
}

/* Each file in memory that ends before a page without rights, and then behind a reader, which must
 * not make a difference. */
static void check_index(const corpus_case *one, temp_path path)
{
    static file_list files;
    guarded memory[FILE_LIST_MAX];
    tare_error error, again;
    *strrchr(path.text, '/') = 0;
    file_list_read(&files, path.text);
    for (size_t i = 0; i < files.count; i++) {
        memory[i] = guarded_make(files.files[i].size);
        files.files[i].bytes = guarded_fill(&memory[i], files.probes[i].bytes, files.files[i].size);
    }
    check_files(one, &files, &error);
    for (size_t i = 0; i < files.count; i++) {
        guarded_free(&memory[i]);
        files.files[i].bytes = files.probes[i].bytes;
    }
    file_list_lend(&files, 0);
    for (size_t p = 0; p < PIECE_COUNT; p++) {
        for (size_t i = 0; i < files.count; i++) files.probes[i].piece = pieces[p];
        check_files(one, &files, &again);
        PLAIN_CHECK(again.status == error.status && again.offset == error.offset);
        PLAIN_CHECK(again.shard == error.shard && strcmp(again.message, error.message) == 0);
        for (size_t i = 0; i < files.count; i++) PLAIN_CHECK(files.probes[i].mistakes == 0);
    }
    file_list_free(&files);
}

/* Whatever is accepted agrees with itself, and memory stays in proportion to the file. */
static size_t check_changed(const uint8_t *bytes, size_t size)
{
    guarded memory = guarded_make(size);
    size_t tried = 0;
    uint8_t *at = guarded_fill(&memory, bytes, size);
    for (size_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++, tried++) {
            at[i] = (uint8_t)(at[i] ^ 1u << bit);
            fuzz_bytes(at, size);
            at[i] = bytes[i];
        }
    }
    for (size_t cut = 0; cut < size; cut++, tried++)
        fuzz_bytes(guarded_fill(&memory, bytes, cut), cut);
    guarded_free(&memory);
    return tried;
}

int main(int argc, char **argv)
{
    int flips = argc > 1 && strcmp(argv[1], "flips") == 0;
    const temp_path corpus = {TARE_TEST_DATA "/corpus"};
    corpus_list list = corpus_read();
    size_t tried = 0, good = 0;
    PLAIN_CHECK(list.case_count == 300);
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        temp_path path = temp_join(&corpus, one->path);
        check_path(one, path.text, TARE_BACKING_AUTO);
        check_path(one, path.text, TARE_BACKING_READ);
        if (one->is_index) {
            check_index(one, path);
            continue;
        }
        size_t size;
        uint8_t *bytes = temp_read(path.text, &size);
        check_bytes(one, bytes, size);
        if (flips && one->accept) {
            tried += check_changed(bytes, size);
            good += size;
        }
        free(bytes);
    }
    PLAIN_CHECK(tried == 9 * good && (good != 0) == flips); /* 8 bits and a cut of each byte */
    printf("%zu files, %zu changed ones\n", list.case_count, tried);
    corpus_free(&list);
    return 0;
}
