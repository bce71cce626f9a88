#include "tools/flmctl/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/flmctl/report_sections.h"

struct report *report_new(enum report_format format)
{
    struct report *r = calloc(1, sizeof(*r));
    if (r)
        r->format = format;
    return r;
}

static void begin(struct report *r, const char *name, const struct report_column *columns, unsigned n,
                  bool record)
{
    if (!r)
        return;
    if (r->n == REPORT_SECTIONS_MAX) {
        r->failed = true;
        return;
    }
    r->sections[r->n++] =
        (struct section){.name = name, .columns = columns, .n_columns = n, .record = record};
}

void report_table(struct report *r, const char *name, const struct report_column *columns, unsigned n)
{
    begin(r, name, columns, n, false);
}

void report_record(struct report *r, const char *name, const struct report_column *columns, unsigned n)
{
    begin(r, name, columns, n, true);
}

void report_row(struct report *r)
{
    if (!r || !r->n)
        return;
    struct section *s = &r->sections[r->n - 1];
    if (s->n_rows == s->room) {
        size_t room = s->room ? s->room * 2 : 16;
        struct cell **rows = realloc(s->rows, room * sizeof(*rows));
        if (!rows) {
            r->failed = true;
            return;
        }
        s->rows = rows;
        s->room = room;
    }
    struct cell *row = calloc(s->n_columns, sizeof(*row));
    if (!row) {
        r->failed = true;
        return;
    }
    s->rows[s->n_rows++] = row;
    s->next = 0;
}

/* Takes value, and text is copied. */
static void add_cell(struct report *r, const char *text, json_t *value)
{
    struct section *s = r && r->n && !r->failed ? &r->sections[r->n - 1] : NULL;
    if (!s || !s->n_rows || s->next >= s->n_columns) {
        json_decref(value);
        return;
    }
    struct cell *c = &s->rows[s->n_rows - 1][s->next++];
    c->text = strdup(text);
    c->value = value;
    if (!c->text || !value)
        r->failed = true;
}

void report_text(struct report *r, const char *text)
{
    add_cell(r, text, report_json_text(text));
}

void report_number(struct report *r, int64_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, number);
    add_cell(r, text, json_integer(number));
}

void report_real(struct report *r, double number)
{
    char text[64];
    snprintf(text, sizeof(text), "%.1f", number);
    json_t *value = json_real(number); /* NULL for what is no number */
    add_cell(r, text, value ? value : json_null());
}

void report_truth(struct report *r, bool truth)
{
    add_cell(r, truth ? "yes" : "no", json_boolean(truth));
}

void report_none(struct report *r)
{
    add_cell(r, "-", json_null());
}

void report_time(struct report *r, int64_t time_ns)
{
    char local[40], iso[40];
    if (!time_ns) {
        report_none(r);
        return;
    }
    report_local_time(time_ns, local);
    report_iso_time(time_ns, iso);
    add_cell(r, local, json_string(iso));
}

void report_list(struct report *r, const char *const *texts)
{
    char *joined = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&joined, &size);
    json_t *list = json_array();
    for (size_t i = 0; f && texts && texts[i]; i++) {
        bool quote = !*texts[i] || strpbrk(texts[i], " \t\"'\\;&|<>$*?");
        fprintf(f, quote ? "%s'%s'" : "%s%s", i ? " " : "", texts[i]);
        json_array_append_new(list, report_json_text(texts[i]));
    }
    if (f)
        fclose(f);
    add_cell(r, joined ? joined : "", list);
    free(joined);
}

static void release(struct report *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct section *s = &r->sections[i];
        for (size_t row = 0; row < s->n_rows; row++) {
            for (unsigned c = 0; c < s->n_columns; c++) {
                free(s->rows[row][c].text);
                json_decref(s->rows[row][c].value);
            }
            free(s->rows[row]);
        }
        free(s->rows);
    }
    free(r);
}

void report_drop(struct report *r)
{
    if (r)
        release(r);
}

int report_print(struct report *r)
{
    int rc = r && !r->failed ? 0 : -1;
    if (!rc && r->format == REPORT_JSON)
        rc = report_print_json(r);
    else if (!rc && r->format == REPORT_CSV)
        rc = report_print_csv(r);
    else if (!rc)
        rc = report_print_table(r);
    if (rc)
        fprintf(stderr, "flmctl: no memory for the output\n");
    else if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "flmctl: cannot write to standard output\n");
        rc = -1;
    }
    if (r)
        release(r);
    return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
