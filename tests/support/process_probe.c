#define _XOPEN_SOURCE 700
#include "process_probe.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* True for the line of a mapping of a file whose path starts so: the path is the first slash on. */
static int is_mapping_of(const char *line, const char *path)
{
    const char *name = strchr(line, '/');
    return name != NULL && strncmp(name, path, strlen(path)) == 0;
}

size_t probe_mapping_count(const char *path)
{
    char line[8192];
    size_t count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    if (file == NULL) abort();
    while (fgets(line, sizeof line, file) != NULL) count += (size_t)is_mapping_of(line, path);
    fclose(file);
    return count;
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
