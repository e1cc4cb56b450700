#include <stdlib.h>

#include "source.h"
#include "support/expect.h"
#include "support/temp_files.h"

Test(source_bytes, gives_the_bytes_of_another_owner)
{
    tarei_source source;
    tare_error error = expect_poison();
    char *bytes = temp_copy("0123456789", 10), target[10];
    tarei_source_bytes(&source, bytes, 10);
    cr_expect_eq(source.size, 10);
    cr_expect_eq((const char *)source.bytes, bytes);
    for (uint64_t offset = 0; offset <= 10; offset++) {
        size_t size = (size_t)(10 - offset);
        cr_assert_eq(tarei_source_read(&source, 0, offset, target, size, &error), TARE_OK);
        cr_expect_arr_eq(target, bytes + offset, size);
    }
    tarei_source_close(&source);
    cr_expect_null(source.bytes);
    free(bytes); /* closing left them to their owner: AddressSanitizer would see a second free */
}

Test(source_bytes, of_no_size_reads_nothing)
{
    tarei_source source;
    tare_error error = expect_poison();
    tarei_source_bytes(&source, NULL, 0);
    cr_expect_eq(tarei_source_read(&source, 0, 0, NULL, 0, &error), TARE_OK);
    tarei_source_close(&source);
}
