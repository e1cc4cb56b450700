/* What a model is, and the prototypes that cross files, under the file that defines them. The parts
 * below a model (arena, source, parse, names, index) have headers of their own and do not see it.
 */
#ifndef TAREI_INTERNAL_H
#define TAREI_INTERNAL_H

#include <stdatomic.h>

#include "arena.h"
#include "error.h"
#include "folder.h"
#include "index.h"
#include "names.h"
#include "parse.h"
#include "record.h"
#include "source.h"
#include "tare.h"

/* Of pairs, and what tare_alignment tells at most: a huge page. */
#define TAREI_ALIGNMENT_MAX ((size_t)2 << 20)

/* Bytes of JSON in one file. Source: safetensors, MAX_HEADER_SIZE. */
#define TAREI_HEADER_SIZE_MAX UINT64_C(100000000)

/* Bytes of a shard index: places in it are 32 bits wide. */
#define TAREI_LISTING_SIZE_MAX (UINT64_C(1) << 30)

typedef struct tarei_opening tarei_opening;

typedef struct tarei_shard {
    const uint8_t *bytes; /* source.bytes, in the line that tare_data looks at */
    uint64_t data_offset;
    /* Models from an index file open theirs late, on any thread (prebuilt_shard.c): where it is not
     * open, `source` has only size and identity. */
    atomic_bool open;
    _Atomic(const uint8_t *) mapping; /* of one opened late, or what stands there for none */
    tare_string name;
    tarei_source source;
    uint32_t format;     /* TARE_FORMAT_* */
    uint32_t padding;    /* GGUF: from the end of the header to data_offset */
    tarei_buffer header; /* kept where arrays of metadata are in it */
} tarei_shard;

typedef struct tarei_prebuilt tarei_prebuilt;

/* Where the index file of one file, and that of several in a folder, is looked for. */
#define TAREI_INDEX_ENDING ".tareidx"
#define TAREI_INDEX_NAME "tare.idx"

/* How the files of a model are found, from the path that is opened; of pairs, and of several files
 * that a caller handed in, they are not. */
enum { TAREI_ORIGIN_NONE, TAREI_ORIGIN_FILE, TAREI_ORIGIN_LISTED, TAREI_ORIGIN_SPLIT };

struct tare_model {
    tarei_index index; /* first: what tare_find looks at */
    tarei_names tensors;
    const uint64_t *layouts;     /* tarei_layout, by their place; of headers that were read */
    const tarei_shard *resident; /* the shards, where all are in memory and records are trusted */
    tarei_prebuilt *prebuilt;    /* NULL: headers were read, nothing needs to be checked */
    tarei_shard *shards;
    uint32_t shard_count;
    tarei_names metadata;
    tarei_index metadata_index;
    const char *values; /* of metadata */

    tarei_memory memory;
    tarei_arena arena;
    tarei_parsed parsed; /* its buffers hold the records, layouts and typed values */

    /* What an index file is told of beside the shards. */
    uint32_t origin;                    /* TAREI_ORIGIN_* */
    const char *index_path;             /* its usual place; NULL: none */
    const char *listing_path;           /* the shard index; NULL: none */
    tarei_os_identity listing_identity; /* as it was read */
    const tare_error *index_failure;    /* why an index file was not used; NULL: there was none */
};

/* Facts about a tensor, loaded once. */
typedef struct tarei_look {
    uint64_t size;
    uint64_t offset;
    const uint64_t *shape;
    uint32_t dtype;
    uint32_t rank;
    uint32_t shard;
} tarei_look;

/* ------------------------------------------------------------------------------------------------
 * prebuilt_open.c: a model from an index file (prebuilt.h is for those who build and open them)
 */

/* Where the model is: `name` in `folder`, or memory or a reader, where `name` is "" or `folder`
 * holds files of a caller. */
typedef struct tarei_place {
    uint32_t origin; /* TAREI_ORIGIN_* */
    const tarei_folder *folder;
    const char *name;
    tarei_source *source; /* of one file: open; else NULL */
} tarei_place;

tare_status tarei_prebuilt_check_options(const tare_options *options, tare_error *error);

/* Opens the model from its index file, if the options ask for one and it fits; *used tells, and
 * that place->source was taken. An index that does not fit is an error only where it is
 * required. */
tare_status tarei_prebuilt_open(tarei_opening *opening, const tarei_place *place, bool *used);

void tarei_prebuilt_close(tare_model *model);

/* ------------------------------------------------------------------------------------------------
 * prebuilt_look.c, prebuilt_shard.c: what comes from an index file, checked
 */

#define TAREI_PREBUILT_RANK_MAX 64u /* so that a shape can be copied to the stack */

/* False, and an empty look, where a record leads outside. With `shape_copy`, which has room for
 * TAREI_PREBUILT_RANK_MAX, the shape is copied, and looked at there. */
bool tarei_prebuilt_look(const tare_model *model, const tarei_record *record, uint64_t *shape_copy,
                         tarei_look *look);
const tarei_record *tarei_prebuilt_find_key(const tare_model *model, const char *key, size_t size);
tare_value tarei_prebuilt_value_of(const tare_model *model, const tarei_record *entry);

/* The shard's source, which is opened if need be; NULL and an error. */
const tarei_source *tarei_prebuilt_source(const tare_model *model, uint32_t shard,
                                          tare_error *error);

static inline const tarei_layout *tarei_model_layout(const tare_model *model,
                                                     const tarei_record *record)
{
    return (const void *)(model->layouts + record->layout);
}

/* A tensor's facts; `shape_copy` is as in tarei_prebuilt_look, and not used of what cannot change. */
static inline bool tarei_model_look(const tare_model *model, const tarei_record *record,
                                    uint64_t *shape_copy, tarei_look *look)
{
    if (model->prebuilt != NULL) return tarei_prebuilt_look(model, record, shape_copy, look);
    const tarei_layout *layout = tarei_model_layout(model, record);
    *look = (tarei_look){layout->size, tarei_record_offset(record), layout->shape, layout->dtype,
                         layout->rank, tarei_record_shard(record)};
    return true;
}

static inline const tarei_source *tarei_model_source(const tare_model *model, uint32_t shard,
                                                     tare_error *error)
{
    if (model->prebuilt != NULL) return tarei_prebuilt_source(model, shard, error);
    return &model->shards[shard].source;
}

/* ------------------------------------------------------------------------------------------------
 * open.c
 */

typedef struct tarei_header {
    const uint8_t *text;   /* safetensors: JSON, without the 8 bytes before it; GGUF: the file */
    tarei_buffer buffer;   /* where it had to be read */
    uint64_t names_before; /* add to a name's place in the text for the place to report */
} tarei_header;

/* A model under construction. Headers are kept until names have been copied out of them. */
struct tarei_opening {
    tare_model *model;
    tare_options options; /* with every default filled in */
    tarei_header *headers;
    uint32_t header_count;
    tarei_gguf gguf; /* of the newest shard */
    const tare_pair *pairs;
    tare_error *error;
};

/* Copies what a caller's options hold, which begin with their struct_size and may be NULL; what
 * they are too short for stays zero. */
tare_status tarei_open_copy_options(void *to, size_t to_size, const void *from, tare_error *error);
tare_status tarei_open_check_hooks(const tare_allocator *hooks, tare_error *error);
tare_status tarei_open_check_alignment(size_t *alignment, tare_error *error); /* and fills it in */

/* Makes room for that many shards in all; then each is added by its source (taken in any case, also
 * on failure) and name; then names and index are made. */
tare_status tarei_open_expect(tarei_opening *opening, uint32_t shard_count);
tare_status tarei_open_shard(tarei_opening *opening, tarei_source *source, tare_string name);
tare_status tarei_open_finish(tarei_opening *opening);

/* What a model that was opened from files keeps of where they are. */
tare_status tarei_open_paths(tarei_opening *opening, const char *folder, const char *name);

/* Maps a file whose header was accepted, if that is wanted. */
tare_status tarei_open_map(tarei_opening *opening, uint32_t number);

/* A path, in the arena; NULL without memory. */
const char *tarei_open_join(tarei_opening *opening, const char *folder, const char *name,
                            const char *ending);

/* All of that for one file. */
tare_status tarei_open_file(tarei_opening *opening, const tarei_folder *folder, const char *path);

/* ------------------------------------------------------------------------------------------------
 * header.c: what a shard's header holds, as raw records
 */

tare_status tarei_header_read(tarei_opening *opening, uint32_t number);

/* ------------------------------------------------------------------------------------------------
 * shards.c: a path, or files by their names, whatever they lead to
 */

tare_status tarei_shards_open(tarei_opening *opening, const char *path);

/* The same of files that a caller has. */
tare_status tarei_shards_open_files(tarei_opening *opening, const tare_file *files, size_t count);

/* Whether opening takes what has such a name for something else than safetensors. */
bool tarei_shards_is_foreign(const char *path);

/* Whether a shard index of that name may have so many bytes. */
tare_status tarei_shards_check_size(const char *name, uint64_t size, tare_error *error);

/* Tells the names of the files that a model is made of. */
tare_status tarei_shards_list(tarei_opening *opening, const tare_file *file, tare_file_visit visit,
                              void *context);

/* ------------------------------------------------------------------------------------------------
 * split.c: GGUF in several files
 */

/* A name such as model-00002-of-00003.gguf, of 2 parts or more. */
typedef struct tarei_split {
    size_t prefix_size; /* of "model" */
    uint32_t number;    /* from 1 */
    uint32_t count;
} tarei_split;

bool tarei_split_is(const char *name, tarei_split *split);

/* Opens all parts of the file that `name`, one of them, is part of. */
tare_status tarei_split_open(tarei_opening *opening, const tarei_folder *folder, const char *name);

/* Names them. TARE_E_CANCELLED, of which the error does not tell yet, where `visit` says so. */
tare_status tarei_split_visit(tarei_opening *opening, const char *name, tare_file_visit visit,
                              void *context);

/* ------------------------------------------------------------------------------------------------
 * lookup.c
 */

/* Checks a caller's list of tensors, which is NULL for all of them; *count becomes how many. */
tare_status tarei_lookup_list(const tare_model *model, const tare_tensor *const *tensors,
                              size_t *count, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * metadata.c
 */

/* Puts the values of all raw metadata records where they stay; false without memory. */
bool tarei_metadata_store(tarei_opening *opening);

/* ------------------------------------------------------------------------------------------------
 * pairs.c: (name, bytes) pairs into one block of the arena
 */

tare_status tarei_pairs_copy(tarei_opening *opening, const tare_pair *pairs, size_t count);

/* ------------------------------------------------------------------------------------------------
 * bytes.c
 */

/* A tensor's facts, or an error of its index file. The shape of a model from one is copied where
 * there is a `shape_copy`, see tarei_prebuilt_look. */
tare_status tarei_bytes_look(const tare_model *model, const tare_tensor *tensor,
                             uint64_t *shape_copy, tarei_look *look, tare_error *error);

/* The source of a tensor, opened if need be; NULL and an error that names both. */
const tarei_source *tarei_bytes_open(const tare_model *model, const tare_tensor *tensor,
                                     uint32_t shard, tare_error *error);

/* The same, and the tensor's facts. */
const tarei_source *tarei_bytes_source(const tare_model *model, const tare_tensor *tensor,
                                       tarei_look *look, tare_error *error);

/* Reads a part of a tensor that is within it, with an error that names the tensor. */
tare_status tarei_bytes_read(const tare_model *model, const tare_tensor *tensor,
                             const tarei_source *source, const tarei_look *look, uint64_t begin,
                             void *target, size_t size, tare_error *error);

/* An error of the caller's about a tensor. Returns `status`. */
tare_status tarei_bytes_refuse(const tare_model *model, const tare_tensor *tensor,
                               tare_status status, const char *why, tare_error *error);

/* An error of the source of a tensor, told as one of the tensor. Returns its status. */
tare_status tarei_bytes_fail(const tare_model *model, const tare_tensor *tensor,
                             const tare_error *failure, tare_error *error);

#endif
