/*
 * Loading to a GPU: obeys lines of stdin, and answers each with a line. report_gpu_run.py asks, in
 * turn with the peers in Python.
 *
 *     facts                          the machine, as JSON
 *     make SET SIZE FOLDER           writes a model (load_files.h); answers PATH TENSORS BYTES, and
 *                                    writes PATH.digests: the XXH3-128 and the name of each tensor
 *     warm PATH, cold PATH           sees to its pages; answers how many bytes of it are cached
 *     limit                          bytes a second from pinned memory to the device
 *     busy PATH THREADS PIECE        the same while so many threads read from the page cache
 *     host PATH THREADS PIECE        bytes a second from the page cache into memory that is there,
 *                                    by reads of so many bytes
 *     map PATH THREADS PIECE         the same by copies from a mapping, brought in piece by piece
 *     disk PATH THREADS PIECE        the same past the page cache, with so many reads in flight
 *     load HOW PATH THREADS CHUNK    loads; answers "SECONDS_TO_OPEN SECONDS_TO_LOAD". 0 is tare's
 *                                    own choice. HOW is block, into (memory that is there), first
 *                                    (with a tare_device that has loaded nothing yet), again (just
 *                                    after a block was closed) or direct (past the page cache)
 *     parts PATH OF PART:DEVICE ...  loads parts of OF to devices, all at one time; answers seconds
 *     check_parts PATH               as check, of parts
 *     links COUNT                    as limit, to so many devices at one time, all together
 *     check PATH                     reads what was loaded back and compares the digest of every
 *                                    tensor; answers how many differ
 *     drop                           frees what was loaded
 */
#include "gpu_driver.h"
#include "gpu_parts.h"
#include "load_files.h"

#include "tare.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <sstream>
#include <thread>

namespace
{

using Clock = std::chrono::steady_clock;

constexpr size_t limit_size = 256 << 20;
constexpr int limit_rounds = 32;

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

using gpu::open_device;
using gpu::open_model;
using gpu::stop;

/* The tensors of one load. */
struct Loaded {
    tare_block *block = nullptr;
    uint64_t own = 0;  /* memory of ours, for `into` */
    uint64_t base = 0; /* what all tensors are in */
    size_t size = 0;
    std::vector<void *> addresses;
};

class Bench
{
  public:
    explicit Bench(gpu::Driver &driver) : driver_(driver) {}
    ~Bench()
    {
        drop();
        for (auto &[how, device] : devices_) tare_device_close(device);
        if (mirror_ != nullptr) driver_.unpin(mirror_);
    }
    Bench(const Bench &) = delete;
    Bench &operator=(const Bench &) = delete;

    std::string facts()
    {
        std::ostringstream out;
        out << "{\"gpu\": \"" << driver_.name << "\", \"cuda\": " << driver_.version
            << ", \"devices\": " << driver_.count << ", \"compiler\": \"" << TARE_BENCH_COMPILER
            << "\", \"compiler_flags\": \"" << TARE_BENCH_FLAGS << "\", \"tare_version\": \""
            << tare_version() << "\"}";
        return out.str();
    }

    std::string make(const std::string &set, uint64_t size, const std::string &folder)
    {
        std::string path = load::make_model(folder, set, size);
        tare_model *model = open_model(path);
        std::vector<tare_digest> digests(tare_count(model));
        tare_error error;
        if (tare_hash_many(model, nullptr, 0, nullptr, digests.data(), &error) != TARE_OK)
            stop(error.message);
        std::ofstream out(path + ".digests");
        uint64_t bytes = 0;
        for (size_t i = 0; i < digests.size(); i++) {
            tare_info info = tare_describe(model, tare_at(model, i));
            out << gpu::digest_text(digests[i].high, digests[i].low) << ' '
                << std::string(info.name, info.name_size) << '\n';
            bytes += info.size;
        }
        tare_close(model);
        return path + " " + std::to_string(digests.size()) + " " + std::to_string(bytes);
    }

    double limit()
    {
        char *pinned = static_cast<char *>(driver_.pin(limit_size));
        uint64_t address = driver_.take(limit_size);
        std::memset(pinned, 1, limit_size);
        driver_.to_device(address, pinned, limit_size);
        driver_.wait();
        Clock::time_point start = Clock::now();
        for (int i = 0; i < limit_rounds; i++) driver_.to_device(address, pinned, limit_size);
        driver_.wait();
        double seconds = seconds_since(start);
        driver_.give(address);
        driver_.unpin(pinned);
        return double(limit_size) * limit_rounds / seconds;
    }

    double links(int count)
    {
        std::vector<std::thread> threads;
        std::vector<double> rates(size_t(count), 0.0);
        for (int i = 0; i < count; i++)
            threads.emplace_back([&, i] {
                driver_.use(i);
                rates[size_t(i)] = limit();
            });
        for (std::thread &thread : threads) thread.join();
        return std::accumulate(rates.begin(), rates.end(), 0.0);
    }

    double busy_limit(const std::string &path, unsigned threads, size_t piece)
    {
        int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        struct stat facts;
        if (file < 0 || fstat(file, &facts) != 0) stop(path + ": " + std::strerror(errno));
        uint64_t pieces = uint64_t(facts.st_size) / piece;
        std::atomic<uint64_t> next{0};
        std::atomic<bool> done{false};
        std::vector<std::thread> readers;
        for (unsigned t = 0; t < threads; t++)
            readers.emplace_back([&] {
                std::vector<char> buffer(piece);
                while (!done)
                    if (pread(file, buffer.data(), piece, off_t(next++ % pieces * piece)) < 0)
                        stop("pread");
            });
        double rate = limit();
        done = true;
        for (std::thread &reader : readers) reader.join();
        close(file);
        return rate;
    }

    double read(const std::string &how, const std::string &path, unsigned threads, size_t piece)
    {
        int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | (how == "disk" ? O_DIRECT : 0));
        struct stat facts;
        if (file < 0 || fstat(file, &facts) != 0) stop(path + ": " + std::strerror(errno));
        uint64_t size = uint64_t(facts.st_size);
        std::atomic<uint64_t> next{0};
        std::vector<void *> buffers(threads);
        for (void *&buffer : buffers)
            if (posix_memalign(&buffer, 4096, piece) != 0) stop("no memory");
        for (void *buffer : buffers) std::memset(buffer, 1, piece);
        std::vector<std::thread> others;
        Clock::time_point start = Clock::now();
        char *mapped = nullptr;
        if (how == "map")
            mapped = static_cast<char *>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0));
        for (unsigned t = 0; t < threads; t++)
            others.emplace_back([&, t] {
                for (uint64_t at; (at = next.fetch_add(piece)) < size;) {
                    size_t some = size_t(std::min<uint64_t>(piece, size - at));
                    if (mapped == nullptr) {
                        if (pread(file, buffers[t], piece, off_t(at)) < 0) stop("pread");
                    } else {
                        madvise(mapped + at, some, MADV_POPULATE_READ);
                        std::memcpy(buffers[t], mapped + at, some);
                    }
                }
            });
        for (std::thread &other : others) other.join();
        if (mapped != nullptr) munmap(mapped, size);
        double seconds = seconds_since(start);
        for (void *buffer : buffers) std::free(buffer);
        close(file);
        return double(size) / seconds;
    }

    std::string load(const std::string &how, const std::string &path, uint32_t threads,
                     uint64_t chunk)
    {
        drop();
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        options.threads = threads;
        options.chunk_size = chunk;
        options.device = how == "first" ? open_device(0, 0) : device_for(path, threads, chunk);
        if (how == "direct") options.io = TARE_IO_DIRECT;
        if (how == "into") make_targets(path);
        if (how == "again") load_once(path, options);
        tare_error error;
        Clock::time_point start = Clock::now();
        tare_model *model = open_model(path);
        double opened = seconds_since(start);
        tare_status status =
            how == "into"
                ? tare_load_into(model, nullptr, loaded_.addresses.data(), 0, &options, &error)
                : tare_load(model, nullptr, 0, &options, &loaded_.block, &error);
        double seconds = seconds_since(start);
        if (status != TARE_OK) stop(error.message);
        if (loaded_.block != nullptr) {
            loaded_.base = uint64_t(uintptr_t(tare_block_memory(loaded_.block, &loaded_.size)));
            for (size_t i = 0; i < tare_block_count(loaded_.block); i++)
                loaded_.addresses.push_back(tare_block_data(loaded_.block, i));
        }
        tare_close(model);
        if (how == "first") tare_device_close(options.device);
        return std::to_string(opened) + " " + std::to_string(seconds - opened);
    }

    size_t check(const std::string &path)
    {
        tare_model *model = open_model(path);
        std::vector<std::string> wanted = gpu::wanted_digests(path);
        size_t wrong = 0;
        if (mirror_size_ < loaded_.size) {
            if (mirror_ != nullptr) driver_.unpin(mirror_);
            mirror_ = static_cast<char *>(driver_.pin(mirror_size_ = loaded_.size));
        }
        driver_.to_host(mirror_, loaded_.base, loaded_.size);
        for (size_t i = 0; i < tare_count(model); i++) {
            const char *bytes =
                mirror_ + (uint64_t(uintptr_t(loaded_.addresses[i])) - loaded_.base);
            wrong += !gpu::is_right(bytes, tare_size(model, tare_at(model, i)), wanted.at(i));
        }
        tare_close(model);
        return wrong;
    }

    void drop()
    {
        /* What the next load gets must not hold the right bytes already. */
        if (loaded_.size != 0) driver_.fill(loaded_.base, 0x5A, loaded_.size);
        driver_.wait();
        tare_block_close(loaded_.block);
        if (loaded_.own != 0) driver_.give(loaded_.own);
        if (loaded_.size != 0) gpu::let_it_clear();
        loaded_ = Loaded();
    }

  private:
    /* One for each way to load, whose pinned memory fits it, and which has loaded that model. */
    tare_device *device_for(const std::string &path, uint32_t threads, uint64_t chunk)
    {
        tare_device *&device = devices_[{threads, chunk}];
        if (device != nullptr) return device;
        device = open_device(0, uint64_t(threads) * chunk * 2 + (uint64_t(256) << 20));
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        options.threads = threads;
        options.chunk_size = chunk;
        options.device = device;
        load_once(path, options);
        gpu::let_it_clear();
        return device;
    }

    static void load_once(const std::string &path, const tare_load_options &options)
    {
        tare_model *model = open_model(path);
        tare_block *block;
        if (tare_load(model, nullptr, 0, &options, &block, nullptr) != TARE_OK) stop("warming");
        tare_block_close(block);
        tare_close(model);
    }

    void make_targets(const std::string &path)
    {
        constexpr uint64_t alignment = 512; /* as torch's allocator */
        tare_model *model = open_model(path);
        uint64_t size = 0;
        std::vector<uint64_t> places;
        for (size_t i = 0; i < tare_count(model); i++) {
            places.push_back(size);
            size += (tare_size(model, tare_at(model, i)) + alignment - 1) / alignment * alignment;
        }
        tare_close(model);
        loaded_.own = loaded_.base = driver_.take(size);
        loaded_.size = size;
        driver_.fill(loaded_.base, 0x5A, size);
        driver_.wait();
        for (uint64_t place : places)
            loaded_.addresses.push_back(reinterpret_cast<void *>(loaded_.base + place));
    }

    gpu::Driver &driver_;
    std::map<std::pair<uint32_t, uint64_t>, tare_device *> devices_;
    Loaded loaded_;
    char *mirror_ = nullptr; /* pinned */
    size_t mirror_size_ = 0;
};

std::string obey_parts(gpu::Parts &parts, const std::string &verb, std::istringstream &words)
{
    std::string path, word;
    words >> path;
    if (verb == "check_parts") return std::to_string(parts.check(path));
    size_t of;
    std::vector<gpu::Parts::Part> list;
    words >> of;
    while (words >> word)
        list.push_back({std::stoul(word), std::stoi(word.substr(word.find(':') + 1)), {}, nullptr});
    return std::to_string(parts.load(path, of, list));
}

std::string obey(Bench &bench, gpu::Parts &parts, const std::string &line)
{
    std::istringstream words(line);
    std::string verb, first, second;
    uint64_t number = 0, chunk = 0;
    words >> verb;
    if (verb == "facts") return bench.facts();
    if (verb == "limit") return std::to_string(bench.limit());
    if (verb == "drop") return bench.drop(), parts.drop(), "ok";
    if (verb == "links") return words >> number, std::to_string(bench.links(int(number)));
    if (verb == "parts" || verb == "check_parts") return obey_parts(parts, verb, words);
    words >> first;
    if (verb == "warm") return load::make_warm(first), std::to_string(load::resident_size(first));
    if (verb == "cold") return std::to_string(load::make_cold(first));
    if (verb == "check") return std::to_string(bench.check(first));
    if (verb == "make") {
        words >> number >> second;
        return bench.make(first, number, second);
    }
    if (verb == "host" || verb == "map" || verb == "disk") {
        words >> number >> chunk;
        return std::to_string(bench.read(verb, first, unsigned(number), chunk));
    }
    if (verb == "busy") {
        words >> number >> chunk;
        return std::to_string(bench.busy_limit(first, unsigned(number), chunk));
    }
    words >> second >> number >> chunk;
    if (verb == "load") return bench.load(first, second, uint32_t(number), chunk);
    stop("no command: " + line);
}

} // namespace

int main()
{
    std::string why;
    gpu::Driver driver(why);
    if (!why.empty()) {
        std::fprintf(stderr, "bench_gpu: there is no GPU here: %s\n", why.c_str());
        return 3;
    }
    Bench bench(driver);
    gpu::Parts parts(driver);
    for (std::string line; std::getline(std::cin, line);)
        std::cout << obey(bench, parts, line) << std::endl;
    return 0;
}
