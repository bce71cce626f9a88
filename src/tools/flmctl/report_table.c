/* Reports as tables for people, laid out by libsmartcols. */
#include "tools/flmctl/report_sections.h"

#include <ctype.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void report_local_time(int64_t time_ns, char text[40])
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    struct tm tm;
    if (!localtime_r(&seconds, &tm) || !strftime(text, 40, "%Y-%m-%d %H:%M:%S", &tm))
        snprintf(text, 40, "%lld", (long long)seconds);
}

void report_plain(const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < ' ' && c != '\t') || c == 127)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static const char *cell_text(const struct cell *c)
{
    return c->text ? c->text : "-";
}

/* One line per column: its title and its value. */
static int print_record(const struct section *s)
{
    int widest = 0;
    for (unsigned i = 0; i < s->n_columns; i++) {
        int width = s->columns[i].title ? (int)strlen(s->columns[i].title) : 0;
        widest = width > widest ? width : widest;
    }
    for (unsigned i = 0; s->n_rows && i < s->n_columns; i++) {
        const char *title = s->columns[i].title;
        if (!title || !*cell_text(&s->rows[0][i]))
            continue;
        printf("%-*s  ", widest, title);
        report_plain(cell_text(&s->rows[0][i]));
        putchar('\n');
    }
    return 0;
}

static int add_columns(struct libscols_table *t, const struct section *s)
{
    for (unsigned i = 0; i < s->n_columns; i++) {
        const struct report_column *c = &s->columns[i];
        int flags =
            (c->flags & REPORT_RIGHT ? SCOLS_FL_RIGHT : 0) | (c->flags & REPORT_WRAP ? SCOLS_FL_WRAP : 0);
        if (c->title && !scols_table_new_column(t, c->title, 0, flags))
            return -1;
    }
    return 0;
}

static int add_rows(struct libscols_table *t, const struct section *s)
{
    for (size_t row = 0; row < s->n_rows; row++) {
        struct libscols_line *line = scols_table_new_line(t, NULL);
        size_t at = 0;
        if (!line)
            return -1;
        for (unsigned i = 0; i < s->n_columns; i++)
            if (s->columns[i].title && scols_line_set_data(line, at++, cell_text(&s->rows[row][i])))
                return -1;
    }
    return 0;
}

/* libsmartcols prints nothing of a table without rows. */
static int print_headings(const struct section *s)
{
    bool first = true;
    for (unsigned i = 0; i < s->n_columns; i++)
        if (s->columns[i].title) {
            printf("%s%s", first ? "" : " ", s->columns[i].title);
            first = false;
        }
    putchar('\n');
    return 0;
}

static int print_table(const struct section *s)
{
    if (!s->n_rows)
        return print_headings(s);
    struct libscols_table *t = scols_new_table();
    if (t)
        scols_table_enable_minout(t, 1); /* no blanks at the end of lines */
    int rc = t && !add_columns(t, s) && !add_rows(t, s) ? 0 : -1;
    if (!rc)
        rc = scols_print_table(t) < 0 ? -1 : 0;
    scols_unref_table(t);
    return rc;
}

int report_print_table(const struct report *r)
{
    int rc = 0;
    for (unsigned i = 0; i < r->n && !rc; i++) {
        const struct section *s = &r->sections[i];
        if (i && !s->n_rows)
            continue;
        if (i)
            printf("\n%c%s\n", toupper((unsigned char)s->name[0]), s->name + 1);
        rc = s->record ? print_record(s) : print_table(s);
    }
    return rc;
}
