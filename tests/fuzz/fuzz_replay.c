/* A plain main for a fuzz target: gives it every file that is named, and every file in the folders
 * that are named and below them. */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { DESCRIPTORS = 16, SIZE_MOST = 1 << 20 };

static size_t file_count;

static int replay(const char *path, const struct stat *status, int kind, struct FTW *unused)
{
    (void)unused;
    if (kind != FTW_F || status->st_size > SIZE_MOST) return 0;
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc((size_t)status->st_size + 1);
    if (file == NULL || bytes == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    size_t size = fread(bytes, 1, (size_t)status->st_size, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    file_count++;
    return 0;
}

/* For targets that have a mutator of their own: nothing is mutated here. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max)
{
    (void)data, (void)size_max;
    return size;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], replay, DESCRIPTORS, FTW_PHYS) != 0) {
            fprintf(stderr, "%s cannot be walked\n", argv[i]);
            return 1;
        }
    }
    printf("%zu inputs\n", file_count);
    return file_count == 0; /* a folder that went away is no success */
}
