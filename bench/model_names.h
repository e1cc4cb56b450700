/*
 * Lists of tensor names as published models have them, for the benchmarks and the demo: made here
 * or read from a file, and look-alike names that are guaranteed to be absent.
 *
 * Everything is deterministic: the same call gives the same bytes on every machine.
 *
 *   S   323      32-layer dense decoder (Llama-2-7B, with its rotary_emb.inv_freq)
 *                3 + 32 * 10
 *   M   5,900    DeepSeek-V2-Lite's scheme with 30 layers: 1 dense, 29 of 64 experts, bfloat16
 *                3 + 1 * 10 + 29 * (11 + 64 * 3)
 *   L   91,985   DeepSeek-V3's scheme: 62 layers, 3 dense, 59 of 256 experts and a shared one, FP8
 *                weights with weight_scale_inv. Layer 61 is the block of the multi-token-prediction
 *                layer; that layer's six other tensors, which would make 91,991, are left out.
 *                3 + 3 * 20 + 59 * (22 + 256 * 6)
 *   XL  993,417  the same scheme with 333 layers, 12 dense, 321 of 512 experts
 *                3 + 12 * 20 + 321 * (22 + 512 * 6)
 *   a number     that many names, the first ones of XL's scheme with as many layers as it takes
 */
#ifndef TARE_BENCH_MODEL_NAMES_H
#define TARE_BENCH_MODEL_NAMES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct names_tensor {
    const char *name; /* terminated, in the list's text */
    size_t name_size;
    const char *dtype; /* as safetensors spells it; static */
    uint64_t shape[2];
    uint32_t rank;         /* 1 or 2 */
    uint32_t element_size; /* bytes */
};

struct names_list {
    struct names_tensor *tensors; /* in the order in which the model's layers have them */
    size_t count;
    size_t capacity;
    char *text; /* all names, each terminated, end to end in that order */
    size_t text_size;
    size_t text_capacity;
};

/*
 * These return 0, or an errno with an empty list. A list that was filled needs names_free.
 * Shapes and dtypes are those of the published model; names read from a file get BF16 [1024, 1024].
 */
#define NAMES_COUNT_MAX 4000000

/* "S", "M", "L", "XL", or a number up to NAMES_COUNT_MAX; else EINVAL. */
int names_make(const char *label, struct names_list *out);

/* One name a line (behind the line's last tab, if it has one), or the `weight_map` of a
 * *.safetensors.index.json. EINVAL if it is neither. */
int names_read(const char *path, struct names_list *out);

/*
 * As many names as `list` has, name by name derived from it, none of them in it: one third asks for
 * an expert beyond the last, one third for a layer beyond the last, one third has one byte changed.
 * A name without an expert number asks for a layer, one without either has a byte changed.
 */
int names_misses(const struct names_list *list, uint64_t seed, struct names_list *out);

void names_free(struct names_list *list);

/* A random order of 0..count-1, to be freed; NULL without memory. Use different seeds for streams
 * that must be independent. */
uint32_t *names_order(size_t count, uint64_t seed);

/* The next of a stream of random numbers (splitmix64). */
uint64_t names_random(uint64_t *state);

/* Adds a tensor: for makers of lists. `name` pointers are set by names_seal only. */
int names_add(struct names_list *list, const char *name, size_t name_size,
              const struct names_tensor *facts);
void names_seal(struct names_list *list);

#ifdef __cplusplus
}
#endif

#endif
