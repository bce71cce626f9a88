/* report.c - see report.h */
#include "report.h"
#include <langinfo.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_S 0.1

const char *report_count(char text[REPORT_TEXT], uint64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n), out = 0;

    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text[out++] = ',';
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

const char *report_rate(char text[REPORT_TEXT], double n)
{
    static const char *const unit[] = {"", " k", " M", " G", " T", " P"};
    int u = 0;

    while (n >= 999.5 && u < 5) {
        n /= 1000;
        u++;
    }
    snprintf(text, REPORT_TEXT, "%.*f%s", n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2, n, unit[u]);
    return text;
}

const char *report_time(char text[REPORT_TEXT], double s)
{
    if (!(s < 1e9))
        snprintf(text, REPORT_TEXT, "-");
    else if (s < 10)
        snprintf(text, REPORT_TEXT, "%.2f s", s);
    else if (s < 120)
        snprintf(text, REPORT_TEXT, "%.0f s", s);
    else if (s < 3600)
        snprintf(text, REPORT_TEXT, "%.0f min", s / 60);
    else
        snprintf(text, REPORT_TEXT, "%.0f h %02d min", floor(s / 3600), (int)(s / 60) % 60);
    return text;
}

static int utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

const char *report_plus_minus(void)
{
    return utf8() ? "\xc2\xb1" : "+-";
}

const char *report_times(void)
{
    return utf8() ? "\xc3\x97" : "x";
}

double report_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_init(struct progress *p, int wanted)
{
    const char *terminal = getenv("TERM");

    *p = (struct progress){0};
    if (wanted && isatty(STDERR_FILENO) && !(terminal && strcmp(terminal, "dumb") == 0))
        p->file = stderr;
}

int progress_due(struct progress *p, double now)
{
    if (!p->file || now - p->shown < REDRAW_S)
        return 0;
    p->shown = now;
    return 1;
}

/* Cuts text after so many columns, between characters. */
static void cut(char *text, int columns)
{
    for (; *text; text++)
        if (((unsigned char)*text & 0xC0) != 0x80 && columns-- == 0) {
            *text = '\0';
            return;
        }
}

void progress_draw(struct progress *p, const char *format, ...)
{
    struct winsize size = {0};
    char line[512];
    va_list args;

    if (!p->file)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (ioctl(fileno(p->file), TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        cut(line, size.ws_col - 1);
    fprintf(p->file, "\r%s\033[K", line);
    fflush(p->file);
    p->drawn = 1;
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        fprintf(p->file, "\r\033[K");
    if (p->drawn)
        fflush(p->file);
    p->drawn = 0;
}

void json_text(FILE *file, const char *text)
{
    putc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20)
            fprintf(file, "\\u%04x", c);
        else
            putc(c, file);
    }
    putc('"', file);
}

void json_number(FILE *file, double x)
{
    if (isfinite(x))
        fprintf(file, "%.17g", x);
    else
        fputs("null", file);
}
