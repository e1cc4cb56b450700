#define _POSIX_C_SOURCE 200809L
#include "alloc_probe.h"

#include <stdlib.h>
#include <string.h>

/* AddressSanitizer ends the program over larger ones instead of returning NULL. */
static const uint64_t size_max = UINT64_C(1) << 36;

static void *probe_allocate(void *context, size_t size, size_t alignment)
{
    alloc_probe *probe = context;
    probe->calls++;
    if (size == 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
        probe->mistakes++;
        return NULL;
    }
    int fails = probe->fail_at != 0 && probe->calls >= probe->fail_at &&
                probe->calls - probe->fail_at <= probe->fail_more;
    if (fails || size > size_max) {
        probe->refused++;
        return NULL;
    }
    if (probe->block_count == ALLOC_BLOCK_MAX) abort();
    void *memory = NULL; /* exactly `size` bytes, so that AddressSanitizer sees one too far */
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0)
        abort();
    memset(memory, 0xA5, size);
    probe->blocks[probe->block_count++] = (alloc_block){memory, size, alignment};
    probe->block_size += size;
    if (probe->block_size > probe->peak_size) probe->peak_size = probe->block_size;
    return memory;
}

static void probe_release(void *context, void *memory, size_t size, size_t alignment)
{
    alloc_probe *probe = context;
    for (size_t i = 0; i < probe->block_count; i++) {
        alloc_block *block = &probe->blocks[i];
        if (block->memory != memory) continue;
        if (block->size != size || block->alignment != alignment) probe->mistakes++;
        probe->block_size -= block->size;
        *block = probe->blocks[--probe->block_count];
        free(memory);
        return;
    }
    probe->mistakes++;
}

void alloc_probe_init(alloc_probe *probe)
{
    memset(probe, 0, sizeof *probe);
    probe->hooks.struct_size = sizeof probe->hooks;
    probe->hooks.context = probe;
    probe->hooks.allocate = probe_allocate;
    probe->hooks.release = probe_release;
}
