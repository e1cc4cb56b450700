/* Values of metadata as files have them: what a parser and metadata.c share. */
#ifndef TAREI_VALUE_H
#define TAREI_VALUE_H

#include <stdint.h>

#include "tare.h"

/* Each string of an array stands behind its size. */
#define TAREI_TEXT_HEAD_SIZE 8u

/* Bytes of one value in a file; 0 for strings and arrays, which tell theirs, and for no kind. */
uint32_t tarei_value_kind_size(tare_kind kind);

#endif
