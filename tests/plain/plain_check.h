/* The least of a test framework, for programs that run where Criterion cannot: under TSan, valgrind
 * and LeakSanitizer, and on other hosts. */
#ifndef PLAIN_CHECK_H
#define PLAIN_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define PLAIN_CHECK(condition)                                                        \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

#endif
