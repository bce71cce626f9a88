/* tools/flmexec_state.h - what a run that outlives its flmexec leaves in the state directory.
 *
 * The session has the jobs that were given and the outputs that were not taken. The file
 * DIR/flmexec-SESSION.jobs says what only flmexec knows: which task of the session is which job, whether
 * its output was written, and what the command lines were, so that other ones are not mistaken for them.
 * It is written by single small writes, which survive the end of this process and of the session manager.
 */
#ifndef FLM_TOOLS_FLMEXEC_STATE_H
#define FLM_TOOLS_FLMEXEC_STATE_H

#include "flmexec_job.h"

enum flmexec_fate {
    FATE_OPEN = 0, /* its output was not written */
    FATE_SUCCEEDED,
    FATE_FAILED,
};

/* One per job, in the order of their numbers; all zero: it was not given. */
struct flmexec_record {
    uint64_t hash; /* of its command line */
    uint64_t task;
    uint32_t tries, fate;
};

struct flmexec_state {
    int fd; /* -1: this run does not outlive us */
    char *path;
    uint64_t jobs;      /* with a record when it was opened */
    uint64_t submitted; /* tasks with a larger id have not arrived */
    struct flmexec_record *read;
    uint64_t read_from; /* number of the first of those read; 0: none are */
    unsigned n_read;
};

/* The state directory of this run, NULL: none. Begins the file, or with o->resume goes on with it; gives up
 * when it is another run's or cannot be used. */
void flmexec_state_open(struct flmexec_state *s, const struct flmexec_options *o);
/* The session has these many tasks; 0: it is a new one, and what was with an earlier one is lost. */
void flmexec_state_attach(struct flmexec_state *s, uint64_t submitted);

/* What is known of a job with a record; gives up when its command line was another one. */
struct flmexec_record flmexec_state_of(struct flmexec_state *s, const struct flmexec_job *job, bool shell);

/* The job is about to be given as this task. 0 or an errno value, as with the next one. */
int flmexec_state_give(struct flmexec_state *s, const struct flmexec_job *job, uint64_t task);
/* Its output is written. */
int flmexec_state_reported(struct flmexec_state *s, const struct flmexec_job *job);

void flmexec_state_close(struct flmexec_state *s);

#endif
