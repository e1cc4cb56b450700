/* The files that bench_open opens, made once in a folder of their own. */
#ifndef TARE_BENCH_OPEN_FILES_H
#define TARE_BENCH_OPEN_FILES_H

#include <cstdint>
#include <string>

namespace opening
{

/* One set: its single file and its folder of shards, both with the shapes of the published model
 * and holes for data, so that headers are as long as the model's. */
struct SetFiles {
    std::string single;
    std::string folder;
    uint64_t count;       /* of tensors */
    uint64_t header_size; /* of the single file, its first 8 bytes included */
    uint64_t quotes;      /* in that header */
};

/* Makes what is missing in `data_folder`. Ends the process with a message on failure. */
SetFiles make_set_files(const std::string &data_folder, const std::string &label);

/* One file whose header, 95.8 MB, is near the format's limit of 100 MB: 1,700,000 tensors of no
 * elements, named by their numbers in hexadecimal. */
SetFiles make_million_file(const std::string &data_folder);

/* The first `tensors` names of XL's scheme, in one file, or in so many shards: then `single` is
 * "". */
SetFiles make_count_file(const std::string &data_folder, size_t tensors, size_t shards);

/* One GGUF file of that many tensors and so many tokens in its metadata; `single` is all there
 * is. */
SetFiles make_gguf_file(const std::string &data_folder, size_t tensors, size_t tokens);

/* The first `size` bytes of a file. */
std::string read_start(const std::string &path, uint64_t size);

} // namespace opening

#endif
