/*
 * tare: name -> dtype, shape, bytes of every tensor of a model, as fast as the hardware allows.
 *
 * This header is the whole public API and its reference text.
 *
 *     tare_model *model;
 *     tare_error error;
 *     if (tare_open("model.safetensors", NULL, &model, &error) != TARE_OK) {
 *         fprintf(stderr, "%s\n", error.message);
 *         return 1;
 *     }
 *     const tare_tensor *tensor = tare_find(model, "lm_head.weight", 14);
 *     if (tensor != NULL) use(tare_data(model, tensor), tare_size(model, tensor));
 *     tare_close(model);
 *
 * WORDS
 *   model     the open handle: every tensor of one file, one set of shards, or one set of pairs
 *   tensor    one record: name, dtype, shape, and where its bytes are
 *   shard     one file or buffer of a model; numbered from 0
 *   header    the bytes of a shard that describe tensors; the data section follows it
 *   offset    bytes from the start of a shard
 *
 * THREADS
 *   No call changes a model that is open. Every function that takes a `const tare_model *` may be
 *   called on any number of threads at once, without locks. (One thing is done late: of a model
 *   from an index file a shard is opened by who first wants its bytes; no other thread waits for
 *   that.)
 *   tare_close must be the last call on a model.
 *
 * LIFETIME
 *   Every pointer that a model hands out (tensors, names, shapes, metadata, mapped bytes) lives
 *   until tare_close and is never freed by the caller.
 *
 * ERRORS
 *   Calls that can fail return a tare_status and take a `tare_error *`, which may be NULL and is
 *   written on every call, also on success. On failure every output is NULL or zero and there is
 *   nothing to close. The library never prints, aborts, exits or installs a signal handler.
 *
 * CAVEATS
 *   - A file that is truncated or fails to be read (network file systems, full disks) while it is
 *     mapped raises SIGBUS in whoever touches the bytes behind tare_data. Replace model files by
 *     renaming a new one over them, never in place; or use tare_read, tare_read_slice, tare_load or
 *     tare_hash, which return an error instead: they never read files through a mapping, also where
 *     there is one. TARE_BACKING_READ makes sure that there is none.
 *   - A mapping is not a snapshot: bytes that another process writes into the file show up behind
 *     tare_data. Headers of files are parsed from a private copy and cannot change meanwhile.
 *   - One descriptor for each shard stays open until tare_close, also when mapped: tare_read uses
 *     it. A model of more shards than the process may open files (ulimit -n) is TARE_E_OPEN.
 *   - A model opened from an index file (tare_index_save) maps that file, unless TARE_BACKING_READ:
 *     the first two points then hold for every call on it. Who writes to the file meanwhile, or to
 *     index_bytes, changes names, shapes, sizes and metadata of a model that is open. Each call
 *     stays within what it is given and what is there, whatever happens; two calls may tell
 *     different things. Memory of tare_size bytes, and bounds of `rank` dimensions, are too small
 *     for a tensor that has grown since, and a name may have lost its terminator: check sizes in
 *     the call that uses them (tare_data_at, tare_read, target_sizes), or map only what those write
 *     to whom you trust. Several shards are opened one by one when their bytes are first asked for;
 *     one that was replaced, changed or removed by then is an error of that call (tare_ready tells
 *     which), not of tare_open.
 *   - Mapped tensors are aligned as their writer placed them, which may be not at all; see
 *     tare_alignment. tare_read, tare_load and tare_open_pairs give aligned bytes.
 *   - A load past the page cache opens each file that it reads once more (Linux: through /proc);
 *     one that cannot be opened so is read through the page cache.
 *   - After fork() a model may be used in both processes, whatever other threads were doing; each
 *     must close its own.
 *   - On 32-bit hosts files over the address space cannot be mapped; AUTO then reads instead.
 *   - A model has fewer than 2^30 tensors, at most 2^18 shards of up to 64 TiB, and 4 GiB of names;
 *     a shard index has at most 1 GiB. Beyond that opening is TARE_E_LIMIT. tare_options has lower
 *     limits for who wants them.
 */
#ifndef TARE_H
#define TARE_H

#include <stddef.h>
#include <stdint.h>

#define TARE_VERSION_MAJOR 0
#define TARE_VERSION_MINOR 1
#define TARE_VERSION_PATCH 0

#if defined(_WIN32)
#define TARE_API
#elif defined(__GNUC__)
#define TARE_API __attribute__((visibility("default")))
#else
#define TARE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Status and errors
 */

/* X(name, value, text): values are pinned and grouped by tens; new ones may be added. */
#define TARE_STATUS_LIST(X)                                                      \
    X(OK, 0, "success")                                                          \
    X(E_ARGUMENT, 10, "an argument or option has a value that it cannot have")   \
    X(E_TARGET_SIZE, 11, "the target buffer has the wrong size")                 \
    X(E_MEMORY, 20, "the allocator returned no memory")                          \
    X(E_OPEN, 21, "a file or folder could not be opened")                        \
    X(E_READ, 22, "reading failed")                                              \
    X(E_MAP, 23, "a file could not be mapped")                                   \
    X(E_CHANGED, 24, "a file changed or shrank while it was used")               \
    X(E_LIMIT, 25, "a size is beyond a limit of this library or host")           \
    X(E_UNSUPPORTED, 26, "this build or host does not support that")             \
    X(E_CANCELLED, 27, "the caller stopped it")                                  \
    X(E_WRITE, 28, "a file could not be written")                                \
    X(E_EXISTS, 29, "the target exists already")                                 \
    X(E_FORMAT, 30, "not a model file of a known format")                        \
    X(E_TRUNCATED, 31, "the file ends before its header does")                   \
    X(E_HEADER_SIZE, 32, "the header is larger than the limit")                  \
    X(E_NO_MODEL, 33, "the folder holds no model")                               \
    X(E_AMBIGUOUS, 34, "the folder holds more than one model")                   \
    X(E_VERSION, 35, "a version of the format that is not read")                 \
    X(E_ENDIAN, 36, "a big-endian file")                                         \
    X(E_UTF8, 40, "the header is not UTF-8")                                     \
    X(E_JSON, 41, "the header is not JSON as RFC 8259 has it")                   \
    X(E_DEPTH, 42, "the header is nested too deep")                              \
    X(E_METADATA, 43, "metadata is not what the format allows")                  \
    X(E_KIND, 44, "metadata of another kind was asked for")                      \
    X(E_ALIGNMENT, 45, "an alignment that is no power of two")                   \
    X(E_ABSENT, 46, "there is no metadata of that key")                          \
    X(E_FIELD, 50, "a member is missing, there twice, or of the wrong kind")     \
    X(E_DTYPE, 51, "unknown dtype")                                              \
    X(E_SHAPE, 52, "a shape is not what the format allows")                      \
    X(E_OFFSETS, 53, "offsets are not two integers in order")                    \
    X(E_OVERFLOW, 54, "a shape holds more bytes than 64 bits can count")         \
    X(E_SUBBYTE, 55, "a tensor, row or slice ends within a byte or block")       \
    X(E_SIZE, 56, "offsets and shape disagree about the size of a tensor")       \
    X(E_LAYOUT, 57, "tensors overlap or leave a hole")                           \
    X(E_COVER, 58, "tensors do not cover the data section exactly")              \
    X(E_DUPLICATE, 59, "a name is there twice")                                  \
    X(E_INDEX, 60, "the shard index is not what it must be")                     \
    X(E_SHARD_NAME, 61, "a shard's file name is not allowed")                    \
    X(E_SHARD_TENSOR, 62, "the shard index and a shard disagree about a tensor") \
    X(E_DIGEST, 63, "bytes do not have the expected digest")                     \
    X(E_SPLIT, 64, "a part of a split file does not belong to the others")       \
    X(E_PREBUILT, 65, "an index file is damaged or of no use here")              \
    X(E_STALE, 66, "the model is not the one that an index file was built from") \
    X(E_DEVICE, 70, "a device or its driver failed")

typedef int32_t tare_status;

enum {
#define TARE_STATUS_ENUM_(name, value, text) TARE_##name = value,
    TARE_STATUS_LIST(TARE_STATUS_ENUM_) TARE_STATUS_ENUM_END_ = 0x7fffffff
#undef TARE_STATUS_ENUM_
};

#define TARE_NO_SHARD UINT32_MAX
#define TARE_NO_OFFSET UINT64_MAX

/*
 * What went wrong and where. The caller's; the library writes all of it on every call.
 * `message` is one line of printable ASCII, always terminated. Where it speaks of a file it begins
 * with that file's name in quotes and a colon; then it names the tensor or key. Bytes of names that
 * are not printable ASCII are escaped as \xNN, and long names are cut with "...".
 */
typedef struct tare_error {
    tare_status status;
    int32_t system_error; /* errno of the failed system call, or 0 */
    uint32_t shard;       /* number of the shard whose content is at fault, or TARE_NO_SHARD */
    uint32_t reserved;
    uint64_t offset; /* bytes from the start of that shard (or of the index file), TARE_NO_OFFSET */
    char message[488];
} tare_error;

/* "TARE_E_JSON" for TARE_E_JSON; "TARE_E_UNKNOWN" for a value that is none. Static storage. */
TARE_API const char *tare_status_name(tare_status status);

/* The text of the list above; never NULL. Static storage. */
TARE_API const char *tare_status_text(tare_status status);

/* ------------------------------------------------------------------------------------------------
 * Dtypes
 */

/*
 * X(name, value, bits): the 22 dtypes of safetensors, spelled as its files spell them (source:
 * safetensors `tensor.rs`, enum Dtype). Plain types of GGUF are among them. Values are pinned.
 */
#define TARE_DTYPE_LIST(X) \
    X(BOOL, 1, 8)          \
    X(F4, 2, 4)            \
    X(F6_E2M3, 3, 6)       \
    X(F6_E3M2, 4, 6)       \
    X(U8, 5, 8)            \
    X(I8, 6, 8)            \
    X(F8_E5M2, 7, 8)       \
    X(F8_E4M3, 8, 8)       \
    X(F8_E8M0, 9, 8)       \
    X(F8_E4M3FNUZ, 10, 8)  \
    X(F8_E5M2FNUZ, 11, 8)  \
    X(I16, 12, 16)         \
    X(U16, 13, 16)         \
    X(F16, 14, 16)         \
    X(BF16, 15, 16)        \
    X(I32, 16, 32)         \
    X(U32, 17, 32)         \
    X(F32, 18, 32)         \
    X(C64, 19, 64)         \
    X(F64, 20, 64)         \
    X(I64, 21, 64)         \
    X(U64, 22, 64)

/*
 * X(name, value, elements of a block, its bytes): the quantized types of GGUF, as its tools spell
 * them (source: ggml, enum ggml_type). Some consecutive elements of a row share a block, within
 * which none has a place of its own. Values are pinned.
 */
#define TARE_DTYPE_BLOCK_LIST(X) \
    X(Q4_0, 23, 32, 18)          \
    X(Q4_1, 24, 32, 20)          \
    X(Q5_0, 25, 32, 22)          \
    X(Q5_1, 26, 32, 24)          \
    X(Q8_0, 27, 32, 34)          \
    X(Q8_1, 28, 32, 36)          \
    X(Q2_K, 29, 256, 84)         \
    X(Q3_K, 30, 256, 110)        \
    X(Q4_K, 31, 256, 144)        \
    X(Q5_K, 32, 256, 176)        \
    X(Q6_K, 33, 256, 210)        \
    X(Q8_K, 34, 256, 292)        \
    X(IQ2_XXS, 35, 256, 66)      \
    X(IQ2_XS, 36, 256, 74)       \
    X(IQ3_XXS, 37, 256, 98)      \
    X(IQ1_S, 38, 256, 50)        \
    X(IQ4_NL, 39, 32, 18)        \
    X(IQ3_S, 40, 256, 110)       \
    X(IQ2_S, 41, 256, 82)        \
    X(IQ4_XS, 42, 256, 136)      \
    X(IQ1_M, 43, 256, 56)        \
    X(TQ1_0, 44, 256, 54)        \
    X(TQ2_0, 45, 256, 66)        \
    X(MXFP4, 46, 32, 17)         \
    X(NVFP4, 47, 64, 36)         \
    X(Q1_0, 48, 128, 18)         \
    X(Q2_0, 49, 64, 18)

typedef uint32_t tare_dtype;

enum {
#define TARE_DTYPE_ENUM_(name, value, bits) TARE_DTYPE_##name = value,
#define TARE_DTYPE_BLOCK_ENUM_(name, value, count, size) TARE_DTYPE_##name = value,
    TARE_DTYPE_LIST(TARE_DTYPE_ENUM_) TARE_DTYPE_BLOCK_LIST(TARE_DTYPE_BLOCK_ENUM_)
        TARE_DTYPE_ENUM_END_ = 0x7fffffff
#undef TARE_DTYPE_BLOCK_ENUM_
#undef TARE_DTYPE_ENUM_
};

/* "BF16" for TARE_DTYPE_BF16; NULL for a value that is no dtype. Static storage. */
TARE_API const char *tare_dtype_name(tare_dtype dtype);

/* Bits of one element, 4 to 64; 0 for quantized types, whose elements have no place of their own
 * (even where the quotient is whole, as for Q5_1), and for a value that is no dtype. */
TARE_API uint32_t tare_dtype_bits(tare_dtype dtype);

/*
 * The elements and the bytes of one block: of a quantized type as listed; of others the fewest
 * elements that fill whole bytes, so 1 and 4 for F32, 2 and 1 for F4, 4 and 3 for F6_E2M3. With any
 * dtype a tensor has (elements / block_count) * block_size bytes. 0 for a value that is no dtype.
 */
TARE_API uint32_t tare_dtype_block_count(tare_dtype dtype);
TARE_API uint32_t tare_dtype_block_size(tare_dtype dtype);

/* 1 where safetensors has that dtype, so that tare_save writes it; else 0. */
TARE_API int tare_dtype_can_save(tare_dtype dtype);

/* The dtype spelled so exactly (case counts), or 0. `name` may be NULL when `name_size` is 0. */
TARE_API tare_dtype tare_dtype_find(const char *name, size_t name_size);

/* ------------------------------------------------------------------------------------------------
 * Types
 */

typedef struct tare_model tare_model;   /* an open model */
typedef struct tare_tensor tare_tensor; /* one tensor of a model; compare by pointer */

/* Bytes of text that need no terminator to be used. Those that a model hands out also have one,
 * except for strings in arrays of metadata and starts of names (TARE_SUGGEST_PREFIX): data[size] is
 * 0. Text itself may hold further zero bytes: names are any UTF-8, in GGUF and of pairs any bytes. */
typedef struct tare_string {
    const char *data;
    size_t size;
} tare_string;

/* All facts about one tensor; see tare_describe. Pointers live until tare_close. */
typedef struct tare_info {
    const char *name; /* terminated, may hold zero bytes before its end */
    size_t name_size;
    /* `rank` sizes, the slowest dimension first; not NULL at rank 0. GGUF files have them the other
     * way round: what ggml calls ne[0], the size of a row, is the last one here. */
    const uint64_t *shape;
    uint32_t rank; /* 0 is a scalar: one element */
    tare_dtype dtype;
    uint64_t size;   /* bytes */
    uint64_t offset; /* bytes from the start of its shard */
    uint32_t shard;
    uint32_t reserved;
    uint64_t later[3]; /* 0 in this version */
} tare_info;

/* One (name, bytes) pair for tare_open_pairs. `data` may be NULL when `size` is 0. */
typedef struct tare_pair {
    const char *name;
    size_t name_size;
    const void *data;
    size_t size;
} tare_pair;

/*
 * Where a model's bytes come from when the caller fetches them (HTTP ranges, Blob slices, a
 * database). `read_at` writes up to `size` bytes from `offset` on to `target` and returns how many,
 * fewer being allowed; 0 means the data ends there, a negative value is a failure whose negation is
 * reported as system_error. It is never asked for a byte at or beyond `total_size`, nor for 0
 * bytes. It is called during tare_open_reader and the calls that read, on the thread that called
 * them, so that concurrent reads call it concurrently. tare_load, tare_load_into and
 * tare_hash_many call it on several threads at once if their options ask for more than one, and
 * only then. `context` must live until tare_close.
 */
typedef struct tare_reader {
    size_t struct_size; /* sizeof(tare_reader) */
    void *context;
    int64_t (*read_at)(void *context, uint64_t offset, void *target, size_t size);
    uint64_t total_size;
} tare_reader;

/*
 * One file of a model that is not in a folder of the system: in memory, behind a reader, or both.
 *   - `reader` NULL: `bytes` is all of the file, and must stay as it is until tare_close.
 *   - else: the reader (copied) has the file, and `bytes` are as many bytes of its start as are in
 *     memory, which may be none. They are not asked of the reader, and are needed until the call
 *     returns. Where they hold the header, nothing is read.
 */
typedef struct tare_file {
    const char *name;  /* terminated, as in its folder: "model.safetensors"; NULL is "" */
    const void *bytes; /* may be NULL at size 0 */
    size_t size;
    const tare_reader *reader;
    uint64_t later[2]; /* 0 in this version */
} tare_file;

/*
 * Memory hooks of one model, of one block, or of one call of tare_save. `allocate` returns `size`
 * bytes (never 0) aligned to `alignment` (a power of two), or NULL; `release` gets back the same
 * size and alignment. Both are called on the thread that called the library, while it opens, loads,
 * saves and closes, and in tare_advise for a list that is out of order: on as many threads at once
 * as call that. Lookups never allocate.
 */
typedef struct tare_allocator {
    size_t struct_size; /* sizeof(tare_allocator) */
    void *context;
    void *(*allocate)(void *context, size_t size, size_t alignment);
    void (*release)(void *context, void *memory, size_t size, size_t alignment);
} tare_allocator;

/* How tensor bytes of files are reached. */
#define TARE_BACKING_AUTO 0u   /* map; where the file system refuses, read */
#define TARE_BACKING_MAP 1u    /* map, or fail with TARE_E_MAP */
#define TARE_BACKING_READ 2u   /* never map: tare_data is NULL, tare_read reads */
#define TARE_BACKING_MEMORY 3u /* not an option: how tare_shard_at tells bytes and pairs */

/*
 * Index files, see tare_index_save. AUTO: uses one that is there and fits, and for which there is
 * memory where it is read, else reads the headers; tare_index_status tells which. Where there is
 * none that costs one open that fails. NEVER: reads the headers. REQUIRE: an index that is missing
 * or does not fit is an error.
 */
#define TARE_INDEX_AUTO 0u
#define TARE_INDEX_NEVER 1u
#define TARE_INDEX_REQUIRE 2u

/* TIME: size and time of modification of every file of the model must be those that the index was
 * built from; of memory and readers, the size. HEADER: its size, and the digest of its header,
 * which is read, and no more; times may differ, as they do where files were copied. */
#define TARE_INDEX_BY_TIME 0u
#define TARE_INDEX_BY_HEADER 1u

/* Flags. KEEP_FIRST: of pairs with one name tare_open_pairs finds the first and lists all of them;
 * without it they are refused. SEED_FIXED: hash with `seed` as given instead of a random one, for
 * reproducible timings; not for untrusted names. */
#define TARE_PAIRS_KEEP_FIRST 1u
#define TARE_SEED_FIXED 2u
/* COPY_ON_WRITE: the bytes behind tare_data of mapped files may be written to. What is written is
 * this process's alone: the file stays as it is, and what reads files (tare_read, tare_load,
 * tare_hash) does not see it; tare_save does where it takes mapped bytes. Pages that were written
 * take memory; TARE_ADVISE_DO_NOT_NEED throws them away, TARE_ADVISE_LOCK copies all it locks. */
#define TARE_COPY_ON_WRITE 4u

/* All zero but struct_size means: defaults. Fields beyond struct_size count as zero; bytes that are
 * not zero beyond the fields of the library that runs are TARE_E_ARGUMENT. */
typedef struct tare_options {
    size_t struct_size; /* sizeof(tare_options) */
    uint32_t backing;   /* TARE_BACKING_* */
    uint32_t flags;     /* TARE_PAIRS_KEEP_FIRST, TARE_SEED_FIXED, TARE_COPY_ON_WRITE */
    size_t alignment;   /* tare_open_pairs: power of two up to 2 MiB, 0 is 64 */
    uint64_t seed;      /* with TARE_SEED_FIXED */
    /* Of the header of one shard; 0 is 100,000,000 (source: safetensors MAX_HEADER_SIZE), more
     * than 2^31-1 is refused. In GGUF all that stands before the padding and the data. It holds
     * for a model from an index file as for one without. */
    uint64_t header_size_max;
    const tare_allocator *allocator; /* copied; NULL is malloc and free */
    uint32_t index;                  /* TARE_INDEX_*: whether to use an index file */
    uint32_t index_check;            /* TARE_INDEX_BY_*: how it is told to be that of the model */
    const char *index_path;          /* the index file; NULL: where tare_index_save puts it */
    /* The same in memory, for as long as the model; index_path is NULL then. Copied where its
     * address is no multiple of 64. */
    const void *index_bytes;
    size_t index_size;
    /* The most that a model may have: opening one with more is TARE_E_LIMIT, with the place in the
     * header (in a shard index, where that lists more). Numbers beyond what format and library have
     * for limits count as those, and 0 as well. Where one of the last three is set, a model from an
     * index file is looked through for them, which takes time in proportion to its tensors; the
     * index file is then read, and not mapped. */
    uint64_t tensor_count_max;  /* of all shards; also of pairs. The default is 2^30-1. */
    uint64_t rank_max;          /* of a tensor. GGUF: 4; safetensors: what its header can hold */
    uint64_t name_size_max;     /* of a tensor; also of pairs. GGUF: 63; safetensors as rank_max */
    uint64_t metadata_size_max; /* keys and values of all shards. What their headers can hold */
} tare_options;

/* clang-format off */
#define TARE_OPTIONS_INIT \
    { sizeof(tare_options), 0, 0, 0, 0, 0, NULL, 0, 0, NULL, NULL, 0, 0, 0, 0, 0 }
/* clang-format on */

/* ------------------------------------------------------------------------------------------------
 * Opening and closing. `options` may be NULL. `out` must not be NULL. `error` may be NULL.
 */

/*
 * Opens the model at `path`: a safetensors file, a `*.safetensors.index.json`, a GGUF file, or a
 * folder that holds one model (`model.safetensors.index.json` or the only index there, else its
 * only `.safetensors` or `.gguf` file, a split one counting once; several are TARE_E_AMBIGUOUS). A
 * file whose name ends in `.json` is taken for an index; what any other is its first bytes tell,
 * but a name that ends in `.safetensors` or `.gguf` must be right (TARE_E_FORMAT). Headers are read
 * and checked in full, tensor bytes are not touched. Symbolic links are followed (model caches are
 * made of them); only regular files are opened, and without waiting: one that another process has a
 * write lease on (F_SETLEASE) is TARE_E_OPEN.
 *
 * A shard index decides which files are read; every name it lists must be in the shard it names,
 * and no name may be in two shards. Tensors of a shard that it does not list are part of the model;
 * its `metadata` is not looked at.
 *
 * A file whose name ends in `-00002-of-00003.gguf`, say, is part of a split file (source:
 * llama.cpp, gguf-split): whichever part is named, all of them are opened, from the same folder, as
 * shards 0, 1 and 2. A part that is missing is TARE_E_OPEN; one whose `split.no` and `split.count`
 * say something else than its name, or parts that together have other than `split.tensors.count`
 * tensors, are TARE_E_SPLIT. A part under another name, or in memory, is a model by itself.
 */
TARE_API tare_status tare_open(const char *path, const tare_options *options, tare_model **out,
                               tare_error *error);

/*
 * Opens a safetensors or GGUF file that is already in memory. The bytes are borrowed: they must
 * stay as they are until tare_close. They need no alignment. `bytes` may be NULL when `size` is 0
 * (an error).
 */
TARE_API tare_status tare_open_bytes(const void *bytes, size_t size, const tare_options *options,
                                     tare_model **out, tare_error *error);

/*
 * Makes a model of `count` pairs. Names and bytes are copied; every tensor's bytes are aligned to
 * options->alignment. Tensors are listed in the order given, as dtype U8 of shape [size]. `pairs`
 * may be NULL when `count` is 0. Names may be any bytes. TARE_E_DUPLICATE if two names are equal,
 * unless TARE_PAIRS_KEEP_FIRST.
 */
TARE_API tare_status tare_open_pairs(const tare_pair *pairs, size_t count,
                                     const tare_options *options, tare_model **out,
                                     tare_error *error);

/* Opens a safetensors or GGUF file through the caller's reader (copied). Only the header is read;
 * since GGUF does not say how long that is, it is read in pieces, each as long as all before it,
 * and the last one may reach beyond its end. */
TARE_API tare_status tare_open_reader(const tare_reader *reader, const tare_options *options,
                                      tare_model **out, tare_error *error);

/*
 * Opens the model that is among `count` files, as tare_open does the one of a folder that holds
 * them: an index and the shards it lists, all parts of a split file, or the only model file. Files
 * that it does not need are ignored; so are, when it is looked for, those whose names have a slash.
 * One file alone is opened whatever it is called, as tare_open opens a path; without a name, as
 * tare_open_bytes and tare_open_reader do. A file that is needed and not there is TARE_E_OPEN, with
 * the system_error ENOENT; two of one name are TARE_E_ARGUMENT. `files` may be NULL when `count` is
 * 0 (TARE_E_NO_MODEL). Names of files and the array itself are needed until the call returns. Index
 * files are not looked for among them, but used where options->index_path or index_bytes gives one:
 * every file that it is of must be handed in, has the size that it had (see TARE_INDEX_BY_TIME),
 * and is not read.
 */
TARE_API tare_status tare_open_files(const tare_file *files, size_t count,
                                     const tare_options *options, tare_model **out,
                                     tare_error *error);

typedef int (*tare_file_visit)(void *context, const char *name, size_t name_size);

/*
 * Tells which files a model is made of, for those who fetch them: calls `visit` for each shard that
 * a file whose name ends in `.json` lists, sorted; for each part of a split GGUF file, told from
 * the name of one; and for any other file for itself. Names are relative to the folder of `file`
 * and terminated, and live until `visit` returns; not zero stops: TARE_E_CANCELLED. The content of
 * an index is read and checked, that of other files is not. `visit` is called on the thread that
 * called.
 */
TARE_API tare_status tare_list_files(const tare_file *file, const tare_options *options,
                                     tare_file_visit visit, void *context, tare_error *error);

/* Gives back all that the model holds. NULL is allowed. */
TARE_API void tare_close(tare_model *model);

/* ------------------------------------------------------------------------------------------------
 * Finding. None of these allocates, locks or makes a system call; none can fail.
 */

/* Number of tensors. */
TARE_API size_t tare_count(const tare_model *model);

/*
 * The tensor at `index` in an order that is always the same for the same input: by shard (sorted by
 * file name), then by offset, then empty tensors first, then as the header lists them; pairs as
 * they were given. NULL at and beyond tare_count.
 */
TARE_API const tare_tensor *tare_at(const tare_model *model, size_t index);

/* The index of a tensor of this model in that order: the one at which tare_at gives it back. */
TARE_API size_t tare_index_of(const tare_model *model, const tare_tensor *tensor);

/* The tensor of exactly that name, or NULL. `name` needs no terminator, may be NULL at size 0. */
TARE_API const tare_tensor *tare_find(const tare_model *model, const char *name, size_t name_size);

/* A name with its hash made once, for names that are looked up often. Valid for this model only;
 * borrows `name`, which must live as long as the key is used. The fields are the library's. */
typedef struct tare_key {
    const char *name;
    size_t name_size;
    uint64_t hash;
} tare_key;

TARE_API tare_key tare_key_make(const tare_model *model, const char *name, size_t name_size);
TARE_API const tare_tensor *tare_find_key(const tare_model *model, const tare_key *key);

/*
 * Finds many names at once. out[i] becomes the tensor of names[i] or NULL. Returns how many were
 * found. From some 16,000 tensors on it is faster a name than one by one, since cache misses
 * overlap; below, where all that a find needs is in the cache, it is about as fast.
 */
TARE_API size_t tare_find_many(const tare_model *model, const tare_string *names, size_t count,
                               const tare_tensor **out);

/*
 * All tensors whose names start with a prefix, in the order of tare_at:
 *
 *     tare_range range = tare_prefix(model, "model.layers.3.", 15);
 *     for (const tare_tensor *t; (t = tare_next(model, &range)) != NULL;) ...
 *
 * The range borrows `prefix`; it is a plain value that may be copied, and its fields are the
 * library's. An empty prefix gives every tensor. Groups of tensors that cannot match are passed
 * over without a look at their names.
 */
typedef struct tare_range {
    const char *prefix;
    size_t prefix_size;
    size_t at;  /* next tensor to look at */
    size_t end; /* tensors before this one are known to match */
} tare_range;

TARE_API tare_range tare_prefix(const tare_model *model, const char *prefix, size_t prefix_size);
TARE_API const tare_tensor *tare_next(const tare_model *model, tare_range *range);

/*
 * Names near to one that is not there, for a message: up to TARE_SUGGEST_COUNT, the nearest first,
 * and only those that are as near as the nearest. Near are names that differ by few edits, and
 * those that have all components of `name` (parts between dots or slashes) and more. With
 * TARE_SUGGEST_PREFIX `name` is a prefix that no tensor has, and so are the results. Returns how
 * many there are; the rest of the TARE_SUGGEST_COUNT entries of `out` are empty. They borrow the
 * model's names. Looks at every name: milliseconds for 100,000 of them.
 */
#define TARE_SUGGEST_COUNT 3
#define TARE_SUGGEST_SIZE_MAX 512u /* longer names are not suggested */
#define TARE_SUGGEST_PREFIX 1u
TARE_API size_t tare_suggest(const tare_model *model, const char *name, size_t name_size,
                             uint32_t flags, tare_string *out);

/* The edits (insert, remove, replace, swap neighbours; letter case is no edit) that make `a` into
 * `b`, or bound + 1 when more than `bound` are needed, or one is over TARE_SUGGEST_SIZE_MAX. A
 * bound beyond that counts as that. */
TARE_API uint32_t tare_name_distance(tare_string a, tare_string b, uint32_t bound);

/* ------------------------------------------------------------------------------------------------
 * Facts about a tensor, which must be one of `model`. None of these can fail; of a tensor that a
 * damaged index file (tare_index_save) leads astray they tell an empty name, dtype 0, shard
 * TARE_NO_SHARD, and 0 for the rest. tare_ready says so of one.
 */

TARE_API tare_info tare_describe(const tare_model *model, const tare_tensor *tensor); /* all */
TARE_API tare_string tare_name(const tare_model *model, const tare_tensor *tensor);
TARE_API uint64_t tare_size(const tare_model *model, const tare_tensor *tensor); /* bytes */
/* In its shard. */
TARE_API uint64_t tare_offset(const tare_model *model, const tare_tensor *tensor);

/* ------------------------------------------------------------------------------------------------
 * Bytes, as they stand in the file: its byte order (little-endian), its dtype.
 */

/*
 * The tensor's bytes where they lie: mapped, in the caller's buffer, or in the arena of pairs. NULL
 * where they are not in memory (TARE_BACKING_READ, tare_open_reader), and in a model opened from an
 * index file also where the shard cannot be opened or has changed, or the index is damaged:
 * tare_ready tells these apart. A tensor of 0 bytes always has data that is not NULL, and must not
 * be read through. Mapped bytes are read-only: writing to them faults, unless the model was opened
 * with TARE_COPY_ON_WRITE. See CAVEATS for files that change.
 */
TARE_API const void *tare_data(const tare_model *model, const tare_tensor *tensor);

/*
 * The same of `size` bytes from the byte `begin` of the tensor on: NULL also where they are not
 * within it. Since the tensor is looked at once, there are as many bytes behind what is returned,
 * also where an index file is written to by others, of which tare_data and tare_size may tell
 * different states.
 */
TARE_API const void *tare_data_at(const tare_model *model, const tare_tensor *tensor,
                                  uint64_t begin, size_t size);

/*
 * Opens the shard that holds a tensor's bytes, where a model from an index file has not opened it
 * yet: any call that wants bytes does so by itself, on whatever thread it runs. `tensor` NULL opens
 * all shards. TARE_OK says that the bytes can be had, as they always can in models whose headers
 * were read. Else TARE_E_OPEN, TARE_E_MAP (with TARE_BACKING_MAP), TARE_E_CHANGED where the shard
 * is not the one that tare_open saw, or TARE_E_PREBUILT where the index is damaged. A shard that
 * could not be opened is tried again by the next call. Allocates nothing.
 */
TARE_API tare_status tare_ready(const tare_model *model, const tare_tensor *tensor,
                                tare_error *error);

/* The largest power of two that divides the address of tare_data, at most 2 MiB; 0 without data. Of
 * mapped bytes only what is below the size of a page is the same in every run. */
TARE_API size_t tare_alignment(const tare_model *model, const tare_tensor *tensor);

/*
 * Copies the tensor's bytes to `target`, whose size must be tare_size exactly (TARE_E_TARGET_SIZE).
 * Files are read, never copied from a mapping: a truncated or failing file is TARE_E_CHANGED or
 * TARE_E_READ, not a signal. `target` may be NULL for a tensor of 0 bytes. After a failure what
 * `target` holds is unspecified.
 */
TARE_API tare_status tare_read(const tare_model *model, const tare_tensor *tensor, void *target,
                               size_t target_size, tare_error *error);

/* The same for `target_size` bytes from the byte `begin` of the tensor on, which must be within it
 * (TARE_E_TARGET_SIZE). */
TARE_API tare_status tare_read_at(const tare_model *model, const tare_tensor *tensor,
                                  uint64_t begin, void *target, size_t target_size,
                                  tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * Loading many tensors into memory, in parallel. Files are read, never copied from a mapping.
 */

/*
 * XXH3-128 of a tensor's bytes, with seed 0 (source: xxHash, XXH3_128bits). As text it is 32 lower
 * case hexadecimal digits, `high` first: what `xxhsum -H128` prints.
 */
typedef struct tare_digest {
    uint64_t low;
    uint64_t high;
} tare_digest;

/* Which way bytes of files take. AUTO is through the page cache, so that whoever loads the same
 * file next, or at the same time, finds them there. It is past it for a file of which most that is
 * wanted seems not to be there and would not stay: with DROP_BEHIND, or when the tensors of this
 * load are more than half of the machine's memory. */
#define TARE_IO_AUTO 0u
#define TARE_IO_BUFFERED 1u /* through the page cache */
#define TARE_IO_DIRECT 2u   /* past it; through it where the file system refuses */

/* Flags. DROP_BEHIND: pages that were read leave the page cache at once, for models larger than
 * memory. SMALL_PAGES: tare_load asks for no huge pages, as it otherwise does from 2 MiB on; memory
 * from hooks is taken as it comes. */
#define TARE_LOAD_DROP_BEHIND 1u
#define TARE_LOAD_SMALL_PAGES 2u

typedef struct tare_device tare_device; /* see "Devices" below */

/* A box of a tensor, such as the share of one rank of a tensor-parallel runtime, as tare_read_slice
 * takes it; see "Slices" below. Both NULL: the whole tensor. */
typedef struct tare_slice {
    const uint64_t *start;
    const uint64_t *stop;
} tare_slice;

/* All zero but struct_size means: defaults. Fields and bytes beyond are treated as those of
 * tare_options are; values beyond their range are TARE_E_ARGUMENT. */
typedef struct tare_load_options {
    size_t struct_size; /* sizeof(tare_load_options) */
    uint32_t io;        /* TARE_IO_* */
    uint32_t flags;     /* TARE_LOAD_* */
    size_t alignment;   /* tare_load, of each tensor: power of two up to 2 MiB, 0 is 64 */
    /* At most, the caller's included, up to 1024. 0: one for each processor, at most 16; 16 where
     * files are read past the page cache; more where many small reads wait for a disk, up to 64; 1
     * for a reader. To a device 12 at most of what is cached, and 32 past the page cache. */
    uint32_t threads;
    uint32_t reserved;
    uint64_t chunk_size; /* bytes of one read at most, 4 KiB to 1 GiB; 0: up to 4 MiB */
    /* Bytes of all reads at one time, from 4 KiB on; 0: threads times chunk_size, and at most 64
     * MiB if both are 0. No more is taken from the allocator beside the block, but for some 150
     * bytes a tensor (800 with a digest). What the system reads ahead into the page cache does not
     * count. */
    uint64_t flight_size_max;
    /* Called on the thread that called the library, so never twice at once: first with `done` 0,
     * then as chunks are complete, at last with `done` equal to `total`. Both count bytes of
     * tensors; `done` never falls. Not zero stops the load, also at last. May be NULL. */
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
    const tare_digest *digests;      /* one for each tensor, to be checked; NULL: none is */
    const tare_allocator *allocator; /* copied; NULL is malloc and free */
    tare_device *device;             /* where tensors go; NULL: memory of the host */
    /* One for each tensor: what is loaded of it, row-major and without gaps; NULL: all of all. Not
     * together with digests. A slice costs some 80 bytes for each of its runs, the stretches that
     * are contiguous in the tensor, while it is loaded. */
    const tare_slice *slices;
    /* tare_load_into: the bytes of each target, which must be those of its tensor or slice exactly
     * (TARE_E_TARGET_SIZE, and nothing is written). NULL: they are not checked. */
    const size_t *target_sizes;
} tare_load_options;

/* clang-format off */
#define TARE_LOAD_OPTIONS_INIT \
    { sizeof(tare_load_options), 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL }
/* clang-format on */

/* Tensors that were loaded: bytes of the caller's, to read and to write, until tare_block_close.
 * The model may be closed before. The calls below may run on any threads at once. */
typedef struct tare_block tare_block;

/*
 * Loads tensors into one fresh piece of memory. `tensors` are of `model`, in any order, and may be
 * listed more than once: each entry gets bytes of its own. `tensors` NULL means all tensors in the
 * order of tare_at; `count` is then 0 or tare_count. An entry that is NULL is TARE_E_ARGUMENT, a
 * list of 2^30 entries (or runs of slices) or of more bytes than this host can address
 * TARE_E_LIMIT. A slice that tare_slice_size refuses is refused likewise. `options` may be NULL.
 *
 * The error names the tensor that could not be read (TARE_E_READ, TARE_E_CHANGED) or does not have
 * its digest (TARE_E_DIGEST); of several failures the first to happen counts. After a failure, or
 * TARE_E_CANCELLED, nothing is left: no memory, and no thread that still works. A load that is
 * stopped ends as soon as the chunks are read that were begun. Threads are started for each load
 * and end with it; where the host gives fewer, the load goes on with those.
 */
TARE_API tare_status tare_load(const tare_model *model, const tare_tensor *const *tensors,
                               size_t count, const tare_load_options *options, tare_block **out,
                               tare_error *error);

/*
 * The same into memory of the caller's: targets[i] has room for tare_size bytes of tensor i, or for
 * those of its slice, and may be NULL where that is 0. With options->target_sizes that is checked,
 * as it should be where an index file may be written to by others. Targets must not overlap.
 * options->alignment has no effect. After a failure what targets hold is unspecified, and nothing
 * writes to them any more.
 */
TARE_API tare_status tare_load_into(const tare_model *model, const tare_tensor *const *tensors,
                                    void *const *targets, size_t count,
                                    const tare_load_options *options, tare_error *error);

/* Number of tensors in a block: as many as were asked for. */
TARE_API size_t tare_block_count(const tare_block *block);

/* The bytes of the tensor that was asked for as number `index`; NULL at and beyond the count. Not
 * NULL for a tensor of 0 bytes. Where tensors lie to each other is not promised. */
TARE_API void *tare_block_data(const tare_block *block, size_t index);

/* How many they are; 0 at and beyond the count. */
TARE_API size_t tare_block_size(const tare_block *block, size_t index);

/* The one piece of memory that all of them lie in and its size, to lock it or to make it known to a
 * device. Not NULL, also where *size is 0. Bytes of it that are no tensor's are unspecified. `size`
 * must not be NULL. */
TARE_API void *tare_block_memory(const tare_block *block, size_t *size);

/* The device that the memory is of, as long as the block; NULL for memory of the host. */
TARE_API const tare_device *tare_block_device(const tare_block *block);

/* Gives it back to where it came from, hooks or device. NULL is allowed. */
TARE_API void tare_block_close(tare_block *block);

/* ------------------------------------------------------------------------------------------------
 * Devices: memory of a GPU to load into.
 *
 *     tare_device *device;
 *     if (tare_device_open("cuda:0", NULL, &device, &error) == TARE_OK) {
 *         tare_load_options options = TARE_LOAD_OPTIONS_INIT;
 *         options.device = device;
 *         status = tare_load(model, NULL, 0, &options, &block, &error);
 *         ...
 *
 * tare_load then makes one allocation on the device, and tare_block_data and tare_block_memory tell
 * addresses of the device (a CUdeviceptr, as a pointer); tare_load_into takes such addresses. Plan,
 * threads, progress, cancelling, digests and errors are those of loads to the host. What differs:
 *
 *   - Each thread reads chunks into two slots of pinned memory and copies from there, on a stream
 *     of its own. All copies are complete when the call returns, also when it failed; work on
 *     streams of the caller's is not waited for, so nothing of his may still use targets.
 *   - options.alignment 0 is 256. TARE_LOAD_SMALL_PAGES means nothing, and options.allocator gives
 *     memory of the host only. Bytes between tensors of a block are unspecified.
 *   - Pinned memory is twice that of all reads at one time (flight_size_max), and within the
 *     device's staging_size_max in any case: fewer threads or smaller chunks are used to keep it.
 *   - With digests, one tensor is read by one thread.
 *   - The device's context may be current while `progress` is called, which leaves it so.
 *
 * The driver is looked for at run time: libcuda.so.1 for "cuda". Nothing of CUDA is needed to build
 * the library, or to use the rest of it. Where the driver, one of its functions or the device is
 * missing, the call is TARE_E_UNSUPPORTED and the message says which; TARE_E_MEMORY is also for
 * memory of a device; what else a driver refuses is TARE_E_DEVICE, and the message holds its name
 * for the reason.
 *
 * A device is opened in the context that is current on the calling thread, if that is one of this
 * device; else in the device's primary context, which is retained until nothing refers to it. A
 * current context must live that long. Every call leaves the current context of its thread as it
 * was. After fork() devices are of no use in the child.
 */

#define TARE_DEVICE_CUDA 2u /* as DLPack numbers kinds of devices */

/* All zero but struct_size means: defaults. Sizes are checked as those of tare_options. */
typedef struct tare_device_options {
    size_t struct_size; /* sizeof(tare_device_options) */
    /* Pinned memory of the host that loads to this device hold at most, from 64 KiB on; 0 is
     * 256 MiB. It is taken as loads need it and kept for the next ones until tare_device_close,
     * since pinning takes time; it is no child's after fork(). Of several loads at one time each
     * has the memory of one thread even so. */
    uint64_t staging_size_max;
    const tare_allocator *allocator; /* of what is kept on the host; copied; NULL is malloc */
} tare_device_options;

/* clang-format off */
#define TARE_DEVICE_OPTIONS_INIT { sizeof(tare_device_options), 0, NULL }
/* clang-format on */

/*
 * Opens the device that is called so: "cuda:0", or "cuda" for that of the current context, else the
 * first one. Other names are TARE_E_ARGUMENT. `options` and `error` may be NULL. Any number of
 * loads may go to one device at one time, from any threads, and any number of devices may be open,
 * also of one GPU.
 */
TARE_API tare_status tare_device_open(const char *name, const tare_device_options *options,
                                      tare_device **out, tare_error *error);

/* Gives back its pinned memory, and all else as soon as no block is left on it: blocks may be
 * closed later. No load to it may be under way. NULL is allowed. */
TARE_API void tare_device_close(tare_device *device);

/* Facts about a device. Text lives as long as the device. */
typedef struct tare_device_info {
    uint32_t kind;         /* TARE_DEVICE_* */
    uint32_t number;       /* as its driver counts: 0 for "cuda:0" */
    tare_string label;     /* "cuda:0" */
    tare_string name;      /* what the driver calls it */
    uint64_t staging_size; /* pinned memory held now, bytes */
    uint64_t later[3];     /* 0 in this version */
} tare_device_info;

TARE_API tare_device_info tare_device_describe(const tare_device *device);

/*
 * Measures the link: copies `size` bytes (0 is 2 GiB) from 64 MiB of pinned memory to the device, a
 * few dozen milliseconds, after taking that much on both sides; *rate becomes bytes a second, the
 * limit of any load. 0 after a failure. `rate` must not be NULL (TARE_E_ARGUMENT).
 */
TARE_API tare_status tare_device_measure(tare_device *device, uint64_t size, double *rate,
                                         tare_error *error);

/*
 * The digest of a tensor's bytes. Files are read, in pieces. `out` must not be NULL; it is all zero
 * after a failure. Needs 64 KiB of stack and allocates nothing.
 */
TARE_API tare_status tare_hash(const tare_model *model, const tare_tensor *tensor, tare_digest *out,
                               tare_error *error);

/*
 * The digests of many tensors, on several threads: out[i] becomes that of tensor i. `tensors` and
 * `count` are as in tare_load. `out` may be NULL when there is no tensor. Of the options threads,
 * progress with its context, and TARE_LOAD_DROP_BEHIND are looked at; `options` may be NULL. One
 * tensor is hashed by one thread, so that more threads than tensors are of no use. After a failure,
 * or TARE_E_CANCELLED, all of `out` is zero, and no thread is still at work. Each thread needs
 * 64 KiB of stack; nothing is allocated.
 */
TARE_API tare_status tare_hash_many(const tare_model *model, const tare_tensor *const *tensors,
                                    size_t count, const tare_load_options *options,
                                    tare_digest *out, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * Slices: a box of a tensor, such as the share of one rank of a tensor-parallel runtime.
 */

/*
 * The bytes of the box start[d] <= index < stop[d] in every dimension d, the slowest first; both
 * have `rank` entries. `start` NULL stands for zeros, `stop` NULL for the shape: at rank 0, where
 * the box is the one element, both may be. A box that is empty in any dimension has 0 bytes.
 * start > stop or stop > shape is TARE_E_ARGUMENT, and the message names the dimension. Elements of
 * less than a byte (F4, F6) and those in blocks (quantized types) can be sliced only where every
 * run of the box that is contiguous in the tensor begins and ends between two blocks of
 * tare_dtype_block_count elements; else TARE_E_SUBBYTE, which names the dimension. In GGUF rows are
 * whole blocks, so only the last dimension can be that. `size` must not be NULL; on failure *size
 * is 0. Allocates nothing, reads nothing.
 */
TARE_API tare_status tare_slice_size(const tare_model *model, const tare_tensor *tensor,
                                     const uint64_t *start, const uint64_t *stop, uint64_t *size,
                                     tare_error *error);

/*
 * Writes that box to `target`, row-major and without gaps, as if it were a tensor of its own.
 * `target_size` must be what tare_slice_size tells (TARE_E_TARGET_SIZE); `target` may be NULL when
 * that is 0. What is contiguous in the tensor is read at once; where gaps are small (8 KiB of a
 * file, 256 KiB of a caller's reader) they are read over, 1 MiB at a time, so that narrow boxes
 * take few calls. Gaps of up to that size are asked of a reader, bytes outside of the tensor never.
 * Files are read, never copied from a mapping, and fail as in tare_read; after a failure what
 * `target` holds is unspecified. Allocates nothing. The same on any number of threads.
 */
TARE_API tare_status tare_read_slice(const tare_model *model, const tare_tensor *tensor,
                                     const uint64_t *start, const uint64_t *stop, void *target,
                                     size_t target_size, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * Advice to the operating system about bytes that will, or will no longer, be used
 */

#define TARE_ADVISE_WILL_NEED 1u   /* start to read them into the page cache */
#define TARE_ADVISE_DO_NOT_NEED 2u /* their pages may go, from this process and the page cache */
#define TARE_ADVISE_POPULATE 3u    /* read them, and wait until they are there */
#define TARE_ADVISE_LOCK 4u        /* read them and keep them in memory */
#define TARE_ADVISE_UNLOCK 5u      /* no longer keep them */

/*
 * Gives one of these advices for tensors of `model`, in any order; neighbours are taken together,
 * so that calls of the system are few. `tensors` NULL means all; `count` is then 0 or tare_count.
 * An entry that is NULL is TARE_E_ARGUMENT. The bytes of tensors stay what they are whatever the
 * advice. Allocates only for a list that is not in the order of tare_at: one bit for each tensor of
 * the model, given back before it returns.
 *
 *                  mapped               TARE_BACKING_READ          in memory           reader
 *   WILL_NEED      madvise              posix_fadvise              madvise (swap)      nothing
 *   DO_NOT_NEED    both                 posix_fadvise              nothing             nothing
 *   POPULATE       MADV_POPULATE_READ   reads into scratch         MADV_POPULATE_READ  nothing
 *   LOCK, UNLOCK   mlock, munlock       TARE_E_UNSUPPORTED         mlock, munlock      as READ
 *
 * WILL_NEED does not wait for the bytes, but while the disk has as many reads to do as it takes at
 * once: of gigabytes that are not there it may return when most have come.
 *
 * All but DO_NOT_NEED take in the whole of each page that holds a byte of the tensors;
 * DO_NOT_NEED spares pages that hold bytes of others too, and the kernel spares what other
 * processes have mapped. Pages that are locked are TARE_E_UNSUPPORTED for it.
 *
 * POPULATE never raises SIGBUS: a file that is cut short is TARE_E_CHANGED, one that cannot be read
 * TARE_E_READ. Where MADV_POPULATE_READ is missing (before Linux 5.14) files that are mapped are
 * read into scratch as well: their bytes are then in the page cache, and the first touch of each
 * page still costs a minor fault. Memory is touched, a byte of each page.
 *
 * LOCK is TARE_E_LIMIT where the process may not lock so much (RLIMIT_MEMLOCK); what was locked by
 * then stays so. Locks do not count: one UNLOCK ends them, also of the tensors that share a page.
 * tare_close unlocks what is mapped; memory (tare_open_bytes, pairs) stays locked until UNLOCK.
 */
TARE_API tare_status tare_advise(const tare_model *model, const tare_tensor *const *tensors,
                                 size_t count, uint32_t advice, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * Metadata, in the order of the file, shard by shard: the strings of safetensors' `__metadata__`,
 * the typed values of GGUF. None of these allocates or locks.
 */

/* X(name, value, text): kinds of values. Pinned; the numbers of GGUF and 1. */
#define TARE_KIND_LIST(X)  \
    X(U8, 1, "u8")         \
    X(I8, 2, "i8")         \
    X(U16, 3, "u16")       \
    X(I16, 4, "i16")       \
    X(U32, 5, "u32")       \
    X(I32, 6, "i32")       \
    X(F32, 7, "f32")       \
    X(BOOL, 8, "bool")     \
    X(STRING, 9, "string") \
    X(ARRAY, 10, "array")  \
    X(U64, 11, "u64")      \
    X(I64, 12, "i64")      \
    X(F64, 13, "f64")

typedef uint32_t tare_kind;

enum {
#define TARE_KIND_ENUM_(name, value, text) TARE_KIND_##name = value,
    TARE_KIND_LIST(TARE_KIND_ENUM_) TARE_KIND_ENUM_END_ = 0x7fffffff
#undef TARE_KIND_ENUM_
};

/* "u32" for TARE_KIND_U32; NULL for a value that is no kind. Static storage. */
TARE_API const char *tare_kind_name(tare_kind kind);

/*
 * One value of metadata, or one item of an array. A plain value that may be copied; `data` points
 * into the model (or the bytes of tare_open_bytes) and lives until tare_close.
 */
typedef struct tare_value {
    tare_kind kind;      /* of the list, or 0: there is no such value, and all else is 0 too */
    tare_kind item_kind; /* of an array, of the list but never TARE_KIND_ARRAY; else 0 */
    uint64_t count;      /* items of an array, which may be 0; else 1 */
    const void *data;    /* as in the file: numbers little-endian and not aligned, bool one byte, */
    size_t size;         /* text of strings; each string of an array behind its size, a u64 */
} tare_value;

TARE_API size_t tare_metadata_count(const tare_model *model);

/*
 * Entry `index`: its key, value and shard. Returns 1, or 0 at and beyond the count, with empty
 * outputs. Any output may be NULL. `value->data` is NULL where the value is no string. Shards often
 * repeat each other's entries; all are listed.
 */
TARE_API int tare_metadata_at(const tare_model *model, size_t index, tare_string *key,
                              tare_string *value, uint32_t *shard);

/* The same value whatever its kind; kind 0 at and beyond the count, and for a value that a damaged
 * index file (tare_index_save) leads astray. */
TARE_API tare_value tare_metadata_value_at(const tare_model *model, size_t index);

/* The value of a key, from the first shard that has it; data is NULL when none has, or when it is
 * no string. `key` may be NULL at size 0, here and below. */
TARE_API tare_string tare_metadata_find(const tare_model *model, const char *key, size_t key_size);

/* The same whatever its kind; kind 0 when no shard has the key. */
TARE_API tare_value tare_metadata_value(const tare_model *model, const char *key, size_t key_size);

/*
 * The value of a key as the type that is wanted. TARE_E_ABSENT when no shard has the key,
 * TARE_E_KIND when its value is of another kind: integers of any width are converted if the value
 * fits (-1 is no u64), F32 becomes a double, any other kind is refused, and a bool is no integer.
 * *out is 0 or empty after a failure. `out` must not be NULL; a bool is 0 or 1. The shard of an
 * error is the first that has the key.
 */
TARE_API tare_status tare_metadata_u64(const tare_model *model, const char *key, size_t key_size,
                                       uint64_t *out, tare_error *error);
TARE_API tare_status tare_metadata_i64(const tare_model *model, const char *key, size_t key_size,
                                       int64_t *out, tare_error *error);
TARE_API tare_status tare_metadata_f64(const tare_model *model, const char *key, size_t key_size,
                                       double *out, tare_error *error);
TARE_API tare_status tare_metadata_bool(const tare_model *model, const char *key, size_t key_size,
                                        int *out, tare_error *error);
TARE_API tare_status tare_metadata_string(const tare_model *model, const char *key, size_t key_size,
                                          tare_string *out, tare_error *error);
TARE_API tare_status tare_metadata_array(const tare_model *model, const char *key, size_t key_size,
                                         tare_value *out, tare_error *error);

/* The same of a value at hand, such as an item of an array, by the same rules: TARE_OK,
 * TARE_E_KIND, or TARE_E_ABSENT for kind 0. `out` must not be NULL. */
TARE_API tare_status tare_value_u64(tare_value value, uint64_t *out);
TARE_API tare_status tare_value_i64(tare_value value, int64_t *out);
TARE_API tare_status tare_value_f64(tare_value value, double *out);
TARE_API tare_status tare_value_bool(tare_value value, int *out);
TARE_API tare_status tare_value_string(tare_value value, tare_string *out);

/*
 * Takes the first item off an array: 1, or 0 with an item of kind 0 when none is left or the value
 * is no array. Nothing is copied, and the array in the model stays whole:
 *
 *     tare_value tokens = tare_metadata_value(model, "tokenizer.ggml.tokens", 21);
 *     for (tare_value item; tare_value_next(&tokens, &item);) ... item.data, item.size
 *
 * Strings among the items have no terminator. Of an array of strings in a damaged index file fewer
 * may come than it counts.
 */
TARE_API int tare_value_next(tare_value *array, tare_value *item);

/* ------------------------------------------------------------------------------------------------
 * Writing
 */

/*
 * One tensor to write. All zero but these:
 *   - bytes in memory: name, dtype, shape, data and size;
 *   - a tensor of an open model: model and tensor. Its own name is taken where `name` is NULL, its
 *     own dtype and shape where `dtype` is 0; others may be given, of as many bytes.
 */
typedef struct tare_save_tensor {
    const char *name; /* UTF-8, no terminator needed; may be NULL at size 0 */
    size_t name_size;
    const uint64_t *shape; /* `rank` sizes, the slowest dimension first; may be NULL at rank 0 */
    uint32_t rank;
    tare_dtype dtype;
    const void *data; /* little-endian; may be NULL at size 0 */
    size_t size;      /* bytes of data: what dtype and shape take */
    const tare_model *model;
    const tare_tensor *tensor;
    uint64_t later[2]; /* 0 in this version */
} tare_save_tensor;

/* One string of `__metadata__`: UTF-8. */
typedef struct tare_save_metadata {
    tare_string key;
    tare_string value;
} tare_save_metadata;

/* REPLACE: the target may be there already. */
#define TARE_SAVE_REPLACE 1u

/* All zero but struct_size means: defaults. Sizes are checked as those of tare_options. */
typedef struct tare_save_options {
    size_t struct_size; /* sizeof(tare_save_options) */
    uint32_t flags;     /* TARE_SAVE_REPLACE */
    uint32_t reserved;  /* 0 */
    /* The data section starts at a multiple of this: a power of two from 8 to 2 MiB, 0 is 8
     * (source: the reference writer). In it tensors are aligned to the size of their elements. */
    size_t alignment;
    const tare_save_metadata *metadata; /* written in this order */
    size_t metadata_count;
    /* Called with bytes written and bytes in all, each time some megabytes are written and when all
     * are, on the thread that called. Not zero stops: TARE_E_CANCELLED. May be NULL. */
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
    const tare_allocator *allocator; /* during the call; NULL is malloc and free */
} tare_save_options;

/* clang-format off */
#define TARE_SAVE_OPTIONS_INIT { sizeof(tare_save_options), 0, 0, 0, NULL, 0, NULL, NULL, NULL }
/* clang-format on */

/*
 * Writes a safetensors file of these tensors, in the order of the reference writer, whatever order
 * they are given in: by dtype, that of the higher number first, then by the bytes of their names.
 * The same input gives the same file; it is the one that the reference writes (source: safetensors
 * 0.8, tensor.rs, `prepare`). `tensors` may be NULL when `count` is 0, `options` and `error` may be
 * NULL.
 *
 * The file is written beside its target under a name that nobody can guess, brought to the disk,
 * and only then renamed, so that `path` leads to all of the new file or to what it led to before,
 * and mappings of an old file live on. If `path` is a symbolic link, the link is replaced and not
 * what it leads to. After a failure the target is as it was and nothing lies beside it, with one
 * exception: the folder that cannot be brought to the disk when all is done (TARE_E_WRITE; the
 * message says that the file is in place). The mode is that of any new file (umask). A program that
 * is killed meanwhile leaves a file `.tare-*.tmp`.
 *
 * Bytes in memory and mapped ones are handed to the system where they lie, others pass through a
 * buffer of 1 MiB; besides, some 60 bytes a tensor are allocated, and as much as names, shapes and
 * metadata take. Those are copied before they are checked: an index file that a model was opened
 * from may change meanwhile, and what is written is still what was checked. Models may be of any
 * backing, and their files may be the target. Tensors of a mapped file that is cut short meanwhile
 * are TARE_E_READ or TARE_E_CHANGED, not a signal.
 *
 * What no reader would accept is refused before anything is written, with the status that reading
 * it gives: TARE_E_DUPLICATE (also for keys of metadata), TARE_E_METADATA (a tensor that is named
 * "__metadata__"), TARE_E_UTF8, TARE_E_DTYPE (one that safetensors does not have), TARE_E_SIZE,
 * TARE_E_OVERFLOW, TARE_E_SUBBYTE, TARE_E_HEADER_SIZE (beyond 100,000,000 bytes), TARE_E_LIMIT (a
 * file beyond 64 TiB), TARE_E_PREBUILT (a tensor that a damaged index file leads astray). Further:
 * TARE_E_EXISTS without TARE_SAVE_REPLACE, TARE_E_WRITE (also where the target is a folder or a
 * device), TARE_E_MEMORY, TARE_E_ARGUMENT (also for a path that ends in `.json` or `.gguf`, by
 * which tare_open would not open it; any other name will do). A limit on the size of files
 * (RLIMIT_FSIZE) raises SIGXFSZ, which kills a program that does not ignore it.
 */
TARE_API tare_status tare_save(const char *path, const tare_save_tensor *tensors, size_t count,
                               const tare_save_options *options, tare_error *error);

/*
 * The bytes of that file into memory: `target_size` must be what the file takes, which `*size`
 * becomes (TARE_E_TARGET_SIZE). With `target` NULL nothing is written, and only *size is told.
 * Tensors of models are read, never copied from a mapping. `size` may be NULL. On failure *size is
 * 0 and what `target` holds unspecified. All else is as in tare_save.
 */
TARE_API tare_status tare_save_bytes(const tare_save_tensor *tensors, size_t count,
                                     const tare_save_options *options, void *target,
                                     size_t target_size, uint64_t *size, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * Index files: all that reading headers makes, built once, so that opening takes microseconds
 */

/* All zero but struct_size means: defaults. Sizes are checked as those of tare_options. */
typedef struct tare_index_options {
    size_t struct_size;              /* sizeof(tare_index_options) */
    uint32_t flags;                  /* TARE_SAVE_REPLACE */
    uint32_t reserved;               /* 0 */
    const tare_allocator *allocator; /* during the call; NULL is malloc and free */
} tare_index_options;

/* clang-format off */
#define TARE_INDEX_OPTIONS_INIT { sizeof(tare_index_options), 0, 0, NULL }
/* clang-format on */

/*
 * Writes the index file of a model: records, names, shapes, table and metadata, as they are mapped
 * by later calls of tare_open, by any number of processes that share its memory. `path` NULL puts
 * it where tare_open looks: beside a file, as `model.safetensors.tareidx`, or in the folder of a
 * sharded or split model, as `tare.idx`. (There is no such place for a model in memory, or of a
 * reader: TARE_E_ARGUMENT.) The same model gives the same file. docs/format_index.md tells its
 * layout.
 *
 * The file is written and renamed as tare_save does, with the same errors. Who may not read the
 * model's first file may not read it. With `path` NULL the model must still be where its path leads
 * to: else, as after chdir() where that is relative, TARE_E_CHANGED. It replaces an index file, but
 * not one that was built of another list of shards or split file; anything else that is there is
 * TARE_E_EXISTS without TARE_SAVE_REPLACE. A file of the model itself, its shard index too, is
 * TARE_E_EXISTS in any case, whatever path or link leads to it, and so is one that has taken its
 * place since the model was opened. Headers are read once more, to be digested: TARE_E_CHANGED
 * where a file is no longer the one that was opened. Pairs and models of several files of
 * tare_open_files have no file that an index could be of, and big-endian hosts no such files:
 * TARE_E_UNSUPPORTED. A tensor of more than 64 dimensions, or values of metadata beyond 2^46 bytes:
 * TARE_E_LIMIT. Memory in proportion to the file is taken during the call.
 *
 * An index file is not trusted more than a model: what stands in it is checked where it is used,
 * leads nowhere but into the index itself and the files of the model (in their folder, of the names
 * that a model may have), and bytes are handed out only within them. A damaged one gives errors,
 * misses, or wrong facts, such as another name; tare_index_check finds all damage. Another version
 * of the format is not read: TARE_E_VERSION, and so is one of another byte order: TARE_E_ENDIAN.
 */
TARE_API tare_status tare_index_save(const tare_model *model, const char *path,
                                     const tare_index_options *options, tare_error *error);

/*
 * Compares an index file, or the one at its usual place where `path` is NULL, with a model, whose
 * headers must have been read (TARE_INDEX_NEVER; else TARE_E_ARGUMENT): it must be, byte for byte,
 * what tare_index_save would write now. TARE_E_OPEN where there is none, TARE_E_STALE for one of
 * another model, also where only the time of modification differs (error->shard says which shard),
 * TARE_E_PREBUILT with an offset for a damaged one, TARE_E_VERSION, TARE_E_ENDIAN; TARE_E_CHANGED
 * as in tare_index_save. No more memory is taken than this model's index file can need.
 */
TARE_API tare_status tare_index_check(const tare_model *model, const char *path,
                                      const tare_index_options *options, tare_error *error);

/*
 * TARE_OK when the model was opened from an index file; else why not: TARE_E_OPEN with system_error
 * 0 where there was none, or none was looked for, and with another where it could not be opened
 * (EINVAL: it is no regular file), TARE_E_STALE and a message that names the shard that changed or
 * is gone, TARE_E_PREBUILT, TARE_E_VERSION, TARE_E_ENDIAN, TARE_E_READ, TARE_E_CHANGED (it shrank),
 * TARE_E_HEADER_SIZE and TARE_E_LIMIT of the options, TARE_E_LIMIT also where it would have to be
 * read and is larger than 16 times the headers and some kilobytes, which none needs to be, or than
 * this host can address, TARE_E_MEMORY.
 */
TARE_API tare_status tare_index_status(const tare_model *model, tare_error *error);

/* Where tare_index_save and tare_open put and look for the model's index file by themselves, from
 * the folder in which the process was when it opened the model, if that path is relative; data
 * is NULL for a model in memory, of a reader, or of pairs. */
TARE_API tare_string tare_index_path(const tare_model *model);

/* ------------------------------------------------------------------------------------------------
 * The model as a whole
 */

/* What a shard's bytes are. */
#define TARE_FORMAT_PAIRS 0u
#define TARE_FORMAT_SAFETENSORS 1u
#define TARE_FORMAT_GGUF 2u

/* One shard. `name`: the path that was opened, in the folder of the index or the model where a
 * folder, an index or a part of a split file was given; "" for memory and readers. */
typedef struct tare_shard_info {
    tare_string name;
    uint64_t size;        /* bytes of the file or buffer */
    uint64_t data_offset; /* where its data section starts, and its header ends */
    uint32_t backing;     /* TARE_BACKING_MAP, _READ or _MEMORY; of a shard not yet opened, _MAP */
    uint32_t format;      /* TARE_FORMAT_* */
    uint64_t later[2];    /* 0 in this version */
} tare_shard_info;

TARE_API size_t tare_shard_count(const tare_model *model);

/* Facts about shard `shard`; all zero at and beyond the count. */
TARE_API tare_shard_info tare_shard_at(const tare_model *model, size_t shard);

/* What the model costs and how it was built. */
typedef struct tare_stat {
    size_t struct_size;     /* in: sizeof(tare_stat); only that much is written */
    uint64_t memory_size;   /* bytes held from the allocator, the bytes of pairs included */
    uint64_t record_size;   /* of that: tensor records */
    uint64_t name_size;     /* of that: names */
    uint64_t shape_size;    /* of that: distinct (dtype, shape) */
    uint64_t index_size;    /* of that: the table that finds names */
    uint32_t index_reseeds; /* times the table was built anew with another seed: 0 to 2 */
    uint32_t index_sorted;  /* 1 when the names defeated hashing and are searched by order */
    uint32_t probe_max; /* most that any find looks at: lines of the table, or names if sorted */
    uint32_t reserved;
    uint64_t index_file_size; /* of the index file that it was opened from, not part of the others:
                                 it is mapped, or part of memory_size where it was read; else 0 */
} tare_stat;

/* Fills `out` up to its struct_size. */
TARE_API void tare_model_stat(const tare_model *model, tare_stat *out);

/* "0.1.0": the version of the library that runs, against TARE_VERSION_* of the one compiled for. */
TARE_API const char *tare_version(void);

#ifdef __cplusplus
}
#endif

#endif
