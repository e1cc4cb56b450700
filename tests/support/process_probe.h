/* What the kernel says this process holds and has done (Linux: /proc/self). */
#ifndef PROCESS_PROBE_H
#define PROCESS_PROBE_H

#include <stddef.h>
#include <stdint.h>

size_t probe_descriptor_count(void);

/* Descriptors of files, and folders, whose path starts with `path`; *inherited becomes how many of
 * them a program would get that is started now (no FD_CLOEXEC). */
size_t probe_descriptors_of(const char *path, size_t *inherited);

/* Mappings of files whose path starts with `path`; deleted files count too. */
size_t probe_mapping_count(const char *path);

/* Those of them with these rights, as /proc/self/maps spells them: "r--p". */
size_t probe_mapping_count_with(const char *path, const char *rights);

/* Bytes of such mappings that this process has touched: their pages in its page table. */
uint64_t probe_mapping_resident(const char *path);

/* Bytes of a file that are in the page cache, whoever brought them there. */
uint64_t probe_cached_size(const char *path);

/* Brings a file to the disk and drops its pages from there on. False: they stay, as on tmpfs. */
int probe_drop_cached(const char *path);

uint64_t probe_resident_size(void); /* of the whole process */
uint64_t probe_read_size(void);     /* bytes that read calls have brought in so far */

#endif
