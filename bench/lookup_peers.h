/* Tables of other languages as engines of bench_lookup: uthash of C, whose macros inline, and those
 * of Rust, called through the C functions of peers/. All of them own their names. */
#ifndef TARE_BENCH_LOOKUP_PEERS_H
#define TARE_BENCH_LOOKUP_PEERS_H

#include "lookup_containers.h"

#if __has_include(<uthash.h>)
#include <uthash.h>
#define TARE_BENCH_UTHASH UTHASH_VERSION
#endif

#ifdef TARE_BENCH_RUST
#include "rust_peers.h"
#endif

namespace lookup
{

#ifdef TARE_BENCH_UTHASH
class Uthash : public NumberBase
{
  public:
    static constexpr const char *name = "uthash";
    using Query = tare_string;

    explicit Uthash(const Workload &workload)
        : NumberBase(workload), names_(workload.list()), items_(workload.list().count)
    {
        names_.each<std::string_view>([&](std::string_view key, uint32_t value) {
            Item *item = &items_[value];
            item->number = value;
            HASH_ADD_KEYPTR(hh, head_, key.data(), key.size(), item);
        });
    }
    Uthash(const Uthash &) = delete;
    Uthash &operator=(const Uthash &) = delete;
    ~Uthash()
    {
        HASH_CLEAR(hh, head_);
    }

    uint64_t find(const Query &query) const
    {
        const Item *item;
        HASH_FIND(hh, head_, query.data, query.size, item);
        return item != nullptr ? item->number : absent;
    }

  private:
    struct Item {
        UT_hash_handle hh;
        uint32_t number;
    };

    OwnNames names_;
    std::vector<Item> items_;
    Item *head_ = nullptr;
};
#endif

#ifdef TARE_BENCH_RUST
inline void *check_made(void *made, const char *engine)
{
    if (made != nullptr) return made;
    std::fprintf(stderr, "bench_lookup: %s could not be built\n", engine);
    std::exit(1);
}

struct RustFunctions {
    void *(*make)(const tare_pair *, size_t);
    uint64_t (*find)(const void *, const char *, size_t);
    void (*free)(void *);
};

template <const RustFunctions &functions>
class RustMap : public NumberBase
{
  public:
    using Query = tare_string;

    explicit RustMap(const Workload &workload)
        : NumberBase(workload),
          map_(check_made(functions.make(workload.pairs().data(), workload.pairs().size()),
                          "a HashMap of Rust"))
    {
    }
    RustMap(const RustMap &) = delete;
    RustMap &operator=(const RustMap &) = delete;
    ~RustMap()
    {
        functions.free(map_);
    }

    uint64_t find(const Query &query) const
    {
        return functions.find(map_, query.data, query.size);
    }

  private:
    void *map_;
};

inline constexpr RustFunctions rust_default = {rust_default_make, rust_default_find,
                                               rust_default_free};
inline constexpr RustFunctions rust_fx = {rust_fx_make, rust_fx_find, rust_fx_free};

struct RustDefault : RustMap<rust_default> {
    static constexpr const char *name = "rust_hashmap";
    static constexpr bool is_swept = true;
    using RustMap::RustMap;
};

struct RustFx : RustMap<rust_fx> {
    static constexpr const char *name = "rust_hashmap_fx";
    static constexpr bool is_swept = true;
    using RustMap::RustMap;
};

/* The crate safetensors on the same file that tare gets; building it parses the header. It finds a
 * view of the tensor, for which it copies the shape. */
class RustSafetensors : public EngineDefaults
{
  public:
    static constexpr const char *name = "rust_safetensors";
    static constexpr uint64_t absent = 0;
    static constexpr size_t count_max = 500000; /* a header of 100 MB is refused */
    static constexpr bool is_swept = true;
    using Query = tare_string;

    explicit RustSafetensors(const Workload &workload)
        : workload_(workload),
          tensors_(check_made(rust_safetensors_make(workload.file().data(), workload.file().size()),
                              name))
    {
    }
    RustSafetensors(const RustSafetensors &) = delete;
    RustSafetensors &operator=(const RustSafetensors &) = delete;
    ~RustSafetensors()
    {
        rust_safetensors_free(tensors_);
    }

    uint64_t find(const Query &query) const
    {
        return rust_safetensors_find(tensors_, query.data, query.size);
    }

    uint64_t offset(uint64_t token) const
    {
        return token - reinterpret_cast<uint64_t>(workload_.file().data());
    }

    /* No tensor of a workload is empty: offsets differ. */
    uint32_t number(uint64_t token) const
    {
        const std::vector<uint32_t> &order = workload_.file_order();
        auto at = std::lower_bound(order.begin(), order.end(), offset(token),
                                   [&](uint32_t number, uint64_t wanted) {
                                       return workload_.records()[number].offset < wanted;
                                   });
        return at != order.end() ? *at : UINT32_MAX;
    }

  private:
    const Workload &workload_;
    void *tensors_;
};
#endif

} // namespace lookup

#endif
