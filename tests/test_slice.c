#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slice.h"
#include "support/expect.h"
#include "support/name_sets.h"
#include "support/os_faults.h"
#include "support/slice_models.h"

enum { RANK_MAX = 5 };

static temp_path folder;

static void make_folder(void)
{
    folder = temp_folder_make();
    os_faults_reset();
}

static void remove_folder(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
}

TestSuite(slice, .init = make_folder, .fini = remove_folder);

/* ------------------------------------------------------------------------------------------------
 * What a slice must be, found one bit at a time
 */

typedef struct expected {
    unsigned char *bytes;
    size_t size;
    int splits; /* some run begins or ends within a byte */
} expected;

static int next_index(const tare_info *info, const uint64_t *start, const uint64_t *stop,
                      uint64_t *index)
{
    for (uint32_t d = info->rank; d-- > 0;) {
        if (++index[d] < stop[d]) return 1;
        index[d] = start[d];
    }
    return 0;
}

/* The box must hold something. Free its bytes. */
static expected slice_naively(const tare_info *info, const unsigned char *data,
                              const uint64_t *start, const uint64_t *stop)
{
    expected box = {0};
    uint64_t bits = tare_dtype_bits(info->dtype), bit = 0, before = 0, count = 1;
    uint64_t index[RANK_MAX];
    for (uint32_t d = 0; d < info->rank; d++) {
        count *= stop[d] - start[d];
        index[d] = start[d];
    }
    box.bytes = calloc((size_t)(count * bits / 8 + 1), 1);
    do {
        uint64_t place = 0;
        for (uint32_t d = 0; d < info->rank; d++) place = place * info->shape[d] + index[d];
        place *= bits;
        if (bit == 0 || place != before) box.splits |= place % 8 != 0 || before % 8 != 0;
        before = place + bits;
        for (uint64_t b = place; b < place + bits; b++, bit++)
            box.bytes[bit / 8] |= (unsigned char)((data[b / 8] >> b % 8 & 1) << bit % 8);
    } while (next_index(info, start, stop, index));
    box.splits |= before % 8 != 0;
    box.size = (size_t)(bit / 8);
    return box;
}

static void check_box(const slice_models *all, size_t number, const uint64_t *start,
                      const uint64_t *stop, const char *what)
{
    tare_info info = tare_describe(all->way[0], tare_at(all->way[0], number));
    const unsigned char *data = tare_data(all->way[0], tare_at(all->way[0], number));
    int empty = 0;
    expected box = {0};
    for (uint32_t d = 0; d < info.rank; d++) empty |= start[d] == stop[d];
    if (!empty) box = slice_naively(&info, data, start, stop);
    for (size_t way = 0; way < SLICE_WAYS; way++) {
        const tare_model *model = all->way[way];
        const tare_tensor *tensor = tare_at(model, number);
        tare_error error = expect_poison();
        uint64_t size = 99;
        tare_status status = tare_slice_size(model, tensor, start, stop, &size, &error);
        cr_assert_eq(status, box.splits ? TARE_E_SUBBYTE : TARE_OK, "%s: %s: %s", what,
                     slice_way_names[way], error.message);
        cr_assert_eq(size, box.splits ? 0 : box.size, "%s: %s", what, slice_way_names[way]);
        unsigned char *target = malloc(box.size + 1);
        error = expect_poison();
        status = tare_read_slice(model, tensor, start, stop, target, box.size, &error);
        cr_assert_eq(status, box.splits ? TARE_E_SUBBYTE : TARE_OK, "%s: %s: %s", what,
                     slice_way_names[way], error.message);
        cr_assert_eq(error.status, status);
        if (box.splits)
            expect_message(what, "dimension", &error);
        else
            cr_assert(empty || memcmp(target, box.bytes, box.size) == 0, "%s: %s: other bytes",
                      what, slice_way_names[way]);
        free(target);
    }
    free(box.bytes);
}

/* ------------------------------------------------------------------------------------------------
 * Boxes of every kind
 */

static uint64_t below(uint64_t *state, uint64_t end)
{
    return name_random(state) % end;
}

typedef struct random_tensor {
    char shape[128];
    char name[16];
    uint64_t sizes[RANK_MAX];
    uint32_t rank;
} random_tensor;

static build_tensor make_tensor(uint64_t *state, random_tensor *made, unsigned number)
{
    uint64_t elements, bits;
    tare_dtype dtype;
    do {
        dtype = (tare_dtype)below(state, 3) == 0 ? TARE_DTYPE_F4 + (tare_dtype)below(state, 3)
                                                 : 1 + (tare_dtype)below(state, 22);
        bits = tare_dtype_bits(dtype);
        made->rank = (uint32_t)below(state, RANK_MAX + 1);
        elements = 1;
        size_t used = 1;
        memcpy(made->shape, "[", 2);
        for (uint32_t d = 0; d < made->rank; d++) {
            uint64_t size = below(state, 40) == 0 ? 0 : 1 + below(state, made->rank < 3 ? 60 : 8);
            made->sizes[d] = size;
            elements *= size;
            used += (size_t)snprintf(made->shape + used, sizeof made->shape - used, "%s%u",
                                     d ? "," : "", (unsigned)size);
        }
        snprintf(made->shape + used, sizeof made->shape - used, "]");
    } while (elements * bits % 8 != 0);
    snprintf(made->name, sizeof made->name, "t%05u", number);
    return (build_tensor){made->name, 0, tare_dtype_name(dtype), made->shape,
                          (size_t)(elements * bits / 8)};
}

static void random_box(uint64_t *state, const random_tensor *tensor, uint64_t *start,
                       uint64_t *stop)
{
    for (uint32_t d = 0; d < tensor->rank; d++) {
        uint64_t size = tensor->sizes[d];
        start[d] = 0;
        stop[d] = size;
        if (size == 0 || below(state, 3) == 0) continue;
        uint64_t a = below(state, size + 1), b = below(state, size + 1);
        if (below(state, 2) == 0) a &= ~UINT64_C(1), b &= ~UINT64_C(1);
        if (a == b && below(state, 4) != 0) a = 0, b = size;
        start[d] = a < b ? a : b;
        stop[d] = a < b ? b : a;
    }
}

Test(slice, is_what_a_naive_loop_gives_for_random_boxes)
{
    enum { TENSORS = 60, BOXES = 25 };
    const char *given = getenv("SLICE_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + 12; seed++) {
        static random_tensor made[TENSORS];
        build_tensor tensors[TENSORS];
        static slice_models all;
        uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15);
        for (unsigned i = 0; i < TENSORS; i++) tensors[i] = make_tensor(&state, &made[i], i);
        slice_models_open(&all, &folder, tensors, TENSORS, seed % 2 ? 0 : 7);
        for (unsigned i = 0; i < TENSORS; i++) {
            /* Empty tensors are listed before others at the same offset. */
            const tare_tensor *tensor = tare_find(all.way[0], made[i].name, 6);
            size_t number = tare_index_of(all.way[0], tensor);
            for (unsigned box = 0; box < BOXES; box++) {
                uint64_t start[RANK_MAX], stop[RANK_MAX];
                char what[200];
                random_box(&state, &made[i], start, stop);
                snprintf(what, sizeof what, "SLICE_SEED=%llu: %s %s %s, box %u",
                         (unsigned long long)seed, tensors[i].name, tensors[i].dtype,
                         tensors[i].shape, box);
                check_box(&all, number, start, stop, what);
            }
        }
        slice_models_close(&all);
    }
}

/* Gaps from none to beyond what is read over, of rows and planes, wide and narrow. */
Test(slice, is_right_however_large_the_gaps_are)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[40,70000]", 2800000},
                                           {"b", 0, "F32", "[9,30,1000]", 1080000},
                                           {"c", 0, "BF16", "[6,2,3,20000]", 1440000}};
    static const uint64_t boxes[][2][4] = {
        {{0, 0}, {40, 1}},
        {{0, 69999}, {40, 70000}},
        {{3, 10}, {38, 61808}},
        {{3, 10}, {38, 61809}},
        {{1, 5}, {39, 35000}},
        {{7, 123}, {8, 60000}},
        {{0, 0}, {40, 69999}},
        {{0, 29, 0}, {9, 30, 7}},
        {{0, 0, 500}, {9, 30, 1000}},
        {{1, 2, 3}, {8, 29, 4}},
        {{0, 1, 0}, {9, 30, 1000}},
        {{2, 0, 0}, {7, 30, 999}},
        {{0, 1, 0, 0}, {6, 2, 3, 20000}},
        {{1, 0, 2, 19000}, {6, 1, 3, 20000}},
        {{0, 0, 1, 7}, {6, 2, 3, 4000}},
    };
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 3, 0);
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        char what[32];
        snprintf(what, sizeof what, "box %zu", i);
        check_box(&all, i < 7 ? 0 : i < 12 ? 1 : 2, boxes[i][0], boxes[i][1], what);
    }
    slice_models_close(&all);
}

/* A file of a few hundred kilobytes can have 100,000 dimensions and 20,000 rows: a step from one
 * row to the next must not look at each. */
Test(slice, dimensions_that_take_one_index_cost_no_step_anything)
{
    enum { ONES = 90, RANK = 2 * ONES + 4, ROWS = 3 * 2 * 5 };
    build_text shape = {0};
    uint64_t stop[RANK];
    for (size_t d = 0; d < RANK; d++) {
        stop[d] = d == 0 ? 3 : d == ONES + 1 ? 2 : d == RANK - 2 ? 5 : d == RANK - 1 ? 4 : 1;
        build_addf(&shape, "%s%d", d == 0 ? "[" : ",", (int)stop[d]);
    }
    build_add(&shape, "]", 2);
    const build_tensor tensor = {"a", 0, "U8", shape.data, ROWS * 4};
    static slice_models all;
    slice_models_open(&all, &folder, &tensor, 1, 0);
    stop[RANK - 1] = 2;
    for (size_t way = 0; way < SLICE_WAYS; way++) {
        const tare_tensor *a = tare_find(all.way[way], "a", 1);
        uint8_t target[ROWS * 2];
        tarei_slice_box box;
        cr_assert_eq(tare_read_slice(all.way[way], a, NULL, stop, target, sizeof target, NULL),
                     TARE_OK);
        for (size_t row = 0; row < ROWS; row++) {
            cr_expect_eq(target[row * 2], build_byte(row * 4), "%s: %zu", slice_way_names[way],
                         row);
            cr_expect_eq(target[row * 2 + 1], build_byte(row * 4 + 1), "%s: %zu",
                         slice_way_names[way], row);
        }
        cr_assert_eq(tarei_slice_make(all.way[way], a, NULL, stop, &box, NULL), TARE_OK);
        cr_expect_eq(box.outer_count, 2);
        cr_expect_eq(box.row_count, 5);
    }
    slice_models_close(&all);
    build_free(&shape);
}

Test(slice, bounds_that_are_null_are_those_of_the_tensor)
{
    static const build_tensor tensors[] = {
        {"a", 0, "U8", "[4,3]", 12}, {"scalar", 0, "F64", "[]", 8}, {"none", 0, "F64", "[0]", 0}};
    static const uint64_t start[] = {2, 0}, stop[] = {2, 3};
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 3, 0);
    for (size_t way = 0; way < SLICE_WAYS; way++) {
        const tare_model *model = all.way[way];
        const tare_tensor *a = tare_find(model, "a", 1), *scalar = tare_find(model, "scalar", 6);
        const char *bytes = all.file.data + all.file.size - 20;
        char target[12];
        cr_expect_eq(tare_read_slice(model, a, NULL, NULL, target, 12, NULL), TARE_OK);
        cr_expect_arr_eq(target, bytes, 12);
        cr_expect_eq(tare_read_slice(model, a, start, NULL, target, 6, NULL), TARE_OK);
        cr_expect_arr_eq(target, bytes + 6, 6);
        cr_expect_eq(tare_read_slice(model, a, NULL, stop, target, 6, NULL), TARE_OK);
        cr_expect_arr_eq(target, bytes, 6);
        cr_expect_eq(tare_read_slice(model, scalar, NULL, NULL, target, 8, NULL), TARE_OK);
        cr_expect_arr_eq(target, bytes + 12, 8);
        cr_expect_eq(tare_read_slice(model, scalar, start, stop, target, 8, NULL), TARE_OK);
        uint64_t size = 1;
        cr_expect_eq(tare_slice_size(model, tare_find(model, "none", 4), NULL, NULL, &size, NULL),
                     TARE_OK);
        cr_expect_eq(size, 0);
        cr_expect_eq(tare_read_slice(model, tare_find(model, "none", 4), NULL, NULL, NULL, 0, NULL),
                     TARE_OK);
    }
    slice_models_close(&all);
}

Test(slice, of_nothing_reads_nothing)
{
    static const build_tensor tensors[] = {{"a", 0, "F32", "[4,3]", 48},
                                           {"vast", 0, "F32", "[0,4294967295,4294967295]", 0}};
    static const uint64_t start[] = {1, 2, 0}, stop[] = {4, 2, 0};
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 2, 0);
    os_faults_reset();
    for (size_t way = 0; way < SLICE_WAYS; way++)
        for (size_t i = 0; i < 2; i++) {
            const tare_tensor *tensor =
                tare_find(all.way[way], tensors[i].name, strlen(tensors[i].name));
            const uint64_t *from = i == 0 ? start : NULL, *to = i == 0 ? stop : NULL;
            tare_error error = expect_poison();
            tare_status status = tare_read_slice(all.way[way], tensor, from, to, NULL, 0, &error);
            cr_expect_eq(status, TARE_OK, "%s: %s", slice_way_names[way], error.message);
        }
    cr_expect_eq(os_fault.calls[OS_PREAD] + all.probe.calls, 0);
    slice_models_close(&all);
}

/* ------------------------------------------------------------------------------------------------
 * Refusals
 */

Test(slice, beyond_the_shape_names_the_dimension)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[4,5,6]", 120}};
    static const struct {
        uint64_t start[3], stop[3];
        const char *message;
    } rows[] = {
        {{0, 0, 0}, {5, 5, 6}, "dimension 0: 0 to 5 of 4"},
        {{0, 3, 0}, {4, 2, 6}, "dimension 1: 3 to 2 of 5"},
        {{0, 0, 7}, {4, 5, 7}, "dimension 2: 7 to 7 of 6"},
        {{0, 0, UINT64_MAX}, {0, 0, UINT64_MAX}, "dimension 2: 18446744073709551615 to"},
        {{1, 1, 1}, {4, 5, 0}, "dimension 2: 1 to 0 of 6"},
        {{4, 6, 0}, {4, 6, 6}, "dimension 1: 6 to 6 of 5"},
    };
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 1, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t way = 0; way < SLICE_WAYS; way++) {
            const tare_tensor *tensor = tare_at(all.way[way], 0);
            tare_error error = expect_poison();
            char target[120];
            uint64_t size = 1;
            tare_status status = tare_read_slice(all.way[way], tensor, rows[i].start, rows[i].stop,
                                                 target, 120, &error);
            expect_refused(rows[i].message, TARE_E_ARGUMENT, tare_offset(all.way[way], tensor),
                           status, NULL, &error);
            expect_message("the tensor", "'a'", &error);
            expect_message("the dimension", rows[i].message, &error);
            status =
                tare_slice_size(all.way[way], tensor, rows[i].start, rows[i].stop, &size, NULL);
            cr_expect_eq(status, TARE_E_ARGUMENT);
            cr_expect_eq(size, 0);
        }
    slice_models_close(&all);
}

Test(slice, that_cuts_a_byte_names_the_dimension)
{
    static const build_tensor tensors[] = {{"f4", 0, "F4", "[2,4,3]", 12},
                                           {"f6", 0, "F6_E3M2", "[3,2,8]", 36}};
    static const struct {
        size_t number;
        uint64_t start[3], stop[3];
        const char *message; /* NULL: it does not */
    } rows[] = {
        {0, {0, 0, 0}, {2, 4, 3}, NULL},          {0, {1, 0, 0}, {2, 4, 3}, NULL},
        {0, {0, 0, 0}, {2, 2, 3}, NULL},          {0, {0, 0, 0}, {2, 1, 3}, "dimension 1"},
        {0, {0, 1, 0}, {2, 3, 3}, "dimension 1"}, {0, {0, 0, 0}, {2, 4, 2}, "dimension 1"},
        {0, {0, 0, 0}, {2, 1, 2}, NULL},          {0, {0, 0, 0}, {1, 1, 1}, "dimension 2"},
        {0, {0, 1, 1}, {1, 2, 3}, NULL},          {0, {0, 1, 0}, {1, 2, 2}, "dimension 1"},
        {1, {0, 0, 0}, {3, 2, 4}, NULL},          {1, {0, 0, 4}, {3, 2, 8}, NULL},
        {1, {0, 0, 2}, {3, 2, 6}, "dimension 2"}, {1, {0, 0, 4}, {3, 2, 6}, "dimension 2"},
    };
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 2, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const tare_tensor *tensor = tare_at(all.way[2], rows[i].number);
        tare_error error = expect_poison();
        uint64_t size;
        tare_status status =
            tare_slice_size(all.way[2], tensor, rows[i].start, rows[i].stop, &size, &error);
        cr_expect_eq(status, rows[i].message ? TARE_E_SUBBYTE : TARE_OK, "row %zu: %s", i,
                     error.message);
        if (rows[i].message != NULL) expect_message("the dimension", rows[i].message, &error);
        check_box(&all, rows[i].number, rows[i].start, rows[i].stop, "of less than a byte");
    }
    slice_models_close(&all);
}

Test(slice, wants_a_target_of_exactly_its_size)
{
    static const build_tensor tensors[] = {{"a", 0, "F32", "[4,5]", 80}};
    static const uint64_t start[] = {1, 1}, stop[] = {3, 4};
    static const size_t sizes[] = {0, 1, 23, 25, 80, SIZE_MAX};
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 1, 0);
    for (size_t way = 0; way < SLICE_WAYS; way++) {
        const tare_tensor *tensor = tare_at(all.way[way], 0);
        char target[26];
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            tare_error error = expect_poison();
            tare_status status =
                tare_read_slice(all.way[way], tensor, start, stop, target, sizes[i], &error);
            expect_status("another size", TARE_E_TARGET_SIZE, status, NULL, &error);
            expect_message("another size", "'a': the slice has 24 bytes", &error);
        }
        cr_expect_eq(tare_read_slice(all.way[way], tensor, start, stop, NULL, 24, NULL),
                     TARE_E_ARGUMENT);
        memset(target, 'x', sizeof target);
        cr_expect_eq(tare_read_slice(all.way[way], tensor, start, stop, target + 1, 24, NULL),
                     TARE_OK);
        cr_expect(target[0] == 'x' && target[25] == 'x', "writes nothing beside it");
    }
    slice_models_close(&all);
}

/* ------------------------------------------------------------------------------------------------
 * Reading
 */

/* Of two bytes and many pairs of bytes, with what lies between: gaps that are just read over, and
 * just not; spans that just fill what is on the stack for one. */
Test(slice, reads_over_gaps_as_large_as_a_seek_is_worth)
{
    enum { FILE_GAP = 8 << 10, READER_GAP = 256 << 10, STACK = 16 << 10 };
    static const struct {
        uint64_t rows, width, run;
        size_t reads[2]; /* of a file, of a reader */
    } rows[] = {
        {2, FILE_GAP + 1, 1, {1, 1}},   {2, FILE_GAP + 2, 1, {2, 1}},
        {2, READER_GAP + 1, 1, {2, 2}}, /* beyond the stack, and less than that in all */
        {3, 8190, 4, {1, 1}},           /* 16,384 bytes from the first to the last */
        {3, 8191, 4, {2, 2}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char shape[64];
        snprintf(shape, sizeof shape, "[%d,%d]", (int)rows[i].rows, (int)rows[i].width);
        build_tensor tensor = {"t", 0, "U8", shape, (size_t)(rows[i].rows * rows[i].width)};
        slice_models all;
        slice_models_open(&all, &folder, &tensor, 1, 0);
        for (size_t way = 2; way < SLICE_WAYS; way++) {
            const uint64_t start[] = {0, 0}, stop[] = {rows[i].rows, rows[i].run};
            uint8_t target[16];
            size_t size = (size_t)(rows[i].rows * rows[i].run);
            os_faults_reset();
            reader_probe_reset(&all.probe);
            const tare_tensor *wanted = tare_at(all.way[way], 0);
            cr_assert_eq(tare_read_slice(all.way[way], wanted, start, stop, target, size, NULL),
                         TARE_OK);
            size_t reads = way == 2 ? os_fault.calls[OS_PREAD] : all.probe.calls;
            cr_expect_eq(reads, rows[i].reads[way == 3], "row %zu, %s: %zu", i,
                         slice_way_names[way], reads);
            for (size_t k = 0; k < size; k++)
                cr_expect_eq(target[k],
                             build_byte(k / rows[i].run * rows[i].width + k % rows[i].run));
        }
        slice_models_close(&all);
    }
}

Test(slice, takes_few_reads)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[1000,100]", 100000},
                                           {"b", 0, "U8", "[100,20000]", 2000000}};
    static const struct {
        size_t number;
        uint64_t start[2], stop[2];
        size_t reads_max[2]; /* of a file, of a reader */
    } rows[] = {
        {0, {3, 0}, {997, 100}, {1, 1}},      /* rows are contiguous */
        {0, {0, 0}, {1000, 99}, {2, 2}},      /* the last run does not fit the target any more */
        {0, {0, 5}, {1000, 6}, {8, 8}},       /* a column, through scratch */
        {1, {0, 0}, {100, 10000}, {100, 12}}, /* gaps too large for a file */
        {1, {0, 0}, {100, 15000}, {8, 8}},    {1, {0, 0}, {100, 1}, {100, 100}},
    };
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 2, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t way = 1; way < SLICE_WAYS; way++) {
            const tare_tensor *tensor = tare_at(all.way[way], rows[i].number);
            uint64_t size;
            tare_slice_size(all.way[way], tensor, rows[i].start, rows[i].stop, &size, NULL);
            void *target = malloc((size_t)size);
            os_faults_reset();
            reader_probe_reset(&all.probe);
            tare_status status = tare_read_slice(all.way[way], tensor, rows[i].start, rows[i].stop,
                                                 target, (size_t)size, NULL);
            cr_expect_eq(status, TARE_OK);
            size_t reads = way < 3 ? os_fault.calls[OS_PREAD] : all.probe.calls;
            cr_expect(reads > 0 && reads <= rows[i].reads_max[way == 3], "row %zu, %s: %zu reads",
                      i, slice_way_names[way], reads);
            cr_expect_eq(os_fault.asked_max > (1u << 20), 0, "row %zu", i);
            free(target);
        }
    slice_models_close(&all);
}

/* Every read fails in turn, for good or for a moment. */
Test(slice, fails_cleanly_at_every_read)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[12,20000]", 240000}};
    static const uint64_t start[] = {1, 100}, stop[] = {12, 10000};
    static const int failures[] = {EIO, 0, EINTR, EAGAIN};
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 1, 0);
    const tare_tensor *tensor = tare_at(all.way[2], 0);
    char *target = malloc(11 * 9900);
    for (size_t f = 0; f < 4; f++)
        for (size_t n = 1; n < 100; n++) {
            tare_error error = expect_poison();
            os_faults_reset();
            os_fault.fail_at[OS_PREAD] = n;
            os_fault.fail_count = 1;
            os_fault.error = failures[f];
            os_fault.piece = 5000;
            tare_status status =
                tare_read_slice(all.way[2], tensor, start, stop, target, 11 * 9900, &error);
            if (os_fault.calls[OS_PREAD] < n) {
                cr_expect_eq(status, TARE_OK);
                cr_expect_gt(n, 20);
                break;
            }
            tare_status wanted = failures[f] == EINTR ? TARE_OK
                                 : failures[f] == 0   ? TARE_E_CHANGED
                                                      : TARE_E_READ;
            cr_expect_eq(status, wanted, "read %zu: %s", n, error.message);
            if (status != TARE_OK) {
                cr_expect_eq(error.system_error, failures[f]);
                expect_message("a read that fails", "'a'", &error);
            }
        }
    free(target);
    slice_models_close(&all);
}

Test(slice, of_a_file_that_shrank_is_an_error_also_when_mapped)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[100,1000]", 100000}};
    static const uint64_t start[] = {0, 0}, stop[] = {100, 500}, half[] = {50, 500};
    static slice_models all;
    close(0); /* daemons have none, and then the first file that is opened is number 0 */
    slice_models_open(&all, &folder, tensors, 1, 0);
    temp_write(&folder, "model.safetensors", all.file.data, all.file.size - 30000);
    char *target = malloc(50000);
    for (size_t way = 1; way <= 2; way++) {
        tare_error error = expect_poison();
        const tare_tensor *tensor = tare_at(all.way[way], 0);
        tare_status status =
            tare_read_slice(all.way[way], tensor, start, stop, target, 50000, &error);
        expect_status(slice_way_names[way], TARE_E_CHANGED, status, NULL, &error);
        expect_message(slice_way_names[way], "'a'", &error);
        status = tare_read_slice(all.way[way], tensor, start, half, target, 25000, &error);
        cr_expect_eq(status, TARE_OK, "what is left can be read");
    }
    free(target);
    slice_models_close(&all);
}

Test(slice, of_a_reader_that_fails_is_an_error)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[10,1000]", 10000}};
    static const uint64_t start[] = {0, 0}, stop[] = {10, 500};
    static slice_models all;
    slice_models_open(&all, &folder, tensors, 1, 300);
    char target[5000];
    for (size_t n = 1; n < 10; n++) {
        tare_error error = expect_poison();
        reader_probe_reset(&all.probe);
        all.probe.answer_at = n;
        all.probe.answer = -5;
        tare_status status =
            tare_read_slice(all.way[3], tare_at(all.way[3], 0), start, stop, target, 5000, &error);
        expect_status("a reader that fails", TARE_E_READ, status, NULL, &error);
        cr_expect_eq(error.system_error, 5);
    }
    slice_models_close(&all);
}
