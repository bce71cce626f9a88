/* tools/flmexec_job.h - one job: its command, its outcome, and the end of it.
 *
 * A job is made from its arguments, given to Flame (again when it fails and has
 * tries left), and has ended when its result is taken. It is reported - output,
 * message, joblog - when its turn comes, and is gone then.
 */
#ifndef FLM_TOOLS_FLMEXEC_JOB_H
#define FLM_TOOLS_FLMEXEC_JOB_H

#include "flmexec_joblog.h"
#include "flmexec_options.h"
#include "flmexec_output.h"

#include <flm/client.h>

#include <uthash.h>

struct flmexec_outcome {
    bool ok;
    bool not_run; /* Flame did not run it, through no fault of its own: not for the joblog */
    double start_s, run_s;
    uint64_t received;
    int exit_value, signal; /* as in GNU parallel's joblog */
    char host[64];
    char message[420]; /* why it failed; "" when its status says all */
};

struct flmexec_job {
    uint64_t seq;   /* from 1, by its arguments */
    uint64_t order; /* from 0, by submission */
    int64_t task;   /* key of the table of those that Flame has */
    char *input;    /* arguments for execve */
    size_t input_size;
    char *tag, *folder; /* NULL: not needed */
    unsigned tries;
    bool ended;
    struct flmexec_outcome outcome; /* when it has ended */
    struct flmexec_held held;
    UT_hash_handle hh;
    struct flmexec_job *next; /* of those that wait to be given again */
};

struct flmexec_job *flmexec_job_make(const struct flmexec_options *o, uint64_t seq,
                                     const struct flmexec_arguments *a);
void flmexec_job_free(struct flmexec_job *job);

/* The parts of a result: outcome (but the host) and outputs, which lie in the
 * result. */
struct flmexec_parts {
    const char *data; /* stdout, then stderr */
    size_t out, err;
};
void flmexec_job_end(struct flmexec_job *job, const struct flm_result *r, struct flmexec_parts *parts);

/* One that could not be given to Flame at all. */
void flmexec_job_refuse(struct flmexec_job *job, const char *why);

/* Writes its message (but when quiet) and its line of the joblog; after its
 * output. 0 or an errno value of the joblog. */
int flmexec_job_report(const struct flmexec_job *job, struct flmexec_joblog *log, bool shell, bool quiet);

/* Adds its command line. */
void flmexec_job_command(const struct flmexec_job *job, bool shell, struct flmexec_text *out);

#endif
