#define _DEFAULT_SOURCE /* mincore */
#include "process_probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

size_t probe_descriptor_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    if (folder == NULL) abort();
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* the folder's own */
}

size_t probe_descriptors_of(const char *path, size_t *inherited)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    *inherited = 0;
    if (folder == NULL) abort();
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char target[4096];
        ssize_t size = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        if (size < 0) continue;
        target[size] = 0;
        if (strncmp(target, path, strlen(path)) != 0) continue;
        count++;
        *inherited += (fcntl(atoi(entry->d_name), F_GETFD) & FD_CLOEXEC) == 0;
    }
    closedir(folder);
    return count;
}

/* True for the line of a mapping of a file whose path starts so: the path is the first slash on. */
static int is_mapping_of(const char *line, const char *path)
{
    const char *name = strchr(line, '/');
    return name != NULL && strncmp(name, path, strlen(path)) == 0;
}

/* A line is: where, a space, rights, a space, and so on. */
size_t probe_mapping_count_with(const char *path, const char *rights)
{
    char line[8192];
    size_t count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    if (file == NULL) abort();
    while (fgets(line, sizeof line, file) != NULL) {
        const char *has = strchr(line, ' ');
        if (!is_mapping_of(line, path) || has == NULL) continue;
        count += strncmp(has + 1, rights, strlen(rights)) == 0;
    }
    fclose(file);
    return count;
}

size_t probe_mapping_count(const char *path)
{
    return probe_mapping_count_with(path, "");
}

uint64_t probe_mapping_resident(const char *path)
{
    char line[8192];
    uint64_t resident = 0, kib;
    int inside = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    if (file == NULL) abort();
    while (fgets(line, sizeof line, file) != NULL) {
        /* Lines of mappings begin with an address, lines of facts about them with a capital. */
        if (line[0] < 'A' || line[0] > 'Z')
            inside = is_mapping_of(line, path);
        else if (inside && sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
            resident += kib * 1024;
    }
    fclose(file);
    return resident;
}

uint64_t probe_cached_size(const char *path)
{
    struct stat facts;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t cached = 0;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &facts) != 0) abort();
    size_t size = (size_t)facts.st_size, count = (size + page - 1) / page;
    void *mapping = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    unsigned char *pages = malloc(count);
    if (mapping == MAP_FAILED || pages == NULL || mincore(mapping, size, pages) != 0) abort();
    for (size_t i = 0; i < count; i++) cached += (pages[i] & 1) * page;
    free(pages);
    munmap(mapping, size);
    close(file);
    return cached;
}

int probe_drop_cached(const char *path)
{
    int file = open(path, O_RDONLY);
    if (file < 0 || fsync(file) != 0) abort();
    int failure = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
    return failure == 0 && probe_cached_size(path) == 0;
}

uint64_t probe_resident_size(void)
{
    uint64_t total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%" SCNu64 " %" SCNu64, &total, &resident) != 2) abort();
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t probe_read_size(void)
{
    uint64_t size;
    FILE *file = fopen("/proc/self/io", "r");
    if (file == NULL || fscanf(file, "rchar: %" SCNu64, &size) != 1) abort();
    fclose(file);
    return size;
}
