/* job.c - what slurmctld says of our job. libslurm may take its time, and ends the process when there is no
 * usable slurm.conf: it is flm-backend that it does this to. */
#define _GNU_SOURCE
#include "slurm.h"

#include <dlfcn.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdlib.h>
#include <string.h>

/* libslurm's own plugins take its symbols from the global scope, where a library that came along with one
 * of our plugins is not. */
static void begin(void)
{
    static bool begun;
    Dl_info info;
    if (begun)
        return;
    begun = true;
    if (dladdr((void *)(uintptr_t)slurm_init, &info) && info.dli_fname)
        dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    slurm_init(NULL);
}

bool job_tasks_are_bound(void)
{
    slurm_conf_t *conf = NULL;
    begin();
    if (slurm_load_ctl_conf(0, &conf) != SLURM_SUCCESS)
        return false;
    bool bound = conf->task_plugin && strstr(conf->task_plugin, "affinity");
    slurm_free_ctl_conf(conf);
    return bound;
}

static bool runs(const slurm_job_info_t *job)
{
    uint32_t state = job->job_state & JOB_STATE_BASE;
    return state == JOB_RUNNING || state == JOB_SUSPENDED;
}

int job_ask(uint32_t job, int64_t *end_time_s, flm_error *error)
{
    job_info_msg_t *answer = NULL;
    begin();
    *end_time_s = -1;
    if (slurm_load_job(&answer, job, 0) != SLURM_SUCCESS) {
        int e = slurm_get_errno();
        if (e == ESLURM_INVALID_JOB_ID)
            return slurm_fail(
                error, FLM_ENOTFOUND,
                "Slurm knows no job %u (any more), although SLURM_JOB_ID names it: start in a "
                "job of its own, or with --backend local",
                job);
        return slurm_fail(error, FLM_EIO, "Slurm does not answer: %s", slurm_strerror(e));
    }
    int rc = 0;
    if (answer->record_count == 0 || !runs(&answer->job_array[0]))
        rc = slurm_fail(
            error, FLM_ENOTFOUND,
            "the Slurm job %u, which SLURM_JOB_ID names, does not run (any more): start in a job "
            "of its own, or with --backend local",
            job);
    /* UNLIMITED jobs have an end a year ahead. */
    else if (answer->job_array[0].time_limit != INFINITE)
        *end_time_s = (int64_t)answer->job_array[0].end_time;
    slurm_free_job_info_msg(answer);
    return rc;
}
