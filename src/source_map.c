#include <errno.h>
#include <string.h>

#include "check.h"
#include "error.h"
#include "source.h"

bool tarei_source_same(const tarei_os_identity *a, const tarei_os_identity *b)
{
    return a->size == b->size && a->device == b->device && a->number == b->number &&
           a->modified_s == b->modified_s && a->modified_ns == b->modified_ns;
}

tare_status tarei_source_map(tarei_source *source, const char *path, uint32_t shard,
                             tare_error *error)
{
    int failure = EFBIG;
    const void *mapping = NULL;
    if (tarei_check_fits_size(source->size))
        failure =
            tarei_os_map(source->descriptor, (size_t)source->size, source->copy_on_write, &mapping);
    if (failure != 0)
        return tarei_error_system(error, TARE_E_MAP, failure, shard, "cannot map", path);
    source->bytes = mapping;

    /* The header was read and checked before: a file that changed in between is another file. This
     * narrows the race and cannot close it; see CAVEATS in tare.h. */
    tarei_os_identity now;
    failure = tarei_os_identify(source->descriptor, &now);
    if (failure == 0 && tarei_source_same(&now, &source->identity)) return TARE_OK;
    tarei_os_unmap(source->bytes, (size_t)source->size);
    source->bytes = NULL;
    if (failure != 0)
        return tarei_error_system(error, TARE_E_READ, failure, shard, "cannot be examined", path);
    return tarei_error_set(error, TARE_E_CHANGED, shard, TARE_NO_OFFSET,
                           "%s: changed while it was opened", tarei_quote(path, strlen(path)).text);
}
