/* job.c - what slurmctld says of our job. libslurm may take its time, and ends the process when there is no
 * usable slurm.conf: it is flm-backend that it does this to. */
#define _GNU_SOURCE
#include "slurm.h"

#include <dlfcn.h>
#include <signal.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

bool job_cancel(uint32_t job)
{
    begin();
    /* SIGTERM first, and KillWait later what is left. */
    if (slurm_kill_job(job, SIGKILL, 0) == SLURM_SUCCESS)
        return true;
    int e = slurm_get_errno();
    return e == ESLURM_ALREADY_DONE || e == ESLURM_INVALID_JOB_ID;
}

static bool runs(const slurm_job_info_t *job)
{
    uint32_t state = job->job_state & JOB_STATE_BASE;
    return state == JOB_RUNNING || state == JOB_SUSPENDED;
}

/* -1: none. UNLIMITED jobs have an end a year ahead. */
static int64_t end_of(const slurm_job_info_t *job)
{
    return job->time_limit != INFINITE ? (int64_t)job->end_time : -1;
}

/* ---- all jobs ---------------------------------------------------------------------------------- */

struct job_list {
    job_info_msg_t *answer;
};

int job_list_get(struct job_list **out)
{
    struct job_list *all = calloc(1, sizeof(*all));
    begin();
    *out = NULL;
    if (!all)
        return FLM_ENOMEM;
    if (slurm_load_job_user(&all->answer, geteuid(), SHOW_ALL) != SLURM_SUCCESS) {
        free(all);
        return FLM_EIO;
    }
    *out = all;
    return 0;
}

void job_list_free(struct job_list *all)
{
    if (all)
        slurm_free_job_info_msg(all->answer);
    free(all);
}

/* The public interface has the reason as a text only in what `scontrol show job` prints. */
static void reason_of(slurm_job_info_t *job, char *out, size_t n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (f) {
        slurm_print_job_info(f, job, 1);
        fclose(f);
    }
    const char *reason = text ? strstr(text, " Reason=") : NULL;
    reason = reason ? reason + strlen(" Reason=") : "its reason is not known";
    snprintf(out, n, "%.*s", (int)strcspn(reason, " \n"), reason);
    free(text);
}

static const char *how_it_ended(uint32_t state)
{
    switch (state & JOB_STATE_BASE) {
    case JOB_CANCELLED:
        return "was cancelled";
    case JOB_TIMEOUT:
        return "has used up its time";
    case JOB_NODE_FAIL:
        return "has lost a node";
    case JOB_PREEMPTED:
        return "was preempted";
    case JOB_OOM:
        return "was out of memory";
    case JOB_FAILED:
    case JOB_BOOT_FAIL:
    case JOB_DEADLINE:
        return "has failed";
    default:
        return "has ended";
    }
}

void job_list_find(const struct job_list *all, uint32_t id, struct job_state *out)
{
    char reason[120];
    *out = (struct job_state){.kind = JOB_OVER, .end_time_s = -1};
    for (uint32_t i = 0; i < all->answer->record_count; i++) {
        slurm_job_info_t *job = &all->answer->job_array[i];
        uint32_t state = job->job_state & JOB_STATE_BASE;
        if (job->job_id != id)
            continue;
        if (state == JOB_PENDING || job->job_state & (JOB_CONFIGURING | JOB_REQUEUE)) {
            out->kind = JOB_WAITS;
            reason_of(job, reason, sizeof(reason));
            snprintf(out->text, sizeof(out->text), "job %u waits: %s", id, reason);
        } else if (runs(job)) {
            out->kind = JOB_RUNS;
            out->end_time_s = end_of(job);
            out->nodes = job->nodes;
        } else {
            snprintf(out->text, sizeof(out->text), "job %u %s", id, how_it_ended(job->job_state));
        }
        return;
    }
    out->unknown = true;
    snprintf(out->text, sizeof(out->text), "Slurm knows no job %u any more", id);
}

/* ---- our own ----------------------------------------------------------------------------------- */

bool job_comment(uint32_t job, const char *text, char *why, size_t n)
{
    job_desc_msg_t change;
    begin();
    slurm_init_job_desc_msg(&change);
    change.job_id = job;
    change.comment = (char *)(uintptr_t)text;
    if (slurm_update_job(&change) == SLURM_SUCCESS)
        return true;
    int e = slurm_get_errno();
    /* Those before are of a slurmctld that does not answer: it may next time. */
    if (e < ESLURM_INVALID_PARTITION_NAME || e == ESLURM_ALREADY_DONE || e == ESLURM_JOB_FINISHED ||
        e == ESLURM_INVALID_JOB_ID)
        return true;
    snprintf(why, n, "%s", slurm_strerror(e));
    return false;
}

int job_ask(uint32_t job, int64_t *end_time_s, bool *commented, flm_error *error)
{
    job_info_msg_t *answer = NULL;
    begin();
    *end_time_s = -1;
    *commented = true; /* as long as nobody knows */
    if (slurm_load_job(&answer, job, SHOW_ALL) != SLURM_SUCCESS) {
        int e = slurm_get_errno();
        if (e == ESLURM_INVALID_JOB_ID)
            return plugin_fail(
                error, FLM_ENOTFOUND,
                "Slurm knows no job %u (any more), although SLURM_JOB_ID names it: start in a "
                "job of its own, or with --backend local",
                job);
        return plugin_fail(error, FLM_EIO, "Slurm does not answer: %s", slurm_strerror(e));
    }
    int rc = 0;
    if (answer->record_count == 0 || !runs(&answer->job_array[0]))
        rc = plugin_fail(
            error, FLM_ENOTFOUND,
            "the Slurm job %u, which SLURM_JOB_ID names, does not run (any more): start in a job "
            "of its own, or with --backend local",
            job);
    else {
        const char *comment = answer->job_array[0].comment;
        *end_time_s = end_of(&answer->job_array[0]);
        *commented = comment && *comment && strncmp(comment, "flame: ", 7) != 0; /* before a requeue */
    }
    slurm_free_job_info_msg(answer);
    return rc;
}
