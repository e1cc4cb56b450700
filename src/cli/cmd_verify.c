#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct verification {
    const cli_options *options;
    const tare_model *model;
    char path[512]; /* as it may be printed */
    manifest wanted;
    size_t *lines;  /* for each tensor of the model the number of its line, from 1; 0 is none */
    selection what; /* the tensors that have one, in the order of the model */
    tare_digest *digests;
    uint64_t faults;
} verification;

/* What to do with a tensor that is not as it should be. */
typedef void fault_visitor(verification *v, tare_string name, const char *what);

static void say_fault(verification *v, tare_string name, const char *what)
{
    char shown[1024];
    v->faults++;
    cli_message("%s: '%s': %s", v->path, text_escape(name, shown, sizeof shown), what);
}

static void json_fault(verification *v, tare_string name, const char *what)
{
    (void)v, (void)what;
    json_string(name);
    json_line();
}

static bool is_meant(const verification *v, tare_string name)
{
    return selection_matches(name, v->options->operands + 2, v->options->operand_count - 2);
}

static void each_other(verification *v, fault_visitor *visit)
{
    for (size_t i = 0; i < v->what.count; i++) {
        const tare_tensor *tensor = v->what.tensors[i];
        const manifest_line *line = &v->wanted.lines[v->lines[tare_index_of(v->model, tensor)] - 1];
        tare_digest digest = v->digests[i];
        if (digest.low == line->digest.low && digest.high == line->digest.high) continue;
        char digits[MANIFEST_DIGEST_SIZE];
        char what[64];
        manifest_digest(digest, digits);
        memcpy(what, "other bytes, digest ", 20);
        memcpy(what + 20, digits, sizeof digits);
        visit(v, line->name, what);
    }
}

static void each_missing(verification *v, fault_visitor *visit)
{
    for (size_t i = 0; i < v->wanted.count; i++) {
        tare_string name = v->wanted.lines[i].name;
        if (is_meant(v, name) && tare_find(v->model, name.data, name.size) == NULL)
            visit(v, name, "missing");
    }
}

static void each_extra(verification *v, fault_visitor *visit)
{
    for (size_t i = 0; i < tare_count(v->model); i++) {
        tare_string name = tare_name(v->model, tare_at(v->model, i));
        if (v->lines[i] == 0 && is_meant(v, name)) visit(v, name, "not in the manifest");
    }
}

/* Each prefix must be that of something, or a slip of the pen would pass for a good model. */
static bool check_prefixes(const verification *v)
{
    for (int i = 2; i < v->options->operand_count; i++) {
        char **prefix = &v->options->operands[i];
        tare_range range = tare_prefix(v->model, *prefix, strlen(*prefix));
        bool found = tare_next(v->model, &range) != NULL;
        for (size_t at = 0; at < v->wanted.count && !found; at++) {
            found = selection_matches(v->wanted.lines[at].name, prefix, 1);
        }
        if (found) continue;
        cli_explain_prefix(v->model, v->options->operands[0], *prefix);
        return false;
    }
    return true;
}

/* Brings lines and tensors together. */
static bool match(verification *v)
{
    size_t all = tare_count(v->model);
    v->lines = calloc(all + 1, sizeof *v->lines);
    v->what.tensors = malloc(all * sizeof(tare_tensor *) + 1);
    v->digests = malloc(all * sizeof *v->digests + 1);
    if (v->lines == NULL || v->what.tensors == NULL || v->digests == NULL) {
        cli_message("no memory to verify %zu tensors", all);
        return false;
    }
    for (size_t i = 0; i < v->wanted.count; i++) {
        tare_string name = v->wanted.lines[i].name;
        const tare_tensor *tensor = tare_find(v->model, name.data, name.size);
        if (tensor == NULL || !is_meant(v, name)) continue;
        size_t *line = &v->lines[tare_index_of(v->model, tensor)];
        if (*line != 0) {
            char shown[512];
            cli_message("%s: lines %zu and %zu are of the same tensor",
                        text_escape(text_of(v->options->operands[1]), shown, sizeof shown), *line,
                        i + 1);
            return false;
        }
        *line = i + 1;
    }
    for (size_t i = 0; i < all; i++) {
        const tare_tensor *tensor = tare_at(v->model, i);
        if (v->lines[i] == 0) continue;
        v->what.tensors[v->what.count++] = tensor;
        v->what.size += tare_size(v->model, tensor);
    }
    return check_prefixes(v);
}

static void json_faults(verification *v, const char *key,
                        void (*each)(verification *v, fault_visitor *visit))
{
    json_line();
    json_key(key);
    json_open('[');
    each(v, json_fault);
    json_close(']');
}

static void json_result(verification *v)
{
    json_open('{');
    json_key("model");
    json_text(v->options->operands[0]);
    json_key("manifest");
    json_text(v->options->operands[1]);
    json_key("ok");
    json_bool(v->faults == 0);
    json_field("tensors", v->what.count);
    json_field("size", v->what.size);
    json_faults(v, "differ", each_other);
    json_faults(v, "missing", each_missing);
    json_faults(v, "extra", each_extra);
    json_close('}');
    json_end();
}

static void print_accepted(const verification *v)
{
    out_escaped(text_of(v->options->operands[0]));
    out_string(": ");
    out_style_on(STYLE_GOOD);
    out_string("ok");
    out_style_off();
    out_format(" (%zu tensor%s, ", v->what.count, v->what.count == 1 ? "" : "s");
    out_human(v->what.size);
    out_string(")\n");
}

static int verify(verification *v)
{
    if (!manifest_read(v->options->operands[1], &v->wanted) || !match(v)) return CLI_FAILED;
    int status = transfer_hash(v->options, v->model, &v->what, v->digests);
    if (status != CLI_OK) return status;
    each_other(v, say_fault);
    each_missing(v, say_fault);
    each_extra(v, say_fault);
    if (options_json(v->options))
        json_result(v);
    else if (v->faults == 0)
        print_accepted(v);
    return v->faults == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_verify(const cli_options *options)
{
    verification v = {.options = options};
    tare_model *model = cli_open_headers(options, options->operands[0]);
    if (model == NULL) return CLI_FAILED;
    v.model = model;
    text_escape(text_of(options->operands[0]), v.path, sizeof v.path);
    int status = verify(&v);
    manifest_free(&v.wanted);
    selection_free(&v.what);
    free(v.lines);
    free(v.digests);
    tare_close(model);
    return status;
}
