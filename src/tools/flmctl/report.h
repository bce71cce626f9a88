/* tools/flmctl/report.h - what a command found out, as table, JSON or CSV.
 *
 *     struct report *r = report_new(format);
 *     report_table(r, "sessions", columns, N);      or report_record(...): one row, upright
 *     report_row(r); report_text(r, id); report_number(r, pending); ...   in the columns' order
 *     return report_print(r);
 *
 * One table is in JSON an array of objects, a record an object; several sections
 * are an object of them by name. In CSV (RFC 4180) sections are separated by an
 * empty line. Numbers stay numbers, times are ISO 8601 in UTC outside tables.
 * Memory that runs out is told by report_print. Every function takes NULL.
 */
#ifndef FLM_TOOLS_FLMCTL_REPORT_H
#define FLM_TOOLS_FLMCTL_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum report_format { REPORT_TABLE, REPORT_JSON, REPORT_CSV };

enum report_flags {
    REPORT_RIGHT = 1, /* numbers */
    REPORT_WRAP = 2,  /* long texts */
};

struct report_column {
    const char *key;   /* in JSON */
    const char *title; /* in tables and CSV; NULL: only in JSON */
    int flags;         /* enum report_flags */
};

struct report;
struct report *report_new(enum report_format format);

/* Begins a section. name and columns live until report_print. */
void report_table(struct report *r, const char *name, const struct report_column *columns, unsigned n);
void report_record(struct report *r, const char *name, const struct report_column *columns, unsigned n);

void report_row(struct report *r);
void report_text(struct report *r, const char *text);
void report_number(struct report *r, int64_t number);
void report_real(struct report *r, double number);
void report_truth(struct report *r, bool truth);
void report_time(struct report *r, int64_t time_ns);          /* since the epoch; 0: none */
void report_none(struct report *r);                           /* "-", null */
void report_list(struct report *r, const char *const *texts); /* NULL-terminated, may be NULL */

/* Prints to stdout and frees. The exit status: 0, or 1 after having said why. */
int report_print(struct report *r);
/* Instead of it: nothing is printed. */
void report_drop(struct report *r);

/* ---- parts, for what is printed as it comes --------------------------------- */

/* A JSON string of any bytes: those that are no UTF-8 become U+FFFD. */
json_t *report_json_text(const char *text);

/* ISO 8601, UTC, milliseconds. */
void report_iso_time(int64_t time_ns, char text[40]);

/* Local time, for people. */
void report_local_time(int64_t time_ns, char text[40]);

/* One CSV field, quoted where needed, to stdout. */
void report_csv_field(const char *text);

/* Text to stdout without control characters that a terminal would obey. */
void report_plain(const char *text);

#endif
