/* Reports as CSV: RFC 4180, lines end with CR LF. */
#include "tools/flmctl/report_sections.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void report_csv_field(const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_value(const struct cell *c)
{
    char number[40];
    if (json_is_string(c->value)) {
        report_csv_field(json_string_value(c->value));
    } else if (json_is_real(c->value)) {
        snprintf(number, sizeof(number), "%.9g", json_real_value(c->value));
        report_csv_field(number);
    } else if (c->value && !json_is_null(c->value)) {
        report_csv_field(c->text);
    }
}

static void print_line(const struct section *s, const struct cell *row)
{
    bool first = true;
    for (unsigned i = 0; i < s->n_columns; i++) {
        if (!s->columns[i].title)
            continue;
        if (!first)
            putchar(',');
        first = false;
        if (row)
            print_value(&row[i]);
        else
            report_csv_field(s->columns[i].title);
    }
    fputs("\r\n", stdout);
}

int report_print_csv(const struct report *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct section *s = &r->sections[i];
        if (i)
            fputs("\r\n", stdout);
        print_line(s, NULL);
        for (size_t row = 0; row < s->n_rows; row++)
            print_line(s, s->rows[row]);
    }
    return 0;
}
