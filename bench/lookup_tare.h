/* tare as an engine of bench_lookup, called through its C functions in libtare.a, as any user calls
 * it. */
#ifndef TARE_BENCH_LOOKUP_TARE_H
#define TARE_BENCH_LOOKUP_TARE_H

#include "lookup_frame.h"

namespace lookup
{

class TareBase : public EngineDefaults
{
  public:
    using Query = tare_string;
    static constexpr uint64_t absent = 0;
    static constexpr unsigned patterns = ALL_PATTERNS;
    static constexpr bool is_tare = true;

    TareBase() = default;
    TareBase(const TareBase &) = delete;
    TareBase &operator=(const TareBase &) = delete;
    ~TareBase()
    {
        tare_close(model_);
    }

    uint64_t find(const Query &query) const
    {
        return token(tare_find(model_, query.data, query.size));
    }

    void find_many(const Query *queries, size_t count, uint64_t *tokens) const
    {
        static_assert(sizeof(uint64_t) == sizeof(const tare_tensor *));
        tare_find_many(model_, queries, count, reinterpret_cast<const tare_tensor **>(tokens));
    }

    /* Everything that the model holds, by its own account; parts of it follow. */
    void add_counters(benchmark::State &state) const
    {
        tare_stat stat = {};
        stat.struct_size = sizeof stat;
        tare_model_stat(model_, &stat);
        double count = double(tare_count(model_));
        state.counters["held_bytes_per_name"] = double(stat.memory_size) / count;
        state.counters["held_index"] = double(stat.index_size) / count;
        state.counters["held_records"] = double(stat.record_size) / count;
        state.counters["held_names"] = double(stat.name_size) / count;
        state.counters["held_shapes"] = double(stat.shape_size) / count;
    }

  protected:
    static uint64_t token(const tare_tensor *tensor)
    {
        return reinterpret_cast<uint64_t>(tensor);
    }
    static const tare_tensor *tensor(uint64_t token)
    {
        return reinterpret_cast<const tare_tensor *>(token);
    }

    void check(tare_status status, const tare_error &error) const
    {
        if (status == TARE_OK) return;
        std::fprintf(stderr, "bench_lookup: tare: %s\n", error.message);
        std::exit(1);
    }

    tare_model *model_ = nullptr;
};

/* Opened from a safetensors file in memory, so that building it parses the header. */
struct Tare : TareBase {
    static constexpr const char *name = "tare";
    static constexpr bool is_swept = true;

    explicit Tare(const Workload &workload) : order_(workload.file_order())
    {
        const std::string &file = workload.file();
        tare_options options = TARE_OPTIONS_INIT;
        options.header_size_max = file.size();
        tare_error error;
        check(tare_open_bytes(file.data(), file.size(), &options, &model_, &error), error);
    }

    uint32_t number(uint64_t token) const
    {
        return order_[tare_index_of(model_, tensor(token))];
    }
    uint64_t offset(uint64_t token) const
    {
        return tare_offset(model_, tensor(token));
    }

    const std::vector<uint32_t> &order_;
};

/* Made from the same list of names that the containers are built from. Its tensors have no data:
 * offsets come from the caller's records, as they do for the containers. */
struct TarePairs : TareBase {
    static constexpr const char *name = "tare_pairs";

    explicit TarePairs(const Workload &workload) : records_(workload.records())
    {
        const std::vector<tare_pair> &pairs = workload.pairs();
        tare_error error;
        check(tare_open_pairs(pairs.data(), pairs.size(), nullptr, &model_, &error), error);
    }

    uint32_t number(uint64_t token) const
    {
        return (uint32_t)tare_index_of(model_, tensor(token));
    }
    uint64_t offset(uint64_t token) const
    {
        return records_[number(token)].offset;
    }

    const std::vector<Record> &records_;
};

} // namespace lookup

#endif
