/* A GGUF file. One input of four gets more data behind it, since changes to plain bytes rarely
 * make room for the tensors that they invent. */
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_file(data, size, size % 61 + 1);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, size_max);
    size_t more = 32u << seed / 4 % 8;
    if (seed % 4 != 0 || more > size_max - size) return size;
    memset(data + size, 0x11, more);
    return size + more;
}
