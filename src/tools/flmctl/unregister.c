/* flmctl unregister - applications that nobody needs any more. */
#include "tools/flmctl/flmctl.h"

static int run(struct flmctl *ctl, int n, char **args)
{
    int status = EXIT_SUCCESS;
    for (int i = 0; i < n; i++)
        if (flm_unregister_application(ctl->client, args[i], &ctl->error))
            status = flmctl_fail(ctl, args[i]);
    return status;
}

const struct command command_unregister = {
    "unregister", "NAME...", "Unregister applications", 1, -1, true, NULL, NULL, run};
