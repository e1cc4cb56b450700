#include "growing_files.h"

#include <stdio.h>

#include "gguf_text.h"

build_text growing_safetensors(void)
{
    build_text header = {0};
    build_addf(&header, "{\"__metadata__\":{\"format\":\"pt\"");
    for (unsigned i = 0; i < 300; i++) build_addf(&header, ",\"key %u\":\"\\u00e9 %u\"", i, i);
    build_addf(&header, "}");
    unsigned end = 0;
    for (unsigned i = 0; i < 600; i++) end += i % 40;
    unsigned at = end;
    for (unsigned i = 600; i-- > 0;) {
        unsigned size = i % 40;
        build_addf(&header,
                   ",\"layer\\u002e%u.w\":{\"dtype\":\"U8\",\"shape\":[1,%u,1], "
                   "\"data_offsets\":[%u,%u]}",
                   i, size, at - size, at);
        at -= size;
    }
    build_addf(&header, "}");
    build_text made = build_raw(header.data, header.size, end);
    build_free(&header);
    return made;
}

build_text growing_gguf(void)
{
    build_text made = gguf_text(GGUF_HEAD("700", "403") GGUF_U16("split.no", "0")
                                    GGUF_U16("split.count", "2") "\"words\" 4:9 4:8 8:2 \"one\" "
                                                                 "90000\"x\" ",
                                NULL);
    for (unsigned i = 0; i < 1100; i++) {
        char words[120];
        if (i < 400)
            snprintf(words, sizeof words, GGUF_TEXT("key %u", "value %u"), i, i);
        else
            snprintf(words, sizeof words, GGUF_TENSOR("layer.%u.w", "%u", "24", "0"), i, 0u);
        build_text one = gguf_text(words, NULL);
        build_add(&made, one.data, one.size);
        build_free(&one);
    }
    while (made.size % 32 != 0) build_add(&made, "", 1);
    return made;
}
