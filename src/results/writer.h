/* results/writer.h - from records of the journal to rows of the file. */
#ifndef RESULTS_WRITER_H
#define RESULTS_WRITER_H

#include "results/follow.h"
#include "results/progress.h"
#include "results/sheet.h"

struct writer {
    struct sheet sheet;
    struct follow follow;
    struct progress progress; /* as it is written next */
    struct progress_file file;
    uint32_t serial;
    uint64_t counted;     /* results of the session when we began */
    uint64_t *seen;       /* the file is written anew: bits of the results up to counted; else NULL */
    uint64_t saved, told; /* positions of the progress that was written, synced and not */
    bool closed;          /* all is there */
    char *rows, *bytes;   /* gathered */
    uint64_t n_rows, room_rows, n_bytes;
    uint16_t places[PROGRESS_EXECUTORS_MAX];
};

enum { WRITER_BYTES = 1 << 20 }; /* gathered */

/* Finds out where to go on: the file as it is, or a new one. */
void writer_begin(struct writer *w, const char *state_dir);

/* Takes what the journal has, about WRITER_BYTES at most. True: there is more. */
bool writer_take(struct writer *w);

/* Everything that was taken is in the file, which is closed; sync: and on the disk, and flmd knows it. */
void writer_finish(struct writer *w, bool sync);

/* main.c: a line to flmd. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Not before there is room on the disk of the file for so many bytes. */
void wait_for_space(const struct sheet *s, uint64_t bytes);

#endif
