#define _POSIX_C_SOURCE 200809L
#include "latency.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    REDRAW_NS = 50000000,
    BAR_MAX = 32,
    BAR_MIN = 8,    /* below that words are left out instead */
    AROUND_BAR = 8, /* "[", "] 100%" and the blank before the words */
    COLUMNS_DEFAULT = 80,
    SIGNAL_COUNT = 3
};

static const char erase_line[] = "\r\x1b[K";
static const int fatal_signals[SIGNAL_COUNT] = {SIGINT, SIGTERM, SIGHUP};

static struct {
    bool shown;
    bool drawn;
    uint64_t drawn_at;
    size_t widest; /* words so far: a bar that makes room for them does not jump */
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
    progress.widest = 0;
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

/* Asked for each time, since a window may become another. The last column stays free: what fills it
 * starts a new line on some terminals. */
static size_t line_room(void)
{
    struct winsize window;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0;
    return (known ? window.ws_col : COLUMNS_DEFAULT) - 1u;
}

/* How much of the words, which are parted by commas, stands beside a bar of BAR_MIN columns. */
static size_t words_that_fit(const char *what, size_t room)
{
    size_t size = strlen(what);
    while (size > 0 && size + BAR_MIN + AROUND_BAR > room) {
        while (size > 0 && what[size - 1] != ',') size--;
        if (size > 0) size--;
    }
    return size;
}

void progress_show(const char *what, double share)
{
    if (!progress_due()) return;
    progress.drawn = true;
    progress.drawn_at = latency_now();
    char bar[BAR_MAX + 1];
    char line[BAR_MAX + 128];
    size_t room = line_room();
    size_t words = words_that_fit(what, room);
    if (words > progress.widest || progress.widest + BAR_MIN + AROUND_BAR > room)
        progress.widest = words;
    size_t width = room > progress.widest + AROUND_BAR ? room - progress.widest - AROUND_BAR : 0;
    if (width > BAR_MAX) width = BAR_MAX;
    if (share > 1) share = 1;
    size_t full = (size_t)(share * (double)width);
    for (size_t i = 0; i < width; i++) bar[i] = i < full ? '#' : '.';
    bar[width] = '\0';
    int size =
        snprintf(line, sizeof line, "%s%s%s%s%3d%%%s%.*s", erase_line, width > 0 ? "[" : "", bar,
                 width > 0 ? "] " : "", (int)(share * 100), words > 0 ? " " : "", (int)words, what);
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
