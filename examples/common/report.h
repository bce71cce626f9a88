/* report.h - numbers for people, the progress line, and JSON. */
#ifndef EXAMPLES_REPORT_H
#define EXAMPLES_REPORT_H

#include <stdint.h>
#include <stdio.h>

#define REPORT_TEXT 48 /* room for each of these texts */

/* 1234567 as "1,234,567"; 1234567 as "1.23 M"; 83 s as "83 s", 5000 s as "1 h 23 min". */
const char *report_count(char text[REPORT_TEXT], uint64_t n);
const char *report_rate(char text[REPORT_TEXT], double n);
const char *report_time(char text[REPORT_TEXT], double seconds);

/* "+-", or one character where the terminal's character set has it. */
const char *report_plus_minus(void);
const char *report_times(void); /* "x", likewise */

/* Seconds of the monotonic clock. */
double report_clock(void);

/* The progress line: one line on a terminal, rewritten in place. */
struct progress {
    FILE *file;   /* NULL: shows nothing */
    double shown; /* when it was last drawn */
    int drawn;
};
/* Shows on stderr when that is a terminal and wanted is set. */
void progress_init(struct progress *progress, int wanted);
/* True when it is time to draw again (ten times a second). */
int progress_due(struct progress *progress, double now);
void progress_draw(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void progress_clear(struct progress *progress);

/* A text as JSON writes it, with its quotes; a number, null when it is none. */
void json_text(FILE *file, const char *text);
void json_number(FILE *file, double x);

#endif
