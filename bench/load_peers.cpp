/*
 * What others load with.
 *
 *     crate_copy        the crate safetensors, mapped, each tensor copied out; one thread is all
 *                       that it has
 *     python            Python's safetensors, load_file for numpy, which copies too
 *     python_copy       the same and each array copied once more, into memory that is numpy's
 *     python_pread      load_file with backend="pread"
 *     python_some       some of the tensors: safe_open, and get_tensor of each
 *     cp                cp to /dev/shm, the process's start included
 */
#include "load_memory.h"

#ifdef TARE_BENCH_RUST
#include "rust_peers.h"
#endif

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

extern char **environ;

namespace load
{

namespace
{

#ifdef TARE_BENCH_RUST

class CrateCopy : public Loaded
{
  public:
    CrateCopy(const Job &job, Timing &timing) : size_(job.size)
    {
        std::vector<tare_string> names;
        for (const std::string &name : job.names) names.push_back({name.data(), name.size()});
        Clock::time_point start = Clock::now();
        file_ = rust_file_open(job.path.data(), job.path.size());
        timing.open = seconds_since(start);
        if (file_ == nullptr) fail("the crate refuses it", job.path);
        start = Clock::now();
        copy_ = rust_file_copy(file_, names.data(), names.size());
        timing.load = seconds_since(start);
        if (copy_ == nullptr) fail("the crate misses a tensor", job.path);
    }
    ~CrateCopy() override
    {
        rust_copy_free(copy_);
        rust_file_free(file_);
    }
    const unsigned char *tensor(size_t i) override
    {
        return rust_copy_data(copy_, i);
    }
    uint64_t block_size() const override
    {
        return size_;
    }

  private:
    void *file_ = nullptr, *copy_ = nullptr;
    uint64_t size_;
};

#endif

/* A child that obeys lines; see peers/load_peer.py. One load each: what a process keeps of the
 * memory that it gave back would serve its next load. */
class Python
{
  public:
    /* Waits until it is ready to load; what it is, is `said` then. */
    explicit Python(const std::string &python)
    {
        int to[2], from[2];
        if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) fail("no pipe", python);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, to[0], 0);
        posix_spawn_file_actions_adddup2(&actions, from[1], 1);
        const char *arguments[] = {python.c_str(), TARE_BENCH_LOAD_PEER, nullptr};
        if (posix_spawn(&child_, python.c_str(), &actions, nullptr, const_cast<char **>(arguments),
                        environ) != 0)
            child_ = -1;
        posix_spawn_file_actions_destroy(&actions);
        close(to[0]);
        close(from[1]);
        to_ = to[1];
        from_ = fdopen(from[0], "r");
        if (!read_line(said)) said.clear();
    }
    ~Python()
    {
        close(to_); /* it ends then */
        std::fclose(from_);
        if (child_ > 0) waitpid(child_, nullptr, 0);
    }
    Python(const Python &) = delete;
    Python &operator=(const Python &) = delete;

    std::string ask(const std::string &line)
    {
        send(line);
        std::string answer;
        if (!read_line(answer)) fail("Python ended", line);
        return answer;
    }

    void send(const std::string &line)
    {
        std::string text = line + "\n";
        if (write(to_, text.data(), text.size()) != ssize_t(text.size())) fail("no Python", line);
    }

    void read_bytes(void *target, uint64_t size)
    {
        if (std::fread(target, 1, size, from_) != size) fail("Python shows too little", "show");
    }

    std::string said; /* empty when there is no such process */

  private:
    bool read_line(std::string &line)
    {
        char text[512];
        if (std::fgets(text, sizeof text, from_) == nullptr) return false;
        line.assign(text, std::strcspn(text, "\n"));
        return true;
    }

    pid_t child_ = -1;
    int to_;
    FILE *from_;
};

class InPython : public Loaded
{
  public:
    InPython(const std::string &path, const char *mode, const Job &job, Timing &timing)
        : python_(path), job_(job),
          arguments_(std::string(mode) + "\t" + job.path + "\t" + job.names_path)
    {
        std::string answer = python_.ask("time\t" + arguments_);
        if (std::sscanf(answer.c_str(), "%lf %lf", &timing.open, &timing.load) != 2)
            fail(answer, "Python");
    }
    const unsigned char *tensor(size_t i) override
    {
        if (i == 0) python_.send("show");
        bytes_.resize(job_.tensors[i].size);
        python_.read_bytes(bytes_.data(), bytes_.size());
        return bytes_.data();
    }
    uint64_t block_size() const override
    {
        return 0;
    }
    int64_t peak_elsewhere() override
    {
        return std::stoll(python_.ask("peak"));
    }

  private:
    Python python_;
    const Job &job_;
    std::string arguments_;
    std::vector<unsigned char> bytes_;
};

constexpr char memory_folder[] = "/dev/shm";

class Copied : public Loaded
{
  public:
    Copied(const Job &job, Timing &timing)
        : job_(job), path_(std::string(memory_folder) + "/tare-bench-" + std::to_string(getpid()))
    {
        const char *arguments[] = {"cp", job.path.c_str(), path_.c_str(), nullptr};
        pid_t child;
        int status = -1;
        Clock::time_point start = Clock::now();
        if (posix_spawnp(&child, "cp", nullptr, nullptr, const_cast<char **>(arguments), environ) ==
            0)
            waitpid(child, &status, 0);
        timing.load = seconds_since(start);
        if (status != 0) {
            unlink(path_.c_str());
            fail("cp failed", path_);
        }
    }
    ~Copied() override
    {
        if (data_ != nullptr) munmap(data_, job_.file_size);
        unlink(path_.c_str());
    }
    const unsigned char *tensor(size_t i) override
    {
        if (data_ == nullptr) {
            int file = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
            data_ = mmap(nullptr, job_.file_size, PROT_READ, MAP_SHARED, file, 0);
            if (file < 0 || data_ == MAP_FAILED) fail("not there", path_);
            close(file);
        }
        return static_cast<const unsigned char *>(data_) + job_.tensors[i].offset;
    }
    uint64_t block_size() const override
    {
        return 0;
    }

  private:
    const Job &job_;
    std::string path_;
    void *data_ = nullptr;
};

/* The smallest room that all files must fit in, the other models' caches apart. */
bool memory_folder_holds(uint64_t size)
{
    struct statvfs facts;
    return access(memory_folder, W_OK) == 0 && statvfs(memory_folder, &facts) == 0 &&
           uint64_t(facts.f_bavail) * facts.f_frsize > size + (16 << 20);
}

template <class Engine>
EngineRow row(const char *name, unsigned states, unsigned measured)
{
    return {name, states, measured, true,
            [](const Job &job, Timing &timing) { return std::make_unique<Engine>(job, timing); }};
}

void add_python(std::vector<EngineRow> &rows, const std::string &path, PeerText &text)
{
    text.python = "left out: no Python was given";
    if (path.empty()) return;
    text.python = Python(path).said;
    if (text.python.empty()) {
        text.python = "left out: " + path + " has no safetensors and numpy";
        return;
    }
    static const struct {
        const char *name, *mode;
        unsigned states, copies;
    } ways[] = {{"python", "load", WHOLE, 1},
                {"python_copy", "copy", WARM, 2},
                {"python_pread", "pread", WARM, 1},
                {"python_some", "some", SUBSETS, 1}};
    for (const auto &way : ways)
        rows.push_back({way.name, way.states, WARM, true,
                        [&way, path](const Job &job, Timing &timing) {
                            return std::make_unique<InPython>(path, way.mode, job, timing);
                        },
                        way.copies});
}

} // namespace

std::vector<EngineRow> peer_engines(const std::string &python, uint64_t largest_file,
                                    PeerText &text)
{
    std::vector<EngineRow> rows;
    text.rust = TARE_BENCH_RUST_TEXT;
#ifdef TARE_BENCH_RUST
    rows.push_back(row<CrateCopy>("crate_copy", ALL, WARM));
#endif
    add_python(rows, python, text);
    text.cp = std::string("left out: no room in ") + memory_folder;
    if (memory_folder_holds(largest_file)) {
        text.cp = std::string("to ") + memory_folder;
        rows.push_back(row<Copied>("cp", WHOLE, 0));
    }
    return rows;
}

} // namespace load
