#define _GNU_SOURCE 1
#include "flmexec_job.h"

#include "flmexec_results.h"

#include <flm/admin.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>

/* Exit values for what has none, as GNU parallel has them. */
enum { EXIT_TIMEOUT = -1, EXIT_NOT_RUN = 255 };

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The arguments with spaces between. */
static char *make_tag(const struct flmexec_arguments *a)
{
    struct flmexec_text t = {0};
    flmexec_text_str(&t, "");
    for (int i = 0; i < a->n; i++) {
        if (i)
            flmexec_text_char(&t, ' ');
        flmexec_text_add(&t, a->item[i], a->size[i]);
    }
    return t.data;
}

struct flmexec_job *flmexec_job_make(const struct flmexec_options *o, uint64_t seq,
                                     const struct flmexec_arguments *a)
{
    struct flmexec_job *job = flmexec_alloc(sizeof(*job));
    struct flmexec_text text = {0};
    job->seq = seq;
    flmexec_template_expand(&o->command, a, seq, &text);
    job->input = text.data;
    job->input_size = text.size;
    if (o->tag)
        job->tag = make_tag(a);
    if (o->results) {
        struct flmexec_text folder = {0};
        flmexec_results_folder(o->results, a, seq, &folder);
        job->folder = folder.data;
    }
    return job;
}

void flmexec_job_free(struct flmexec_job *job)
{
    if (!job)
        return;
    free(job->input);
    free(job->tag);
    free(job->folder);
    free(job->held.data);
    free(job);
}

static void set_failure(struct flmexec_outcome *o, const struct flm_result *r, bool started)
{
    const char *name;
    switch (r->reason) {
    case FLM_REASON_EXIT:
        o->exit_value = r->code;
        if (!started) /* else its own stderr has said what there is to say */
            snprintf(o->message, sizeof(o->message), "%s", r->message);
        return;
    case FLM_REASON_SIGNAL:
        o->signal = r->code;
        name = sigabbrev_np(r->code);
        snprintf(o->message, sizeof(o->message), "ended by signal %d (SIG%s)", r->code, name ? name : "?");
        return;
    case FLM_REASON_OUT_OF_MEMORY:
        o->signal = r->code;
        snprintf(o->message, sizeof(o->message), "killed for lack of memory; fewer at once (-j) may help");
        return;
    case FLM_REASON_DEADLINE:
        o->exit_value = EXIT_TIMEOUT;
        o->signal = SIGTERM;
        snprintf(o->message, sizeof(o->message), "timed out (--timeout)");
        return;
    default:
        o->exit_value = EXIT_NOT_RUN;
        o->not_run = r->reason == FLM_REASON_CANCELLED || r->reason == FLM_REASON_BIND;
        snprintf(o->message, sizeof(o->message), "%s",
                 r->message[0] ? r->message : flm_reason_name(r->reason));
    }
}

void flmexec_job_end(struct flmexec_job *job, const struct flm_result *r, struct flmexec_parts *parts)
{
    struct flm_exec_output head = {0};
    struct flmexec_outcome *o = &job->outcome;
    *parts = (struct flmexec_parts){0};
    *o = (struct flmexec_outcome){.ok = r->state == FLM_TASK_SUCCEED, .host = ":"};
    if (r->size >= sizeof(head)) {
        memcpy(&head, r->output, sizeof(head));
        size_t rest = r->size - sizeof(head);
        parts->data = (const char *)r->output + sizeof(head);
        parts->out = head.stdout_size < rest ? (size_t)head.stdout_size : rest;
        parts->err = rest - parts->out;
    }
    o->run_s = (double)head.run_ns / 1e9;
    o->start_s = wall_s() - o->run_s;
    o->received = parts->out;
    if (!o->ok)
        set_failure(o, r, head.run_ns > 0);
    job->ended = true;
}

void flmexec_job_refuse(struct flmexec_job *job, const char *why)
{
    job->outcome = (struct flmexec_outcome){.exit_value = EXIT_NOT_RUN, .start_s = wall_s(), .host = ":"};
    snprintf(job->outcome.message, sizeof(job->outcome.message), "%s", why);
    job->ended = true;
}

void flmexec_job_command(const struct flmexec_job *job, bool shell, struct flmexec_text *out)
{
    flmexec_command_line(job->input, job->input_size, shell, out);
}

int flmexec_job_report(const struct flmexec_job *job, struct flmexec_joblog *log, bool shell, bool quiet)
{
    const struct flmexec_outcome *o = &job->outcome;
    struct flmexec_text command = {0};
    quiet |= !o->message[0];
    if (quiet && log->fd < 0)
        return 0;
    flmexec_job_command(job, shell, &command);
    if (!quiet)
        flmexec_warn("job %" PRIu64 " (%.100s%s): %s", job->seq, command.data,
                     command.size > 100 ? "..." : "", o->message);
    if (log->fd < 0 || o->not_run) {
        flmexec_text_free(&command);
        return 0;
    }
    struct flmexec_joblog_entry entry = {.seq = job->seq,
                                         .host = o->host,
                                         .start_s = o->start_s,
                                         .run_s = o->run_s,
                                         .sent = 0,
                                         .received = o->received,
                                         .exit_value = o->exit_value,
                                         .signal = o->signal,
                                         .command = command.data};
    int rc = flmexec_joblog_write(log, &entry);
    flmexec_text_free(&command);
    return rc;
}
