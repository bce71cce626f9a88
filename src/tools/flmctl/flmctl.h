/* tools/flmctl/flmctl.h - what the commands of flmctl share.
 *
 * A command is one file with one const struct command, listed in flmctl.c. main
 * parses its options, connects where it asks for it, calls run and returns what
 * it returns.
 */
#ifndef FLM_TOOLS_FLMCTL_FLMCTL_H
#define FLM_TOOLS_FLMCTL_FLMCTL_H

#include "tools/flmctl/report.h"

#include <argp.h>
#include <flm/admin.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2 };

struct flmctl {
    const char *endpoint;
    enum report_format format;
    flm_client *client;
    flm_error error;
};

struct command {
    const char *name;
    const char *args;       /* for --help: "SESSION [TASK]" */
    const char *help;       /* one sentence */
    int min_args, max_args; /* max_args -1: any number */
    bool connects;
    const struct argp_option *options; /* NULL: none of its own */
    argp_parser_t parse;               /* of these; values go where the command likes */
    int (*run)(struct flmctl *ctl, int n, char **args);
};

extern const struct command command_backend, command_cancel, command_close, command_create, command_delete,
    command_doctor, command_drain, command_fsck, command_list, command_logs, command_register,
    command_shutdown, command_status, command_undrain, command_unregister, command_version, command_view,
    command_watch;

/* Says ctl->error, after `what` and a colon where given; returns EXIT_FAILURE. */
int flmctl_fail(const struct flmctl *ctl, const char *what);

/* A number for a command line argument; says what is wrong and returns false. */
bool flmctl_number(const char *what, const char *text, uint64_t max, uint64_t *out);

#define COLUMNS(array) array, (unsigned)(sizeof(array) / sizeof((array)[0]))

/* Sections that several commands print. */
void flmctl_report_executors(struct report *r, const struct flm_executor_view *list, int n,
                             const char *session);
void flmctl_report_events(struct report *r, const struct flm_event *list, int n);
/* The bytes of a task's input; nothing when it has ended: the session manager keeps the end, not the input.
 */
void flmctl_report_input(struct report *r, const struct flm_task_view *t);
void flmctl_report_tasks(struct report *r, const struct flm_task_view *list, int n);

#endif
