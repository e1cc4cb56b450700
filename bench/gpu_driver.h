/* What bench_gpu asks of NVIDIA's driver itself, so that limits and checks do not rest on the
 * library that is measured. Looked for at run time, like there. */
#ifndef TARE_BENCH_GPU_DRIVER_H
#define TARE_BENCH_GPU_DRIVER_H

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace gpu
{

class Driver
{
  public:
    /* `why` says what is missing, and is empty where nothing is. Device 0 is then in use. */
    explicit Driver(std::string &why)
    {
        library_ = dlopen("libcuda.so.1", RTLD_NOW);
        int device = 0;
        char text[128] = "";
        if (library_ == nullptr) {
            why = dlerror();
            return;
        }
        int result = find<int(unsigned)>("cuInit")(0);
        if (result == 0) result = find<int(int *)>("cuDeviceGetCount")(&count);
        if (result != 0 || count == 0) {
            why = "the driver finds no device (" + std::to_string(result) + ")";
            return;
        }
        check(find<int(int *, int)>("cuDeviceGet")(&device, 0), "cuDeviceGet");
        use(0);
        check(find<int(char *, int, int)>("cuDeviceGetName")(text, sizeof text, device), "name");
        name = text;
        check(find<int(int *)>("cuDriverGetVersion")(&version), "cuDriverGetVersion");
    }

    /* The primary context of a device becomes current on this thread. */
    void use(int number)
    {
        int device = 0;
        void *context = nullptr;
        check(find<int(int *, int)>("cuDeviceGet")(&device, number), "cuDeviceGet");
        check(find<int(void **, int)>("cuDevicePrimaryCtxRetain")(&context, device), "retain");
        check(find<int(void *)>("cuCtxSetCurrent")(context), "cuCtxSetCurrent");
    }

    void *pin(size_t size)
    {
        void *memory = nullptr;
        check(find<int(void **, size_t, unsigned)>("cuMemHostAlloc")(&memory, size, 0), "pin");
        return memory;
    }
    void unpin(void *memory)
    {
        check(find<int(void *)>("cuMemFreeHost")(memory), "cuMemFreeHost");
    }
    uint64_t take(size_t size)
    {
        uint64_t address = 0;
        check(find<int(uint64_t *, size_t)>("cuMemAlloc_v2")(&address, size), "cuMemAlloc");
        return address;
    }
    void give(uint64_t address)
    {
        check(find<int(uint64_t)>("cuMemFree_v2")(address), "cuMemFree");
    }
    void to_device(uint64_t to, const void *from, size_t size)
    {
        static auto *call =
            find<int(uint64_t, const void *, size_t, void *)>("cuMemcpyHtoDAsync_v2");
        check(call(to, from, size, nullptr), "cuMemcpyHtoDAsync");
    }
    void to_host(void *to, uint64_t from, size_t size)
    {
        static auto *call = find<int(void *, uint64_t, size_t)>("cuMemcpyDtoH_v2");
        check(call(to, from, size), "cuMemcpyDtoH");
    }
    void fill(uint64_t address, unsigned char byte, size_t size)
    {
        check(find<int(uint64_t, unsigned char, size_t)>("cuMemsetD8_v2")(address, byte, size),
              "cuMemsetD8");
    }
    void wait()
    {
        check(find<int()>("cuCtxSynchronize")(), "cuCtxSynchronize");
    }

    std::string name;
    int version = 0;
    int count = 0; /* of devices */

  private:
    template <class Call>
    Call *find(const char *symbol)
    {
        void *found = dlsym(library_, symbol);
        if (found == nullptr) check(-1, symbol);
        return reinterpret_cast<Call *>(found);
    }
    static void check(int result, const char *what)
    {
        if (result == 0) return;
        std::fprintf(stderr, "bench_gpu: %s: result %d\n", what, result);
        std::exit(1);
    }

    void *library_ = nullptr;
};

} // namespace gpu

#endif
