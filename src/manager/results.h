/* manager/results.h - files of results: which program writes them, how far it is, what it may cost.
 *
 * The journal is the truth. For each session with a file a process of its own (flm-results, src/results/)
 * follows the journal and writes what it finds there; flmd only keeps the segments that it has not read
 * yet, starts it again when it ends before its time, and tells people what it says. Nothing here is done
 * per task. Between the two, lines over a socket:
 *
 *   at POSITION ROWS     what stands before POSITION in the journal is in the file, and on the disk
 *   rows ROWS            so many are in the file
 *   again                the file is written anew, from all that the journal has
 *   note TEXT            something that people should know
 *   trouble TEXT         it cannot go on, and why; without TEXT: it can again
 *   done ROWS            the session is closed and all is in the file: it ends
 *   hurry                (to it) somebody waits
 *
 * The end of the socket tells it to write what the journal has, and to end. */
#ifndef MANAGER_RESULTS_H
#define MANAGER_RESULTS_H

#include "manager/session.h"

struct results_writer;

struct results {
    struct session *session;
    struct results *next; /* of those that are not done */
    char *file;
    bool done;
    bool over;                     /* more of the journal is kept for it than --results-lag allows */
    struct results_writer *writer; /* NULL: none runs */
    uint64_t hold, rows;
    uint64_t counted;      /* results of the session when its writer was started */
    unsigned failures;     /* writers that came no further, in a row */
    int64_t next_start_ns; /* not before */
    char trouble[EVENT_TEXT], refusal[EVENT_TEXT + 160];
};

/* The file must be new: it is made here, empty. Nothing happens for "". */
int results_make_file(const char *file, flm_error *error);

/* The session's, as it is being created or restored; nothing happens for "". */
int results_new(struct session *s, const char *file, flm_error *error);
/* Nothing happens where there is none. Ends the writer. */
void results_free(struct session *s);

/* The first writer of a new session; and of one of the journal, where it has one that is not done. */
void results_start(struct session *s);
void results_resume(struct session *s);

/* The session is Closed. True: nothing has to be waited for; else its closers are answered later. */
bool results_finish(struct session *s);

/* Once per heartbeat: starts again what has ended. */
void results_look(struct manager *m);

/* Position before which no writer needs anything. */
uint64_t results_hold(const struct durable *d);

/* Looks who is too far behind; now and then. */
void results_consider(struct durable *d);

/* Why no task is taken; NULL: there is no reason. */
static inline const char *results_refuse(const struct results *r)
{
    return r->over && r->trouble[0] ? r->refusal : NULL;
}

static inline bool results_must_wait(const struct results *r)
{
    return __builtin_expect(r && r->over, 0);
}

void results_view(const struct results *r, Flm__SessionView *v);

/* The journal is complete: lets the writers write all of it, as long as they get on. */
void results_stop(struct durable *d);

/* ---- results_writer.c: the process ---- */

struct results_writer {
    uv_poll_t poll;
    struct results *results; /* NULL: nobody listens any more */
    int pid, fd;
    bool gone; /* its end of the socket is closed: to be reaped */
    unsigned n;
    char line[600];
};

int results_writer_start(struct results *r, flm_error *error);
/* Reads what it says; false: it is gone. */
bool results_writer_read(struct results_writer *w);
/* True: it has ended. */
bool results_writer_reap(struct results_writer *w);
void results_writer_free(struct results_writer *w);

/* A line that it has said; and that it is gone. */
void results_heard(struct results *r, char *line);
void results_lost(struct results *r);

#endif
