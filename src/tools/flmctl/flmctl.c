/* flmctl - looks at and steers a session manager. */
#include "base/standard.h"
#include "tools/flmctl/flmctl.h"

#include "tools/quantity.h"

#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_list,       &command_view,    &command_watch,   &command_logs,    &command_register,
    &command_unregister, &command_create,  &command_close,   &command_cancel,  &command_delete,
    &command_drain,      &command_undrain, &command_status,  &command_backend, &command_shutdown,
    &command_doctor,     &command_fsck,    &command_version,
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

int flmctl_fail(const struct flmctl *ctl, const char *what)
{
    fprintf(stderr, "flmctl: %s%s%s\n", what ? what : "", what ? ": " : "",
            *ctl->error.text ? ctl->error.text : flm_strerror(ctl->error.code));
    return EXIT_FAILURE;
}

bool flmctl_number(const char *what, const char *text, uint64_t max, uint64_t *out)
{
    if (quantity_count(text, max, out))
        return true;
    fprintf(stderr, "flmctl: %s is to be a number up to %" PRIu64 ", not '%s'\n", what, max, text);
    return false;
}

/* ---- options that stand before or after the command ------------------------- */

enum { KEY_ENDPOINT = 1000 };

static const struct argp_option common_options[] = {
    {"endpoint", KEY_ENDPOINT, "ENDPOINT", 0, "Session manager: unix:PATH or tcp:HOST:PORT", -1},
    {"output", 'o', "FORMAT", 0, "table, json or csv (default table)", -1},
    {0}};

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    static const char *const formats[] = {
        [REPORT_TABLE] = "table", [REPORT_JSON] = "json", [REPORT_CSV] = "csv"};
    struct flmctl *ctl = state->input;
    if (key == KEY_ENDPOINT) {
        ctl->endpoint = arg;
        return 0;
    }
    if (key != 'o')
        return ARGP_ERR_UNKNOWN;
    for (int i = 0; i < 3; i++)
        if (!strcmp(arg, formats[i])) {
            ctl->format = (enum report_format)i;
            return 0;
        }
    argp_error(state, "there is no format '%s': use table, json or csv", arg);
    return 0;
}

static const struct argp common_argp = {common_options, parse_common, NULL, NULL, NULL, NULL, NULL};

/* ---- the command's own line -------------------------------------------------- */

struct line {
    struct flmctl *ctl;
    const struct command *command;
    char **args;
    int n;
};

static error_t parse_line(int key, char *arg, struct argp_state *state)
{
    struct line *l = state->input;
    const struct command *c = l->command;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = l->ctl;
        return 0;
    case ARGP_KEY_ARG:
        if (c->max_args >= 0 && l->n == c->max_args)
            argp_error(state, "'%s' is one argument too many", arg);
        l->args[l->n++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (l->n < c->min_args)
            argp_error(state, "%s is missing", c->args);
        return 0;
    default:
        return c->parse && !(key & (int)0x1000000) ? c->parse(key, arg, state) : ARGP_ERR_UNKNOWN;
    }
}

static int connect_to_manager(struct flmctl *ctl)
{
    ctl->client = flm_connect(
        ctl->endpoint,
        &(struct flm_connect_options){.size = sizeof(struct flm_connect_options), .name = "flmctl"},
        &ctl->error);
    if (ctl->client)
        return 0;
    flmctl_fail(ctl, NULL);
    return -1;
}

static int run_command(struct flmctl *ctl, const struct command *c, int argc, char **argv)
{
    char name[64];
    const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {0}};
    const struct argp argp = {c->options, parse_line, c->args, c->help, children, NULL, NULL};
    struct line line = {.ctl = ctl, .command = c, .args = calloc((size_t)argc + 1, sizeof(char *))};
    int status = EXIT_FAILURE;
    if (!line.args)
        return status;
    snprintf(name, sizeof(name), "flmctl %s", c->name);
    argv[0] = name;
    if (argp_parse(&argp, argc, argv, 0, NULL, &line))
        status = EXIT_USAGE;
    else if (!c->connects || !connect_to_manager(ctl))
        status = c->run(ctl, line.n, line.args);
    flm_disconnect(ctl->client);
    free(line.args);
    return status;
}

/* ---- the whole line ----------------------------------------------------------- */

struct whole {
    struct flmctl ctl;
    int at; /* of the command in argv, 0: none */
};

static error_t parse_whole(int key, char *arg, struct argp_state *state)
{
    struct whole *w = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &w->ctl;
        return 0;
    case ARGP_KEY_ARG: /* the rest of the line is the command's */
        w->at = state->next - 1;
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static char *help_commands(int key, const char *text, void *input)
{
    (void)input;
    char *all = NULL;
    size_t size;
    FILE *f = key == ARGP_KEY_HELP_POST_DOC ? open_memstream(&all, &size) : NULL;
    if (!f)
        return (char *)(uintptr_t)text;
    fprintf(f, "Commands (flmctl COMMAND --help tells more):\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->help);
    fclose(f);
    return all;
}

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {0}};
    const struct argp argp = {NULL,
                              parse_whole,
                              "COMMAND [ARGUMENT...]",
                              "Looks at and steers a session manager.\v ",
                              children,
                              help_commands,
                              NULL};
    struct whole w = {.at = 0};
    flm__standard_open();
    setlocale(LC_ALL, "");
    signal(SIGPIPE, SIG_IGN);
    argp_program_version = "flmctl " FLM_VERSION;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &w))
        return EXIT_USAGE;
    if (!w.at) {
        fprintf(stderr,
                "flmctl: say what to do, for example: flmctl list -s   (flmctl --help lists all)\n");
        return EXIT_USAGE;
    }
    const struct command *c = find(argv[w.at]);
    if (!c) {
        fprintf(stderr, "flmctl: there is no command '%s' (flmctl --help lists all)\n", argv[w.at]);
        return EXIT_USAGE;
    }
    return run_command(&w.ctl, c, argc - w.at, argv + w.at);
}
