#define _GNU_SOURCE 1
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const int64_t draw_every_ns = 100000000;   /* on a terminal */
static const int64_t write_every_ns = 5000000000; /* in a file */
static const int64_t rate_every_ns = 500000000;   /* between two measurements of the rate */
enum { LINE_MAX_BYTES = 512, BAR_MAX = 40, BAR_MIN = 8, WIDTH_DEFAULT = 80 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* 1234567 as "1,234,567". */
static const char *with_commas(uint64_t n, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, n), out = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text[out++] = ',';
        text[out++] = digits[i];
    }
    text[out] = 0;
    return text;
}

static const char *as_rate(double rate, char text[32])
{
    if (rate < 10)
        snprintf(text, 32, "%.2f/s", rate);
    else if (rate < 100000)
        snprintf(text, 32, "%.0f/s", rate);
    else if (rate < 1e6)
        snprintf(text, 32, "%.0f k/s", rate / 1e3);
    else
        snprintf(text, 32, "%.2f M/s", rate / 1e6);
    return text;
}

static const char *as_time(double seconds, char text[32])
{
    uint64_t s = seconds < 0 ? 0 : seconds > 1e9 ? 1000000000 : (uint64_t)(seconds + 0.5);
    if (s >= 86400)
        snprintf(text, 32, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(text, 32, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
    return text;
}

/* " [=====>    ]" in `room` columns, or nothing when there are too few. */
static void add_bar(char *text, double part, unsigned room)
{
    if (room < BAR_MIN + 3)
        return;
    unsigned cells = room - 3 < BAR_MAX ? room - 3 : BAR_MAX, full = (unsigned)(part * cells);
    char *to = text + strlen(text);
    *to++ = ' ';
    *to++ = '[';
    for (unsigned i = 0; i < cells; i++)
        *to++ = i < full ? '=' : i == full ? '>' : ' ';
    *to++ = ']';
    *to = 0;
}

int progress_format(char *text, size_t size, unsigned width, const struct progress_view *v)
{
    char done[32], total[32], rate[32], time[32], failed[32], facts[256], line[LINE_MAX_BYTES];
    double part = v->total ? (double)v->done / (double)v->total : 0;
    int n = 0;
    part = part > 1 ? 1 : part;
    if (v->total)
        n = snprintf(facts, sizeof(facts), " %s/%s %3.0f%%", with_commas(v->done, done),
                     with_commas(v->total, total), part * 100);
    else
        n = snprintf(facts, sizeof(facts), " %s", with_commas(v->done, done));
    if (v->rate > 0)
        n += snprintf(facts + n, sizeof(facts) - (size_t)n, "  %s", as_rate(v->rate, rate));
    if (v->total && v->rate > 0 && v->done < v->total)
        n += snprintf(facts + n, sizeof(facts) - (size_t)n, "  ETA %s",
                      as_time((double)(v->total - v->done) / v->rate, time));
    else
        n += snprintf(facts + n, sizeof(facts) - (size_t)n, "  %s", as_time(v->elapsed_s, time));
    if (v->failed)
        n += snprintf(facts + n, sizeof(facts) - (size_t)n, "  %s failed", with_commas(v->failed, failed));
    size_t used = (size_t)snprintf(line, 128, "%.100s", v->label) + (size_t)n;
    if (v->total && used < width)
        add_bar(line, part, width - (unsigned)used);
    used = strlen(line);
    snprintf(line + used, sizeof(line) - used, "%s", facts);
    if (strlen(line) > width && width < sizeof(line))
        line[width] = 0;
    return snprintf(text, size, "%s", line);
}

void progress_begin(struct progress *p, enum progress_mode mode, const char *label, uint64_t total)
{
    const char *term = getenv("TERM");
    memset(p, 0, sizeof(*p));
    p->terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    p->on = mode == PROGRESS_ON || (mode == PROGRESS_AUTO && p->terminal);
    p->view.label = label;
    p->view.total = total;
    p->begun_ns = p->rate_ns = now_ns();
    p->next_ns = p->begun_ns + (p->terminal ? draw_every_ns : write_every_ns);
}

void progress_set_total(struct progress *p, uint64_t total)
{
    p->view.total = total;
}

/* Mostly what was measured last, so that the line follows a change and does not
 * jump. */
static void measure(struct progress *p, int64_t now)
{
    if (now - p->rate_ns < rate_every_ns)
        return;
    double lately = (double)(p->view.done - p->rate_done) * 1e9 / (double)(now - p->rate_ns);
    p->view.rate = p->rate_done == 0 || p->view.rate == 0
                       ? (double)p->view.done * 1e9 / (double)(now - p->begun_ns)
                       : 0.8 * p->view.rate + 0.2 * lately;
    p->rate_ns = now;
    p->rate_done = p->view.done;
}

static unsigned terminal_width(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
        return w.ws_col - 1u; /* the last column would wrap on some terminals */
    return WIDTH_DEFAULT - 1;
}

static void write_all(const char *text, size_t size)
{
    if (write(STDERR_FILENO, text, size) < 0)
        return; /* nobody looks */
}

static void draw(struct progress *p)
{
    char line[LINE_MAX_BYTES], out[LINE_MAX_BYTES + 16];
    progress_format(line, sizeof(line), p->terminal ? terminal_width() : WIDTH_DEFAULT, &p->view);
    int n = snprintf(out, sizeof(out), p->terminal ? "\r%s\033[K" : "%s\n", line);
    write_all(out, (size_t)n);
    p->drawn = p->terminal;
}

void progress_show(struct progress *p, uint64_t done, uint64_t failed)
{
    if (!p->on)
        return;
    int64_t now = now_ns();
    if (now < p->next_ns)
        return;
    p->next_ns = now + (p->terminal ? draw_every_ns : write_every_ns);
    p->view.done = done;
    p->view.failed = failed;
    p->view.elapsed_s = (double)(now - p->begun_ns) / 1e9;
    measure(p, now);
    draw(p);
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        write_all("\r\033[K", 4);
    p->drawn = false;
}

void progress_end(struct progress *p)
{
    progress_clear(p);
    p->on = false;
}
