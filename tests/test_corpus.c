/* Every file of the corpus gets the verdict that its manifest states, however it is opened. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/corpus_list.h"
#include "support/expect.h"
#include "support/file_list.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

static corpus_list list;
static const temp_path corpus = {TARE_TEST_DATA "/corpus"};

static void read_list(void)
{
    list = corpus_read();
}

static void free_list(void)
{
    corpus_free(&list);
}

TestSuite(corpus, .init = read_list, .fini = free_list);

/* The bytes of the shard that a tensor is in. */
static void *read_shard(const char *path, const tare_model *model, const corpus_fact *fact,
                        size_t *size)
{
    temp_path file = temp_join(&corpus, path);
    const char *slash = strrchr(file.text, '/');
    temp_path folder = {{0}};
    memcpy(folder.text, file.text, (size_t)(slash - file.text));
    if (strstr(path, ".index.json") != NULL)
        file = temp_join(&folder, tare_shard_at(model, fact->shard).name.data);
    return temp_read(file.text, size);
}

static void check_item(const corpus_fact *fact, size_t at, size_t place, tare_value item)
{
    const corpus_item *wanted = &fact->items[place];
    cr_expect_str_eq(tare_kind_name(item.kind), fact->dtype, "%s: kind %zu", fact->path, at);
    cr_expect_eq(item.count, 1, "%s: value %zu", fact->path, at);
    cr_assert_eq(item.size, wanted->size, "%s: value %zu, item %zu", fact->path, at, place);
    cr_expect_arr_eq(item.data, wanted->data, item.size, "%s: value %zu, item %zu", fact->path, at,
                     place);
}

static void check_value(const corpus_fact *fact, size_t at, tare_value value, tare_string text)
{
    int string = value.kind == TARE_KIND_STRING;
    cr_expect_eq(text.data, string ? value.data : NULL, "%s: text %zu", fact->path, at);
    cr_expect_eq(text.size, string ? value.size : 0, "%s: text %zu", fact->path, at);
    cr_expect_eq(value.count, fact->item_count, "%s: count of value %zu", fact->path, at);
    if (!fact->is_array) {
        check_item(fact, at, 0, value);
        return;
    }
    cr_assert_eq(value.kind, TARE_KIND_ARRAY, "%s: kind %zu", fact->path, at);
    cr_expect_str_eq(tare_kind_name(value.item_kind), fact->dtype, "%s: kind %zu", fact->path, at);
    tare_value item;
    for (size_t i = 0; i < fact->item_count; i++) {
        cr_assert_eq(tare_value_next(&value, &item), 1, "%s: value %zu, item %zu", fact->path, at,
                     i);
        check_item(fact, at, i, item);
    }
    cr_expect_eq(tare_value_next(&value, &item), 0, "%s: value %zu goes on", fact->path, at);
    cr_expect_eq(item.kind, 0, "%s: value %zu", fact->path, at);
}

static void check_metadata(const tare_model *model, const corpus_fact *fact, size_t at)
{
    tare_string key = {0}, text = {0};
    uint32_t shard = TARE_NO_SHARD;
    cr_assert_eq(tare_metadata_at(model, at, &key, &text, &shard), 1, "%s", fact->path);
    cr_assert_eq(key.size, fact->name_size, "%s: key %zu", fact->path, at);
    cr_expect_arr_eq(key.data, fact->name, key.size, "%s: key %zu", fact->path, at);
    cr_expect_eq(shard, fact->shard, "%s: shard of metadata %zu", fact->path, at);
    check_value(fact, at, tare_metadata_value_at(model, at), text);
}

static void check_good(const corpus_case *one, const tare_model *model)
{
    size_t tensors = 0, entries = 0;
    for (size_t i = 0; i < list.fact_count; i++) {
        const corpus_fact *fact = &list.facts[i];
        if (strcmp(fact->path, one->path) != 0) continue;
        if (fact->items != NULL) {
            check_metadata(model, fact, entries++);
            continue;
        }
        expect_tensor(one->path, model, tensors, fact->name, fact->name_size, fact->dtype,
                      fact->shape, fact->rank, fact->offset, fact->size);
        const tare_tensor *tensor = tare_at(model, tensors++);
        cr_expect_eq(tare_describe(model, tensor).shard, fact->shard, "%s", one->path);
        size_t size;
        uint8_t *bytes = read_shard(one->path, model, fact, &size);
        cr_assert_leq(fact->offset + fact->size, size, "%s: beyond its shard", one->path);
        expect_bytes(one->path, model, tensor, bytes + fact->offset, (size_t)fact->size);
        free(bytes);
    }
    cr_expect_eq(tare_count(model), tensors, "%s: %zu tensors, not %zu", one->path,
                 tare_count(model), tensors);
    cr_expect_eq(tare_metadata_count(model), entries, "%s: %zu entries of metadata, not %zu",
                 one->path, tare_metadata_count(model), entries);
}

static void check_verdict(const corpus_case *one, tare_status status, tare_model *model,
                          const tare_error *error)
{
    if (one->accept) {
        expect_opened(one->path, status, model, error);
        check_good(one, model);
    } else if (status == TARE_OK) {
        cr_expect_fail("%s: accepted, against rule %s", one->path, one->rule);
    } else {
        expect_status(one->path, status, status, model, error);
    }
    if (status == TARE_OK) tare_close(model);
}

/* Only its name makes this file wrong: without one it is the safetensors file that it holds. */
static int is_wrong_by_name(const corpus_case *one)
{
    return strcmp(one->path, "gguf/bad/safetensors-file-as-gguf.gguf") == 0;
}

static void check_nameless(const corpus_case *one, tare_status status, tare_model *model,
                           const tare_error *error)
{
    if (!is_wrong_by_name(one)) {
        check_verdict(one, status, model, error);
        return;
    }
    expect_opened(one->path, status, model, error);
    cr_expect_eq(tare_shard_at(model, 0).format, TARE_FORMAT_SAFETENSORS, "%s", one->path);
    cr_expect_eq(tare_count(model), 1, "%s", one->path);
    tare_close(model);
}

static void check_paths(int indexes, uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = backing;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index != indexes) continue;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status =
            tare_open(temp_join(&corpus, one->path).text, &options, &model, &error);
        check_verdict(one, status, model, &error);
    }
}

static void check_readers(size_t piece)
{
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index) continue;
        size_t size;
        void *bytes = temp_read(temp_join(&corpus, one->path).text, &size);
        reader_probe probe;
        reader_probe_init(&probe, bytes, size, piece);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
        check_nameless(one, status, model, &error);
        cr_expect_eq(probe.mistakes, 0, "%s: the reader is asked for what is not there", one->path);
        free(bytes);
    }
}

Test(corpus, is_here_as_a_whole)
{
    size_t accepted = 0, indexes = 0, ggufs = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        accepted += (size_t)list.cases[i].accept;
        indexes += (size_t)list.cases[i].is_index;
        ggufs += (size_t)list.cases[i].is_gguf;
    }
    cr_expect_eq(list.case_count, 300, "%zu cases", list.case_count);
    cr_expect_eq(indexes, 39, "%zu indexes", indexes);
    cr_expect_eq(ggufs, 110, "%zu GGUF files", ggufs);
    cr_expect_eq(accepted, 53, "%zu good cases", accepted);
}

Test(corpus, verdicts_on_mapped_files)
{
    check_paths(0, TARE_BACKING_MAP);
}

Test(corpus, verdicts_on_files_that_are_read)
{
    check_paths(0, TARE_BACKING_READ);
}

Test(corpus, verdicts_on_files_with_either_backing)
{
    check_paths(0, TARE_BACKING_AUTO);
}

Test(corpus, verdicts_on_mapped_indexes)
{
    check_paths(1, TARE_BACKING_MAP);
}

Test(corpus, verdicts_on_indexes_that_are_read)
{
    check_paths(1, TARE_BACKING_READ);
}

Test(corpus, verdicts_on_indexes_with_either_backing)
{
    check_paths(1, TARE_BACKING_AUTO);
}

Test(corpus, verdicts_on_bytes_in_memory)
{
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index) continue;
        size_t size;
        void *bytes = temp_read(temp_join(&corpus, one->path).text, &size);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_bytes(bytes, size, NULL, &model, &error);
        check_nameless(one, status, model, &error);
        free(bytes);
    }
}

/* The files of each index, handed in; `piece` 0 is in memory, else behind readers. */
static void check_files(size_t piece)
{
    static file_list files;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (!one->is_index) continue;
        temp_path path = temp_join(&corpus, one->path);
        *strrchr(path.text, '/') = 0;
        file_list_read(&files, path.text);
        if (piece != 0) file_list_lend(&files, 0);
        for (size_t f = 0; f < files.count; f++) files.probes[f].piece = piece;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_files(files.files, files.count, NULL, &model, &error);
        check_verdict(one, status, model, &error);
        for (size_t f = 0; f < files.count; f++)
            cr_expect_eq(files.probes[f].mistakes, 0, "%s, %s", one->path, files.files[f].name);
        file_list_free(&files);
    }
}

Test(corpus, verdicts_on_the_files_of_an_index_in_memory)
{
    check_files(0);
}

Test(corpus, verdicts_on_the_files_of_an_index_through_readers_that_answer_in_pieces)
{
    check_files(1);
    check_files(7);
    check_files(4096);
}

Test(corpus, verdicts_through_a_reader_that_answers_byte_by_byte)
{
    check_readers(1);
}

Test(corpus, verdicts_through_a_reader_that_answers_seven_bytes_at_a_time)
{
    check_readers(7);
}

Test(corpus, verdicts_through_a_reader_that_answers_in_pages)
{
    check_readers(4096);
}

/* What is in a file tells which format it is; then its name must agree. */
static int is_decided_by_name(const corpus_case *one, const char *bytes, size_t size)
{
    return one->is_gguf && (size < 4 || memcmp(bytes, "GGUF", 4) != 0);
}

Test(corpus, every_way_of_opening_gives_the_same_status_and_offset)
{
    tare_options mapped = TARE_OPTIONS_INIT, read = TARE_OPTIONS_INIT;
    mapped.backing = TARE_BACKING_MAP;
    read.backing = TARE_BACKING_READ;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index) continue;
        temp_path path = temp_join(&corpus, one->path);
        size_t size;
        void *bytes = temp_read(path.text, &size);
        int by_name = is_decided_by_name(one, bytes, size);
        reader_probe probe;
        reader_probe_init(&probe, bytes, size, 0);
        tare_model *models[4];
        tare_error errors[4];
        tare_open_bytes(bytes, size, NULL, &models[0], &errors[0]);
        tare_open(path.text, &mapped, &models[1], &errors[1]);
        tare_open(path.text, &read, &models[2], &errors[2]);
        tare_open_reader(&probe.reader, NULL, &models[3], &errors[3]);
        for (size_t way = 1; way < 4; way++) {
            size_t like = by_name && way < 3 ? 1 : 0;
            cr_expect_eq(errors[way].status, errors[like].status, "%s: way %zu", one->path, way);
            cr_expect_eq(errors[way].offset, errors[like].offset, "%s: way %zu", one->path, way);
            if (models[way] != NULL && models[0] != NULL)
                expect_same_models(one->path, models[0], models[way]);
        }
        if (by_name) cr_expect_eq(errors[1].offset, 0, "%s: by its name", one->path);
        for (size_t way = 0; way < 4; way++) tare_close(models[way]);
        free(bytes);
    }
}

static void add_error(build_text *text, const corpus_case *one, const tare_error *error)
{
    build_addf(text, "%s\t%s\t", one->path, tare_status_name(error->status));
    if (error->offset != TARE_NO_OFFSET) build_addf(text, "%" PRIu64, error->offset);
    build_addf(text, "\t%s\n", error->message);
}

/* Whole messages, with the names and numbers in them. After a change that is meant run
 * `CORPUS_ERRORS=tests/data/corpus_errors.tsv build/debug/tests/test_corpus`, then git diff. */
Test(corpus, errors_are_those_that_were_there_before)
{
    static file_list files;
    build_text text = {0};
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->accept || is_wrong_by_name(one)) continue;
        temp_path path = temp_join(&corpus, one->path);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        if (one->is_index) {
            *strrchr(path.text, '/') = 0;
            file_list_read(&files, path.text);
            tare_open_files(files.files, files.count, NULL, &model, &error);
            add_error(&text, one, &error);
            file_list_free(&files);
        } else {
            size_t size;
            void *bytes = temp_read(path.text, &size);
            tare_open_bytes(bytes, size, NULL, &model, &error);
            add_error(&text, one, &error);
            free(bytes);
        }
    }
    const char *target = getenv("CORPUS_ERRORS");
    if (target != NULL) {
        FILE *out = fopen(target, "wb");
        cr_assert(out != NULL && fwrite(text.data, 1, text.size, out) == text.size);
        fclose(out);
    }
    size_t size, line = 1;
    char *before = temp_read(TARE_TEST_DATA "/corpus_errors.tsv", &size);
    for (size_t i = 0; i < size && i < text.size && before[i] == text.data[i]; i++)
        line += before[i] == '\n';
    cr_expect(size == text.size && memcmp(before, text.data, size) == 0,
              "corpus_errors.tsv: line %zu differs", line);
    free(before);
    build_free(&text);
}

/* The first byte behind what a good file cannot do without. GGUF goes on behind that: with the
 * padding of its last tensor, or with anything. */
static size_t find_end(const corpus_case *one, const char *bytes, size_t size)
{
    if (!one->is_gguf) return size;
    tare_model *model;
    cr_assert_eq(tare_open_bytes(bytes, size, NULL, &model, NULL), TARE_OK, "%s", one->path);
    uint64_t end = tare_shard_at(model, 0).data_offset;
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        uint64_t last = tare_offset(model, tensor) + tare_size(model, tensor);
        if (last > end) end = last;
    }
    tare_close(model);
    return (size_t)end;
}

/* The header lies at the end of the heap block here, so that a parser that looks at one byte too
 * many is seen by AddressSanitizer: all good headers, cut short at every place. */
Test(corpus, every_good_file_is_refused_when_it_is_cut_short)
{
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index || !one->accept) continue;
        size_t size;
        char *bytes = temp_read(temp_join(&corpus, one->path).text, &size);
        size_t step = size / 600 + 1, end = find_end(one, bytes, size);
        for (size_t cut = 0; cut < end; cut += cut < 300 ? 1 : step) {
            void *piece = temp_copy(bytes, cut);
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            tare_status status = tare_open_bytes(piece, cut, NULL, &model, &error);
            cr_expect_neq(status, TARE_OK, "%s: accepted when cut to %zu", one->path, cut);
            expect_status(one->path, status, status, model, &error);
            tare_close(status == TARE_OK ? model : NULL);
            free(piece);
        }
        free(bytes);
    }
}

Test(corpus, good_gguf_files_do_without_what_follows_their_last_tensor)
{
    size_t tried = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (!one->is_gguf || !one->accept) continue;
        size_t size;
        char *bytes = temp_read(temp_join(&corpus, one->path).text, &size);
        for (size_t cut = find_end(one, bytes, size); cut <= size; cut++, tried++) {
            void *piece = temp_copy(bytes, cut);
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            tare_status status = tare_open_bytes(piece, cut, NULL, &model, &error);
            check_verdict(one, status, model, &error);
            free(piece);
        }
        free(bytes);
    }
    cr_expect_gt(tried, 300, "%zu files", tried);
}

/* Every tensor of what is accepted lies in the file behind the one before it, is found, and can be
 * read. Those of safetensors cover the file exactly. */
static void check_sane(const corpus_case *one, const tare_model *model, size_t size)
{
    tare_shard_info shard = tare_shard_at(model, 0);
    uint64_t end = shard.data_offset;
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_string name = tare_name(model, tensor);
        uint64_t offset = tare_offset(model, tensor);
        cr_assert_eq(tare_find(model, name.data, name.size), tensor, "%s: tensor %zu", one->path,
                     i);
        if (shard.format == TARE_FORMAT_GGUF)
            cr_assert_geq(offset, end, "%s: tensor %zu", one->path, i);
        else
            cr_assert_eq(offset, end, "%s: tensor %zu", one->path, i);
        end = offset + tare_size(model, tensor);
        char *target = malloc((size_t)tare_size(model, tensor) + 1);
        cr_assert_eq(tare_read(model, tensor, target, (size_t)tare_size(model, tensor), NULL),
                     TARE_OK, "%s: tensor %zu", one->path, i);
        free(target);
    }
    for (size_t i = 0; i < tare_metadata_count(model); i++) {
        tare_value value = tare_metadata_value_at(model, i), item;
        uint64_t items = 0, count = value.kind == TARE_KIND_ARRAY ? value.count : 0;
        for (; tare_value_next(&value, &item); items++)
            cr_assert_eq(item.kind, value.item_kind, "%s: value %zu", one->path, i);
        cr_assert_eq(items, count, "%s: value %zu", one->path, i);
    }
    cr_assert_leq(end, size, "%s: ends at %" PRIu64 " of %zu", one->path, end, size);
    if (shard.format != TARE_FORMAT_GGUF)
        cr_assert_eq(end, size, "%s: ends at %" PRIu64 " of %zu", one->path, end, size);
}

Test(corpus, small_good_files_with_any_bit_changed_are_refused_or_sane)
{
    size_t accepted = 0, refused = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index || !one->accept) continue;
        size_t size;
        char *bytes = temp_read(temp_join(&corpus, one->path).text, &size);
        for (size_t bit = 0; size <= 1000 && bit < 8 * size; bit++) {
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            char *changed = temp_copy(bytes, size);
            changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
            tare_status status = tare_open_bytes(changed, size, NULL, &model, &error);
            if (status == TARE_OK) {
                check_sane(one, model, size);
                tare_close(model);
                accepted++;
            } else {
                expect_status(one->path, status, status, model, &error);
                refused++;
            }
            free(changed);
        }
        free(bytes);
    }
    cr_expect_gt(accepted, 10000, "%zu accepted", accepted);
    cr_expect_gt(refused, 10000, "%zu refused", refused);
}

/* Opens the files with that text for the list, at the end of a heap block, and once more behind
 * readers: both say the same, and what opens can be found and read. Returns whether it did. */
static int open_changed_list(const corpus_case *one, file_list *files, tare_file *index,
                             const char *text, size_t size)
{
    reader_probe probe;
    tare_file good = *index;
    tare_model *model = expect_no_model(), *again = expect_no_model();
    tare_error error = expect_poison(), error_again;
    void *changed = temp_copy(text, size);
    reader_probe_init(&probe, changed, size, 7);
    index->bytes = changed;
    index->size = size;
    tare_status status = tare_open_files(files->files, files->count, NULL, &model, &error);
    index->bytes = NULL;
    index->size = 0;
    index->reader = &probe.reader;
    tare_status status_again =
        tare_open_files(files->files, files->count, NULL, &again, &error_again);
    cr_assert(status == status_again && error.offset == error_again.offset, "%s: %s, then %s",
              one->path, error.message, error_again.message);
    if (status != TARE_OK) expect_status(one->path, status, status, model, &error);
    for (size_t i = 0; status == TARE_OK && i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_string name = tare_name(model, tensor);
        size_t size_of = (size_t)tare_size(model, tensor);
        char bytes[4096];
        cr_assert_eq(tare_find(model, name.data, name.size), tensor, "%s: %zu", one->path, i);
        cr_assert_leq(size_of, sizeof bytes);
        cr_assert_eq(tare_read(model, tensor, bytes, size_of, NULL), TARE_OK);
    }
    tare_close(model);
    tare_close(again);
    free(changed);
    *index = good;
    return status == TARE_OK;
}

Test(corpus, good_indexes_with_any_bit_changed_or_cut_anywhere_are_refused_or_sane)
{
    static file_list files;
    size_t accepted = 0, refused = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (!one->is_index || !one->accept) continue;
        temp_path path = temp_join(&corpus, one->path);
        char *slash = strrchr(path.text, '/');
        *slash = 0;
        file_list_read(&files, path.text);
        tare_file *index = file_list_find(&files, slash + 1);
        size_t size = index->size;
        char *text = temp_copy(index->bytes, size);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            int opened = open_changed_list(one, &files, index, text, size);
            accepted += opened != 0, refused += !opened;
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        }
        for (size_t cut = 0; cut < size; cut++)
            refused += !open_changed_list(one, &files, index, text, cut);
        free(text);
        file_list_free(&files);
    }
    cr_expect_gt(accepted, 100, "%zu accepted", accepted);
    cr_expect_gt(refused, 10000, "%zu refused", refused);
}
