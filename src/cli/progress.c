#define _POSIX_C_SOURCE 200809L
#include "latency.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REDRAW_NS = 50000000, WIDTH = 32, SIGNAL_COUNT = 3 };

static const char erase_line[] = "\r\x1b[K";
static const int fatal_signals[SIGNAL_COUNT] = {SIGINT, SIGTERM, SIGHUP};

static struct {
    bool shown;
    bool drawn;
    uint64_t drawn_at;
    struct sigaction before[SIGNAL_COUNT];
} progress;

static void write_error(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, text, size);
        if (written <= 0) return;
        text += written;
        size -= (size_t)written;
    }
}

/* By now the signal does again what it does by default, and comes when this returns. */
static void erase_and_die(int number)
{
    write_error(erase_line, sizeof erase_line - 1);
    raise(number);
}

void progress_start(void)
{
    const char *terminal = getenv("TERM");
    progress.shown = isatty(STDERR_FILENO) && (terminal == NULL || strcmp(terminal, "dumb") != 0);
    if (!progress.shown) return;
    struct sigaction action = {.sa_handler = erase_and_die, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(fatal_signals[i], NULL, &progress.before[i]);
        if (progress.before[i].sa_handler != SIG_IGN) sigaction(fatal_signals[i], &action, NULL);
    }
}

bool progress_due(void)
{
    return progress.shown && (!progress.drawn || latency_now() - progress.drawn_at >= REDRAW_NS);
}

void progress_show(const char *what, double share)
{
    if (!progress_due()) return;
    progress.drawn = true;
    progress.drawn_at = latency_now();
    char bar[WIDTH + 1];
    char line[WIDTH + 128];
    if (share > 1) share = 1;
    int full = (int)(share * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = '\0';
    int size =
        snprintf(line, sizeof line, "%s[%s] %3d%% %s", erase_line, bar, (int)(share * 100), what);
    if (size > 0) write_error(line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
}

void progress_hide(void)
{
    if (progress.shown && progress.drawn) write_error(erase_line, sizeof erase_line - 1);
    progress.drawn = false;
}

void progress_end(void)
{
    if (!progress.shown) return;
    write_error(erase_line, sizeof erase_line - 1);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(fatal_signals[i], &progress.before[i], NULL);
    }
    progress.shown = false;
}
