/* Files in reading which all storage has to grow. */
#ifndef GROWING_FILES_H
#define GROWING_FILES_H

#include "builder.h"

/* Tensors out of order, shapes that differ, long and escaped names, metadata. */
build_text growing_safetensors(void);

/* Many tensors and entries, an array that stays in the header, and a header of several pieces; the
 * first of two parts. */
build_text growing_gguf(void);

#endif
