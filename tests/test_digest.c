#include "digest.h"

#include <stdlib.h>
#include <string.h>

#include "support/builder.h"
#include "support/expect.h"

/* What `xxhsum -H128` prints for the same bytes. */
Test(digest, is_that_of_xxhsum)
{
    static const struct {
        const char *text;
        tare_digest digest;
    } rows[] = {
        {"", {UINT64_C(0x6001c324468d497f), UINT64_C(0x99aa06d3014798d8)}},
        {"a", {UINT64_C(0xe6c632b61e964e1f), UINT64_C(0xa96faf705af16834)}},
        {"abc", {UINT64_C(0x78af5f94892f3950), UINT64_C(0x06b05ab6733a6185)}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_digest made = tarei_digest_make(rows[i].text, strlen(rows[i].text));
        cr_expect_eq(made.low, rows[i].digest.low, "%s", rows[i].text);
        cr_expect_eq(made.high, rows[i].digest.high, "%s", rows[i].text);
    }
}

Test(digest, is_the_same_in_pieces)
{
    enum { SIZE = 3000 };
    uint8_t *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = build_byte(i);
    tare_digest whole = tarei_digest_make(bytes, SIZE);
    for (size_t piece = 1; piece <= SIZE; piece = piece * 2 + 1) {
        tarei_digest_state state;
        tarei_digest_begin(&state);
        for (size_t at = 0; at < SIZE; at += piece)
            tarei_digest_add(&state, bytes + at, at + piece < SIZE ? piece : SIZE - at);
        cr_expect(tarei_digest_equal(tarei_digest_end(&state), whole), "%zu", piece);
    }
    tare_digest other = whole;
    other.high ^= 1;
    cr_expect_not(tarei_digest_equal(whole, other));
    other = whole;
    other.low ^= UINT64_C(1) << 63;
    cr_expect_not(tarei_digest_equal(whole, other));
    free(bytes);
}
