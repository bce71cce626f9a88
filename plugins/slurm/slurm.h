/* The backend `slurm`: what its parts share.
 *
 * slurm.c is the table and the options; step.c a block in the job that we are in: one step of node agents;
 * jobs.c a block that is a job of its own; job.c and drain.c ask slurmctld.
 */
#ifndef PLUGIN_SLURM_H
#define PLUGIN_SLURM_H

#include "../parts/jobs.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { SLURM_SITE_OPTIONS = 32 };

struct step;
struct job_list;

struct slurm {
    const struct flm_backend_host *host;
    char job[32]; /* the id of the job that we are in, as text; "" none */
    uint32_t job_id;
    unsigned job_nodes;
    unsigned executors;                         /* in all; 0: as the job was asked for */
    char *srun_options[SLURM_SITE_OPTIONS + 1]; /* NULL-terminated, owned */
    unsigned n_srun_options;
    char grace[16]; /* seconds for agents to finish tasks, as text */
    char *world;    /* starts MPI ranks, see world_command in <flm/backend.h> */
    char *world_words;
    char *output; /* file for what a job of ours prints, as sbatch names it; NULL: nowhere */
    struct step *steps;
    struct jobs jobs;
    struct job_list *answer; /* while we look at it */
    unsigned looks;
    int64_t end_time_s; /* -1: none, or not known */
    int ask_timer;      /* 0: none */
    unsigned ask_s;     /* seconds */
    bool binds;         /* Slurm would bind tasks to cores */
    bool ending;
    bool own_comment; /* the job that we are in has one of its user's */
    bool no_comments; /* Slurm does not take them */
};

/* Frees it if it has ended and nothing of it is left. */
void slurm_settle(struct slurm *s);

/* step.c */
int step_start(struct slurm *s, const struct flm_block_request *request, flm_error *error);
bool step_release(struct slurm *s, uint64_t block); /* false: there is no such block */
void step_release_all(struct slurm *s);
/* Tells all blocks when the job ends. */
void step_tell_time(const struct slurm *s);
int step_describe(const struct slurm *s, const struct flm_block_request *request, char *text, size_t size,
                  flm_error *error);

/* What each step of agents has: options of srun. NULL-terminated. */
extern const char *const step_fixed[];

/* jobs.c */
extern const struct job_system slurm_jobs;

/* The job of a block whose comment is ours; 0: none. */
uint32_t step_commented(const struct slurm *s, uint64_t block);

/* comment.c */
bool comment_is_given(const char *const *site_options); /* the user gives one to jobs of ours */
void comment_set(struct slurm *s, uint32_t job, const char *text);

/* job.c: asks slurmctld. 0; FLM_ENOTFOUND: there is no such job, or it has ended, and error says so;
 * FLM_EIO: no answer. *end_time_s: -1 none. *commented: somebody has given it a comment. */
int job_ask(uint32_t job, int64_t *end_time_s, bool *commented, flm_error *error);
/* false: it was refused, and why. */
bool job_comment(uint32_t job, const char *text, char *why, size_t n);
/* Whether Slurm binds tasks to cores here, unless told not to. */
bool job_tasks_are_bound(void);
bool job_cancel(uint32_t job); /* false: Slurm does not answer, try again */

/* All jobs of this user. */
int job_list_get(struct job_list **out); /* 0, or FLM_EIO: no answer */
void job_list_find(const struct job_list *all, uint32_t job, struct job_state *out);
void job_list_free(struct job_list *all); /* NULL is allowed */

/* drain.c: the first of the nodes, "n[1-3]", that is being drained; false: none. Asks for each of them. */
bool drain_find(const char *nodes, char *out, size_t n);

#endif
