/* Ways to keep where a tensor's bytes are. Besides its offset a record leads to its dtype and
 * shape: `layout` is the number of one of the few (dtype, shape) that a model has. */
#ifndef NAMES_RECORDS_H
#define NAMES_RECORDS_H

#include <cstdint>
#include <string_view>
#include <vector>

namespace layout
{

struct Facts {
    std::vector<uint64_t> offsets;
    std::vector<uint32_t> layouts;
    std::vector<uint64_t> sizes; /* of each layout */
};

/* What the library has: 16 bytes, the place of the name among them. */
struct PlainRecords {
    static constexpr const char *label = "records of 16 bytes";
    struct Record {
        uint64_t where;
        uint32_t layout, name;
    };
    std::vector<Record> records;

    explicit PlainRecords(const Facts &facts)
    {
        for (size_t i = 0; i < facts.offsets.size(); i++)
            records.push_back({facts.offsets[i], facts.layouts[i], 0});
    }
    uint64_t offset(size_t i) const
    {
        return records[i].where & ((UINT64_C(1) << 46) - 1);
    }
    /* Without the place of the name, which counts with the names. */
    size_t bytes() const
    {
        return records.size() * (sizeof(Record) - sizeof(uint32_t));
    }
};

/* A layout of 16 bits; an offset is that of the group and the sizes of those before it. Right for
 * files without holes only. */
template <size_t Count>
struct SummedRecords {
    static constexpr const char *label =
        Count == 16 ? "offsets summed in groups of 16" : "offsets summed in groups of 64";
    std::vector<uint64_t> starts, sizes;
    std::vector<uint16_t> layouts;

    explicit SummedRecords(const Facts &facts) : sizes(facts.sizes)
    {
        for (size_t i = 0; i < facts.offsets.size(); i++) {
            if (i % Count == 0) starts.push_back(facts.offsets[i]);
            layouts.push_back(uint16_t(facts.layouts[i]));
        }
    }
    uint64_t offset(size_t i) const
    {
        uint64_t sum = starts[i / Count];
        for (size_t at = i / Count * Count; at < i; at++) sum += sizes[layouts[at]];
        return sum;
    }
    size_t bytes() const
    {
        return starts.size() * sizeof(uint64_t) + layouts.size() * sizeof(uint16_t) +
               sizes.size() * sizeof(uint64_t);
    }
};

} // namespace layout

#endif
