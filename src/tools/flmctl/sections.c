/* Sections of reports that several commands print. */
#include "tools/flmctl/flmctl.h"

#include <string.h>

void flmctl_report_executors(struct report *r, const struct flm_executor_view *list, int n,
                             const char *session)
{
    static const struct report_column columns[] = {
        {"id", "ID", REPORT_RIGHT},
        {"node", "Node", 0},
        {"state", "State", 0},
        {"session", "Session", 0},
        {"cpus", "CPUs", 0},
        {"transport", "Transport", 0},
        {"pid", "PID", REPORT_RIGHT},
        {"done", "Done", REPORT_RIGHT},
        {"restarts", "Restarts", REPORT_RIGHT},
        {"trouble", "Trouble", REPORT_WRAP},
    };
    report_table(r, "executors", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        const struct flm_executor_view *e = &list[i];
        if (session && strcmp(e->session, session) != 0)
            continue;
        report_row(r);
        report_number(r, e->id);
        report_text(r, e->node);
        report_text(r, e->state);
        report_text(r, e->session);
        report_text(r, e->cpus);
        report_text(r, e->transport);
        report_number(r, e->pid);
        report_number(r, (int64_t)e->done);
        report_number(r, e->restarts);
        report_text(r, e->trouble);
    }
}

void flmctl_report_events(struct report *r, const struct flm_event *list, int n)
{
    static const struct report_column columns[] = {
        {"time", "Time", 0}, {"task", "Task", REPORT_RIGHT}, {"executor", "Executor", REPORT_RIGHT},
        {"code", "Code", 0}, {"text", "Event", REPORT_WRAP},
    };
    report_table(r, "events", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        report_row(r);
        report_time(r, list[i].time_ns);
        if (list[i].task)
            report_number(r, (int64_t)list[i].task);
        else
            report_none(r);
        if (list[i].executor >= 0)
            report_number(r, list[i].executor);
        else
            report_none(r);
        if (list[i].code)
            report_text(r, flm_error_name(list[i].code));
        else
            report_none(r);
        report_text(r, list[i].text);
    }
}

void flmctl_report_input(struct report *r, const struct flm_task_view *t)
{
    if (t->input_size || t->state == FLM_TASK_PENDING || t->state == FLM_TASK_RUNNING)
        report_number(r, (int64_t)t->input_size);
    else
        report_none(r);
}

void flmctl_report_tasks(struct report *r, const struct flm_task_view *list, int n)
{
    static const struct report_column columns[] = {
        {"id", "ID", REPORT_RIGHT},
        {"state", "State", 0},
        {"reason", "Reason", 0},
        {"code", "Code", REPORT_RIGHT},
        {"attempts", "Lost", REPORT_RIGHT},
        {"executor", "Executor", REPORT_RIGHT},
        {"input_bytes", "Input", REPORT_RIGHT},
        {"message", "Message", REPORT_WRAP},
    };
    report_table(r, "tasks", COLUMNS(columns));
    for (int i = 0; i < n; i++) {
        const struct flm_task_view *t = &list[i];
        report_row(r);
        report_number(r, (int64_t)t->id);
        report_text(r, flm_task_state_name(t->state));
        report_text(r, t->reason ? flm_reason_name(t->reason) : "");
        report_number(r, t->code);
        report_number(r, t->attempts);
        if (t->executor >= 0)
            report_number(r, t->executor);
        else
            report_none(r);
        flmctl_report_input(r, t);
        report_text(r, t->message);
    }
}
