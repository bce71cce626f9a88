/* flmctl watch - the events of a session as they come, until it is closed. */
#include "tools/flmctl/flmctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 500 };

static void print_table_line(const struct flm_event *e)
{
    char time[40];
    report_local_time(e->time_ns, time);
    printf("%s.%03d", time, (int)(e->time_ns / 1000000 % 1000));
    if (e->task)
        printf("  task %" PRIu64, e->task);
    if (e->executor >= 0)
        printf("  executor %d", e->executor);
    if (e->code)
        printf("  %s", flm_error_name(e->code));
    printf("  ");
    report_plain(e->text);
    putchar('\n');
}

static void print_json_line(const struct flm_event *e)
{
    char time[40];
    report_iso_time(e->time_ns, time);
    json_t *o = json_object();
    json_object_set_new(o, "time", json_string(time));
    json_object_set_new(o, "task", e->task ? json_integer((json_int_t)e->task) : json_null());
    json_object_set_new(o, "executor", e->executor >= 0 ? json_integer(e->executor) : json_null());
    json_object_set_new(o, "code", e->code ? json_string(flm_error_name(e->code)) : json_null());
    json_object_set_new(o, "text", report_json_text(e->text));
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static void print_csv_line(const struct flm_event *e)
{
    char time[40];
    report_iso_time(e->time_ns, time);
    printf("%s,", time);
    if (e->task)
        printf("%" PRIu64, e->task);
    putchar(',');
    if (e->executor >= 0)
        printf("%d", e->executor);
    printf(",%s,", e->code ? flm_error_name(e->code) : "");
    report_csv_field(e->text);
    fputs("\r\n", stdout);
}

static void on_event(const struct flm_event *e, void *arg)
{
    const struct flmctl *ctl = arg;
    if (ctl->format == REPORT_JSON)
        print_json_line(e);
    else if (ctl->format == REPORT_CSV)
        print_csv_line(e);
    else
        print_table_line(e);
}

/* 1: closed or forgotten. */
static int is_closed(struct flmctl *ctl, const char *id)
{
    struct flm_session_view *s = NULL;
    int rc = flm_get_session(ctl->client, id, &s, &ctl->error);
    if (rc < 0)
        return ctl->error.code == FLM_ENOTFOUND ? 1 : rc;
    int closed = !strcmp(s->state, "Closed");
    flm_free_sessions(s, 1);
    return closed;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    uint64_t cursor = 0;
    int closed = 0, got;
    (void)n;
    if (ctl->format == REPORT_CSV)
        fputs("Time,Task,Executor,Code,Event\r\n", stdout);
    /* Asked before the last look, so that no event of the end is missed. */
    for (;;) {
        got = flm_watch_session(ctl->client, args[0], &cursor, closed ? 0 : WAIT_MS, on_event, ctl,
                                &ctl->error);
        if (fflush(stdout) || ferror(stdout))
            return EXIT_FAILURE;
        if (got < 0 && !(got == FLM_ENOTFOUND && closed))
            return flmctl_fail(ctl, NULL);
        if (closed && got <= 0)
            return EXIT_SUCCESS;
        closed = is_closed(ctl, args[0]);
        if (closed < 0)
            return flmctl_fail(ctl, NULL);
    }
}

const struct command command_watch = {
    "watch", "SESSION", "Show the events of a session as they come", 1, 1, true, NULL, NULL, run};
