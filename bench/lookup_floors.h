/* What no table of names can be faster than: parts of the work alone, as engines of bench_lookup
 * that find nothing. Their misses are other names, with the same work. */
#ifndef TARE_BENCH_LOOKUP_FLOORS_H
#define TARE_BENCH_LOOKUP_FLOORS_H

#include "lookup_frame.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace lookup
{

class FloorBase : public EngineDefaults
{
  public:
    using Query = tare_string;
    static constexpr bool is_floor = true;
    static constexpr unsigned patterns =
        FIND_HIT | FIND_MISS | FIND_ORDER | FIND_DEPENDENT | FIND_OFFSET | FIND_THREADS | FIND_COLD;

    uint64_t offset(uint64_t token) const
    {
        return token;
    }

  protected:
    static uint64_t hash(const Query &query)
    {
        return XXH3_64bits(query.data, query.size);
    }
};

/* XXH3 of the name. */
struct FloorHash : FloorBase {
    static constexpr const char *name = "floor_xxh3";

    explicit FloorHash(const Workload &) {}

    uint64_t find(const Query &query) const
    {
        return hash(query) >> 1;
    }
};

/* Memory of 16 bytes a name, in lines of the cache. */
class FloorLines : public FloorBase
{
  public:
    explicit FloorLines(const Workload &workload) : lines_(workload.list().count / 4 + 1) {}

  protected:
    struct alignas(64) Line {
        uint64_t value = 1;
    };

    std::vector<Line> lines_;
};

/* XXH3 of the name, and one word of the line that it names. */
struct FloorLine : FloorLines {
    static constexpr const char *name = "floor_xxh3_and_line";
    static constexpr bool is_swept = true;
    using FloorLines::FloorLines;

    uint64_t find(const Query &query) const
    {
        return lines_[(hash(query) >> 32) * lines_.size() >> 32].value;
    }
};

/* A walk over all those lines in random order: each tells where the next one is. */
class FloorChase : public FloorLines
{
  public:
    static constexpr const char *name = "floor_chase";
    static constexpr unsigned patterns = FIND_DEPENDENT;

    explicit FloorChase(const Workload &workload) : FloorLines(workload)
    {
        uint32_t *order = names_order(lines_.size(), 1);
        if (order == nullptr) std::abort();
        for (size_t i = 0; i < lines_.size(); i++)
            lines_[order[i]].value = order[(i + 1) % lines_.size()];
        std::free(order);
    }

    uint64_t find(const Query &) const
    {
        return at_ = lines_[at_].value;
    }

  private:
    mutable uint64_t at_ = 0;
};

} // namespace lookup

#endif
