#include <errno.h>
#include <string.h>

#include "source.h"
#include "support/expect.h"
#include "support/reader_probe.h"

static reader_probe probe;
static tarei_source source;
static tare_error error;
static char target[16];

static void start(size_t piece)
{
    error = expect_poison();
    memset(target, 'x', sizeof target);
    reader_probe_init(&probe, "0123456789", 10, piece);
    tarei_source_reader(&source, &probe.reader);
}

Test(source_reader, goes_on_after_short_answers)
{
    for (size_t piece = 0; piece <= 11; piece++) {
        start(piece);
        cr_assert_eq(tarei_source_read(&source, 0, 2, target, 7, &error), TARE_OK);
        cr_expect_arr_eq(target, "2345678x", 8);
        cr_expect_eq(probe.calls, piece == 0 ? 1 : (7 + piece - 1) / piece);
        cr_expect_eq(probe.mistakes, 0);
    }
}

Test(source_reader, is_not_asked_for_nothing)
{
    start(0);
    cr_expect_eq(tarei_source_read(&source, 0, 10, NULL, 0, &error), TARE_OK);
    cr_expect_eq(probe.calls, 0);
}

Test(source_reader, is_copied)
{
    start(0);
    memset(&probe.reader, 0, sizeof probe.reader);
    cr_expect_eq(tarei_source_read(&source, 0, 0, target, 10, &error), TARE_OK);
    cr_expect_arr_eq(target, "0123456789", 10);
}

static void check_answer(int64_t answer, tare_status wanted, int system_error)
{
    for (size_t at = 1; at <= 3; at++) {
        start(4);
        probe.answer_at = at;
        probe.answer = answer;
        cr_expect_eq(tarei_source_read(&source, 5, 0, target, 10, &error), wanted);
        cr_expect_eq(error.status, wanted);
        cr_expect_eq(error.system_error, system_error, "answer %lld", (long long)answer);
        cr_expect_eq(error.shard, 5);
        cr_expect_eq(probe.calls, at, "asked again after a failure");
    }
}

Test(source_reader, that_ends_early_has_changed)
{
    check_answer(0, TARE_E_CHANGED, 0);
}

Test(source_reader, that_fails_tells_its_errno)
{
    check_answer(-EIO, TARE_E_READ, EIO);
    check_answer(-ECONNRESET, TARE_E_READ, ECONNRESET);
    check_answer(-INT32_MAX, TARE_E_READ, INT32_MAX);
    check_answer(INT64_MIN, TARE_E_READ, EIO);
}

Test(source_reader, that_claims_more_than_was_asked_for_is_not_believed)
{
    check_answer(11, TARE_E_READ, EIO);
    check_answer(INT64_MAX, TARE_E_READ, EIO);
}
