#include "load_files.h"

#include "model_file.h"
#include "tare.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace load
{

namespace
{

constexpr size_t large_count = 40;

void check(int failed, const std::string &path)
{
    if (failed != 0) fail(std::strerror(failed), path);
}

uint64_t total_size(const names_list &list)
{
    uint64_t size = 0;
    for (size_t i = 0; i < list.count; i++)
        size += model_tensor_size(&list.tensors[i], MODEL_DATA_FILLED);
    return size;
}

names_list large_list(uint64_t size)
{
    names_list list = {};
    names_tensor facts = {};
    facts.dtype = "F16";
    facts.element_size = 2;
    facts.rank = 2;
    facts.shape[0] = size / large_count / 2048;
    facts.shape[1] = 1024;
    for (size_t i = 0; i < large_count; i++) {
        std::string name = "model.layers." + std::to_string(i) + ".weight";
        check(names_add(&list, name.data(), name.size(), &facts), name);
    }
    names_seal(&list);
    return list;
}

void divide_shapes(names_list &list, const names_list &published, double divisor)
{
    for (size_t i = 0; i < list.count; i++)
        for (uint32_t axis = 0; axis < list.tensors[i].rank; axis++) {
            double size = double(published.tensors[i].shape[axis]) / divisor;
            list.tensors[i].shape[axis] = std::max(uint64_t(1), uint64_t(size));
        }
}

names_list small_list(uint64_t size)
{
    names_list list, published;
    check(names_make("L", &list), "set L");
    check(names_make("L", &published), "set L");
    for (size_t i = 0; i < list.count; i++) {
        names_tensor &tensor = list.tensors[i];
        if (tensor.element_size == 1) tensor.dtype = "U8";
        if (tensor.element_size == 2) tensor.dtype = "F16";
    }
    double low = 1, high = 4096; /* the divisor that gives the size is between them */
    for (int step = 0; step < 40; step++) {
        double middle = std::sqrt(low * high);
        divide_shapes(list, published, middle);
        (total_size(list) > size ? low : high) = middle;
    }
    names_free(&published);
    return list;
}

void write_model(const std::string &path, const std::string &set, uint64_t size)
{
    names_list list = set == "large" ? large_list(size) : small_list(size);
    model_shard shard;
    check(model_shard_make(&list, 0, list.count, MODEL_DATA_FILLED, nullptr, &shard), path);
    std::string beside = path + ".new-" + std::to_string(getpid());
    int failed = model_shard_write(&list, &shard, beside.c_str());
    if (failed == 0 && std::rename(beside.c_str(), path.c_str()) != 0) failed = errno;
    if (failed != 0) unlink(beside.c_str());
    check(failed, path);
    model_shard_free(&shard);
    names_free(&list);
}

class MappedFile
{
  public:
    explicit MappedFile(const std::string &path)
    {
        struct stat facts;
        int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0 || fstat(file, &facts) != 0) check(errno, path);
        size = uint64_t(facts.st_size);
        data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
        if (data == MAP_FAILED) check(errno, path);
        close(file);
    }
    ~MappedFile()
    {
        munmap(data, size);
    }
    MappedFile(const MappedFile &) = delete;
    MappedFile &operator=(const MappedFile &) = delete;

    void *data;
    uint64_t size;
};

/* The job's bytes as the file has them. */
class InFile : public Loaded
{
  public:
    explicit InFile(const Job &job) : job_(job), file_(job.path) {}
    const unsigned char *tensor(size_t i) override
    {
        return static_cast<const unsigned char *>(file_.data) + job_.tensors[i].offset;
    }
    uint64_t block_size() const override
    {
        return 0;
    }

  private:
    const Job &job_;
    MappedFile file_;
};

/* Which tensors: all, or a fifth in random order. */
std::vector<size_t> choose(size_t count, bool whole)
{
    std::vector<size_t> chosen(count);
    for (size_t i = 0; i < count; i++) chosen[i] = i;
    if (whole) return chosen;
    uint64_t state = 5;
    for (size_t i = count; i > 1; i--) std::swap(chosen[i - 1], chosen[names_random(&state) % i]);
    chosen.resize((count + 4) / 5);
    return chosen;
}

/* Fills in `pieces` and `places`. */
void merge(Job &job)
{
    std::vector<size_t> order(job.tensors.size());
    for (size_t i = 0; i < order.size(); i++) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        const Span &x = job.tensors[a], &y = job.tensors[b];
        return x.offset != y.offset ? x.offset < y.offset : x.size < y.size;
    });
    job.places.resize(order.size());
    for (size_t i : order) {
        const Span &span = job.tensors[i];
        if (!job.pieces.empty() && job.pieces.back().offset + job.pieces.back().size == span.offset)
            job.pieces.back().size += span.size;
        else
            job.pieces.push_back(span);
        job.places[i] = job.size;
        job.size += span.size;
    }
}

void write_names(const Job &job)
{
    FILE *file = std::fopen(job.names_path.c_str(), "w");
    if (file == nullptr) check(errno, job.names_path);
    for (const std::string &name : job.names) std::fprintf(file, "%s\n", name.c_str());
    if (std::fclose(file) != 0) check(errno, job.names_path);
}

} // namespace

void fail(const std::string &what, const std::string &path)
{
    std::fprintf(stderr, "bench_load: %s: %s\n", path.c_str(), what.c_str());
    std::exit(1);
}

std::string make_model(const std::string &folder, const std::string &set, uint64_t size)
{
    std::string path = folder + "/" + set + "-" + std::to_string(size) + ".safetensors";
    if (access(path.c_str(), R_OK) != 0) write_model(path, set, size);
    int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0 || fsync(file) != 0) check(errno, path); /* dirty pages cannot be dropped */
    close(file);
    return path;
}

Job make_job(const std::string &set, const std::string &path, bool whole)
{
    Job job;
    job.set = set;
    job.path = path;
    job.whole = whole;
    job.names_path = path + (whole ? ".all" : ".some");
    tare_model *model;
    tare_error error;
    if (tare_open(path.c_str(), nullptr, &model, &error) != TARE_OK) fail(error.message, path);
    job.file_size = tare_shard_at(model, 0).size;
    for (size_t i : choose(tare_count(model), whole)) {
        tare_info info = tare_describe(model, tare_at(model, i));
        job.names.emplace_back(info.name, info.name_size);
        job.tensors.push_back({info.offset, info.size});
    }
    tare_close(model);
    merge(job);
    write_names(job);
    InFile in_file(job);
    job.checksum = checksum_of(job, in_file);
    return job;
}

uint64_t checksum_of(const Job &job, Loaded &loaded)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < job.tensors.size(); i++)
        sum = sum * 3 + XXH3_64bits(loaded.tensor(i), job.tensors[i].size);
    return sum;
}

uint64_t resident_size(const std::string &path)
{
    MappedFile file(path);
    size_t page = size_t(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> pages((file.size + page - 1) / page);
    if (mincore(file.data, file.size, pages.data()) != 0) check(errno, path);
    return uint64_t(std::count_if(pages.begin(), pages.end(),
                                  [](unsigned char flags) { return (flags & 1) != 0; })) *
           page;
}

bool make_warm(const std::string &path)
{
    struct stat facts;
    if (stat(path.c_str(), &facts) != 0) check(errno, path);
    std::vector<char> buffer;
    for (int attempt = 0; attempt < 3; attempt++) {
        if (resident_size(path) >= uint64_t(facts.st_size)) return true;
        buffer.resize(1 << 20);
        int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) check(errno, path);
        while (read(file, buffer.data(), buffer.size()) > 0) {}
        close(file);
    }
    return false;
}

uint64_t make_cold(const std::string &path)
{
    uint64_t left = UINT64_MAX;
    for (int attempt = 0; attempt < 20 && left > 0; attempt++) {
        if (attempt > 0) usleep(20000);
        int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) check(errno, path);
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        close(file);
        left = resident_size(path);
    }
    return left;
}

bool reads_directly(const std::string &path)
{
    int file = open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (file < 0) return false;
    void *memory = nullptr;
    bool read = posix_memalign(&memory, 4096, 4096) == 0 && pread(file, memory, 4096, 0) == 4096;
    std::free(memory);
    close(file);
    return read;
}

} // namespace load
