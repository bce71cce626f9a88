/* flmctl list - applications, sessions, executors, nodes or objects. */
#include "tools/flmctl/flmctl.h"

static int what; /* 0: none was chosen */

static const struct argp_option options[] = {
    {"applications", 'a', NULL, 0, "Applications that are registered", 0},
    {"sessions", 's', NULL, 0, "Sessions (the default)", 0},
    {"executors", 'e', NULL, 0, "Executors, with the cores that they are bound to", 0},
    {"nodes", 'n', NULL, 0, "Nodes", 0},
    {"objects", 'O', NULL, 0, "Objects, with the nodes that have them in their memory", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != 'a' && key != 's' && key != 'e' && key != 'n' && key != 'O')
        return ARGP_ERR_UNKNOWN;
    if (what && what != key)
        argp_error(state, "choose one of -%c and -%c", what, key);
    what = key;
    return 0;
}

static int list_applications(struct flmctl *ctl)
{
    static const struct report_column columns[] = {
        {"name", "Name", 0},
        {"shim", "Shim", 0},
        {"command", "Command", REPORT_WRAP},
        {"min_instances", "Min", REPORT_RIGHT},
        {"max_instances", "Max", REPORT_RIGHT},
        {"delay_release_ms", NULL, 0},
        {"deadline_ms", "Deadline", REPORT_RIGHT},
        {"ranks_per_task", "Ranks", REPORT_RIGHT},
        {"working_directory", NULL, 0},
        {"environment", NULL, 0},
        {"description", "Description", REPORT_WRAP},
    };
    struct flm_application *list = NULL;
    int n = flm_list_applications(ctl->client, &list, &ctl->error);
    if (n < 0)
        return flmctl_fail(ctl, NULL);
    struct report *r = report_new(ctl->format);
    report_table(r, "applications", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        const struct flm_application *a = &list[i];
        report_row(r);
        report_text(r, a->name);
        report_text(r, flm_shim_name(a->shim));
        report_list(r, a->command);
        report_number(r, a->min_instances);
        report_number(r, a->max_instances);
        report_number(r, a->delay_release_ms);
        report_number(r, a->deadline_ms);
        report_number(r, a->ranks_per_task);
        report_text(r, a->working_directory ? a->working_directory : "");
        report_list(r, a->environment);
        report_text(r, a->description ? a->description : "");
    }
    flm_free_applications(list, n);
    return report_print(r);
}

static int list_sessions(struct flmctl *ctl)
{
    static const struct report_column columns[] = {
        {"id", "ID", 0},
        {"state", "State", 0},
        {"application", "App", 0},
        {"slots", "Slots", REPORT_RIGHT},
        {"pending", "Pending", REPORT_RIGHT},
        {"running", "Running", REPORT_RIGHT},
        {"succeed", "Succeed", REPORT_RIGHT},
        {"failed", "Failed", REPORT_RIGHT},
        {"created", "Created", 0},
        {"cancelled", "Cancelled", REPORT_RIGHT},
        {"retried", NULL, 0},
        {"client", NULL, 0},
        {"tasks_per_second", NULL, 0},
        {"trouble", NULL, 0},
    };
    struct flm_session_view *list = NULL;
    int n = flm_list_sessions(ctl->client, &list, &ctl->error);
    if (n < 0)
        return flmctl_fail(ctl, NULL);
    struct report *r = report_new(ctl->format);
    report_table(r, "sessions", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        const struct flm_session_view *s = &list[i];
        report_row(r);
        report_text(r, s->id);
        report_text(r, s->state);
        report_text(r, s->application);
        report_number(r, s->slots);
        report_number(r, (int64_t)s->pending);
        report_number(r, (int64_t)s->running);
        report_number(r, (int64_t)s->succeed);
        report_number(r, (int64_t)s->failed);
        report_time(r, s->created_ns);
        report_number(r, (int64_t)s->cancelled);
        report_number(r, (int64_t)s->retried);
        report_text(r, s->client);
        report_real(r, s->tasks_per_second);
        report_text(r, s->trouble);
    }
    flm_free_sessions(list, n);
    return report_print(r);
}

static int list_executors(struct flmctl *ctl)
{
    struct flm_executor_view *list = NULL;
    int n = flm_list_executors(ctl->client, &list, &ctl->error);
    if (n < 0)
        return flmctl_fail(ctl, NULL);
    struct report *r = report_new(ctl->format);
    flmctl_report_executors(r, list, n, NULL);
    flm_free_executors(list, n);
    return report_print(r);
}

static void report_count(struct report *r, bool known, int64_t number)
{
    if (known)
        report_number(r, number);
    else
        report_none(r);
}

static int list_nodes(struct flmctl *ctl)
{
    static const struct report_column columns[] = {
        {"name", "Name", 0},
        {"state", "State", 0},
        {"block", "Block", 0},
        {"slots", "Slots", REPORT_RIGHT},
        {"executors", "Executors", REPORT_RIGHT},
        {"transport", "Transport", 0},
        {"pid", "PID", REPORT_RIGHT},
        {"time_left_s", "Left (s)", REPORT_RIGHT},
        {"trouble", "Trouble", REPORT_WRAP},
    };
    struct flm_node_view *list = NULL;
    int n = flm_list_nodes(ctl->client, &list, &ctl->error);
    if (n < 0)
        return flmctl_fail(ctl, NULL);
    struct report *r = report_new(ctl->format);
    report_table(r, "nodes", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        bool named = list[i].name[0]; /* else a job that has no nodes yet */
        report_row(r);
        report_text(r, list[i].name);
        report_text(r, list[i].state);
        report_text(r, list[i].block);
        report_count(r, named, list[i].slots);
        report_count(r, named, list[i].executors);
        report_text(r, list[i].transport);
        report_count(r, named, list[i].pid);
        if (list[i].time_left_s >= 0)
            report_number(r, list[i].time_left_s);
        else
            report_none(r);
        report_text(r, list[i].trouble);
    }
    flm_free_nodes(list, n);
    return report_print(r);
}

static int list_objects(struct flmctl *ctl)
{
    static const struct report_column columns[] = {
        {"name", "Name", 0},
        {"version", "Version", REPORT_RIGHT},
        {"size", "Bytes", REPORT_RIGHT},
        {"held", "Held", REPORT_RIGHT},
        {"sent", "Sent", REPORT_RIGHT},
        {"place", "In", 0},
        {"nodes", "Nodes", REPORT_WRAP},
    };
    struct flm_object_view *list = NULL;
    int n = flm_list_objects(ctl->client, &list, &ctl->error);
    if (n < 0)
        return flmctl_fail(ctl, NULL);
    struct report *r = report_new(ctl->format);
    report_table(r, "objects", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        report_row(r);
        report_text(r, list[i].name);
        report_number(r, (int64_t)list[i].version);
        report_number(r, (int64_t)list[i].size);
        report_number(r, list[i].held);
        report_number(r, (int64_t)list[i].sent);
        report_text(r, list[i].spilled ? "file" : "memory");
        report_list(r, list[i].nodes);
    }
    flm_free_objects(list, n);
    return report_print(r);
}

static int run(struct flmctl *ctl, int n, char **args)
{
    (void)n;
    (void)args;
    switch (what) {
    case 'a':
        return list_applications(ctl);
    case 'e':
        return list_executors(ctl);
    case 'O':
        return list_objects(ctl);
    case 'n':
        return list_nodes(ctl);
    default:
        return list_sessions(ctl);
    }
}

const struct command command_list = {
    "list", "", "List applications, sessions, executors, nodes or objects", 0, 0, true, options,
    parse,  run};
