/* The hash of names is XXH3, whatever way it takes. */
#include <stdlib.h>
#include <string.h>

#include "name_hash.h"
#include "support/expect.h"
#include "support/name_sets.h"

Test(name_hash, is_that_of_the_library_at_every_size)
{
    static const uint64_t seeds[] = {0, 1, UINT64_MAX, UINT64_C(0x9E3779B97F4A7C15)};
    uint64_t state = 88172645463325252u;
    for (size_t size = 0; size <= 600; size++)
        for (size_t s = 0; s < sizeof seeds / sizeof seeds[0]; s++) {
            char *name = malloc(size + 1); /* by itself, so that reads beyond are seen */
            char *exact = size != 0 ? realloc(name, size) : name;
            tarei_name_seed seed;
            tarei_name_seed_init(&seed, seeds[s]);
            for (size_t i = 0; i < size; i++) exact[i] = (char)name_random(&state);
            uint64_t wanted = XXH3_64bits_withSeed(exact, size, seeds[s]);
            cr_assert_eq(tarei_name_hash(&seed, exact, size), wanted, "size %zu", size);
            if (tarei_name_is_usual(size))
                cr_assert_eq(tarei_name_hash_usual(&seed, exact, size), wanted, "size %zu", size);
            free(exact);
        }
    cr_expect(!tarei_name_is_usual(0) && !tarei_name_is_usual(16) && tarei_name_is_usual(17));
    cr_expect(tarei_name_is_usual(64) && !tarei_name_is_usual(65));
}
