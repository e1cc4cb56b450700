/*
 * A model whose bytes are fetched in ranges. fetch() stands for the HTTP client: it gets the bytes
 * from a file and counts requests; a real one sends "Range: bytes=FIRST-LAST" and reads the answer.
 *
 * Opening asks for 8 bytes and then for the header. One request that fetches the start of the file
 * beforehand answers both, and every request over a network costs a round trip.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tare.h"

enum { START_SIZE = 65536 };

struct remote {
    FILE *file;
    unsigned requests;
    unsigned char start[START_SIZE]; /* the first bytes, fetched once */
    size_t start_size;
};

/* One request. Returns how many bytes came, or -1. */
static int64_t fetch(struct remote *remote, uint64_t offset, void *target, size_t size)
{
    remote->requests++;
    printf("GET, Range: bytes=%" PRIu64 "-%" PRIu64 "\n", offset, offset + size - 1);
    if (fseek(remote->file, (long)offset, SEEK_SET) != 0) return -1;
    size_t got = fread(target, 1, size, remote->file);
    return ferror(remote->file) ? -1 : (int64_t)got;
}

/* What tare calls, and on several threads at once where tare_read runs on several: then the file
 * position and the counter here need a lock, or each thread a connection of its own. */
static int64_t read_at(void *context, uint64_t offset, void *target, size_t size)
{
    struct remote *remote = context;
    if (offset >= remote->start_size) return fetch(remote, offset, target, size);
    size_t have = remote->start_size - (size_t)offset;
    if (have > size) have = size;
    memcpy(target, remote->start + offset, have); /* fewer than asked for is fine */
    return (int64_t)have;
}

static int show(const tare_model *model, const char *name)
{
    const tare_tensor *tensor = tare_find(model, name, strlen(name));
    if (tensor == NULL) return 0;
    size_t size = (size_t)tare_size(model, tensor); /* a small one, known to fit */
    unsigned char *bytes = malloc(size);
    tare_error error;
    int fine = bytes != NULL && tare_read(model, tensor, bytes, size, &error) == TARE_OK;
    if (fine) printf("%s: %zu bytes, the first is %02x\n", name, size, bytes[0]);
    free(bytes);
    return fine;
}

int main(int count, char **arguments)
{
    static struct remote remote;
    remote.file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (remote.file == NULL || fseek(remote.file, 0, SEEK_END) != 0) {
        fprintf(stderr, "usage: %s FILE\n", arguments[0]);
        return 2;
    }
    uint64_t total_size = (uint64_t)ftell(remote.file); /* Content-Range of the first answer */
    size_t first = total_size < START_SIZE ? (size_t)total_size : START_SIZE;
    if (total_size > 1000) first = 1000; /* so that this small model shows both ways */
    int64_t got = fetch(&remote, 0, remote.start, first);
    if (got < 0) return 1;
    remote.start_size = (size_t)got;

    tare_reader reader = {sizeof reader, &remote, read_at, total_size};
    tare_model *model;
    tare_error error;
    if (tare_open_reader(&reader, NULL, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("open: %zu tensors after %u request\n", tare_count(model), remote.requests);
    int fine = show(model, "norm.weight") && show(model, "step");
    printf("%u requests in all\n", remote.requests);
    tare_close(model);
    fclose(remote.file);
    return !fine;
}
