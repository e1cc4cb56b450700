/* Makes a model of real-scheme tensor names with made-up data; see usage below. */
#include "model_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: make_model OUT [--set S|M|L|XL|COUNT | --names FILE]\n"
    "                  [--shards N | --single | --gguf] [--data-size small|true|filled]\n"
    "\n"
    "Makes the folder OUT with N shards and their index, or with one model.safetensors, or with\n"
    "one model.gguf of the same names. With --single or --gguf an OUT that ends in .safetensors "
    "or\n"
    ".gguf is that file itself.\n"
    "  --set S|M|L|XL   323, 5,900, 91,985 (DeepSeek-V3's names, the default) or 993,417 tensors\n"
    "  --set COUNT      the first N names of the scheme of XL\n"
    "  --names FILE     names one a line (behind its last tab), or those of a\n"
    "                   *.safetensors.index.json\n"
    "  --shards N       default: as the model is published\n"
    "  --data-size      small: dimensions divided by 512 (default); true: real shapes, files with\n"
    "                   holes, so that hundreds of gigabytes take no space; filled: real shapes,\n"
    "                   random bytes that do take it\n"
    "An OUT that make_model made before with the same options is left as it is; with other\n"
    "options it is replaced. Anything else at OUT is an error.\n";

static int read_option(struct model_request *request, const char *option, const char *value)
{
    if (strcmp(option, "--set") == 0) {
        request->set = value;
    } else if (strcmp(option, "--names") == 0) {
        request->names_path = value;
    } else if (strcmp(option, "--shards") == 0) {
        char *end;
        request->shards = strtoul(value, &end, 10);
        return *end == '\0' && request->shards >= 1 && request->shards <= 99999;
    } else if (strcmp(option, "--data-size") == 0) {
        const char *name;
        for (request->data = 0; (name = model_data_name(request->data)) != NULL; request->data++)
            if (strcmp(name, value) == 0) break;
        return name != NULL;
    } else {
        return 0;
    }
    return 1;
}

static int ends_in(const char *path, const char *end)
{
    size_t size = strlen(path), end_size = strlen(end);
    return size > end_size && strcmp(path + size - end_size, end) == 0;
}

/* "folder/" -> "folder", since what is made beside it has a name that starts so. */
static char *strip_slashes(char *path)
{
    for (size_t size = strlen(path); size > 1 && path[size - 1] == '/'; size--)
        path[size - 1] = '\0';
    return path;
}

static int read_arguments(int count, char **arguments, struct model_request *request)
{
    int single = 0;
    *request = (struct model_request){.set = "L"};
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--single") == 0)
            single = 1;
        else if (strcmp(arguments[i], "--gguf") == 0)
            single = request->gguf = 1;
        else if (arguments[i][0] != '-' && request->out == NULL)
            request->out = strip_slashes(arguments[i]);
        else if (i + 1 == count || !read_option(request, arguments[i], arguments[i + 1]))
            return 0;
        else
            i++;
    }
    if (request->out == NULL || *request->out == '\0') return 0;
    if (single && request->shards != 0) return 0;
    if (!single && request->shards == 0)
        request->shards = request->names_path == NULL ? model_published_shards(request->set) : 10;
    request->file_only = single && ends_in(request->out, request->gguf ? ".gguf" : ".safetensors");
    return model_recipe(request);
}

int main(int argument_count, char **arguments)
{
    struct model_request request;
    if (argument_count == 2 && strcmp(arguments[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (!read_arguments(argument_count, arguments, &request)) {
        fputs(usage, stderr);
        return 2;
    }
    return model_make(&request);
}
