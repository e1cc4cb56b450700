#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "os.h"

#define HUGE_SIZE ((size_t)2 << 20)

/* Headers and names of large models come to tens of megabytes that are written once: most of what
 * fresh memory costs there is the fault of each small page. Only whole huge pages are asked for, so
 * that no more memory is used than was wanted. */
static void *system_allocate(void *context, size_t size, size_t alignment)
{
    (void)context;
    bool huge = size >= HUGE_SIZE;
    if (huge && alignment < HUGE_SIZE) alignment = HUGE_SIZE;
    if (alignment <= _Alignof(max_align_t)) return malloc(size);
    uint64_t rounded; /* aligned_alloc wants whole multiples */
    if (tarei_check_round_up(size, alignment, &rounded) || rounded > SIZE_MAX) return NULL;
    void *memory = aligned_alloc(alignment, (size_t)rounded);
    if (memory != NULL && huge)
        tarei_os_advise_memory(memory, size & ~(HUGE_SIZE - 1), TAREI_OS_HUGE_PAGES);
    return memory;
}

static void system_release(void *context, void *memory, size_t size, size_t alignment)
{
    (void)context, (void)size, (void)alignment;
    free(memory);
}

void tarei_memory_init(tarei_memory *memory, const tare_allocator *hooks)
{
    memset(memory, 0, sizeof *memory);
    if (hooks != NULL) {
        memory->hooks = *hooks;
    } else {
        memory->hooks.allocate = system_allocate;
        memory->hooks.release = system_release;
    }
}

void *tarei_memory_take(tarei_memory *memory, uint64_t size, size_t alignment)
{
    size += size == 0;
    if (!tarei_check_fits_size(size)) return NULL;
    void *taken = memory->hooks.allocate(memory->hooks.context, (size_t)size, alignment);
    if (taken != NULL) memory->held_size += size;
    return taken;
}

void tarei_memory_give(tarei_memory *memory, void *taken, uint64_t size, size_t alignment)
{
    if (taken == NULL) return;
    size += size == 0;
    memory->held_size -= size;
    memory->hooks.release(memory->hooks.context, taken, (size_t)size, alignment);
}

/* The footer stands at the end of its chunk, so that the chunk's start has the alignment asked for
 * without a page of padding in front. */
typedef struct tarei_chunk {
    struct tarei_chunk *before;
    unsigned char *start;
    uint64_t used;
    uint64_t size; /* bytes before the footer */
    size_t alignment;
} tarei_chunk;

#ifndef TAREI_CHUNK_SIZE /* tests of failures have every piece in a chunk of its own */
#define TAREI_CHUNK_SIZE 16384u
#endif

void tarei_arena_init(tarei_arena *arena, tarei_memory *memory)
{
    arena->memory = memory;
    arena->last = NULL;
}

static tarei_chunk *chunk_add(tarei_arena *arena, uint64_t size, size_t alignment)
{
    uint64_t total;
    uint64_t least = TAREI_CHUNK_SIZE - sizeof(tarei_chunk);
    if (size < least) size = least;
    if (tarei_check_round_up(size, _Alignof(tarei_chunk), &size)) return NULL;
    if (tarei_check_add(size, sizeof(tarei_chunk), &total)) return NULL;
    if (alignment < TAREI_BUFFER_ALIGNMENT) alignment = TAREI_BUFFER_ALIGNMENT;
    unsigned char *start = tarei_memory_take(arena->memory, total, alignment);
    if (start == NULL) return NULL;
    tarei_chunk *chunk = (tarei_chunk *)(void *)(start + size);
    *chunk = (tarei_chunk){arena->last, start, 0, size, alignment};
    arena->last = chunk;
    return chunk;
}

static void *chunk_take(tarei_chunk *chunk, uint64_t size, size_t alignment)
{
    if (alignment > chunk->alignment) return NULL;
    uint64_t at = (chunk->used + alignment - 1) & ~(uint64_t)(alignment - 1);
    if (at > chunk->size || size > chunk->size - at) return NULL;
    chunk->used = at + size;
    return chunk->start + at;
}

void *tarei_arena_take(tarei_arena *arena, uint64_t size, size_t alignment)
{
    void *taken = arena->last ? chunk_take(arena->last, size, alignment) : NULL;
    if (taken != NULL) return taken;
    tarei_chunk *room = arena->last;
    tarei_chunk *added = chunk_add(arena, size, alignment);
    if (added == NULL) return NULL;
    taken = chunk_take(added, size, alignment);
    /* A chunk made for one large thing is full: go on filling the one before it. */
    if (room != NULL && added->size - added->used < room->size - room->used) {
        added->before = room->before;
        room->before = added;
        arena->last = room;
    }
    return taken;
}

void tarei_arena_free(tarei_arena *arena)
{
    while (arena->last != NULL) {
        tarei_chunk chunk = *arena->last;
        arena->last = chunk.before;
        tarei_memory_give(arena->memory, chunk.start, chunk.size + sizeof chunk, chunk.alignment);
    }
}

#ifndef TAREI_BUFFER_SIZE_MIN /* and arrays grow at once */
#define TAREI_BUFFER_SIZE_MIN 4096u
#endif

bool tarei_buffer_reserve(tarei_buffer *buffer, tarei_memory *memory, uint64_t more)
{
    uint64_t needed;
    if (tarei_check_add(buffer->size, more, &needed)) return false;
    if (needed <= buffer->capacity && buffer->data != NULL) return true;
    uint64_t capacity = buffer->capacity + buffer->capacity / 2;
    if (capacity < needed) capacity = needed;
    if (capacity < TAREI_BUFFER_SIZE_MIN) capacity = TAREI_BUFFER_SIZE_MIN; /* few steps */
    void *data = tarei_memory_take(memory, capacity, TAREI_BUFFER_ALIGNMENT);
    if (data == NULL) return false;
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): what has a size has data */
    if (buffer->size != 0) memcpy(data, buffer->data, (size_t)buffer->size);
    tarei_memory_give(memory, buffer->data, buffer->capacity, TAREI_BUFFER_ALIGNMENT);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void tarei_buffer_trim(tarei_buffer *buffer, tarei_memory *memory, uint64_t spare)
{
    uint64_t wanted = buffer->size + spare;
    if (buffer->data == NULL || buffer->capacity < wanted + wanted / 8 + TAREI_BUFFER_SIZE_MIN)
        return;
    void *data = tarei_memory_take(memory, wanted, TAREI_BUFFER_ALIGNMENT);
    if (data == NULL) return;
    memcpy(data, buffer->data, (size_t)buffer->size);
    tarei_memory_give(memory, buffer->data, buffer->capacity, TAREI_BUFFER_ALIGNMENT);
    buffer->data = data;
    buffer->capacity = wanted;
}

void tarei_buffer_free(tarei_buffer *buffer, tarei_memory *memory)
{
    tarei_memory_give(memory, buffer->data, buffer->capacity, TAREI_BUFFER_ALIGNMENT);
    memset(buffer, 0, sizeof *buffer);
}
