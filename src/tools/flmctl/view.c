/* flmctl view - all there is to know of a session or of one of its tasks. */
#define _GNU_SOURCE
#include "tools/flmctl/flmctl.h"

#include <stdio.h>
#include <string.h>

static int with_tasks;

static const struct argp_option options[] = {
    {"tasks", 't', "NUMBER", OPTION_ARG_OPTIONAL,
     "Also up to NUMBER (default 100) of its tasks: pending, running, failed, retried", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    uint64_t n = 100;
    if (key != 't')
        return ARGP_ERR_UNKNOWN;
    if (arg && (!flmctl_number("--tasks", arg, 1000000, &n) || !n))
        argp_usage(state);
    with_tasks = (int)n;
    return 0;
}

static void report_session(struct report *r, const struct flm_session_view *s)
{
    static const struct report_column columns[] = {
        {"id", "ID", 0},
        {"state", "State", 0},
        {"trouble", "Trouble", 0},
        {"application", "Application", 0},
        {"client", "Client", 0},
        {"slots", "Slots", 0},
        {"pending", "Pending", 0},
        {"running", "Running", 0},
        {"succeed", "Succeed", 0},
        {"failed", "Failed", 0},
        {"cancelled", "Cancelled", 0},
        {"retried", "Retried", 0},
        {"tasks_per_second", "Tasks/s", 0},
        {"queue_bytes", "Bytes queued", 0},
        {"result_bytes", "Bytes of results", 0},
        {"min_instances", "Min instances", 0},
        {"max_instances", "Max instances", 0},
        {"weight", "Weight", 0},
        {"useful_s", "Core-seconds useful", 0},
        {"wasted_s", "Core-seconds wasted", 0},
        {"created", "Created", 0},
        {"closed", "Closed", 0},
    };
    report_record(r, "session", COLUMNS(columns));
    report_row(r);
    report_text(r, s->id);
    report_text(r, s->state);
    report_text(r, s->trouble);
    report_text(r, s->application);
    report_text(r, s->client);
    report_number(r, s->slots);
    report_number(r, (int64_t)s->pending);
    report_number(r, (int64_t)s->running);
    report_number(r, (int64_t)s->succeed);
    report_number(r, (int64_t)s->failed);
    report_number(r, (int64_t)s->cancelled);
    report_number(r, (int64_t)s->retried);
    report_real(r, s->tasks_per_second);
    report_number(r, (int64_t)s->queue_bytes);
    report_number(r, (int64_t)s->result_bytes);
    report_number(r, s->min_instances);
    report_number(r, s->max_instances);
    report_number(r, s->weight);
    report_real(r, s->useful_s);
    report_real(r, s->wasted_s);
    report_time(r, s->created_ns);
    report_time(r, s->closed_ns);
}

static void report_results(struct report *r, const struct flm_session_view *s)
{
    static const struct report_column columns[] = {
        {"file", "File", 0},
        {"rows", "Rows", REPORT_RIGHT},
        {"behind", "Bytes behind", REPORT_RIGHT},
        {"trouble", "Trouble", 0},
    };
    if (!s->results_file[0])
        return;
    report_table(r, "results", COLUMNS(columns));
    report_row(r);
    report_text(r, s->results_file);
    report_number(r, (int64_t)s->results_rows);
    report_number(r, (int64_t)s->results_lag);
    report_text(r, s->results_trouble);
}

static void report_places(struct report *r, const struct flm_session_view *s)
{
    static const struct report_column columns[] = {
        {"block", "Block", 0},
        {"node", "Node", 0},
        {"executors", "Executors now", REPORT_RIGHT},
        {"tasks", "Tasks done", REPORT_RIGHT},
    };
    report_table(r, "places", COLUMNS(columns));
    for (int i = 0; i < s->n_places; i++) {
        bool rest = !s->places[i].node[0];
        report_row(r);
        report_text(r, rest ? "others" : s->places[i].block);
        report_text(r, s->places[i].node);
        report_number(r, s->places[i].executors);
        report_number(r, (int64_t)s->places[i].tasks);
    }
}

static void report_common(struct report *r, const struct flm_session_view *s)
{
    static const struct report_column columns[] = {
        {"version", "Common data, version", REPORT_RIGHT},
        {"bytes", "Bytes", REPORT_RIGHT},
        {"sent", "Sent by flmd", REPORT_RIGHT},
    };
    static const struct report_column node_columns[] = {
        {"node", "Common data on", 0},
        {"state", "State", 0},
        {"from", "Read from", 0},
        {"bytes", "Bytes read", REPORT_RIGHT},
    };
    if (!s->common_version)
        return;
    report_table(r, "common", COLUMNS(columns));
    report_row(r);
    report_number(r, (int64_t)s->common_version);
    report_number(r, (int64_t)s->common_size);
    report_number(r, (int64_t)s->common_sent);
    report_table(r, "common_nodes", COLUMNS(node_columns));
    for (int i = 0; i < s->n_common_places; i++) {
        report_row(r);
        report_text(r, s->common_places[i].node);
        report_text(r, s->common_places[i].state);
        report_text(r, s->common_places[i].from[0] ? s->common_places[i].from : "flmd");
        report_number(r, (int64_t)s->common_places[i].bytes);
    }
}

static void report_reasons(struct report *r, const struct flm_session_view *s)
{
    static const struct report_column columns[] = {
        {"reason", "Went wrong", 0},
        {"tasks", "Tasks", REPORT_RIGHT},
        {"lost", "Attempts lost", REPORT_RIGHT},
    };
    report_table(r, "reasons", COLUMNS(columns));
    for (int i = 0; i < s->n_reasons; i++) {
        report_row(r);
        report_text(r, flm_reason_name(s->reasons[i].reason));
        report_number(r, (int64_t)s->reasons[i].tasks);
        report_number(r, (int64_t)s->reasons[i].lost);
    }
}

static int view_session(struct flmctl *ctl, const char *id)
{
    struct flm_session_view *s = NULL;
    struct flm_executor_view *executors = NULL;
    struct flm_task_view *tasks = NULL;
    int n_executors = 0, n_tasks = 0, rc = flm_get_session(ctl->client, id, &s, &ctl->error);
    if (rc >= 0)
        rc = n_executors = flm_list_executors(ctl->client, &executors, &ctl->error);
    if (rc >= 0 && with_tasks)
        rc = n_tasks = flm_list_tasks(ctl->client, id, 1, with_tasks, &tasks, &ctl->error);
    if (rc >= 0) {
        struct report *r = report_new(ctl->format);
        report_session(r, s);
        report_results(r, s);
        report_places(r, s);
        report_common(r, s);
        report_reasons(r, s);
        flmctl_report_executors(r, executors, n_executors, id);
        if (with_tasks)
            flmctl_report_tasks(r, tasks, n_tasks);
        flmctl_report_events(r, s->events, s->n_events);
        rc = report_print(r);
    } else {
        rc = flmctl_fail(ctl, id);
    }
    if (s)
        flm_free_sessions(s, 1);
    if (executors)
        flm_free_executors(executors, n_executors);
    if (tasks)
        flm_free_tasks(tasks, n_tasks);
    return rc;
}

/* Exit status or signal by name. */
static void report_ended_by(struct report *r, const struct flm_task_view *t)
{
    int reason = t->reason == FLM_REASON_RETRY_LIMIT ? t->cause : t->reason;
    const char *name = t->code > 0 ? sigabbrev_np(t->code) : NULL;
    char text[80];
    if (reason == FLM_REASON_EXIT)
        snprintf(text, sizeof(text), "exit status %d", t->code);
    else if ((reason == FLM_REASON_SIGNAL || reason == FLM_REASON_OUT_OF_MEMORY) && name)
        snprintf(text, sizeof(text), "SIG%s%s", name,
                 reason == FLM_REASON_OUT_OF_MEMORY ? " for lack of memory" : "");
    else
        snprintf(text, sizeof(text), "%s", reason != t->reason && reason ? flm_reason_name(reason) : "");
    report_text(r, text);
}

static void report_usage(struct report *r, const struct flm_task_view *t)
{
    bool known = t->max_rss_kib || t->user_s > 0 || t->system_s > 0;
    known ? report_real(r, t->user_s) : report_none(r);
    known ? report_real(r, t->system_s) : report_none(r);
    t->max_rss_kib ? report_number(r, (int64_t)t->max_rss_kib) : report_none(r);
}

static void report_task(struct report *r, const struct flm_task_view *t)
{
    static const struct report_column columns[] = {
        {"id", "ID", 0},
        {"state", "State", 0},
        {"reason", "Reason", 0},
        {"code", "Code", 0},
        {"ended_by", "Ended by", 0},
        {"message", "Message", 0},
        {"attempts", "Lost attempts", 0},
        {"executor", "Executor", 0},
        {"node", "Node", 0},
        {"block", "Block", 0},
        {"input_bytes", "Bytes of input", 0},
        {"started", "Started", 0},
        {"deadline_ms", "Deadline (ms)", 0},
        {"user_s", "User time (s)", 0},
        {"system_s", "System time (s)", 0},
        {"max_rss_kib", "Most memory (KiB)", 0},
    };
    report_record(r, "task", COLUMNS(columns));
    report_row(r);
    report_number(r, (int64_t)t->id);
    report_text(r, flm_task_state_name(t->state));
    report_text(r, t->reason ? flm_reason_name(t->reason) : "");
    if (t->reason)
        report_number(r, t->code);
    else
        report_none(r);
    report_ended_by(r, t);
    report_text(r, t->message);
    report_number(r, t->attempts);
    if (t->executor >= 0)
        report_number(r, t->executor);
    else
        report_none(r);
    report_text(r, t->node);
    report_text(r, t->block);
    flmctl_report_input(r, t);
    report_time(r, t->started_ns);
    if (t->deadline_ms)
        report_number(r, (int64_t)t->deadline_ms);
    else
        report_none(r);
    report_usage(r, t);
}

static int view_task(struct flmctl *ctl, const char *id, const char *number)
{
    uint64_t task;
    struct flm_task_view *t = NULL;
    if (!flmctl_number("TASK", number, INT64_MAX, &task))
        return EXIT_USAGE;
    if (flm_get_task(ctl->client, id, task, &t, &ctl->error)) {
        flmctl_fail(ctl, NULL);
        if (ctl->error.code == FLM_ENOTFOUND)
            fprintf(stderr, "flmctl: tasks that have ended without trouble are only counted\n");
        return EXIT_FAILURE;
    }
    struct report *r = report_new(ctl->format);
    report_task(r, t);
    flmctl_report_events(r, t->events, t->n_events);
    flm_free_tasks(t, 1);
    return report_print(r);
}

static int run(struct flmctl *ctl, int n, char **args)
{
    return n == 2 ? view_task(ctl, args[0], args[1]) : view_session(ctl, args[0]);
}

const struct command command_view = {"view",
                                     "SESSION [TASK]",
                                     "Show a session, its executors and events, or a task",
                                     1,
                                     2,
                                     true,
                                     options,
                                     parse,
                                     run};
