/* What peers.rs exports. */
#ifndef TARE_BENCH_RUST_PEERS_H
#define TARE_BENCH_RUST_PEERS_H

#include "tare.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* HashMap<String, u32> with the standard hasher (SipHash-1-3). Finding gives the place in `pairs`,
 * or UINT32_MAX. NULL when a name is not UTF-8. */
void *rust_default_make(const tare_pair *pairs, size_t count);
uint64_t rust_default_find(const void *map, const char *name, size_t name_size);
void rust_default_free(void *map);

/* The same with the hasher of the crate rustc-hash. */
void *rust_fx_make(const tare_pair *pairs, size_t count);
uint64_t rust_fx_find(const void *map, const char *name, size_t name_size);
void rust_fx_free(void *map);

/* The crate safetensors: SafeTensors::deserialize, which borrows the bytes, and tensor(name).
 * Finding gives the address of the tensor's bytes, or 0. NULL when it refuses the file. */
void *rust_safetensors_make(const void *bytes, size_t size);
uint64_t rust_safetensors_find(const void *tensors, const char *name, size_t name_size);
void rust_safetensors_free(void *tensors);

/* The crate safetensors on a file mapped by the crate memmap2. NULL when either refuses it. */
void *rust_file_open(const char *path, size_t path_size);

/* The address of the tensor's bytes in the mapping, or 0. */
uint64_t rust_file_find(const void *file, const char *name, size_t name_size);

/* Every tensor that is named, copied out of the mapping into memory of its own (to_vec). NULL when
 * one is not there. */
void *rust_file_copy(const void *file, const tare_string *names, size_t count);
const unsigned char *rust_copy_data(const void *copy, size_t index);
void rust_copy_free(void *copy);
void rust_file_free(void *file);

#ifdef __cplusplus
}
#endif

#endif
