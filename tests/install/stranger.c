/*
 * A user of the installed library who knows nothing but tare.h. It is compiled as C99, C11, C++98
 * and C++17, so it is written in what these have in common.
 */
#include <tare.h>

#include <stdio.h>
#include <string.h>

static int failed(const char *what, const tare_error *error)
{
    fprintf(stderr, "stranger: %s: %s\n", what, error->message);
    return 1;
}

static int use_pairs(void)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_error error;
    tare_model *model;
    tare_pair pairs[2];
    const tare_tensor *tensor;
    int good;

    memset(pairs, 0, sizeof pairs);
    pairs[0].name = "first";
    pairs[0].name_size = 5;
    pairs[1].name = "second";
    pairs[1].name_size = 6;
    pairs[1].data = "bytes";
    pairs[1].size = 5;
    options.alignment = 4096;
    if (tare_open_pairs(pairs, 2, &options, &model, &error) != TARE_OK) {
        return failed("tare_open_pairs", &error);
    }
    tensor = tare_find(model, "second", 6);
    good = tare_count(model) == 2 && tensor != NULL && tare_size(model, tensor) == 5 &&
           memcmp(tare_data(model, tensor), "bytes", 5) == 0 &&
           tare_alignment(model, tensor) >= 4096 && tare_find(model, "third", 5) == NULL;
    tare_close(model);
    if (!good) fprintf(stderr, "stranger: the pairs came back wrong\n");
    return good ? 0 : 1;
}

static int use_file(const char *path)
{
    static const char header[] = "{\"a\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
    static const unsigned char data[4] = {1, 0, 2, 0};
    unsigned char prefix[8] = {sizeof header - 1};
    unsigned char copy[4];
    tare_error error;
    tare_model *model;
    const tare_tensor *tensor;
    tare_info info;
    int good;
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(prefix, sizeof prefix, 1, file) != 1 ||
        fwrite(header, sizeof header - 1, 1, file) != 1 ||
        fwrite(data, sizeof data, 1, file) != 1 || fclose(file) != 0) {
        perror(path);
        return 1;
    }
    if (tare_open(path, NULL, &model, &error) != TARE_OK) return failed("tare_open", &error);
    tensor = tare_find(model, "a", 1);
    if (tensor == NULL || tare_read(model, tensor, copy, sizeof copy, &error) != TARE_OK) {
        tare_close(model);
        return failed("tare_read", &error);
    }
    info = tare_describe(model, tensor);
    good = info.dtype == TARE_DTYPE_I16 && info.rank == 1 && info.shape[0] == 2 &&
           memcmp(copy, data, sizeof data) == 0 &&
           memcmp(tare_data(model, tensor), data, sizeof data) == 0;
    tare_close(model);
    if (!good) fprintf(stderr, "stranger: the tensor came back wrong\n");
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    char version[32];

    snprintf(version, sizeof version, "%d.%d.%d", TARE_VERSION_MAJOR, TARE_VERSION_MINOR,
             TARE_VERSION_PATCH);
    if (argc != 2 || strcmp(version, tare_version()) != 0) {
        fprintf(stderr, "stranger: header %s, library %s\n", version, tare_version());
        return 1;
    }
    if (use_pairs() != 0 || use_file(argv[1]) != 0) return 1;
    printf("ok %s\n", version);
    return 0;
}
