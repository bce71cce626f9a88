/* The backend `slurm`: what its parts share.
 *
 * slurm.c is the table and the options; step.c a block, one step of node agents in the job that we are in;
 * job.c what slurmctld says of that job.
 */
#ifndef PLUGIN_SLURM_H
#define PLUGIN_SLURM_H

#include <flm/backend.h>

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { SLURM_WORDS = 128, SLURM_SITE_OPTIONS = 32 };

struct step;

struct slurm {
    const struct flm_backend_host *host;
    char job[32]; /* the job's id, as text */
    uint32_t job_id;
    unsigned job_nodes;
    unsigned executors;                         /* in all; 0: as the job was asked for */
    char *srun_options[SLURM_SITE_OPTIONS + 1]; /* NULL-terminated, owned */
    unsigned n_srun_options;
    struct step *steps;
    int64_t end_time_s; /* -1: none, or not known */
    int ask_timer;      /* 0: none */
    bool binds;         /* Slurm would bind tasks to cores */
    bool ending;
};

int slurm_fail(flm_error *error, int code, const char *format, ...) FLM_PRINTF(3, 4);
void slurm_log(const struct slurm *s, const char *format, ...) FLM_PRINTF(2, 3);
/* Once nothing of it is left. */
void slurm_free(struct slurm *s);

/* step.c */
int step_start(struct slurm *s, const struct flm_block_request *request, flm_error *error);
int step_release(struct slurm *s, uint64_t block, flm_error *error);
void step_release_all(struct slurm *s);
/* Tells all blocks when the job ends. */
void step_tell_time(const struct slurm *s);
int step_describe(const struct slurm *s, const struct flm_block_request *request, char *text, size_t size,
                  flm_error *error);

/* job.c: asks slurmctld. 0; FLM_ENOTFOUND: there is no such job, or it has ended, and error says so;
 * FLM_EIO: no answer. *end_time_s: -1 none. */
int job_ask(uint32_t job, int64_t *end_time_s, flm_error *error);
/* Whether Slurm binds tasks to cores here, unless told not to. */
bool job_tasks_are_bound(void);

#endif
