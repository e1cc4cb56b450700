#include "lookup_workload.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace lookup
{

namespace
{

constexpr size_t stream_size_min = 8192;
constexpr uint64_t hit_seed = 1, miss_seed = 1000, miss_name_seed = 1;

void check(int failed, const std::string &what)
{
    if (failed == 0) return;
    std::fprintf(stderr, "benchmark: cannot make %s: %s\n", what.c_str(), std::strerror(failed));
    std::exit(1);
}

/* The list in as many rounds as make the stream long enough; `order_of` gives the order of each. */
template <class OrderOf>
Stream make_stream(const names_list &list, OrderOf order_of)
{
    Stream stream;
    size_t rounds = list.count >= stream_size_min ? 1 : stream_size_min / list.count + 1;
    stream.text.reserve(list.text_size * rounds); /* names point into it: it must not move */
    stream.names.reserve(list.count * rounds);
    stream.numbers.reserve(list.count * rounds);
    for (size_t round = 0; round < rounds; round++)
        for (uint32_t number : order_of(round)) {
            const names_tensor &tensor = list.tensors[number];
            const char *start = stream.text.data() + stream.text.size();
            stream.text.append(tensor.name, tensor.name_size);
            stream.names.push_back({start, tensor.name_size});
            stream.numbers.push_back(number);
        }
    return stream;
}

/* Another random order in each round. */
Stream make_random_stream(const names_list &list, uint64_t seed)
{
    return make_stream(list, [&](size_t round) {
        uint32_t *order = names_order(list.count, seed + round);
        check(order == nullptr ? ENOMEM : 0, "an order");
        std::vector<uint32_t> numbers(order, order + list.count);
        std::free(order);
        return numbers;
    });
}

} // namespace

Workload::Workload(const std::string &label, const std::string &source) : label_(label)
{
    bool is_path = source.find_first_of("/.") != std::string::npos;
    int failed = is_path ? names_read(source.c_str(), &list_) : names_make(source.c_str(), &list_);
    check(failed, "names from " + source);
    make_file();
    make_streams();
    pairs_.reserve(list_.count);
    for (size_t i = 0; i < list_.count; i++)
        pairs_.push_back({list_.tensors[i].name, list_.tensors[i].name_size, nullptr, 0});
}

Workload::~Workload()
{
    names_free(&list_);
}

void Workload::make_streams()
{
    hit_stream_ = make_random_stream(list_, hit_seed);
    names_list misses;
    check(names_misses(&list_, miss_name_seed, &misses), "look-alike names");
    miss_stream_ = make_random_stream(misses, miss_seed);
    names_free(&misses);
    ordered_stream_ =
        make_stream(list_, [&](size_t) -> const std::vector<uint32_t> & { return file_order_; });
}

void Workload::make_file()
{
    model_shard shard;
    check(model_shard_make(&list_, 0, list_.count, MODEL_DATA_SMALL, nullptr, &shard), label_);
    file_.resize(shard.header_size + shard.data_size);
    std::memcpy(file_.data(), shard.header, shard.header_size);
    model_shard_fill(&list_, &shard, file_.data() + shard.header_size);
    file_order_.assign(shard.order, shard.order + shard.count);

    records_.resize(list_.count);
    uint64_t offset = shard.header_size;
    for (uint32_t number : file_order_) {
        const names_tensor &tensor = list_.tensors[number];
        Record &record = records_[number];
        record.offset = offset;
        record.size = model_tensor_size(&tensor, MODEL_DATA_SMALL);
        record.rank = tensor.rank;
        offset += record.size;
    }
    model_shard_free(&shard);
}

} // namespace lookup
