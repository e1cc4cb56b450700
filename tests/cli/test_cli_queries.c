/* The names that `tare bench` asks for, of a model whose names grow each time they are looked at. */
#include <criterion/criterion.h>
#include <string.h>

#include "latency.h"

struct tare_model {
    size_t count;
};

struct tare_tensor {
    size_t looks;
};

enum { COUNT = 5 * QUERY_STEP, SHORT = 7, LONG = 4000 };

static struct tare_tensor tensors[COUNT];
static const tare_model model = {COUNT};
static char name[LONG + 1];

size_t tare_count(const tare_model *of)
{
    return of->count;
}

const tare_tensor *tare_at(const tare_model *of, size_t index)
{
    return index < of->count ? &tensors[index] : NULL;
}

tare_string tare_name(const tare_model *of, const tare_tensor *tensor)
{
    (void)of;
    return (tare_string){name, tensors[tensor - tensors].looks++ == 0 ? SHORT : LONG};
}

const tare_tensor *tare_find(const tare_model *of, const char *text, size_t size)
{
    (void)of, (void)text, (void)size;
    return NULL;
}

TestSuite(cli_queries, .timeout = 60);

Test(cli_queries, have_room_for_names_as_they_were_at_the_only_look)
{
    uint64_t random = 1;
    query_list hits, misses;
    memset(name, 'n', LONG);
    cr_assert(queries_hits(&model, &random, &hits));
    cr_assert(queries_misses(&model, &random, &hits, &misses));
    cr_expect(hits.own == COUNT && hits.count >= COUNT && hits.count % QUERY_STEP == 0);
    for (size_t i = 0; i < hits.count; i++) {
        const char *own = hits.text + i % hits.own * SHORT;
        cr_assert(hits.names[i].data == own && hits.names[i].size == SHORT);
        cr_assert_arr_eq(own, name, SHORT);
    }
    for (size_t i = 0; i < COUNT; i++) cr_assert_eq(tensors[i].looks, 1);
    queries_free(&hits);
    queries_free(&misses);
}
