/* Reports as JSON. */
#include "tools/flmctl/report_sections.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void report_iso_time(int64_t time_ns, char text[40])
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        memset(&tm, 0, sizeof(tm));
    size_t n = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, 40 - n, ".%03dZ", (int)(time_ns / 1000000 % 1000));
}

/* Replaces each byte at which jansson stumbles; texts are short. */
json_t *report_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    size_t n = strlen(text), at = 0;
    char *clean = malloc(3 * n + 1);
    if (!clean)
        return NULL;
    while (*text) {
        size_t length = 1;
        if ((unsigned char)*text >= 0x80) {
            for (length = 4; length > 1; length--) {
                json_t *one = strnlen(text, length) == length ? json_stringn(text, length) : NULL;
                /* What jansson takes as a whole may still be several characters; so it is good. */
                json_decref(one);
                if (one)
                    break;
            }
        }
        if (length == 1 && (unsigned char)*text >= 0x80)
            memcpy(clean + at, "\xef\xbf\xbd", 3), at += 3;
        else
            memcpy(clean + at, text, length), at += length;
        text += length;
    }
    clean[at] = 0;
    value = json_string(clean);
    free(clean);
    return value;
}

static json_t *row_object(const struct section *s, size_t row)
{
    json_t *o = json_object();
    for (unsigned i = 0; o && i < s->n_columns; i++) {
        json_t *value = s->rows[row][i].value;
        if (json_object_set(o, s->columns[i].key, value ? value : json_null())) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static json_t *section_value(const struct section *s)
{
    if (s->record)
        return s->n_rows ? row_object(s, 0) : json_null();
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->n_rows; i++)
        if (json_array_append_new(list, row_object(s, i))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* A record's fields stand at the top, the other sections beside them. */
static json_t *whole(const struct report *r)
{
    json_t *top = section_value(&r->sections[0]);
    if (!r->sections[0].record && r->n > 1) {
        json_t *o = json_object();
        json_object_set_new(o, r->sections[0].name, top);
        top = o;
    }
    for (unsigned i = 1; i < r->n && top; i++)
        if (json_object_set_new(top, r->sections[i].name, section_value(&r->sections[i]))) {
            json_decref(top);
            return NULL;
        }
    return top;
}

int report_print_json(const struct report *r)
{
    json_t *top = r->n ? whole(r) : json_null();
    if (!top)
        return -1;
    json_dumpf(top, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(top);
    return 0;
}
