/* flmctl close - a session ends once its tasks are done. */
#include "tools/flmctl/flmctl.h"

static int run(struct flmctl *ctl, int n, char **args)
{
    int status = EXIT_SUCCESS;
    for (int i = 0; i < n; i++)
        if (flm_admin_close_session(ctl->client, args[i], &ctl->error))
            status = flmctl_fail(ctl, args[i]);
    return status;
}

const struct command command_close = {
    "close", "SESSION...", "Close sessions once the tasks submitted so far are done", 1, -1, true, NULL,
    NULL,    run};
