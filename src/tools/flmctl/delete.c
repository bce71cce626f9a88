/* flmctl delete - the session manager forgets sessions, and the results in them that nobody has taken. */
#include "tools/flmctl/flmctl.h"

static int force;

static const struct argp_option options[] = {
    {"force", 'f', NULL, 0, "Also sessions that are open: they are cancelled, and go with their client", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    (void)state;
    if (key != 'f')
        return ARGP_ERR_UNKNOWN;
    force = 1;
    return 0;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    int status = EXIT_SUCCESS;
    for (int i = 0; i < n; i++)
        if (flm_admin_delete_session(ctl->client, args[i], force, &ctl->error))
            status = flmctl_fail(ctl, args[i]);
    return status;
}

const struct command command_delete = {
    "delete", "SESSION...", "Forget closed sessions, and results that nobody has taken",
    1,        -1,           true,
    options,  parse,        run};
