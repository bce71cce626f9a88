/* tools/flmrun_job.h - the job of a batch system that this process is in. */
#ifndef TOOLS_FLMRUN_JOB_H
#define TOOLS_FLMRUN_JOB_H

/* The backend for it: "slurm", "pbs"; NULL: there is none, or not any more. Variables that were inherited
 * from somewhere are not believed: a job of PBS has a node file as long as it lives (what SLURM_JOB_ID
 * names the plugin asks Slurm about); and of two jobs, one started from the other, it is that whose daemon
 * is our nearer ancestor. Says why on stderr when variables name a job that is gone. */
const char *job_backend(void);

/* Where PBS_JOBID names a job that is not here: says so, and nobody whom we start shall take it for theirs.
 */
void job_forget_stale(void);

/* Where there is no job: the backend for jobs of our own, by the programs in PATH. */
const char *job_submitter(void);

/* How many nodes that job has, as its variables say; 0: no job. */
unsigned job_nodes(const char *backend);

#endif
