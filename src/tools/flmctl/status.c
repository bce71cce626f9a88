/* flmctl status - the session manager itself. */
#include "tools/flmctl/flmctl.h"

static void report_instance(struct report *r, const struct flm_instance_view *v, const int counts[3])
{
    static const struct report_column columns[] = {
        {"id", "Instance", 0},
        {"version", "Version", 0},
        {"endpoint", "Endpoint", 0},
        {"provider", "Provider", 0},
        {"pid", "PID", 0},
        {"started", "Started", 0},
        {"tasks", "Tasks", 0},
        {"refused", "Refused", 0},
        {"sessions", "Sessions", 0},
        {"executors", "Executors", 0},
        {"nodes", "Nodes", 0},
        {"objects", "Objects", 0},
        {"object_bytes", "Bytes of objects", 0},
        {"object_limit", "at most", 0},
        {"object_file_bytes", "in files", 0},
    };
    report_record(r, "instance", COLUMNS(columns));
    report_row(r);
    report_text(r, v->id);
    report_text(r, v->version);
    report_text(r, v->endpoint);
    report_text(r, v->provider);
    report_number(r, v->pid);
    report_time(r, v->started_ns);
    report_number(r, (int64_t)v->tasks);
    report_number(r, (int64_t)v->refused);
    for (int i = 0; i < 3; i++)
        report_number(r, counts[i]);
    report_number(r, (int64_t)v->objects);
    report_number(r, (int64_t)v->object_bytes);
    report_number(r, (int64_t)v->object_limit);
    report_number(r, (int64_t)v->object_file_bytes);
}

static int run(struct flmctl *ctl, int n, char **args)
{
    struct flm_instance_view *v = NULL;
    struct flm_session_view *sessions = NULL;
    struct flm_executor_view *executors = NULL;
    struct flm_node_view *nodes = NULL;
    int counts[3] = {0}, n_nodes = 0;
    (void)n;
    (void)args;
    int rc = flm_get_instance(ctl->client, &v, &ctl->error);
    if (rc >= 0)
        rc = counts[0] = flm_list_sessions(ctl->client, &sessions, &ctl->error);
    if (rc >= 0)
        rc = counts[1] = flm_list_executors(ctl->client, &executors, &ctl->error);
    if (rc >= 0)
        rc = n_nodes = flm_list_nodes(ctl->client, &nodes, &ctl->error);
    for (int i = 0; i < n_nodes; i++)
        counts[2] += *nodes[i].name != 0; /* else a job that waits for nodes */
    if (rc >= 0) {
        struct report *r = report_new(ctl->format);
        report_instance(r, v, counts);
        rc = report_print(r);
    } else {
        rc = flmctl_fail(ctl, NULL);
    }
    if (sessions)
        flm_free_sessions(sessions, counts[0]);
    if (executors)
        flm_free_executors(executors, counts[1]);
    if (nodes)
        flm_free_nodes(nodes, n_nodes);
    if (v)
        flm_free_instance(v);
    return rc;
}

const struct command command_status = {"status", "", "Show the session manager itself", 0, 0, true, NULL,
                                       NULL,     run};
