/* parts/jobs.h - blocks that are jobs of their own, for any batch system: submitted by a program, looked at
 * all together, cancelled when nobody wants them any more. What a system has of its own is in struct
 * job_system. */
#ifndef PLUGIN_PARTS_JOBS_H
#define PLUGIN_PARTS_JOBS_H

#include "words.h"

#include <stdint.h>

enum { JOB_ID = 288 }; /* PBS: a number, and its server's name of up to 255 characters */

struct job;

struct job_state {
    enum { JOB_WAITS, JOB_RUNS, JOB_OVER } kind;
    int64_t end_time_s; /* JOB_RUNS; -1 none */
    bool unknown;       /* JOB_OVER: the system does not know it */
    char text[400];     /* for people: why it waits, how it ended */
    const char *nodes;  /* JOB_RUNS: where, as the system writes it; until the next look */
};

/* state: what jobs_init was given. */
struct job_system {
    const char *submit, *cancel_all; /* programs; the latter takes ids */
    const char *name;                /* "Slurm", for messages */
    unsigned calm_after_s; /* without any change: while jobs wait it is then asked no more often than
                              while they run */
    /* The command. file NULL: only to be shown; else it may name a file that the submitter reads, which is
     * removed and freed when it has. */
    int (*build)(void *state, const struct flm_block_request *request, struct words *w, char **file,
                 flm_error *error);
    /* The changes of its environment, as for spawn; until the next call. */
    const char *const *(*environment)(void *state);
    /* From what the submitter prints. false: nothing like an id. */
    bool (*read_id)(const char *out, char id[JOB_ID]);
    /* Asks about all jobs; calls jobs_looked, in this call or later. */
    void (*look)(void *state);
    /* In the answer. */
    void (*find)(void *state, const char *id, struct job_state *out);
    /* false: it does not answer, try again. One that answers later calls jobs_not_cancelled. */
    bool (*cancel)(void *state, const char *id);
    /* Of the i-th of n that run: 1: this node of its is taken out of service, 0: none is, -1: not looked at
     * now. */
    int (*drained)(void *state, const struct job_state *job, unsigned i, unsigned n, char *node,
                   size_t size);
    /* The user gives jobs a comment. */
    bool (*comment_is_given)(const char *const *site_options);
    /* A job is gone, perhaps the last one. */
    void (*settle)(void *state);
};

struct jobs {
    const struct flm_backend_host *host;
    const struct job_system *system;
    void *state;
    struct job *list;
    int look_timer;   /* 0: none */
    unsigned look_ms; /* between looks when nothing changes */
    bool looking, ending;
    int64_t changed_s;
};

void jobs_init(struct jobs *all, const struct flm_backend_host *host, const struct job_system *system,
               void *state);
int jobs_start(struct jobs *all, const struct flm_block_request *request, flm_error *error);
bool jobs_release(struct jobs *all, uint64_t block); /* false: there is no such block */
/* At the end: the process does not live to see them end. */
void jobs_release_all(struct jobs *all);
int jobs_describe(struct jobs *all, const struct flm_block_request *request, char *text, size_t size,
                  flm_error *error);

/* The answer has come; without one nothing is known, and nothing changes. */
void jobs_looked(struct jobs *all, bool answered);
void jobs_not_cancelled(struct jobs *all, const char *id);

/* The i-th id that is to be asked about; NULL: no more. */
const char *jobs_id(const struct jobs *all, unsigned i);
/* The job of a block whose comment is ours; NULL: none. */
const char *jobs_commented(const struct jobs *all, uint64_t block);

#endif
