/*
 * The limits of the machine: plain loops with nothing around them.
 *
 *     floor_read_reused_tT       pread into memory that is there already: the page cache's limit
 *     floor_read_fresh_tT_PAGES  pread into fresh memory: what a loader that reads can reach
 *     floor_copy_fresh_tT_PAGES  memcpy from a mapping into fresh memory: one that maps
 *     floor_direct_tT            O_DIRECT into memory that is there already: the disk's limit; T
 *                                reads are in flight
 *     floor_direct_fresh_tT      the same into fresh memory of huge pages
 *     floor_memcpy_tT            memcpy between pieces of memory: the memory's limit
 *
 * Pieces of at most 4 MiB are handed out to T threads, which are started and joined in the time.
 */
#include "load_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

namespace load
{

namespace
{

constexpr uint64_t piece_size = 4 << 20;
constexpr uint64_t sector = 4096;

struct Piece {
    uint64_t offset; /* in the file */
    uint64_t size;
    uint64_t place; /* in the memory */
};

/* The job's bytes, packed as Job::places has them. */
std::vector<Piece> cut(const Job &job)
{
    std::vector<Piece> pieces;
    uint64_t place = 0;
    for (const Span &span : job.pieces)
        for (uint64_t done = 0; done < span.size; done += piece_size) {
            uint64_t size = std::min(piece_size, span.size - done);
            pieces.push_back({span.offset + done, size, place});
            place += size;
        }
    return pieces;
}

/* Whole sectors, at the same places in the memory as in the file. */
std::vector<Piece> cut_sectors(const Job &job)
{
    std::vector<Piece> pieces;
    uint64_t end = 0; /* of what is asked for already */
    for (const Span &span : job.pieces) {
        uint64_t begin = std::max(end, span.offset / sector * sector);
        end = std::max(end, (span.offset + span.size + sector - 1) / sector * sector);
        for (; begin < end; begin += piece_size)
            pieces.push_back({begin, std::min(piece_size, end - begin), begin});
    }
    return pieces;
}

class File
{
  public:
    File(const std::string &path, int flags) : number(open(path.c_str(), O_RDONLY | flags))
    {
        if (number < 0) fail(std::strerror(errno), path);
    }
    ~File()
    {
        close(number);
    }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    const int number;
};

void read_piece(const File &file, const Piece &piece, unsigned char *target)
{
    for (uint64_t done = 0; done < piece.size;) {
        ssize_t got =
            pread(file.number, target + done, piece.size - done, off_t(piece.offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0 && done > 0) return; /* the last sector goes beyond the file's end */
        if (got <= 0) fail(std::strerror(errno), "pread");
        done += uint64_t(got);
    }
}

template <class Work>
void share_out(const std::vector<Piece> &pieces, unsigned threads, Work work)
{
    std::atomic<size_t> next{0};
    auto run = [&] {
        for (size_t i; (i = next.fetch_add(1)) < pieces.size();) work(pieces[i]);
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; i++) others.emplace_back(run);
    run();
    for (std::thread &other : others) other.join();
}

/* Bytes at the job's places, or at their offsets in the file, in memory that may be its own. */
class InMemory : public Loaded
{
  public:
    InMemory(const Job &job, unsigned char *data, bool as_in_file, std::unique_ptr<FreshMemory> own)
        : job_(job), data_(data), as_in_file_(as_in_file), own_(std::move(own))
    {
    }
    const unsigned char *tensor(size_t i) override
    {
        return data_ + (as_in_file_ ? job_.tensors[i].offset : job_.places[i]);
    }
    uint64_t block_size() const override
    {
        return own_ == nullptr ? 0 : job_.size;
    }

  private:
    const Job &job_;
    unsigned char *data_;
    bool as_in_file_;
    std::unique_ptr<FreshMemory> own_;
};

std::unique_ptr<Loaded> read_reused(const Job &job, Timing &timing, unsigned threads)
{
    File file(job.path, O_CLOEXEC);
    std::vector<Piece> pieces = cut(job);
    unsigned char *memory = reused_memory(job.file_size + sector);
    Clock::time_point start = Clock::now();
    share_out(pieces, threads,
              [&](const Piece &piece) { read_piece(file, piece, memory + piece.place); });
    timing.load = seconds_since(start);
    return std::make_unique<InMemory>(job, memory, false, nullptr);
}

std::unique_ptr<Loaded> read_fresh(const Job &job, Timing &timing, unsigned threads, bool huge)
{
    File file(job.path, O_CLOEXEC);
    std::vector<Piece> pieces = cut(job);
    Clock::time_point start = Clock::now();
    auto memory = std::make_unique<FreshMemory>(job.size, huge);
    unsigned char *data = memory->data();
    share_out(pieces, threads,
              [&](const Piece &piece) { read_piece(file, piece, data + piece.place); });
    timing.load = seconds_since(start);
    return std::make_unique<InMemory>(job, data, false, std::move(memory));
}

std::unique_ptr<Loaded> copy_fresh(const Job &job, Timing &timing, unsigned threads, bool huge)
{
    File file(job.path, O_CLOEXEC);
    std::vector<Piece> pieces = cut(job);
    Clock::time_point start = Clock::now();
    void *mapped = mmap(nullptr, job.file_size, PROT_READ, MAP_SHARED, file.number, 0);
    if (mapped == MAP_FAILED) fail(std::strerror(errno), job.path);
    auto *bytes = static_cast<const unsigned char *>(mapped);
    auto memory = std::make_unique<FreshMemory>(job.size, huge);
    unsigned char *data = memory->data();
    share_out(pieces, threads, [&](const Piece &piece) {
        std::memcpy(data + piece.place, bytes + piece.offset, piece.size);
    });
    timing.load = seconds_since(start);
    munmap(mapped, job.file_size);
    return std::make_unique<InMemory>(job, data, false, std::move(memory));
}

std::unique_ptr<Loaded> read_directly(const Job &job, Timing &timing, unsigned threads, bool fresh)
{
    File file(job.path, O_CLOEXEC | O_DIRECT);
    std::vector<Piece> pieces = cut_sectors(job);
    unsigned char *data = reused_memory(job.file_size + sector);
    Clock::time_point start = Clock::now();
    std::unique_ptr<FreshMemory> memory;
    if (fresh) {
        memory = std::make_unique<FreshMemory>(job.file_size + sector, true);
        data = memory->data();
    }
    share_out(pieces, threads,
              [&](const Piece &piece) { read_piece(file, piece, data + piece.place); });
    timing.load = seconds_since(start);
    return std::make_unique<InMemory>(job, data, true, std::move(memory));
}

std::unique_ptr<Loaded> copy_memory(const Job &job, Timing &timing, unsigned threads)
{
    constexpr uint64_t source_size = 512 << 20; /* far more than caches hold */
    static FreshMemory source(source_size, true);
    static const bool filled = (std::memset(source.data(), 2, source_size), true);
    (void)filled;
    unsigned char *memory = reused_memory(job.file_size + sector), *from = source.data();
    std::vector<Piece> pieces = cut(job);
    Clock::time_point start = Clock::now();
    share_out(pieces, threads, [&](const Piece &piece) {
        std::memcpy(memory + piece.place,
                    from + std::min(piece.place % source_size, source_size - piece.size),
                    piece.size);
    });
    timing.load = seconds_since(start);
    return std::make_unique<InMemory>(job, memory, false, nullptr);
}

} // namespace

std::vector<EngineRow> floor_engines(const std::vector<unsigned> &threads, bool direct)
{
    std::vector<EngineRow> rows;
    for (unsigned t : threads) {
        bool most = t == threads.back(); /* only then in more states than one */
        rows.push_back(
            {variant("floor_memcpy", t), WARM, 0, false,
             [=](const Job &job, Timing &timing) { return copy_memory(job, timing, t); }});
        rows.push_back(
            {variant("floor_read_reused", t), most ? ALL : WARM, 0, true,
             [=](const Job &job, Timing &timing) { return read_reused(job, timing, t); }});
        for (bool huge : {false, true}) {
            const char *pages = huge ? "huge" : "4k";
            unsigned subset = most ? WARM_SUBSET : 0, cold = most && huge ? COLD | COLD_SUBSET : 0;
            rows.push_back(
                {variant("floor_read_fresh", t, pages), WARM | subset | cold, 0, true,
                 [=](const Job &job, Timing &timing) { return read_fresh(job, timing, t, huge); }});
            rows.push_back(
                {variant("floor_copy_fresh", t, pages), WARM | subset, 0, true,
                 [=](const Job &job, Timing &timing) { return copy_fresh(job, timing, t, huge); }});
        }
    }
    if (!direct) return rows;
    static const struct {
        unsigned depth, reused, fresh; /* states in which it reads into which memory */
    } reads[] = {{1, COLD, 0},
                 {2, COLD, 0},
                 {4, COLD, COLD},
                 {8, COLD, 0},
                 {16, COLD | COLD_SUBSET, COLD | COLD_SUBSET},
                 {64, COLD_SUBSET, COLD_SUBSET}};
    for (const auto &row : reads)
        for (bool fresh : {false, true}) {
            unsigned depth = row.depth, states = fresh ? row.fresh : row.reused;
            if (states != 0)
                rows.push_back({variant(fresh ? "floor_direct_fresh" : "floor_direct", depth),
                                states, 0, true, [=](const Job &job, Timing &timing) {
                                    return read_directly(job, timing, depth, fresh);
                                }});
        }
    return rows;
}

} // namespace load
