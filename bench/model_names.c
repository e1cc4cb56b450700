/* The name schemes of published models; model_names.h has the sets and how their counts arise. */
#include "model_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 128 }; /* DeepSeek-V3 has one scale for 128 x 128 weights */

struct scheme {
    const char *label;
    uint32_t layers;
    uint32_t dense_layers; /* the first ones */
    uint32_t experts;
    int fp8; /* linear weights are F8_E4M3 and have a weight_scale_inv */
    uint64_t vocabulary;
    uint64_t hidden;
    uint64_t dense_width;
    uint64_t expert_width;
    uint64_t shared_width;
    uint64_t heads;
    uint64_t query_rank; /* 0: one q_proj instead of q_a_proj and q_b_proj */
};

static const struct scheme schemes[] = {
    {"S", 32, 32, 0, 0, 32000, 4096, 11008, 0, 0, 32, 0},
    {"M", 30, 1, 64, 0, 102400, 2048, 10944, 1408, 2816, 16, 0},
    {"L", 62, 3, 256, 1, 129280, 7168, 18432, 2048, 2048, 128, 1536},
    {"XL", 333, 12, 512, 1, 129280, 7168, 18432, 2048, 2048, 128, 1536},
};

/* Latent attention of DeepSeek-V2 and V3: the sizes are the same in all of them. */
enum { KEY_VALUE_RANK = 512, ROPE_WIDTH = 64, NOPE_WIDTH = 128, VALUE_WIDTH = 128 };

struct maker {
    struct names_list *list;
    const struct scheme *scheme;
    int failed;       /* the first errno */
    char prefix[128]; /* "model.layers.3." */
};

static void add(struct maker *maker, const char *suffix, const char *dtype, uint32_t element_size,
                uint64_t rows, uint64_t columns)
{
    char name[256];
    int size = snprintf(name, sizeof name, "%s%s", maker->prefix, suffix);
    struct names_tensor facts = {.dtype = dtype,
                                 .shape = {rows, columns},
                                 .rank = columns == 0 ? 1 : 2,
                                 .element_size = element_size};
    if (maker->failed == 0) maker->failed = names_add(maker->list, name, (size_t)size, &facts);
}

static void add_norm(struct maker *maker, const char *suffix, uint64_t size)
{
    add(maker, suffix, "BF16", 2, size, 0);
}

/* A linear layer: `weight` of [outputs, inputs] and, in FP8, the scales of its blocks. */
static void add_linear(struct maker *maker, const char *module, uint64_t outputs, uint64_t inputs)
{
    char suffix[96];
    snprintf(suffix, sizeof suffix, "%s.weight", module);
    if (!maker->scheme->fp8) {
        add(maker, suffix, "BF16", 2, outputs, inputs);
        return;
    }
    add(maker, suffix, "F8_E4M3", 1, outputs, inputs);
    snprintf(suffix, sizeof suffix, "%s.weight_scale_inv", module);
    add(maker, suffix, "F32", 4, (outputs + BLOCK - 1) / BLOCK, (inputs + BLOCK - 1) / BLOCK);
}

static void add_gated(struct maker *maker, const char *module, uint64_t width)
{
    static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};
    uint64_t hidden = maker->scheme->hidden;
    for (int part = 0; part < 3; part++) {
        char path[80];
        snprintf(path, sizeof path, "%s.%s", module, parts[part]);
        add_linear(maker, path, part == 2 ? hidden : width, part == 2 ? width : hidden);
    }
}

static void add_plain_attention(struct maker *maker)
{
    static const char *const parts[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                        "self_attn.o_proj"};
    const struct scheme *scheme = maker->scheme;
    for (int part = 0; part < 4; part++)
        add_linear(maker, parts[part], scheme->hidden, scheme->hidden);
    add(maker, "self_attn.rotary_emb.inv_freq", "F32", 4, scheme->hidden / scheme->heads / 2, 0);
}

static void add_latent_attention(struct maker *maker)
{
    const struct scheme *scheme = maker->scheme;
    uint64_t query = scheme->heads * (NOPE_WIDTH + ROPE_WIDTH);
    if (scheme->query_rank == 0) {
        add_linear(maker, "self_attn.q_proj", query, scheme->hidden);
    } else {
        add_linear(maker, "self_attn.q_a_proj", scheme->query_rank, scheme->hidden);
        add_norm(maker, "self_attn.q_a_layernorm.weight", scheme->query_rank);
        add_linear(maker, "self_attn.q_b_proj", query, scheme->query_rank);
    }
    add_linear(maker, "self_attn.kv_a_proj_with_mqa", KEY_VALUE_RANK + ROPE_WIDTH, scheme->hidden);
    add_norm(maker, "self_attn.kv_a_layernorm.weight", KEY_VALUE_RANK);
    add_linear(maker, "self_attn.kv_b_proj", scheme->heads * (NOPE_WIDTH + VALUE_WIDTH),
               KEY_VALUE_RANK);
    add_linear(maker, "self_attn.o_proj", scheme->hidden, scheme->heads * VALUE_WIDTH);
}

static void add_experts(struct maker *maker)
{
    const struct scheme *scheme = maker->scheme;
    for (uint32_t expert = 0; expert < scheme->experts; expert++) {
        char module[64];
        snprintf(module, sizeof module, "mlp.experts.%u", expert);
        add_gated(maker, module, scheme->expert_width);
    }
    add(maker, "mlp.gate.weight", "BF16", 2, scheme->experts, scheme->hidden);
    if (scheme->fp8) add(maker, "mlp.gate.e_score_correction_bias", "F32", 4, scheme->experts, 0);
    add_gated(maker, "mlp.shared_experts", scheme->shared_width);
}

static void add_layer(struct maker *maker, uint32_t layer)
{
    const struct scheme *scheme = maker->scheme;
    snprintf(maker->prefix, sizeof maker->prefix, "model.layers.%u.", layer);
    if (scheme->experts == 0)
        add_plain_attention(maker);
    else
        add_latent_attention(maker);
    if (layer < scheme->dense_layers)
        add_gated(maker, "mlp", scheme->dense_width);
    else
        add_experts(maker);
    add_norm(maker, "input_layernorm.weight", scheme->hidden);
    add_norm(maker, "post_attention_layernorm.weight", scheme->hidden);
}

/* The number that the label is, or 0. */
static size_t count_of_label(const char *label)
{
    if (*label == '\0' || strspn(label, "0123456789") != strlen(label) || strlen(label) > 7)
        return 0;
    size_t count = strtoul(label, NULL, 10);
    return count <= NAMES_COUNT_MAX ? count : 0;
}

static int find_scheme(const char *label, struct scheme *out, size_t *out_count)
{
    *out_count = count_of_label(label);
    if (*out_count != 0) label = "XL";
    *out = (struct scheme){0};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strcmp(schemes[i].label, label) == 0) *out = schemes[i];
    if (out->label == NULL) return EINVAL;
    if (*out_count != 0) { /* as many layers as it takes */
        size_t names = 22 + 6 * (size_t)out->experts;
        out->layers = out->dense_layers + 1 + (uint32_t)(*out_count / names);
    }
    return 0;
}

int names_make(const char *label, struct names_list *out)
{
    *out = (struct names_list){0};
    struct scheme found;
    size_t count;
    if (find_scheme(label, &found, &count) != 0) return EINVAL;

    const struct scheme *scheme = &found;
    struct maker maker = {.list = out, .scheme = scheme};
    add(&maker, "model.embed_tokens.weight", "BF16", 2, scheme->vocabulary, scheme->hidden);
    for (uint32_t layer = 0; layer < scheme->layers; layer++) add_layer(&maker, layer);
    maker.prefix[0] = '\0';
    add_norm(&maker, "model.norm.weight", scheme->hidden);
    add(&maker, "lm_head.weight", "BF16", 2, scheme->vocabulary, scheme->hidden);
    if (maker.failed != 0) {
        names_free(out);
        return maker.failed;
    }
    names_seal(out);
    if (count != 0) {
        out->text_size = (size_t)(out->tensors[count].name - out->text);
        out->count = count;
    }
    return 0;
}
