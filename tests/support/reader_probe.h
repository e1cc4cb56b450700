/* A tare_reader over memory that answers in pieces, writes down what it is asked, and
 * misbehaves. */
#ifndef READER_PROBE_H
#define READER_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "tare.h"

typedef struct reader_probe {
    tare_reader reader; /* hand out its address */
    const uint8_t *bytes;
    uint64_t size;
    size_t piece; /* most bytes of one answer; 0 is all */
    size_t calls;
    uint64_t lowest;  /* of the offsets asked for */
    uint64_t end;     /* behind the last byte asked for */
    uint64_t given;   /* bytes answered */
    size_t mistakes;  /* 0 bytes asked for, or bytes at or beyond the end */
    size_t answer_at; /* the number of the call, from 1, to answer so instead; 0 is none */
    int64_t answer;
} reader_probe;

/* `probe` must stay where it is. */
void reader_probe_init(reader_probe *probe, const void *bytes, uint64_t size, size_t piece);

/* Forgets what was asked so far. */
void reader_probe_reset(reader_probe *probe);

#endif
