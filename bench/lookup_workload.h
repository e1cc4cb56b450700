/* A set of names as bench_lookup uses it: the list that tables are built from, the callers' streams
 * of names to find, and the forms in which tare takes a model. */
#ifndef TARE_BENCH_LOOKUP_WORKLOAD_H
#define TARE_BENCH_LOOKUP_WORKLOAD_H

#include "model_file.h"
#include "model_names.h"
#include "tare.h"

#include <memory>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <vector>

namespace lookup
{

/* A runtime's own record of a tensor, one cache line, in the order of the list. Engines that find a
 * number look the offset up here. */
struct alignas(64) Record {
    uint64_t offset;
    uint64_t size;
    uint64_t shape[4];
    uint32_t rank;
    uint32_t dtype;
    uint64_t unused;
};

/* Names to find, packed end to end in the order they are asked for: memory that no table shares. */
struct Stream {
    std::string text;
    std::vector<tare_string> names;
    std::vector<uint32_t> numbers; /* places in the list that they came from */
};

class Workload
{
  public:
    /* `source` is a label of names_make or a file for names_read. */
    Workload(const std::string &label, const std::string &source);
    ~Workload();
    Workload(const Workload &) = delete;
    Workload &operator=(const Workload &) = delete;

    const std::string &label() const
    {
        return label_;
    }
    const names_list &list() const
    {
        return list_;
    }

    /* Every name once, in random order; small sets several times, in other orders each, so that the
     * processor cannot learn the sequence. */
    template <class Query>
    const std::vector<Query> &hits() const
    {
        return queries<Query>(hit_queries_, hit_stream_);
    }

    template <class Query>
    const std::vector<Query> &misses() const
    {
        return queries<Query>(miss_queries_, miss_stream_);
    }

    /* The names in the order of tare_at: how they lie in the file, which is how loaders go. */
    template <class Query>
    const std::vector<Query> &ordered() const
    {
        return queries<Query>(ordered_queries_, ordered_stream_);
    }

    const std::vector<uint32_t> &hit_numbers() const
    {
        return hit_stream_.numbers;
    }

    const std::vector<Record> &records() const
    {
        return records_; /* by place in the list */
    }
    const std::vector<tare_pair> &pairs() const
    {
        return pairs_; /* names with no data */
    }
    const std::string &file() const
    {
        return file_; /* safetensors, of the list */
    }

    /* For a place in the file, the place in the list. */
    const std::vector<uint32_t> &file_order() const
    {
        return file_order_;
    }

  private:
    using Cache = std::unordered_map<std::type_index, std::shared_ptr<void>>;

    /* The stream in the form that an engine's caller has ready. */
    template <class Query>
    static const std::vector<Query> &queries(Cache &cache, const Stream &stream)
    {
        std::shared_ptr<void> &held = cache[typeid(Query)];
        if (held == nullptr) {
            auto made = std::make_shared<std::vector<Query>>();
            made->reserve(stream.names.size());
            for (const tare_string &name : stream.names)
                made->push_back(Query{name.data, name.size});
            held = made;
        }
        return *static_cast<const std::vector<Query> *>(held.get());
    }

    void make_streams();
    void make_file();

    std::string label_;
    names_list list_;
    Stream hit_stream_, miss_stream_, ordered_stream_;
    mutable Cache hit_queries_, miss_queries_, ordered_queries_;
    std::vector<Record> records_;
    std::vector<tare_pair> pairs_;
    std::string file_;
    std::vector<uint32_t> file_order_;
};

} // namespace lookup

#endif
