/* The reader of JSON by itself: any text is stepped over or refused at a place within it, and a
 * string takes as many bytes as was said before it was unescaped. */
#include <string.h>

#include "fuzz.h"
#include "parse.h"

static void take_string(tarei_json *json)
{
    tarei_token token;
    const uint8_t *before = json->at;
    if (tarei_json_string(json, &token) != TARE_OK) return;
    FUZZ_CHECK(token.text == before + 1 && token.text + token.raw_size + 1 == json->at);
    FUZZ_CHECK(token.size <= token.raw_size);
    char *text = malloc(token.size + 8u);
    FUZZ_CHECK(text != NULL);
    memset(text, 0x5A, token.size + 8u);
    tarei_json_unescape(token.text, token.size, text);
    for (size_t i = 0; i < 8; i++) FUZZ_CHECK(text[token.size + i] == 0x5A);
    FUZZ_CHECK(tarei_json_equals(&token, text, token.size));
    FUZZ_CHECK(!tarei_json_equals(&token, text, token.size + 1u));
    FUZZ_CHECK(tarei_json_is_utf8(text, token.size));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    tare_error error;
    tarei_json json;
    memset(&error, 0, sizeof error);
    tarei_json_init(&json, copy, size, 0, 0, &error);
    bool utf8 = tarei_json_is_utf8(copy, size);
    if (size != 0 && copy[0] == '"') {
        take_string(&json);
    } else {
        tare_status status = tarei_json_skip(&json);
        if (status == TARE_OK) status = tarei_json_end(&json);
        if (status == TARE_OK) FUZZ_CHECK(utf8);
    }
    FUZZ_CHECK(json.at >= json.start && json.at <= json.end);
    if (error.status != TARE_OK) FUZZ_CHECK(error.offset <= size);
    free(copy);
    return 0;
}
