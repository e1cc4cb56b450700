/* Parts of one model at one time, each to a device: several GPUs in one process, several
 * processes. */
#ifndef TARE_BENCH_GPU_PARTS_H
#define TARE_BENCH_GPU_PARTS_H

#include "gpu_driver.h"

#include "tare.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <chrono>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace gpu
{

[[noreturn]] inline void stop(const std::string &what)
{
    std::fprintf(stderr, "bench_gpu: %s\n", what.c_str());
    std::exit(1);
}

inline tare_model *open_model(const std::string &path)
{
    tare_model *model;
    tare_error error;
    if (tare_open(path.c_str(), nullptr, &model, &error) != TARE_OK) stop(error.message);
    return model;
}

inline tare_device *open_device(int number, uint64_t staging_size_max)
{
    tare_device *device;
    tare_error error;
    tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
    options.staging_size_max = staging_size_max;
    std::string name = "cuda:" + std::to_string(number);
    if (tare_device_open(name.c_str(), &options, &device, &error) != TARE_OK) stop(error.message);
    return device;
}

/* XXH3-128 as the files of digests have it. */
inline std::string digest_text(uint64_t high, uint64_t low)
{
    char text[33];
    std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                  static_cast<unsigned long long>(low));
    return text;
}

/* Of each tensor in its order, as `make` wrote them. */
inline std::vector<std::string> wanted_digests(const std::string &path)
{
    std::ifstream in(path + ".digests");
    std::vector<std::string> digests;
    for (std::string digest, name; in >> digest >> name;) digests.push_back(digest);
    return digests;
}

inline bool is_right(const char *bytes, size_t size, const std::string &wanted)
{
    XXH128_hash_t hash = XXH3_128bits(bytes, size);
    return digest_text(hash.high64, hash.low64) == wanted;
}

/* The GPU clears what is given back to it, for some ten milliseconds, and copies of whoever comes
 * next wait for that. */
inline void let_it_clear()
{
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

class Parts
{
  public:
    explicit Parts(Driver &driver) : driver_(driver) {}
    ~Parts()
    {
        drop();
        for (auto &[number, device] : devices_) tare_device_close(device);
    }
    Parts(const Parts &) = delete;
    Parts &operator=(const Parts &) = delete;

    /* What part `index` of `of` is: every of-th tensor. */
    struct Part {
        size_t index;
        int device;
        std::vector<size_t> numbers;
        tare_block *block;
    };

    /* Loads them at one time, a thread for each; seconds from the path on. Devices are open, and
     * have loaded before, as long as the next call wants the same ones. */
    double load(const std::string &path, size_t of, const std::vector<Part> &parts)
    {
        drop();
        if (choose(parts)) {
            load_all(path, of, parts);
            drop();
        }
        return load_all(path, of, parts);
    }

    /* How many tensors are not as the file has them. */
    size_t check(const std::string &path)
    {
        std::vector<std::string> wanted = wanted_digests(path);
        size_t wrong = 0;
        for (const Part &part : parts_) {
            driver_.use(part.device);
            for (size_t i = 0; i < part.numbers.size(); i++) {
                std::vector<char> bytes(tare_block_size(part.block, i));
                driver_.to_host(bytes.data(), uint64_t(uintptr_t(tare_block_data(part.block, i))),
                                bytes.size());
                wrong += !is_right(bytes.data(), bytes.size(), wanted.at(part.numbers[i]));
            }
        }
        driver_.use(0);
        return wrong;
    }

    void drop()
    {
        for (Part &part : parts_) {
            size_t size;
            void *memory = tare_block_memory(part.block, &size);
            driver_.use(part.device);
            driver_.fill(uint64_t(uintptr_t(memory)), 0x5A, size);
            driver_.wait();
            tare_block_close(part.block);
        }
        if (!parts_.empty()) let_it_clear();
        parts_.clear();
        driver_.use(0);
    }

  private:
    /* Opens what is needed and closes what is not; whether there is anything new. */
    bool choose(const std::vector<Part> &parts)
    {
        std::set<int> wanted;
        for (const Part &part : parts) wanted.insert(part.device);
        for (auto at = devices_.begin(); at != devices_.end();) {
            if (wanted.erase(at->first) != 0) {
                at++;
                continue;
            }
            tare_device_close(at->second);
            at = devices_.erase(at);
        }
        for (int number : wanted) devices_[number] = open_device(number, 0);
        return !wanted.empty();
    }

    double load_all(const std::string &path, size_t of, const std::vector<Part> &parts)
    {
        parts_ = parts;
        auto start = std::chrono::steady_clock::now();
        tare_model *model = open_model(path);
        std::vector<std::thread> threads;
        for (Part &part : parts_) threads.emplace_back([&] { load_one(model, of, part); });
        for (std::thread &thread : threads) thread.join();
        double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        tare_close(model);
        return seconds;
    }

    void load_one(const tare_model *model, size_t of, Part &part)
    {
        std::vector<const tare_tensor *> list;
        for (size_t i = part.index; i < tare_count(model); i += of) {
            list.push_back(tare_at(model, i));
            part.numbers.push_back(i);
        }
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_error error;
        options.device = devices_[part.device];
        if (tare_load(model, list.data(), list.size(), &options, &part.block, &error) != TARE_OK)
            stop(error.message);
    }

    Driver &driver_;
    std::map<int, tare_device *> devices_;
    std::vector<Part> parts_;
};

} // namespace gpu

#endif
