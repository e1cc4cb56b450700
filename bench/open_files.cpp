#include "open_files.h"

#include "model_folder.h"
#include "tare.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace opening
{

namespace
{

constexpr size_t million_count = 1700000;

void check(int failed, const std::string &path)
{
    if (failed == 0) return;
    std::fprintf(stderr, "bench_open: %s: %s\n", path.c_str(), std::strerror(failed));
    std::exit(1);
}

void make(const std::string &path, const std::string &label, size_t shards)
{
    model_request request = {};
    request.out = path.c_str();
    request.set = label.c_str();
    request.shards = shards;
    request.data = MODEL_DATA_TRUE;
    request.file_only = shards == 0;
    if (!model_recipe(&request) || model_make(&request) != 0) std::exit(1);
}

void measure(SetFiles &files)
{
    std::string start = read_start(files.single, 8);
    uint64_t size;
    std::memcpy(&size, start.data(), sizeof size); /* hosts of this benchmark are little-endian */
    files.header_size = size + 8;
    start = read_start(files.single, files.header_size);
    files.quotes = (uint64_t)std::count(start.begin(), start.end(), '"');
}

void write_million(const std::string &path)
{
    names_list list = {};
    names_tensor facts = {};
    facts.dtype = "U8";
    facts.rank = 1; /* of no elements: shape [0] */
    facts.element_size = 1;
    for (size_t i = 0; i < million_count; i++) {
        char name[24];
        int size = std::snprintf(name, sizeof name, "%zx", i);
        check(names_add(&list, name, (size_t)size, &facts), path);
    }
    names_seal(&list);
    model_shard shard;
    check(model_shard_make(&list, 0, list.count, MODEL_DATA_TRUE, nullptr, &shard), path);
    std::string beside = path + ".new-" + std::to_string(getpid());
    check(model_shard_write(&list, &shard, beside.c_str()), beside);
    if (std::rename(beside.c_str(), path.c_str()) != 0) check(errno, path);
    model_shard_free(&shard);
    names_free(&list);
}

} // namespace

std::string read_start(const std::string &path, uint64_t size)
{
    std::unique_ptr<FILE, int (*)(FILE *)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (file == nullptr) check(errno, path);
    std::string bytes(size, '\0');
    if (std::fread(bytes.data(), 1, size, file.get()) != size) check(EIO, path);
    return bytes;
}

SetFiles make_set_files(const std::string &data_folder, const std::string &label)
{
    SetFiles files = {};
    files.single = data_folder + "/" + label + ".safetensors";
    files.folder = data_folder + "/" + label;
    make(files.single, label, 0);
    make(files.folder, label, model_published_shards(label.c_str()));
    names_list list;
    check(names_make(label.c_str(), &list), label);
    files.count = list.count;
    names_free(&list);
    measure(files);
    return files;
}

SetFiles make_million_file(const std::string &data_folder)
{
    SetFiles files = {};
    files.single = data_folder + "/million.safetensors";
    files.count = million_count;
    if (access(files.single.c_str(), R_OK) != 0) write_million(files.single);
    measure(files);
    return files;
}

SetFiles make_count_file(const std::string &data_folder, size_t tensors, size_t shards)
{
    SetFiles files = {};
    std::string label = std::to_string(tensors);
    files.count = tensors;
    files.folder = data_folder + "/" + label + "-" + std::to_string(shards);
    if (shards == 0) files.single = data_folder + "/" + label + ".safetensors";
    make(shards == 0 ? files.single : files.folder, label, shards);
    if (shards == 0) measure(files);
    return files;
}

SetFiles make_gguf_file(const std::string &data_folder, size_t tensors, size_t tokens)
{
    std::string set = std::to_string(tensors);
    SetFiles files = {};
    files.single = data_folder + "/" + set + "-" + std::to_string(tokens) + ".gguf";
    files.count = tensors;
    model_request request = {};
    request.out = files.single.c_str();
    request.set = set.c_str();
    request.tokens = tokens;
    request.data = MODEL_DATA_TRUE;
    request.file_only = request.gguf = 1;
    if (!model_recipe(&request) || model_make(&request) != 0) std::exit(1);
    tare_model *model;
    tare_error error;
    if (tare_open(files.single.c_str(), nullptr, &model, &error) != TARE_OK) {
        std::fprintf(stderr, "bench_open: %s\n", error.message);
        std::exit(1);
    }
    files.header_size = tare_shard_at(model, 0).data_offset;
    tare_close(model);
    return files;
}

} // namespace opening
