/* Models that scenarios are about, made once; none of them is changed by any scenario. */
#ifndef FAULT_WORLD_H
#define FAULT_WORLD_H

#include <stdbool.h>

#include "support/builder.h"
#include "support/file_list.h"
#include "support/name_sets.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

/*
 * In the folder:
 *   one.safetensors             tensors of 0 to 12,345 bytes
 *   long/                       one file whose storage grows while it is read, alone
 *   names/                      1,000 names in five shards
 *   three/                      the tensors of one.safetensors in three shards
 *   large-0000[12]-of-00002.gguf      of many tensors and entries
 *   split-0000[12]-of-00002.gguf
 *   none.json                   an index of nothing
 *   indexed.safetensors, indexed/                       the same as one and three, with index files
 *   stale.safetensors, damaged.safetensors, damaged/    likewise, but the index files do not fit
 */
typedef struct fault_world_type {
    temp_path folder;
    build_text one, longer, gguf;
    name_set names;
    file_list files; /* those of names/, and of a folder with one GGUF file */
    file_list gguf_files;
    reader_probe gguf_reader; /* of that file, and of all of it in memory */
    tare_file gguf_lent;
    reader_probe reader; /* of one.safetensors */
    void *index;         /* that of one.safetensors, at an address that is no multiple of 64 */
    size_t index_size;
} fault_world_type;

extern fault_world_type fault_world;

void fault_world_make(void);
void fault_world_remove(void);

/* The path of something in the folder, until the next call but three. */
const char *fault_path(const char *name);

/* Numbers that tell contents apart; never 0. */
uint64_t fault_sum(uint64_t before, const void *bytes, size_t size);
uint64_t fault_sum_model(const tare_model *model);

/* A folder to write to, with a file `target` in it if there is text; and its end. Untouched is how
 * a failure leaves it, unless the round's error says that the file is in place. */
void fault_target_make(const char *text);
const char *fault_target(void);
uint64_t fault_target_outcome(void);
bool fault_target_untouched(void);
void fault_target_remove(void);

/* Opens a model with the scenario's hooks, or ends the program. */
tare_model *fault_open(const char *name, uint32_t backing, uint32_t index);

#endif
