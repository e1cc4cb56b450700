/*
 * Memory for one model on one thread, some hundred blocks, which go all at once when the instance
 * does. The malloc of wasi-libc can more, and takes 11 KB of a module of 100.
 *
 * Blocks lie one behind the other from the end of static data on, each with a header, and what
 * callers get is at a multiple of 64. Neither two neighbours nor the last block are free.
 */
#include "heap.h"

#include <stdint.h>
#include <stdlib.h>

#define UNIT HEAP_ALIGNMENT
#define PAGE 65536u

typedef struct block {
    struct block *before;          /* the neighbour, NULL for the first */
    size_t size;                   /* with this; its lowest bits are flags */
    struct block *next, *previous; /* of the free ones */
} block;

_Static_assert(sizeof(block) == 16 && sizeof(uintptr_t) == 4, "wasm32");

enum { FREE = 1, FENCE = 2 }; /* a fence spans memory that is not the heap's */

static struct {
    block *last, *free;
    uintptr_t end;   /* of the last block: 16 below a multiple of 64 */
    uintptr_t limit; /* the heap's memory ends there, or would begin anew */
} heap;

static size_t size_of(const block *at)
{
    return at->size & ~(size_t)(UNIT - 1);
}

static block *behind(const block *at)
{
    return (block *)((uintptr_t)at + size_of(at));
}

static void list(block *at)
{
    at->size |= FREE;
    at->previous = NULL;
    at->next = heap.free;
    if (at->next != NULL) at->next->previous = at;
    heap.free = at;
}

static void unlist(block *at)
{
    if (at->next != NULL) at->next->previous = at->previous;
    if (at->previous != NULL)
        at->previous->next = at->next;
    else
        heap.free = at->next;
    at->size = size_of(at);
}

static block *append(size_t size)
{
    block *at = (block *)heap.end;
    at->before = heap.last;
    at->size = size;
    heap.last = at;
    heap.end += size;
    return at;
}

static void begin(void)
{
    extern unsigned char __heap_base;
    heap.end = ((uintptr_t)&__heap_base + sizeof(block) + UNIT - 1) / UNIT * UNIT - sizeof(block);
    heap.limit = __builtin_wasm_memory_size(0) * PAGE;
}

bool heap_reserve(size_t size)
{
    if (heap.end == 0) begin();
    size_t room = heap.limit - sizeof(block) - heap.end; /* a fence must fit behind */
    if (size <= room) return true;
    uintptr_t memory_end = __builtin_wasm_memory_size(0) * PAGE;
    bool moves = memory_end != heap.limit; /* somebody else has grown the memory */
    size_t lack = moves ? size : size - room;
    size_t pages = lack / PAGE + 1;
    if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX) return false;
    if (moves) append(memory_end + UNIT - sizeof(block) - heap.end)->size |= FENCE;
    heap.limit = memory_end + pages * PAGE;
    return true;
}

void *heap_take(size_t size)
{
    if (size > PTRDIFF_MAX) return NULL;
    size = (size + sizeof(block) + UNIT - 1) / UNIT * UNIT;
    block *at = heap.free;
    while (at != NULL && size_of(at) < size) at = at->next;
    if (at == NULL) return heap_reserve(size) ? append(size) + 1 : NULL;
    unlist(at);
    if (at->size > size) {
        block *rest = (block *)((uintptr_t)at + size);
        rest->before = at;
        rest->size = at->size - size;
        behind(rest)->before = rest;
        at->size = size;
        list(rest);
    }
    return at + 1;
}

void heap_give(void *memory)
{
    if (memory == NULL) return;
    block *at = (block *)memory - 1, *before = at->before;
    bool last = at == heap.last;
    if (!last && (behind(at)->size & FREE) != 0) {
        block *after = behind(at);
        unlist(after);
        at->size += after->size;
    }
    if (before != NULL && (before->size & FREE) != 0) {
        unlist(before);
        before->size += at->size;
        at = before;
    }
    if (last) {
        heap.last = at->before;
        heap.end = (uintptr_t)at;
    } else {
        behind(at)->before = at;
        list(at);
    }
}

size_t heap_top(void)
{
    if (heap.end == 0) begin();
    return heap.last != NULL && (heap.last->size & FENCE) != 0 ? (size_t)heap.last : heap.end;
}

/* What the library takes without hooks, which nobody asks for, so that libc's are left out. */
void *malloc(size_t size)
{
    return heap_take(size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return alignment <= UNIT ? heap_take(size) : NULL;
}

void free(void *memory)
{
    heap_give(memory);
}
