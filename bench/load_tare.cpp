/*
 * tare's ways from a path to bytes.
 *
 *     tare_map_touch              the file mapped, one byte of every page read
 *     tare                        tare_load with the library's own choices
 *     tare_flight32               the same with at most 32 MiB of reads at one time
 *     tare_buffered_tT_PAGES      through the page cache, T threads, pages of 4 KiB or huge
 *     tare_direct                 past the page cache, the rest left to the library (cold only)
 *     tare_direct_tT_PAGES        past the page cache, T threads (cold only)
 */
#include "load_memory.h"

#include "tare.h"

#include <benchmark/benchmark.h>
#include <unistd.h>

namespace load
{

namespace
{

constexpr uint64_t flight_size = 32 << 20;

/* An open model and the tensors of a job in it. */
class Opened
{
  public:
    Opened(const Job &job, Timing &timing)
    {
        tare_options options = TARE_OPTIONS_INIT;
        if (meter != nullptr) {
            hooks_ = meter->hooks();
            options.allocator = &hooks_;
        }
        tare_error error;
        Clock::time_point start = Clock::now();
        if (tare_open(job.path.c_str(), &options, &model, &error) != TARE_OK)
            fail(error.message, job.path);
        if (!job.whole) {
            tensors.reserve(job.names.size());
            for (const std::string &name : job.names)
                tensors.push_back(tare_find(model, name.data(), name.size()));
        }
        timing.open = seconds_since(start);
    }
    ~Opened()
    {
        tare_close(model);
    }
    Opened(const Opened &) = delete;
    Opened &operator=(const Opened &) = delete;

    const tare_tensor *tensor(size_t i) const
    {
        return tensors.empty() ? tare_at(model, i) : tensors[i];
    }

    tare_model *model = nullptr;
    std::vector<const tare_tensor *> tensors; /* empty: all */

  private:
    tare_allocator hooks_ = {};
};

class Touched : public Loaded
{
  public:
    Touched(const Job &job, Timing &timing) : opened_(job, timing)
    {
        size_t page = size_t(sysconf(_SC_PAGESIZE)), count = job.tensors.size();
        Clock::time_point start = Clock::now();
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            auto *bytes = tensor(i);
            uint64_t size = job.tensors[i].size;
            for (uint64_t at = 0; at < size; at += page) sum += bytes[at];
            if (size > 0) sum += bytes[size - 1];
        }
        benchmark::DoNotOptimize(sum);
        timing.load = seconds_since(start);
    }
    const unsigned char *tensor(size_t i) override
    {
        return static_cast<const unsigned char *>(tare_data(opened_.model, opened_.tensor(i)));
    }
    uint64_t block_size() const override
    {
        return 0; /* mapped pages count as what the process grew by */
    }

  private:
    Opened opened_;
};

class Block : public Loaded
{
  public:
    Block(const Job &job, Timing &timing, tare_load_options options) : opened_(job, timing)
    {
        if (meter != nullptr) {
            hooks_ = meter->hooks();
            options.allocator = &hooks_;
        }
        tare_error error;
        Clock::time_point start = Clock::now();
        tare_status status =
            tare_load(opened_.model, opened_.tensors.empty() ? nullptr : opened_.tensors.data(),
                      opened_.tensors.size(), &options, &block_, &error);
        timing.load = seconds_since(start);
        if (status != TARE_OK) fail(error.message, job.path);
        if (tare_block_count(block_) != job.tensors.size()) fail("a block of other size", job.path);
    }
    ~Block() override
    {
        tare_block_close(block_);
    }
    const unsigned char *tensor(size_t i) override
    {
        return static_cast<const unsigned char *>(tare_block_data(block_, i));
    }
    uint64_t block_size() const override
    {
        size_t size;
        tare_block_memory(block_, &size);
        return size;
    }
    int64_t metadata_size() const override
    {
        tare_stat stat = {};
        stat.struct_size = sizeof stat;
        tare_model_stat(opened_.model, &stat);
        return int64_t(stat.memory_size);
    }

  private:
    Opened opened_;
    tare_block *block_ = nullptr;
    tare_allocator hooks_ = {};
};

EngineRow row(const std::string &name, unsigned states, uint32_t io, unsigned threads, bool small,
              uint64_t flight_size_max = 0)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.io = io;
    options.threads = threads;
    options.flight_size_max = flight_size_max;
    options.flags = small ? TARE_LOAD_SMALL_PAGES : 0;
    return {name, states, states & WHOLE, true, [=](const Job &job, Timing &timing) {
                return std::make_unique<Block>(job, timing, options);
            }};
}

} // namespace

std::vector<EngineRow> tare_engines(const std::vector<unsigned> &threads, bool direct)
{
    std::vector<EngineRow> rows;
    rows.push_back({"tare_map_touch", ALL, WARM, true, [](const Job &job, Timing &timing) {
                        return std::make_unique<Touched>(job, timing);
                    }});
    rows.push_back(row("tare", ALL, TARE_IO_AUTO, 0, false));
    rows.push_back(row("tare_flight32", WHOLE, TARE_IO_AUTO, 0, false, flight_size));
    for (unsigned t : threads) {
        bool most = t == threads.back();
        rows.push_back(row(variant("tare_buffered", t, "4k"), most ? WARM | WARM_SUBSET : WARM,
                           TARE_IO_BUFFERED, t, true));
        rows.push_back(row(variant("tare_buffered", t, "huge"), most ? ALL : WHOLE,
                           TARE_IO_BUFFERED, t, false));
    }
    if (!direct) return rows;
    rows.push_back(row("tare_direct", COLD | COLD_SUBSET, TARE_IO_DIRECT, 0, false));
    for (unsigned t : threads)
        rows.push_back(row(variant("tare_direct", t, "huge"), COLD, TARE_IO_DIRECT, t, false));
    rows.push_back(row(variant("tare_direct", threads.back(), "4k"), COLD, TARE_IO_DIRECT,
                       threads.back(), true));
    return rows;
}

} // namespace load
