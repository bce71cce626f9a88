/* tools/flmexec_run.h - a run: jobs go to Flame, and come back in any order.
 *
 * flmexec_run.c reads arguments, gives jobs to Flame and waits;
 * flmexec_finish.c takes what has ended to its end: tried again, held until its
 * turn, written, logged.
 *
 * With a state directory the session and flmexec_state.h outlive this process: nothing is done with before
 * its output is written, and the next flmexec adopts what this one had given (flmexec_adopt.c).
 *
 * Bounds: at most WINDOW_MAX jobs are with Flame and ORDER_MAX live here, whose
 * commands take at most COMMANDS_MAX bytes; outputs see flmexec_output.h. A
 * single slow job so holds the others up only after a million of them.
 */
#ifndef FLM_TOOLS_FLMEXEC_RUN_H
#define FLM_TOOLS_FLMEXEC_RUN_H

#include "flmexec_engine.h"
#include "flmexec_job.h"
#include "flmexec_options.h"
#include "flmexec_state.h"

enum {
    WINDOW_MAX = 16384,
    ORDER_MAX = 1 << 20,
    COMMANDS_MAX = 256 * 1024 * 1024,
    TAKE_MAX = 256,
    MESSAGES_MAX = 100,
    KEPT_MAX = 256 * 1024 * 1024, /* outputs that the session manager keeps for us */
};

enum flmexec_stop {
    STOP_NOT = 0,
    STOP_SOON,   /* --halt soon: give no more, wait for the rest */
    STOP_NOW,    /* --halt now */
    STOP_SIGNAL, /* SIGINT, SIGTERM, SIGHUP */
    STOP_CLOSED, /* nobody reads our output */
    STOP_TROUBLE,
};

struct flmexec_run {
    struct flmexec_options *o;
    struct flmexec_engine engine;
    struct flmexec_output output;
    struct flmexec_joblog log;
    struct flmexec_state state;
    struct progress progress;

    struct flmexec_job *given;              /* with Flame, by task */
    struct flmexec_job *again, **again_end; /* to be given before new ones */
    struct flmexec_job **ring;              /* by order: jobs from released to made */
    uint64_t ring_size, made, released;     /* ring_size: a power of two */
    uint64_t seq, commands;                 /* commands: bytes */
    bool inputs_ended, inputs_wait, no_room;
    bool other_jobs; /* than those in the log: told */

    enum flmexec_stop stop;
    char why[600]; /* of a stop, for people */
    uint64_t held; /* jobs that have ended and wait for their turn */
    uint64_t kept; /* bytes of outputs that were taken since the last acknowledgement; of a run that
                      outlives us */
    uint64_t skipped, succeeded, failed, failed_before;
    unsigned messages;               /* about single jobs; when many fail alike, the first ones will do */
    struct flmexec_job first_failed; /* seq and outcome alone */
};

/* Runs all jobs; returns the exit status. */
int flmexec_run(struct flmexec_options *o);

/* Whether it outlives us. */
static inline bool flmexec_is_durable(const struct flmexec_run *run)
{
    return run->state.fd >= 0;
}

/* Puts a job at the end of those that are to be given before new ones. */
static inline void flmexec_give_again(struct flmexec_run *run, struct flmexec_job *job)
{
    job->next = NULL;
    *run->again_end = job;
    run->again_end = &job->next;
}

/* --- flmexec_adopt.c --- */

/* Takes up the jobs of an earlier flmexec: those whose outputs were written are left out, those that the
 * session has are waited for, the others are given again. stop: a descriptor that is readable when there
 * is a reason not to wait for arguments any more. */
void flmexec_adopt(struct flmexec_run *run, int stop);
/* Jobs whose results cannot come any more, since somebody else has taken them, are given again. */
void flmexec_reclaim(struct flmexec_run *run);

/* --- flmexec_finish.c --- */

/* Puts a new job into the order. */
void flmexec_order_add(struct flmexec_run *run, struct flmexec_job *job);
/* The result of a job: it is tried again, or has ended. */
void flmexec_take(struct flmexec_run *run, const struct flm_result *r);
/* A job that Flame does not take. */
void flmexec_refused(struct flmexec_run *run, struct flmexec_job *job, int code);
/* At the end: what has ended is reported, with gaps; the rest is forgotten. */
void flmexec_finish(struct flmexec_run *run);
/* Stops; the first reason stays, but a harder way to stop overrules a softer one. */
void flmexec_stop(struct flmexec_run *run, enum flmexec_stop how, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
