/* The models of bench_load, what is asked of them, and whether the page cache holds them. */
#ifndef TARE_BENCH_LOAD_FILES_H
#define TARE_BENCH_LOAD_FILES_H

#include "load_frame.h"

namespace load
{

/* A model of about `size` bytes in `folder`, made when it is not there in that size:
 *   large   40 tensors of equal size, F16
 *   small   the 91,985 names of set L of model_names.h, its shapes made smaller by one factor; FP8
 *           weights as U8 and BF16 as F16, which are the dtypes that numpy knows
 * Ends the process with a message on failure. Returns the path. */
std::string make_model(const std::string &folder, const std::string &set, uint64_t size);

/* All tensors of a model, or a random fifth of them in random order. */
Job make_job(const std::string &set, const std::string &path, bool whole);

/* Of the tensors of a job in their order, as an engine has them. */
uint64_t checksum_of(const Job &job, Loaded &loaded);

/* Bytes of the file that the page cache holds. */
uint64_t resident_size(const std::string &path);

/* Sees to it that the page cache holds the whole file; false where it does not stay there. */
bool make_warm(const std::string &path);

/* Asks for its pages to be dropped until none is left; returns the bytes that are. */
uint64_t make_cold(const std::string &path);

/* The file system reads past the page cache. */
bool reads_directly(const std::string &path);

} // namespace load

#endif
