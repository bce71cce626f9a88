/* results/sheet.h - a file of results, HDF5. doc/results.md tells its content to those who read it.
 *
 * The file is open only while rows are appended, so that programs that know nothing of single-writer
 * multiple-reader (SWMR) can read it in between; it is opened for SWMR writing, so that those that do can
 * read it always, and so that a writer that is killed leaves metadata behind that make sense. Who is killed
 * leaves the file marked as being written, too, and its end of allocation told wrong: sheet_repair.
 *
 * Whatever HDF5 cannot do ends the process without another call of HDF5 (it would try to write again what
 * it holds): the next one repairs. */
#ifndef RESULTS_SHEET_H
#define RESULTS_SHEET_H

#include "base/output_type.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

struct sheet_row {
    uint64_t task;
    int64_t started_ns, finished_ns; /* since 1970; 0: not known */
    double duration;                 /* seconds; NaN: not known */
    uint64_t bytes_start, bytes_size;
    int32_t code;
    uint32_t attempts;
    int32_t executor;
    uint16_t node;
    uint8_t state, reason;
    /* A typed output follows. */
};

struct sheet {
    const char *path, *session, *application, *output_type;
    uint64_t journal;
    uint32_t serial;
    struct flm__output_type type;
    size_t row_bytes;
    uint64_t n_rows, n_bytes;
    unsigned n_nodes;
    char (*nodes)[128];
    bool open;
    hid_t file, rows, bytes, names;
    hid_t row_type, new_type; /* of this file, which may be older; of those that are made */
};

enum { SHEET_NODES_MAX = 65535, SHEET_NODE_BYTES = 128 };

/* Before all others: the types, out of the descriptions above. */
void sheet_prepare(struct sheet *s);

/* Whether a file whose rows are of this type can be gone on with: all that may differ are reasons that came
 * later. They are written as the numbers that they are, for which its type has no names. */
bool sheet_take_type(struct sheet *s, hid_t file);

/* Makes the file anew, under another name first. */
void sheet_create(struct sheet *s);

/* Takes the file as a crash may have left it: every row of the first `rows`, and of the first `bytes` of
 * outputs, must be readable and make sense; what is behind them is cut off. NULL, or what is wrong. */
const char *sheet_repair(struct sheet *s, uint64_t rows, uint64_t bytes);

/* Leaves only the first rows, and tells how many bytes of outputs are left. */
uint64_t sheet_shorten(struct sheet *s, uint64_t rows);

void sheet_open(struct sheet *s);
/* Both after sheet_open. */
void sheet_append_bytes(struct sheet *s, const void *data, uint64_t size);
void sheet_append_rows(struct sheet *s, const void *rows, uint64_t n);
/* The number of a node's name, from 0; SHEET_NODES_MAX: there are too many. */
unsigned sheet_node(struct sheet *s, const char *name, size_t size);
void sheet_close(struct sheet *s);
/* All that was written is on the disk. */
void sheet_sync(const struct sheet *s);

/* Tells flmd why it cannot go on, and ends the process. */
void sheet_fail(const struct sheet *s, const char *doing) __attribute__((noreturn));

#endif
