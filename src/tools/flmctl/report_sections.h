/* tools/flmctl/report_sections.h - a report inside: filled by report.c, read by
 * the three printers. */
#ifndef FLM_TOOLS_FLMCTL_REPORT_SECTIONS_H
#define FLM_TOOLS_FLMCTL_REPORT_SECTIONS_H

#include "tools/flmctl/report.h"

enum { REPORT_SECTIONS_MAX = 8 };

struct cell {
    char *text;    /* for tables; NULL: nothing was said */
    json_t *value; /* for JSON and CSV */
};

struct section {
    const char *name;
    const struct report_column *columns;
    unsigned n_columns, next; /* next: column of the last row */
    bool record;
    struct cell **rows;
    size_t n_rows, room;
};

struct report {
    enum report_format format;
    bool failed; /* memory ran out */
    struct section sections[REPORT_SECTIONS_MAX];
    unsigned n;
};

/* 0, or -1 when memory ran out. */
int report_print_table(const struct report *r);
int report_print_json(const struct report *r);
int report_print_csv(const struct report *r);

#endif
