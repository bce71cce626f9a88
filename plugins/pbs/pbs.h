/* The backend `pbs`: what its parts share.
 *
 * pbs.c is the table and the options; agents.c a block in the job that we are in: an agent on each node,
 * started through PBS; jobs.c a block that is a job of its own, request.c how it is asked for; own_job.c
 * what we know of the job that we are in. command.c runs the programs of PBS, which is all that is needed
 * of it; reports.c reads what they say.
 */
#ifndef PLUGIN_PBS_H
#define PLUGIN_PBS_H

#include "../parts/jobs.h"
#include "nodes.h"
#include "reports.h"

#include <stdint.h>

enum { PBS_PATH = 4096, PBS_LIMIT_MS = 10000 };

struct block;
struct command;
struct deletion;

struct pbs {
    const struct flm_backend_host *host;
    char job[JOB_ID]; /* the id of the job that we are in; "" none */
    struct pbs_nodes nodes;
    bool ranks_are_chosen, threads_are_chosen; /* it was asked for with mpiprocs, with ompthreads */
    unsigned executors;                        /* in all; 0: as the job was asked for */
    char grace[16];                            /* seconds for agents to finish tasks, as text */
    char *output;                              /* file for what a job of ours prints; NULL: nowhere */
    char *mpirun;                              /* NULL: mpirun */
    char *world;                               /* starts MPI ranks, see world_command in <flm/backend.h> */
    char *world_words;                         /* of the last answer */
    char *folder;                              /* see environment.h */
    struct block *blocks;
    int64_t end_time_s; /* -1: none, or not known */
    int ask_timer;      /* 0: none */
    unsigned ask_s;
    struct command *asking; /* NULL: none */
    struct job_reports own; /* the last answer about our job */
    struct jobs jobs;
    struct job_system system;
    struct job_reports reports; /* of these jobs */
    struct command *looking;    /* NULL: none */
    struct deletion *deletions;
    char *offline; /* what pbsnodes last said of their nodes */
    unsigned looks, usual_cpus;
    bool no_history;
    char dsh[PBS_PATH], qstat[PBS_PATH], qsub[PBS_PATH], qdel[PBS_PATH], pbsnodes[PBS_PATH];
    bool ending;
};

/* Frees it if it has ended and nothing of it is left. */
void pbs_settle(struct pbs *p);

/* agents.c */
int agents_start(struct pbs *p, const struct flm_block_request *request, flm_error *error);
bool agents_release(struct pbs *p, uint64_t block); /* false: there is no such block */
void agents_release_all(struct pbs *p);
/* Tells all blocks when the job ends. */
void agents_tell_time(const struct pbs *p);
int agents_describe(struct pbs *p, const struct flm_block_request *request, char *text, size_t size,
                    flm_error *error);

/* jobs.c */
void pbs_jobs_init(struct pbs *p);
void pbs_jobs_end(struct pbs *p);
void pbs_jobs_free(struct pbs *p);

/* request.c: as build in struct job_system. */
int request_build(void *state, const struct flm_block_request *request, struct words *w, char **file,
                  flm_error *error);

/* own_job.c: which job, its nodes, and until when. */
int own_job_read(struct pbs *p, flm_error *error);
void own_job_forget(struct pbs *p);

#endif
