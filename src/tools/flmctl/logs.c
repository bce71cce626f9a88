/* flmctl logs - what services wrote to stdout and stderr. */
#include "tools/flmctl/flmctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PAUSE_MS = 200 };

static int executor = -1;
static bool follow;

static const struct argp_option options[] = {
    {"executor", 'e', "ID", 0, "Of this executor only", 0},
    {"follow", 'f', NULL, 0, "Go on with new lines until interrupted", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    uint64_t n;
    switch (key) {
    case 'e':
        if (!flmctl_number("--executor", arg, INT32_MAX, &n))
            argp_usage(state);
        executor = (int)n;
        return 0;
    case 'f':
        follow = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct report_column columns[] = {
    {"time", "Time", 0},     {"executor", "Executor", 0}, {"session", "Session", 0},
    {"stream", "Stream", 0}, {"text", "Text", 0},
};

static void print_json_line(const struct flm_log_line *l)
{
    char time[40];
    report_iso_time(l->time_ns, time);
    json_t *o = json_object();
    json_object_set_new(o, "time", json_string(time));
    json_object_set_new(o, "executor", json_integer(l->executor));
    json_object_set_new(o, "session", report_json_text(l->session));
    json_object_set_new(o, "stream", json_string(l->error_stream ? "stderr" : "stdout"));
    json_object_set_new(o, "text", report_json_text(l->text));
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static void print_csv_line(const struct flm_log_line *l)
{
    char time[40];
    report_iso_time(l->time_ns, time);
    printf("%s,%u,", time, l->executor);
    report_csv_field(l->session);
    printf(",%s,", l->error_stream ? "stderr" : "stdout");
    report_csv_field(l->text);
    fputs("\r\n", stdout);
}

static void print_line(const struct flm_log_line *l)
{
    char time[40];
    report_local_time(l->time_ns, time);
    printf("%s.%03d %s%sexecutor %u%s ", time, (int)(l->time_ns / 1000000 % 1000), l->session,
           *l->session ? ", " : "", l->executor, l->error_stream ? " !" : ":");
    report_plain(l->text);
    putchar('\n');
}

/* Each format line by line, so that --follow can go on for ever. */
static int print_lines(const struct flmctl *ctl, const struct flm_log_line *list, int n)
{
    for (int i = 0; i < n; i++) {
        if (ctl->format == REPORT_JSON)
            print_json_line(&list[i]);
        else if (ctl->format == REPORT_CSV)
            print_csv_line(&list[i]);
        else
            print_line(&list[i]);
    }
    return fflush(stdout) || ferror(stdout) ? -1 : 0;
}

/* Whether the session is open or remembered, or an executor has still a line of it. */
static bool session_known(struct flmctl *ctl, const char *id)
{
    flm_error ignored;
    uint64_t cursor = 0;
    struct flm_session_view *view = NULL;
    struct flm_log_line *list = NULL;
    int rc = flm_get_session(ctl->client, id, &view, &ctl->error);
    if (view)
        flm_free_sessions(view, 1);
    if (rc != FLM_ENOTFOUND)
        return rc >= 0;
    int got = flm_read_logs(ctl->client, id, -1, &cursor, &list, &ignored);
    if (got >= 0)
        flm_free_logs(list, got);
    return got > 0;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    uint64_t cursor = 0;
    const struct timespec pause = {0, PAUSE_MS * 1000000L};
    if (n && !session_known(ctl, args[0]))
        return flmctl_fail(ctl, args[0]);
    if (ctl->format == REPORT_CSV) {
        for (unsigned i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
            printf("%s%s", i ? "," : "", columns[i].title);
        fputs("\r\n", stdout);
    }
    for (;;) {
        struct flm_log_line *list = NULL;
        int got = flm_read_logs(ctl->client, n ? args[0] : NULL, executor, &cursor, &list, &ctl->error);
        if (got < 0)
            return flmctl_fail(ctl, NULL);
        int rc = print_lines(ctl, list, got);
        flm_free_logs(list, got);
        if (rc)
            return EXIT_FAILURE;
        if (!got && !follow)
            return EXIT_SUCCESS;
        if (!got)
            nanosleep(&pause, NULL);
    }
}

const struct command command_logs = {
    "logs", "[SESSION]", "Show what services wrote to stdout and stderr", 0, 1, true, options, parse, run};
