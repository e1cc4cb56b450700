/*
 * The corpus without a framework, for hosts and tools that have none: every file gets its verdict
 * from a path with either backing, from memory that ends where the file does, before a page that
 * may not be touched, and through a reader; everything is asked of those that are accepted.
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
#include "support/corpus_list.h"
#include "support/temp_files.h"

enum { PIECE = 4096 };

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
    PLAIN_CHECK(fuzz_file(bytes, size, 1) == accepts_bytes(one));
    PLAIN_CHECK(fuzz_file(bytes, size, 7) == accepts_bytes(one));
    PLAIN_CHECK(fuzz_file(bytes, size, PIECE) == accepts_bytes(one));
    guarded memory = guarded_make(size);
    uint8_t *at = guarded_fill(&memory, bytes, size);
    PLAIN_CHECK(fuzz_bytes(at, size) == accepts_bytes(one));
    guarded_free(&memory);
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
        if (one->is_index) continue;
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
