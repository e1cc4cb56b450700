/* Whether a file is opened, by whomever: what the kernel tells (Linux: inotify). */
#ifndef OPEN_WATCH_H
#define OPEN_WATCH_H

#include <stddef.h>

/* Begins to watch what the path leads to; -1 where that cannot be done, or the path is "". */
int open_watch_begin(const char *path);

/* How often it was opened meanwhile; 0 for -1. */
size_t open_watch_end(int watch);

#endif
