/* What can fail, how, and which statuses that may lead to. */
#ifndef FAULT_KINDS_H
#define FAULT_KINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "tare.h"

enum { FAULT_KIND_MAX = 64, FAULT_FAILURE_MAX = 7, FAULT_STATUS_MAX = 5, FAULT_NO_FAILURE = -1000 };

typedef enum fault_how {
    FAULT_OF_HOOKS,
    FAULT_OF_SYSTEM,
    FAULT_OF_DRIVER,
    FAULT_OF_READER,
} fault_how;

/* An errno, 0 (nothing more is there), OS_SHORT, or what a driver or a reader returns. */
typedef struct fault_kind {
    const char *name;
    fault_how how;
    int call;   /* of enum os_call */
    size_t run; /* how many calls "from then on" are; 0 is all of them */
    bool has_errno;
    int failures[FAULT_FAILURE_MAX];        /* ends with FAULT_NO_FAILURE, or full */
    tare_status statuses[FAULT_STATUS_MAX]; /* ends with 0 */
} fault_kind;

/* What is so all the time, while something else fails. */
typedef struct fault_condition {
    const char *name;
    void (*begin)(void); /* NULL: all is well */
    tare_status statuses[FAULT_STATUS_MAX];
} fault_condition;

extern const fault_kind fault_kinds[];           /* ends with one without a name */
extern const fault_condition fault_conditions[]; /* likewise; the first has no `begin` */

#endif
