#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stddef.h>

#include "cli.h"

enum { SIGNAL_COUNT = 3 };
static const int signals[SIGNAL_COUNT] = {SIGINT, SIGTERM, SIGHUP};

static volatile sig_atomic_t stopped_by; /* a signal, or 0 */
static struct sigaction before[SIGNAL_COUNT];

static void stop(int number)
{
    stopped_by = number;
}

void stop_start(void)
{
    /* Once: if the work does not stop, by a disk that hangs, the next signal ends the program. */
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) sigaction(signals[i], &action, NULL);
    }
}

int stop_signal(void)
{
    return stopped_by;
}

void stop_end(void)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++) sigaction(signals[i], &before[i], NULL);
}
