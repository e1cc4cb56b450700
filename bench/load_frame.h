/*
 * The frame of bench_load: what is to be loaded, and what an engine is. An engine is a row: a
 * function that brings the tensors of a job into memory and says how long that took. What it
 * returns holds them until it is destroyed, which is not timed, and shows them for the check.
 */
#ifndef TARE_BENCH_LOAD_FRAME_H
#define TARE_BENCH_LOAD_FRAME_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace load
{

struct Span {
    uint64_t offset; /* from the start of the file */
    uint64_t size;
};

/* Tensors of one file, in the order in which they are asked for. */
struct Job {
    std::string set; /* "large", "small" */
    std::string path;
    uint64_t file_size = 0;
    bool whole = true; /* all tensors, in the order of the file; else some, in random order */
    std::vector<std::string> names;
    std::vector<Span> tensors;    /* where they are in the file */
    std::vector<uint64_t> places; /* where they are in `pieces` packed end to end */
    std::vector<Span> pieces;     /* the same bytes in the order of the file, neighbours merged */
    uint64_t size = 0;            /* bytes of all tensors */
    uint64_t checksum = 0;        /* of their bytes, in their order */
    std::string names_path;       /* the names one a line, for engines in other processes */
};

struct Timing {
    double open = 0; /* seconds from the path to knowing where every tensor is */
    double load = 0; /* seconds from there to all bytes in memory */
};

/* Tensors in memory. */
class Loaded
{
  public:
    virtual ~Loaded() = default;

    /* The bytes of tensor `i` of the job, valid until the next call. Asked for in order. */
    virtual const unsigned char *tensor(size_t i) = 0;

    /* Bytes of memory that the caller wanted filled; what the process grew by beyond them is the
     * engine's own need. */
    virtual uint64_t block_size() const = 0;

    /* Bytes that it holds to know the tensors by; -1 where it does not tell. */
    virtual int64_t metadata_size() const
    {
        return -1;
    }

    /* What an engine in another process needed beyond its tensors; -1: look at this process. */
    virtual int64_t peak_elsewhere()
    {
        return -1;
    }
};

/* In which states an engine is run; those of subsets are asked for some of the tensors. */
constexpr unsigned WARM = 1, WARM_SUBSET = 2, COLD = 4, COLD_SUBSET = 8;
constexpr unsigned WHOLE = WARM | COLD, SUBSETS = WARM_SUBSET | COLD_SUBSET, ALL = WHOLE | SUBSETS;

struct EngineRow {
    std::string name;
    unsigned states;
    unsigned measured; /* states in which its need of memory is worth two more runs */
    bool checked;      /* loads the job's bytes; memcpy does not */
    std::function<std::unique_ptr<Loaded>(const Job &, Timing &)> run;
    unsigned copies = 1; /* of the tensors that it makes, all there at its end */
};

/* "t2_huge": how engines are named that exist for several numbers of threads or kinds of pages. */
inline std::string variant(const char *name, unsigned threads, const char *pages = nullptr)
{
    std::string text = std::string(name) + "_t" + std::to_string(threads);
    return pages == nullptr ? text : text + "_" + pages;
}

/* Rows of each header's engines. `threads`: the numbers of threads to run with. */
std::vector<EngineRow> tare_engines(const std::vector<unsigned> &threads, bool direct);
std::vector<EngineRow> floor_engines(const std::vector<unsigned> &threads, bool direct);

/* Those that are there on this machine. `text` gets what each is, or why it is left out. */
struct PeerText {
    std::string rust, python, cp;
};
std::vector<EngineRow> peer_engines(const std::string &python, uint64_t largest_file,
                                    PeerText &text);

/* Ends the process with a message. */
[[noreturn]] void fail(const std::string &what, const std::string &path);

} // namespace load

#endif
