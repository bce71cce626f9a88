/* flmctl shutdown - ends the session manager. */
#include "tools/flmctl/flmctl.h"

static int run(struct flmctl *ctl, int n, char **args)
{
    (void)n;
    (void)args;
    return flm_admin_shutdown(ctl->client, &ctl->error) ? flmctl_fail(ctl, NULL) : EXIT_SUCCESS;
}

const struct command command_shutdown = {
    "shutdown", "", "End the session manager: sessions are cancelled, executors end", 0, 0, true, NULL,
    NULL,       run};
