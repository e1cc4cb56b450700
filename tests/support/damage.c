#include "damage.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "expect.h"
#include "temp_files.h"

tare_status damage_open(const build_text *file, tare_model **model, tare_error *error)
{
    static void *last;
    free(last);
    last = temp_copy(file->data, file->size);
    *model = expect_no_model();
    *error = expect_poison();
    return tare_open_bytes(last, file->size, NULL, model, error);
}

static void check_text(const damage *row, const build_text *header, size_t mark)
{
    build_text file = build_raw(header->data, header->size, row->data_size);
    tare_model *model;
    tare_error error;
    tare_status status = damage_open(&file, &model, &error);
    if (row->status == TARE_OK) {
        expect_opened(row->what, status, model, &error);
    } else {
        cr_assert_neq(mark, SIZE_MAX, "%s: the row has no ^", row->what);
        expect_refused(row->what, row->status, 8 + mark, status, model, &error);
        cr_expect_eq(error.shard, 0, "%s: shard %" PRIu32, row->what, error.shard);
    }
    if (status == TARE_OK) tare_close(model);
    build_free(&file);
}

/* Once more with spaces behind: near the end of a header ways for what is usual are not taken. */
static void check_row(const damage *row)
{
    static const char spaces[] = "                                                                ";
    size_t mark;
    build_text header = build_marked(row->header, &mark);
    check_text(row, &header, mark);
    bool whole = header.size != 0 && header.data[header.size - 1] == '}';
    if (whole && (mark == SIZE_MAX || mark < header.size)) {
        build_add(&header, spaces, sizeof spaces - 1);
        check_text(row, &header, mark);
    }
    build_free(&header);
}

void damage_check(const damage *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) check_row(&rows[i]);
}
