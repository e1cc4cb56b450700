/* A safetensors file. The size of its header is mended in one input of two, and so is the end of
 * the file, since changes to plain bytes hardly ever get past these two checks. */
#include <string.h>

#include "fuzz.h"

enum { HEAD_SIZE = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_file(data, size, size % 61 + 1);
    return 0;
}

static void put_size(uint8_t *data, uint64_t value)
{
    for (int i = 0; i < HEAD_SIZE; i++) data[i] = (uint8_t)(value >> 8 * i);
}

/* Where the object that starts behind the head ends: a count of brackets outside of strings. */
static size_t header_end(const uint8_t *data, size_t size)
{
    size_t depth = 0;
    int quoted = 0;
    for (size_t i = HEAD_SIZE; i < size; i++) {
        if (quoted && data[i] == '\\')
            i++;
        else if (data[i] == '"')
            quoted = !quoted;
        else if (!quoted && data[i] == '{')
            depth++;
        else if (!quoted && data[i] == '}' && depth-- <= 1)
            return i + 1;
    }
    return size;
}

/* The largest number behind a comma and before "]": where data seems to end. */
static uint64_t data_end(const uint8_t *data, size_t end)
{
    uint64_t most = 0;
    for (size_t i = HEAD_SIZE; i < end; i++) {
        uint64_t value = 0;
        size_t digits = 0;
        if (data[i] != ',') continue;
        while (i + 1 < end && digits < 8 && data[i + 1] >= '0' && data[i + 1] <= '9') {
            value = value * 10 + (uint64_t)(data[++i] - '0');
            digits++;
        }
        if (digits != 0 && i + 1 < end && data[i + 1] == ']' && value > most) most = value;
    }
    return most;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, size_max);
    if (seed % 2 == 0 || size < HEAD_SIZE + 2) return size;
    size_t end = header_end(data, size);
    uint64_t wanted = end + data_end(data, end);
    put_size(data, end - HEAD_SIZE);
    if (seed % 4 == 1 || wanted > size_max) return size;
    if (wanted > size) memset(data + size, 0x11, (size_t)wanted - size);
    return (size_t)wanted;
}
