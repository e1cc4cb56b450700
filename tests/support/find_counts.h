/*
 * Counts what finding a name, or building, looks at. src/find.c and src/index.c are compiled again
 * with this in front for the programs that count, each of which defines `find_counts`; the library
 * itself counts nothing.
 */
#ifndef FIND_COUNTS_H
#define FIND_COUNTS_H

#include <stddef.h>

typedef struct find_count {
    size_t lines;       /* of the table: one that is read again at once counts once */
    size_t comparisons; /* of a name with a stored one, or with its pair of parts */
    const void *line;   /* the last one */
} find_count;

extern find_count find_counts; /* since it was set to zeros */

static inline void find_counts_line(const void *line)
{
    find_counts.lines += line != find_counts.line;
    find_counts.line = line;
}

#define TAREI_COUNT_LINE(line) find_counts_line(line)
#define TAREI_COUNT_COMPARISON() ((void)find_counts.comparisons++)

#endif
