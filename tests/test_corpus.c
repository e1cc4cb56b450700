/* Every file of the corpus gets the verdict that its manifest states, however it is opened. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/corpus_list.h"
#include "support/expect.h"
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

static void check_metadata(const tare_model *model, const corpus_fact *fact, size_t at)
{
    tare_string key = {0}, value = {0};
    uint32_t shard = TARE_NO_SHARD;
    cr_assert_eq(tare_metadata_at(model, at, &key, &value, &shard), 1, "%s", fact->path);
    cr_assert_eq(key.size, fact->name_size, "%s: key %zu", fact->path, at);
    cr_assert_eq(value.size, fact->value_size, "%s: value %zu", fact->path, at);
    cr_expect_arr_eq(key.data, fact->name, key.size, "%s: key %zu", fact->path, at);
    cr_expect_arr_eq(value.data, fact->value, value.size, "%s: value %zu", fact->path, at);
    cr_expect_eq(shard, fact->shard, "%s: shard of metadata %zu", fact->path, at);
}

static void check_good(const corpus_case *one, const tare_model *model)
{
    size_t tensors = 0, entries = 0;
    for (size_t i = 0; i < list.fact_count; i++) {
        const corpus_fact *fact = &list.facts[i];
        if (strcmp(fact->path, one->path) != 0) continue;
        if (fact->value != NULL) {
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
        check_verdict(one, status, model, &error);
        cr_expect_eq(probe.mistakes, 0, "%s: the reader is asked for what is not there", one->path);
        free(bytes);
    }
}

Test(corpus, is_here_as_a_whole)
{
    size_t accepted = 0, indexes = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        accepted += (size_t)list.cases[i].accept;
        indexes += (size_t)list.cases[i].is_index;
    }
    cr_expect_eq(list.case_count, 190, "%zu cases", list.case_count);
    cr_expect_eq(indexes, 39, "%zu indexes", indexes);
    cr_expect_eq(accepted, 31, "%zu good cases", accepted);
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
        check_verdict(one, status, model, &error);
        free(bytes);
    }
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
        reader_probe probe;
        reader_probe_init(&probe, bytes, size, 0);
        tare_model *models[4];
        tare_error errors[4];
        tare_open_bytes(bytes, size, NULL, &models[0], &errors[0]);
        tare_open(path.text, &mapped, &models[1], &errors[1]);
        tare_open(path.text, &read, &models[2], &errors[2]);
        tare_open_reader(&probe.reader, NULL, &models[3], &errors[3]);
        for (size_t way = 0; way < 4; way++) {
            cr_expect_eq(errors[way].status, errors[0].status, "%s: way %zu", one->path, way);
            cr_expect_eq(errors[way].offset, errors[0].offset, "%s: way %zu", one->path, way);
            if (way > 0 && models[way] != NULL && models[0] != NULL)
                expect_same_models(one->path, models[0], models[way]);
        }
        for (size_t way = 0; way < 4; way++) tare_close(models[way]);
        free(bytes);
    }
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
        size_t step = size / 600 + 1;
        for (size_t cut = 0; cut < size; cut += cut < 300 ? 1 : step) {
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

/* Whatever is accepted covers the file exactly, and every tensor is found and can be read. */
static void check_sane(const char *what, const tare_model *model, size_t size)
{
    uint64_t end = tare_shard_at(model, 0).data_offset;
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_string name = tare_name(model, tensor);
        cr_assert_eq(tare_find(model, name.data, name.size), tensor, "%s: tensor %zu", what, i);
        cr_assert_eq(tare_offset(model, tensor), end, "%s: tensor %zu", what, i);
        end += tare_size(model, tensor);
        char *target = malloc((size_t)tare_size(model, tensor) + 1);
        cr_assert_eq(tare_read(model, tensor, target, (size_t)tare_size(model, tensor), NULL),
                     TARE_OK, "%s: tensor %zu", what, i);
        free(target);
    }
    cr_assert_eq(end, size, "%s: ends at %" PRIu64 " of %zu", what, end, size);
}

Test(corpus, small_good_files_with_any_bit_changed_are_refused_or_sane)
{
    size_t accepted = 0, refused = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        if (one->is_index || !one->accept) continue;
        size_t size;
        char *bytes = temp_read(temp_join(&corpus, one->path).text, &size);
        for (size_t bit = 0; size <= 400 && bit < 8 * size; bit++) {
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            char *changed = temp_copy(bytes, size);
            changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
            tare_status status = tare_open_bytes(changed, size, NULL, &model, &error);
            if (status == TARE_OK) {
                check_sane(one->path, model, size);
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
    cr_expect_gt(accepted, 1000, "%zu accepted", accepted);
    cr_expect_gt(refused, 10000, "%zu refused", refused);
}
