/* Applications from files: what flm-application(5) describes, read by inih.
 *
 * inih reads lines of at most 200 bytes and takes " ;" for the start of a
 * comment, also within quotes. Both would surprise in a command, so the reader
 * that hands it the lines hides them: a `;` in a line becomes HIDDEN_SEMICOLON
 * (comments have lines of their own), and a long line is handed over in pieces,
 * each but the first a continuation line that begins with GLUE. */
#define _GNU_SOURCE
#include "libflm/application_file.h"
#include "base/error.h"
#include "base/output_type.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_BYTES_MAX = 1 << 20,
    WORDS_MAX = 4096, /* of a command, and variables of an environment */
    HIDDEN_SEMICOLON = '\001',
    GLUE = '\002',
};

struct text {
    char *data;
    size_t size;
};

/* A file on its way to a struct flm_application. */
struct reader {
    const char *file, *data, *end;
    int line;          /* of the piece that inih got last */
    bool continuation; /* that line began with white space */
    bool inside;       /* of a long line: the next piece continues it */
    int status;
    flm_error *error;
    bool section; /* [application] was there */
    char key[32]; /* being collected, "" at the beginning */
    int key_line;
    struct text value;
    unsigned seen; /* bit per key */
    struct flm_application app;
    char *name, *working_directory, *description, *output_type;
    char **command, **environment;
};

static int fail(struct reader *r, int line, int code, const char *format, ...) FLM_PRINTF(4, 5);

/* Keeps the first failure, with file and line. */
static int fail(struct reader *r, int line, int code, const char *format, ...)
{
    if (r->status)
        return r->status;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (line)
        return r->status = flm__error_set(r->error, code, "%.90s:%d: %s", r->file, line, text);
    return r->status = flm__error_set(r->error, code, "%.90s: %s", r->file, text);
}

/* ---- words -------------------------------------------------------------- */

static int add_word(char ***list, const char *data, size_t size)
{
    size_t n = 0;
    while (*list && (*list)[n])
        n++;
    if (n >= WORDS_MAX)
        return FLM_ETOOBIG;
    char **grown = realloc(*list, (n + 2) * sizeof(*grown));
    if (!grown)
        return FLM_ENOMEM;
    *list = grown;
    grown[n + 1] = NULL;
    grown[n] = strndup(data, size);
    return grown[n] ? 0 : FLM_ENOMEM;
}

static void free_words(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

/* Copies one word of a command line to `to` (as long as from at most) without
 * its quotes; returns where it ends, or NULL when a quote is not closed. */
static const char *unquote(const char *from, char *to, size_t *size)
{
    char quote = 0;
    char *start = to;
    for (; *from && (quote || !isspace((unsigned char)*from)); from++) {
        if (!quote && (*from == '\'' || *from == '"')) {
            quote = *from;
        } else if (quote && *from == quote) {
            quote = 0;
        } else if (*from == '\\' && quote != '\'') {
            if (!from[1])
                return NULL;
            /* In double quotes a backslash escapes only these, as in a shell. */
            if (quote && !strchr("\"\\$`", from[1]))
                *to++ = *from;
            *to++ = *++from;
        } else {
            *to++ = *from;
        }
    }
    *size = (size_t)(to - start);
    return quote ? NULL : from;
}

static int split_command(struct reader *r, const char *line)
{
    char *word = malloc(strlen(line) + 1);
    int rc = word ? 0 : FLM_ENOMEM;
    while (!rc) {
        while (isspace((unsigned char)*line))
            line++;
        size_t size;
        if (!*line)
            break;
        if (!(line = unquote(line, word, &size)))
            rc = fail(r, r->key_line, FLM_EINVAL,
                      "the command ends within quotes or with a backslash: close the quote");
        else if ((rc = add_word(&r->command, word, size)))
            fail(r, r->key_line, rc, "the command: %s",
                 rc == FLM_ETOOBIG ? "too many arguments" : flm_strerror(rc));
    }
    free(word);
    return rc;
}

/* ---- values ------------------------------------------------------------- */

static int parse_number(struct reader *r, const char *value, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || errno || n > INT_MAX)
        return fail(r, r->key_line, FLM_EINVAL, "%s is to be a number from 0 to %d, not '%.60s'", r->key,
                    INT_MAX, value);
    *out = (unsigned)n;
    return 0;
}

static int parse_name(struct reader *r, const char *value)
{
    size_t n = strlen(value);
    size_t good = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@+");
    if (n > FLM_MAX_NAME)
        return fail(r, r->key_line, FLM_ETOOBIG, "the name has %zu characters; at most %d are allowed", n,
                    FLM_MAX_NAME);
    if (good != n)
        return fail(r, r->key_line, FLM_EINVAL,
                    "the name may have letters, digits and . _ - : @ + only, not '%.20s'", value + good);
    r->name = strdup(value);
    return r->name ? 0 : fail(r, r->key_line, FLM_ENOMEM, "no memory");
}

static int parse_shim(struct reader *r, const char *value)
{
    r->app.shim = flm_shim_parse(value);
    if (r->app.shim < 0)
        return fail(r, r->key_line, FLM_EINVAL, "there is no shim '%.40s': use so, exec, stdio or self",
                    value);
    return 0;
}

static int parse_exec_mode(struct reader *r, const char *value)
{
    static const char *const names[] = {
        [FLM_EXEC_STDIN] = "stdin", [FLM_EXEC_ARGS] = "args", [FLM_EXEC_CAPTURE] = "capture"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(value, names[i])) {
            r->app.exec_mode = i;
            return 0;
        }
    return fail(r, r->key_line, FLM_EINVAL, "there is no exec_mode '%.40s': use stdin, args or capture",
                value);
}

static int parse_variable(struct reader *r, const char *value)
{
    const char *equal = strchr(value, '=');
    if (!equal || equal == value)
        return fail(r, r->key_line, FLM_EINVAL, "environment is to be NAME=VALUE, not '%.60s'", value);
    int rc = add_word(&r->environment, value, strlen(value));
    return rc ? fail(r, r->key_line, rc, "environment: %s", flm_strerror(rc)) : 0;
}

/* A relative folder is meant from where the file lies. */
static int parse_directory(struct reader *r, const char *value)
{
    const char *slash = strrchr(r->file, '/');
    char folder[PATH_MAX], full[PATH_MAX];
    int n = slash ? snprintf(folder, sizeof(folder), "%.*s", (int)(slash - r->file + 1), r->file)
                  : snprintf(folder, sizeof(folder), ".");
    if (*value == '/')
        r->working_directory = strdup(value);
    else if (n >= (int)sizeof(folder) || !realpath(folder, full))
        return fail(r, r->key_line, FLM_EINVAL, "cannot tell from where '%.60s' is meant: use a full path",
                    value);
    else if (asprintf(&r->working_directory, "%s/%s", full, value) < 0)
        r->working_directory = NULL;
    return r->working_directory ? 0 : fail(r, r->key_line, FLM_ENOMEM, "no memory");
}

static int parse_description(struct reader *r, const char *value)
{
    r->description = strdup(value);
    return r->description ? 0 : fail(r, r->key_line, FLM_ENOMEM, "no memory");
}

static int parse_output_type(struct reader *r, const char *value)
{
    struct flm__output_type type;
    flm_error error = {.code = 0};
    if (flm__output_type_parse(value, &type, &error) < 0)
        return fail(r, r->key_line, error.code, "%s", error.text);
    r->output_type = strdup(value);
    return r->output_type ? 0 : fail(r, r->key_line, FLM_ENOMEM, "no memory");
}

/* One row per key: a parser of its own, or the number that it sets. */
struct key {
    const char *name;
    int (*parse)(struct reader *, const char *value);
    size_t number;
    bool repeated;
};
#define NUMBER(field)                                                                                      \
    {                                                                                                      \
#field, NULL, offsetof(struct flm_application, field), false                                       \
    }
static const struct key keys[] = {
    {"name", parse_name, 0, false},
    {"shim", parse_shim, 0, false},
    {"command", split_command, 0, false},
    {"environment", parse_variable, 0, true},
    {"working_directory", parse_directory, 0, false},
    {"description", parse_description, 0, false},
    {"exec_mode", parse_exec_mode, 0, false},
    {"output_type", parse_output_type, 0, false},
    NUMBER(min_instances),
    NUMBER(max_instances),
    NUMBER(delay_release_ms),
    NUMBER(deadline_ms),
    NUMBER(ranks_per_task),
};
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

/* The value of r->key is complete: takes it. */
static int finish_key(struct reader *r)
{
    if (!r->key[0] || r->status)
        return r->status;
    size_t i = 0;
    while (i < KEYS && strcmp(keys[i].name, r->key))
        i++;
    if (i == KEYS)
        return fail(r, r->key_line, FLM_EINVAL, "there is no key '%s' (flm-application(5) lists them)",
                    r->key);
    if ((r->seen & 1u << i) && !keys[i].repeated)
        return fail(r, r->key_line, FLM_EINVAL, "%s is given twice", r->key);
    r->seen |= 1u << i;
    const char *value = r->value.data ? r->value.data : "";
    if (!*value)
        return fail(r, r->key_line, FLM_EINVAL, "%s has no value", r->key);
    if (keys[i].parse)
        return keys[i].parse(r, value);
    return parse_number(r, value, (unsigned *)(void *)((char *)&r->app + keys[i].number));
}

/* ---- lines -------------------------------------------------------------- */

static int append(struct reader *r, const char *piece)
{
    size_t n = strlen(piece);
    n -= n && piece[n - 1] == GLUE;
    char *grown = realloc(r->value.data, r->value.size + n + 2);
    if (!grown)
        return fail(r, r->line, FLM_ENOMEM, "no memory");
    r->value.data = grown;
    for (size_t i = 0; i < n; i++)
        grown[r->value.size + i] = piece[i] == HIDDEN_SEMICOLON ? ';' : piece[i];
    r->value.size += n;
    grown[r->value.size] = 0;
    return 0;
}

/* inih calls this for each `key = value` and for each further line of a value. */
static int on_line(void *arg, const char *section, const char *key, const char *value)
{
    struct reader *r = arg;
    if (r->status)
        return 0;
    if (strcmp(section, "application") != 0)
        return !fail(r, r->line, FLM_EINVAL, "%s%.40s: everything stands in the section [application]",
                     *section ? "there is no section " : "a key outside of a section", section);
    r->section = true;
    if (value[0] == GLUE)
        return !append(r, value + 1);
    if (r->continuation)
        return !(append(r, " ") || append(r, value));
    if (finish_key(r))
        return 0;
    r->key_line = r->line;
    snprintf(r->key, sizeof(r->key), "%s", key);
    r->value.size = 0;
    return !append(r, value);
}

/* Hands inih the next line, or the next piece of a long one; comments become
 * empty lines. Pieces begin and end with GLUE, since inih strips white space. */
static char *next_line(char *to, int size, void *arg)
{
    struct reader *r = arg;
    if (r->data == r->end || size < 16)
        return NULL;
    const char *newline = memchr(r->data, '\n', (size_t)(r->end - r->data));
    const char *stop = newline ? newline : r->end;
    char *at = to, *last = to + size - 4; /* room for GLUE, newline, zero */
    if (r->inside) {
        *at++ = ' ';
        *at++ = GLUE;
    } else {
        r->line++;
        r->continuation = r->data < stop && isspace((unsigned char)*r->data);
        const char *first = r->data;
        while (first < stop && isspace((unsigned char)*first))
            first++;
        if (first < stop && (*first == '#' || *first == ';'))
            r->data = stop;
    }
    for (; r->data < stop && at < last; r->data++)
        *at++ = *r->data == ';' ? HIDDEN_SEMICOLON : *r->data;
    r->inside = r->data < stop;
    if (r->inside)
        *at++ = GLUE;
    else
        r->data = newline ? newline + 1 : r->end;
    *at++ = '\n';
    *at = 0;
    return to;
}

/* ---- the file ----------------------------------------------------------- */

/* The line of the file in the n-th piece that inih got. */
static int line_of_piece(struct reader *r, const char *data, int n)
{
    char piece[INI_MAX_LINE];
    r->data = data;
    r->line = 0;
    r->inside = false;
    while (n-- > 0 && next_line(piece, sizeof(piece), r))
        ;
    return r->line;
}

static char *load(struct reader *r, size_t *size)
{
    FILE *f = fopen(r->file, "re");
    char *data = f ? malloc(FILE_BYTES_MAX) : NULL;
    if (data)
        *size = fread(data, 1, FILE_BYTES_MAX, f);
    if (!f || !data || ferror(f))
        fail(r, 0, FLM_EIO, "cannot read this file: %s", strerror(errno));
    else if (*size == FILE_BYTES_MAX)
        fail(r, 0, FLM_ETOOBIG, "this is no description of an application: it has %d bytes or more",
             FILE_BYTES_MAX);
    if (f)
        fclose(f);
    return data;
}

/* Text has no control characters; inih and the marks above rely on it. */
static void check_text(struct reader *r, const char *data, size_t size)
{
    int line = 1;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\n')
            line++;
        else if ((c < ' ' && c != '\t' && c != '\r') || c == 127) {
            fail(r, line, FLM_EINVAL, "there is a control character (0x%02x): this is not a text", c);
            return;
        }
    }
}

static void check_complete(struct reader *r)
{
    if (!r->section)
        fail(r, 0, FLM_EINVAL, "there is no section [application] with keys in it");
    else if (!r->name)
        fail(r, 0, FLM_EINVAL, "the name is missing: add 'name = ...'");
    else if (!r->app.shim)
        fail(r, 0, FLM_EINVAL, "the shim is missing: add 'shim = so', exec, stdio, self or mpi");
    else if (r->command ? !r->command[0][0] : r->app.exec_mode == FLM_EXEC_STDIN)
        fail(r, 0, FLM_EINVAL, "the command is missing: add 'command = ...'");
    else if (r->app.exec_mode && r->app.shim != FLM_SHIM_EXEC && r->app.shim != FLM_SHIM_MPI)
        fail(r, 0, FLM_EINVAL, "exec_mode is for the shims exec and mpi only");
    else if (r->app.max_instances && r->app.min_instances > r->app.max_instances)
        fail(r, 0, FLM_EINVAL, "min_instances (%u) is larger than max_instances (%u)", r->app.min_instances,
             r->app.max_instances);
}

static void parse(struct reader *r, const char *data, size_t size)
{
    check_text(r, data, size);
    if (r->status)
        return;
    r->data = data;
    r->end = data + size;
    int bad = ini_parse_stream(next_line, r, on_line, r);
    if (bad < 0)
        fail(r, 0, FLM_ENOMEM, "no memory");
    else if (bad > 0 && !r->status)
        fail(r, line_of_piece(r, data, bad), FLM_EINVAL, "this is neither a [section] nor 'key = value'");
    if (!finish_key(r))
        check_complete(r);
}

struct flm_application *flm_read_application(const char *file, flm_error *error)
{
    struct flm_application *result = NULL;
    struct reader r = {.file = file, .error = error};
    size_t size = 0;
    char *data = load(&r, &size);
    if (!r.status) {
        bool mark = size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3); /* of UTF-8, at the beginning */
        parse(&r, data + (mark ? 3 : 0), size - (mark ? 3 : 0));
    }
    r.app.name = r.name;
    r.app.working_directory = r.working_directory;
    r.app.description = r.description;
    r.app.output_type = r.output_type;
    r.app.command = (const char *const *)r.command;
    r.app.environment = (const char *const *)r.environment;
    if (!r.status && !(result = flm__application_copy(&r.app, 1)))
        fail(&r, 0, FLM_ENOMEM, "no memory");
    free(data);
    free(r.value.data);
    free(r.name);
    free(r.working_directory);
    free(r.description);
    free(r.output_type);
    free_words(r.command);
    free_words(r.environment);
    return result;
}

/* ---- shims -------------------------------------------------------------- */

static const char *const shims[] = {[FLM_SHIM_SO] = "so",
                                    [FLM_SHIM_EXEC] = "exec",
                                    [FLM_SHIM_STDIO] = "stdio",
                                    [FLM_SHIM_SELF] = "self",
                                    [FLM_SHIM_MPI] = "mpi"};

const char *flm_shim_name(int shim)
{
    return shim >= FLM_SHIM_SO && shim <= FLM_SHIM_MPI ? shims[shim] : "unknown";
}

int flm_shim_parse(const char *name)
{
    for (int i = FLM_SHIM_SO; i <= FLM_SHIM_MPI; i++)
        if (name && !strcmp(name, shims[i]))
            return i;
    return FLM_EINVAL;
}
