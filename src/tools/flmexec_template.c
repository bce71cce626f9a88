#include "flmexec_template.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- cutting --- */

/* The part of "{...part}" at s; the bytes of part go to *length. */
static int parse_part(const char *s, size_t *length)
{
    static const struct {
        const char *text;
        int part;
    } parts[] = {{"//", PART_FOLDER},
                 {"/.", PART_FILE_NO_EXTENSION},
                 {"/", PART_FILE},
                 {".", PART_NO_EXTENSION},
                 {"", PART_WHOLE}};
    for (size_t i = 0;; i++) {
        *length = strlen(parts[i].text);
        if (strncmp(s, parts[i].text, *length) == 0)
            return parts[i].part;
    }
}

/* Recognizes a place at s, which begins with '{'. Returns its length, or 0. */
static size_t parse_place(const char *s, struct flmexec_piece *p)
{
    size_t length;
    if (strncmp(s, "{#}", 3) == 0) {
        *p = (struct flmexec_piece){.kind = PLACE_NUMBER};
        return 3;
    }
    if (strncmp(s, "{%}", 3) == 0)
        flmexec_die(FLMEXEC_USAGE,
                    "{%%} is not known before a job runs: use the variable FLM_EXECUTOR in the job");
    if (strncmp(s, "{=", 2) == 0 && strstr(s, "=}"))
        flmexec_die(FLMEXEC_USAGE,
                    "{= perl =} is not supported: change the arguments before, for example with sed");
    char *end = (char *)s + 1;
    long position = 0;
    if ((s[1] == '-' && s[2] >= '1' && s[2] <= '9') || (s[1] >= '1' && s[1] <= '9'))
        position = strtol(s + 1, &end, 10);
    if (position > INT_MAX || position < -INT_MAX)
        return 0;
    int part = parse_part(end, &length);
    if (end[length] != '}')
        return 0;
    *p = (struct flmexec_piece){
        .kind = position ? PLACE_ONE : PLACE_ALL, .part = part, .position = (int)position};
    return (size_t)(end + length + 1 - s);
}

static void add_piece(struct flmexec_word *w, struct flmexec_piece p)
{
    w->piece = flmexec_realloc(w->piece, (size_t)(w->n + 1) * sizeof(*w->piece));
    w->piece[w->n++] = p;
}

/* Returns whether there was a place. */
static bool cut_word(struct flmexec_word *w, const char *s)
{
    bool any = false;
    const char *begin = s;
    while (*s) {
        struct flmexec_piece p;
        size_t length = *s == '{' ? parse_place(s, &p) : 0;
        if (!length) {
            s++;
            continue;
        }
        if (s > begin)
            add_piece(w, (struct flmexec_piece){.text = begin, .size = (size_t)(s - begin)});
        add_piece(w, p);
        any = true;
        begin = s += length;
    }
    if (s > begin || !any)
        add_piece(w, (struct flmexec_piece){.text = begin, .size = (size_t)(s - begin)});
    return any;
}

void flmexec_template_make(struct flmexec_template *t, char *const *words, int n)
{
    bool any = false;
    t->word = flmexec_alloc((size_t)(n + 1) * sizeof(*t->word));
    for (int i = 0; i < n; i++)
        any |= cut_word(&t->word[i], words[i]);
    t->n = n;
    if (!any)
        add_piece(&t->word[t->n++], (struct flmexec_piece){.kind = PLACE_ALL});
}

void flmexec_template_free(struct flmexec_template *t)
{
    for (int i = 0; i < t->n; i++)
        free(t->word[i].piece);
    free(t->word);
    *t = (struct flmexec_template){0};
}

bool flmexec_template_needs_shell(const struct flmexec_template *t)
{
    for (int i = 0; i < t->n; i++) {
        for (int k = 0; k < t->word[i].n; k++) {
            const struct flmexec_piece *p = &t->word[i].piece[k];
            if (p->kind == PLACE_LITERAL && flmexec_needs_shell(p->text, p->size))
                return true;
        }
    }
    return false;
}

/* --- filling in --- */

static size_t without_extension(const char *s, size_t size)
{
    for (size_t i = size; i > 0 && s[i - 1] != '/'; i--) {
        if (s[i - 1] == '.')
            return i - 1;
    }
    return size;
}

static size_t file_begin(const char *s, size_t size)
{
    size_t i = size;
    while (i > 0 && s[i - 1] != '/')
        i--;
    return i;
}

/* As dirname(1). */
static size_t folder_size(const char **s, size_t size)
{
    size_t i = size;
    while (i > 1 && (*s)[i - 1] == '/')
        i--;
    i = file_begin(*s, i);
    if (i == 0) {
        *s = ".";
        return 1;
    }
    while (i > 1 && (*s)[i - 1] == '/')
        i--;
    return i;
}

static size_t shorten(const char **s, size_t size, int part)
{
    if (part == PART_FOLDER)
        return folder_size(s, size);
    if (part == PART_FILE || part == PART_FILE_NO_EXTENSION) {
        size_t begin = file_begin(*s, size);
        *s += begin;
        size -= begin;
    }
    if (part == PART_NO_EXTENSION || part == PART_FILE_NO_EXTENSION)
        size = without_extension(*s, size);
    return size;
}

static void add_value(const struct flmexec_template *t, const struct flmexec_piece *p, const char *s,
                      size_t size, struct flmexec_text *out)
{
    size = shorten(&s, size, p->part);
    if (t->shell && !t->raw)
        flmexec_text_quoted(out, s, size);
    else
        flmexec_text_add(out, s, size);
}

/* Returns whether there was anything to put in, be it an empty argument. Several
 * arguments make several words. */
static bool add_piece_text(const struct flmexec_template *t, const struct flmexec_piece *p,
                           const struct flmexec_arguments *a, uint64_t number, struct flmexec_text *out)
{
    char digits[24];
    switch (p->kind) {
    case PLACE_LITERAL:
        flmexec_text_add(out, p->text, p->size);
        return true;
    case PLACE_NUMBER:
        snprintf(digits, sizeof(digits), "%" PRIu64, number);
        flmexec_text_str(out, digits);
        return true;
    case PLACE_ONE: {
        int i = p->position > 0 ? p->position - 1 : a->n + p->position;
        if (i < 0 || i >= a->n)
            return false;
        add_value(t, p, a->item[i], a->size[i], out);
        return true;
    }
    default:
        for (int i = 0; i < a->n; i++) {
            if (i)
                flmexec_text_char(out, t->shell ? ' ' : 0);
            add_value(t, p, a->item[i], a->size[i], out);
        }
        return a->n > 0;
    }
}

void flmexec_template_expand(const struct flmexec_template *t, const struct flmexec_arguments *a,
                             uint64_t number, struct flmexec_text *out)
{
    out->size = 0;
    if (t->shell) {
        flmexec_text_add(out, t->shell, strlen(t->shell) + 1);
        flmexec_text_add(out, "-c", 3);
    }
    for (int i = 0; i < t->n; i++) {
        bool any = false;
        if (i && t->shell)
            flmexec_text_char(out, ' ');
        for (int k = 0; k < t->word[i].n; k++)
            any |= add_piece_text(t, &t->word[i].piece[k], a, number, out);
        if (any && !t->shell)
            flmexec_text_char(out, 0);
    }
    if (t->shell)
        flmexec_text_char(out, 0);
}

/* Newlines and tabs would break the lines and columns of who reads this. */
static void add_on_one_line(struct flmexec_text *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n' || *s == '\t' || *s == '\r')
            flmexec_text_str(out, *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : "\\r");
        else
            flmexec_text_char(out, *s);
    }
}

static bool breaks_lines(const char *s)
{
    return strpbrk(s, "\n\t\r") != NULL;
}

/* As bash, ksh and zsh read it back. */
static void add_escaped_word(struct flmexec_text *out, const char *s)
{
    flmexec_text_str(out, "$'");
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            flmexec_text_char(out, '\\');
        const char one[2] = {*s, 0};
        add_on_one_line(out, one);
    }
    flmexec_text_char(out, '\'');
}

void flmexec_command_line(const char *argv, size_t size, bool shell, struct flmexec_text *out)
{
    const char *end = argv + size;
    out->size = 0;
    flmexec_text_str(out, "");
    for (int i = 0; argv < end; i++, argv += strlen(argv) + 1) {
        if (shell && i < 2)
            continue; /* sh -c */
        if (out->size)
            flmexec_text_char(out, ' ');
        if (shell)
            add_on_one_line(out, argv);
        else if (breaks_lines(argv))
            add_escaped_word(out, argv);
        else
            flmexec_text_quoted(out, argv, strlen(argv));
    }
}
