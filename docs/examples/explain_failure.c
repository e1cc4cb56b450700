/* What a failed open tells: status, place and message. Opens a file that stops in its data. */
#include <inttypes.h>
#include <stdio.h>

#include "tare.h"

static void explain(const tare_error *error)
{
    printf("%s (%d): %s\n", tare_status_name(error->status), (int)error->status,
           tare_status_text(error->status));
    printf("message: %s\n", error->message);
    if (error->shard != TARE_NO_SHARD) printf("shard: %" PRIu32 "\n", error->shard);
    if (error->offset != TARE_NO_OFFSET) printf("offset: %" PRIu64 "\n", error->offset);
    if (error->system_error != 0) printf("a system call failed\n");
}

int main(void)
{
    static const char bytes[] = "\x40\0\0\0\0\0\0\0" /* a header of 64 bytes */
                                "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
                                "          " /* spaces up to the 64 */
                                "half";      /* 4 bytes of data where the header says 8 */
    tare_model *model;
    tare_error error;
    if (tare_open_bytes(bytes, sizeof bytes - 1, NULL, &model, &error) != TARE_OK) explain(&error);
    if (tare_open("no/such/file.safetensors", NULL, &model, &error) != TARE_OK) explain(&error);
    tare_close(model); /* NULL after a failure, which is allowed */
    return 0;
}
