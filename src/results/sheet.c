#define _GNU_SOURCE
#include "results/sheet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 64 << 10, /* rewritten as a whole when a row is added to it */
    FORMAT = 1,
};

static hid_t got(const struct sheet *s, hid_t id, const char *doing)
{
    if (id < 0)
        sheet_fail(s, doing);
    return id;
}

static void done(const struct sheet *s, herr_t rc, const char *doing)
{
    if (rc < 0)
        sheet_fail(s, doing);
}

/* ---- making it ------------------------------------------------------------------------------------ */

static void put_text(const struct sheet *s, hid_t file, const char *name, const char *text)
{
    hid_t type = got(s, H5Tcopy(H5T_C_S1), "make");
    done(s, H5Tset_size(type, strlen(text) + 1), "make");
    done(s, H5Tset_cset(type, H5T_CSET_UTF8), "make");
    hid_t space = got(s, H5Screate(H5S_SCALAR), "make");
    hid_t a = got(s, H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT), "make");
    done(s, H5Awrite(a, type, text), "make");
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

static void put_number(const struct sheet *s, hid_t file, const char *name, uint64_t value)
{
    hid_t space = got(s, H5Screate(H5S_SCALAR), "make");
    hid_t a = got(s, H5Acreate2(file, name, H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT), "make");
    done(s, H5Awrite(a, H5T_NATIVE_UINT64, &value), "make");
    H5Aclose(a);
    H5Sclose(space);
}

static void put_dataset(const struct sheet *s, hid_t file, const char *name, hid_t type)
{
    size_t size = H5Tget_size(type);
    hsize_t none = 0, most = H5S_UNLIMITED, chunk = size < CHUNK_BYTES ? CHUNK_BYTES / size : 1;
    hid_t space = got(s, H5Screate_simple(1, &none, &most), "make");
    hid_t how = got(s, H5Pcreate(H5P_DATASET_CREATE), "make");
    done(s, H5Pset_chunk(how, 1, &chunk), "make");
    H5Dclose(got(s, H5Dcreate2(file, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT), "make"));
    H5Pclose(how);
    H5Sclose(space);
}

static hid_t name_type(const struct sheet *s)
{
    hid_t type = got(s, H5Tcopy(H5T_C_S1), "make");
    done(s, H5Tset_size(type, SHEET_NODE_BYTES), "make");
    return type;
}

static hid_t access_list(const struct sheet *s)
{
    hid_t how = got(s, H5Pcreate(H5P_FILE_ACCESS), "open");
    done(s, H5Pset_libver_bounds(how, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "open");
    return how;
}

void sheet_create(struct sheet *s)
{
    char *path;
    if (asprintf(&path, "%s.new", s->path) < 0)
        sheet_fail(s, "make");
    hid_t how = access_list(s), file = got(s, H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, how), "make");
    put_text(s, file, "session", s->session);
    put_text(s, file, "application", s->application);
    put_text(s, file, "output_type", s->output_type);
    put_text(s, file, "flame", FLM_VERSION);
    put_number(s, file, "format", FORMAT);
    put_number(s, file, "journal", s->journal);
    put_number(s, file, "serial", s->serial);
    s->row_type = s->new_type;
    put_dataset(s, file, "results", s->row_type);
    put_dataset(s, file, "bytes", H5T_STD_U8LE);
    hid_t names = name_type(s);
    put_dataset(s, file, "nodes", names);
    H5Tclose(names);
    H5Pclose(how);
    done(s, H5Fclose(file), "make");
    if (rename(path, s->path) < 0)
        sheet_fail(s, "make");
    free(path);
    s->n_rows = s->n_bytes = s->n_nodes = 0;
}

/* ---- opening it ------------------------------------------------------------------------------------- */

static void close_all(struct sheet *s)
{
    if (s->rows > 0)
        H5Dclose(s->rows);
    if (s->bytes > 0)
        H5Dclose(s->bytes);
    if (s->names > 0)
        H5Dclose(s->names);
    s->rows = s->bytes = s->names = 0;
}

static bool extent(hid_t dataset, uint64_t *n)
{
    hsize_t size = 0;
    hid_t space = dataset > 0 ? H5Dget_space(dataset) : -1;
    bool good = space >= 0 && H5Sget_simple_extent_ndims(space) == 1 &&
                H5Sget_simple_extent_dims(space, &size, NULL) == 1;
    if (space >= 0)
        H5Sclose(space);
    *n = size;
    return good;
}

static bool open_datasets(struct sheet *s)
{
    s->rows = H5Dopen2(s->file, "results", H5P_DEFAULT);
    s->bytes = H5Dopen2(s->file, "bytes", H5P_DEFAULT);
    s->names = H5Dopen2(s->file, "nodes", H5P_DEFAULT);
    return extent(s->rows, &s->n_rows) && extent(s->bytes, &s->n_bytes) && s->names > 0;
}

void sheet_open(struct sheet *s)
{
    uint64_t rows = s->n_rows, bytes = s->n_bytes;
    if (s->open)
        return;
    hid_t how = access_list(s);
    s->file = got(s, H5Fopen(s->path, H5F_ACC_RDWR | H5F_ACC_SWMR_WRITE, how), "open");
    H5Pclose(how);
    if (!open_datasets(s))
        sheet_fail(s, "open");
    if (s->n_rows != rows || s->n_bytes != bytes) {
        errno = ESTALE;
        sheet_fail(s, "go on with what somebody else has changed in");
    }
    s->open = true;
}

void sheet_close(struct sheet *s)
{
    if (!s->open)
        return;
    close_all(s);
    done(s, H5Fclose(s->file), "close");
    s->open = false;
}

void sheet_sync(const struct sheet *s)
{
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        sheet_fail(s, "sync");
    close(fd);
}

/* ---- appending ------------------------------------------------------------------------------------------
 */

static void append(const struct sheet *s, hid_t dataset, hid_t type, uint64_t at, uint64_t n,
                   const void *data)
{
    hsize_t end = at + n, start = at, count = n;
    done(s, H5Dset_extent(dataset, &end), "write");
    hid_t here = got(s, H5Dget_space(dataset), "write");
    done(s, H5Sselect_hyperslab(here, H5S_SELECT_SET, &start, NULL, &count, NULL), "write");
    hid_t memory = got(s, H5Screate_simple(1, &count, NULL), "write");
    done(s, H5Dwrite(dataset, type, memory, here, H5P_DEFAULT, data), "write");
    H5Sclose(memory);
    H5Sclose(here);
}

void sheet_append_bytes(struct sheet *s, const void *data, uint64_t size)
{
    append(s, s->bytes, H5T_STD_U8LE, s->n_bytes, size, data);
    s->n_bytes += size;
}

void sheet_append_rows(struct sheet *s, const void *rows, uint64_t n)
{
    done(s, H5Dflush(s->bytes), "write"); /* a row is never there before what it refers to */
    append(s, s->rows, s->row_type, s->n_rows, n, rows);
    s->n_rows += n;
    done(s, H5Dflush(s->rows), "write");
}

unsigned sheet_node(struct sheet *s, const char *name, size_t size)
{
    char text[SHEET_NODE_BYTES] = "";
    memcpy(text, name, size < sizeof(text) ? size : sizeof(text) - 1);
    for (unsigned i = 0; i < s->n_nodes; i++)
        if (!memcmp(s->nodes[i], text, sizeof(text)))
            return i;
    if (s->n_nodes == SHEET_NODES_MAX)
        return SHEET_NODES_MAX;
    char(*more)[SHEET_NODE_BYTES] = realloc(s->nodes, (s->n_nodes + 1) * sizeof(*more));
    if (!more)
        sheet_fail(s, "find memory for");
    s->nodes = more;
    memcpy(more[s->n_nodes], text, sizeof(text));
    sheet_open(s);
    hid_t type = name_type(s);
    append(s, s->names, type, s->n_nodes, 1, text);
    H5Tclose(type);
    done(s, H5Dflush(s->names), "write");
    return s->n_nodes++;
}

/* ---- after a crash ----------------------------------------------------------------------------- */

/* Whether the file says that somebody writes it: byte 11 of the superblock. */
static bool is_marked(const struct sheet *s)
{
    static const unsigned char signature[8] = "\211HDF\r\n\032\n";
    unsigned char head[12];
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    bool marked = fd >= 0 && pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
                  !memcmp(head, signature, sizeof(signature)) && head[8] >= 3 && head[11];
    if (fd >= 0)
        close(fd);
    return marked;
}

static bool number_is(hid_t file, const char *name, uint64_t wanted)
{
    uint64_t value = 0;
    hid_t a = H5Aopen(file, name, H5P_DEFAULT);
    bool good = a >= 0 && H5Aread(a, H5T_NATIVE_UINT64, &value) >= 0 && value == wanted;
    if (a >= 0)
        H5Aclose(a);
    return good;
}

static bool read_part(hid_t dataset, hid_t type, uint64_t at, uint64_t n, void *to)
{
    hsize_t start = at, count = n;
    hid_t here = H5Dget_space(dataset), memory = H5Screate_simple(1, &count, NULL);
    bool good = here >= 0 && memory >= 0 &&
                H5Sselect_hyperslab(here, H5S_SELECT_SET, &start, NULL, &count, NULL) >= 0 &&
                H5Dread(dataset, type, memory, here, H5P_DEFAULT, to) >= 0;
    H5Sclose(here);
    H5Sclose(memory);
    return good;
}

/* Every row: a state, a task, and outputs that follow each other. */
static bool rows_make_sense(const struct sheet *s, uint64_t rows, uint64_t bytes)
{
    enum { AT_ONCE = 4096 };
    char *part = malloc(AT_ONCE * s->row_bytes);
    uint64_t start = 0;
    bool good = part != NULL;
    for (uint64_t at = 0; good && at < rows;) {
        uint64_t n = rows - at < AT_ONCE ? rows - at : AT_ONCE;
        good = read_part(s->rows, s->row_type, at, n, part);
        for (uint64_t i = 0; good && i < n; i++) {
            struct sheet_row row;
            memcpy(&row, part + i * s->row_bytes, sizeof(row));
            good = row.task && row.state >= 2 && row.state <= 4 && row.bytes_start == start;
            start += row.bytes_size;
        }
        at += n;
    }
    free(part);
    return good && start == bytes;
}

static bool read_nodes(struct sheet *s)
{
    uint64_t n = 0;
    if (!extent(s->names, &n) || n > SHEET_NODES_MAX)
        return false;
    free(s->nodes);
    s->nodes = calloc(n + 1, sizeof(*s->nodes));
    s->n_nodes = (unsigned)n;
    hid_t type = name_type(s);
    bool good = s->nodes && (n == 0 || read_part(s->names, type, 0, n, s->nodes));
    H5Tclose(type);
    return good;
}

static const char *check(struct sheet *s, uint64_t rows, uint64_t bytes)
{
    if (!open_datasets(s))
        return "a part of it is missing or damaged";
    if (!number_is(s->file, "format", FORMAT) || !number_is(s->file, "journal", s->journal) ||
        !number_is(s->file, "serial", s->serial))
        return "it belongs to another session";
    hid_t type = H5Dget_type(s->rows);
    if (type < 0 || !sheet_take_type(s, type))
        return "its columns are others";
    H5Tclose(type);
    if (s->n_rows < rows || s->n_bytes < bytes)
        return "rows are missing that were there";
    if (!read_nodes(s) || !rows_make_sense(s, rows, bytes))
        return "its rows make no sense";
    return NULL;
}

static void cut(struct sheet *s, uint64_t rows, uint64_t bytes)
{
    hsize_t n_rows = rows, n_bytes = bytes;
    if (s->n_rows != rows)
        done(s, H5Dset_extent(s->rows, &n_rows), "repair");
    if (s->n_bytes != bytes)
        done(s, H5Dset_extent(s->bytes, &n_bytes), "repair");
    s->n_rows = rows;
    s->n_bytes = bytes;
}

const char *sheet_repair(struct sheet *s, uint64_t rows, uint64_t bytes)
{
    /* What was given out behind the end that the file tells: a chunk of each dataset, and their index. */
    enum { SLACK = 16 * CHUNK_BYTES };
    hbool_t yes = true;
    bool marked = is_marked(s);
    hid_t how = access_list(s);
    if (marked)
        done(s, H5Pset(how, "clear_status_flags", &yes), "repair");
    s->file = H5Fopen(s->path, H5F_ACC_RDWR, how);
    H5Pclose(how);
    if (s->file < 0)
        return "it cannot be opened";
    if (marked)
        done(s, H5Fincrement_filesize(s->file, SLACK), "repair");
    const char *wrong = check(s, rows, bytes);
    if (!wrong)
        cut(s, rows, bytes);
    close_all(s);
    herr_t rc = H5Fclose(s->file);
    s->file = 0;
    if (!wrong && rc < 0)
        sheet_fail(s, "repair");
    return wrong;
}

uint64_t sheet_shorten(struct sheet *s, uint64_t rows)
{
    struct sheet_row row = {.bytes_start = 0};
    char *first = malloc(s->row_bytes);
    hid_t how = access_list(s);
    s->file = got(s, H5Fopen(s->path, H5F_ACC_RDWR, how), "open");
    H5Pclose(how);
    if (!first || !open_datasets(s) || (rows && !read_part(s->rows, s->row_type, rows, 1, first)))
        sheet_fail(s, "repair");
    if (rows)
        memcpy(&row, first, sizeof(row));
    free(first);
    cut(s, rows, row.bytes_start);
    close_all(s);
    done(s, H5Fclose(s->file), "repair");
    s->file = 0;
    return row.bytes_start;
}
