/*
 * For analysers, which see one file at a time: what they cannot know of functions in error.c,
 * namely that they never return TARE_OK. Included by analysis.sh ahead of every other file.
 */
#ifndef ANALYSIS_H
#define ANALYSIS_H

#include "error.h"

#define tarei_error_set(error, status, ...) \
    ((void)tarei_error_set(error, status, __VA_ARGS__), (tare_status)(status))
#define tarei_error_memory(error) ((void)tarei_error_memory(error), (tare_status)TARE_E_MEMORY)
#define tarei_error_system(error, status, ...) \
    ((void)tarei_error_system(error, status, __VA_ARGS__), (tare_status)(status))

#endif
