/* flmctl drain, undrain - a node that shall take nothing new. */
#include "tools/flmctl/flmctl.h"

static int drain_all(struct flmctl *ctl, int n, char **args, int drain)
{
    int status = EXIT_SUCCESS;
    for (int i = 0; i < n; i++)
        if (flm_admin_drain(ctl->client, args[i], drain, &ctl->error))
            status = flmctl_fail(ctl, args[i]);
    return status;
}

static int run_drain(struct flmctl *ctl, int n, char **args)
{
    return drain_all(ctl, n, args, 1);
}

static int run_undrain(struct flmctl *ctl, int n, char **args)
{
    return drain_all(ctl, n, args, 0);
}

const struct command command_drain = {
    "drain", "NODE...", "Let executors of nodes finish what they run and take nothing new",
    1,       -1,        true,
    NULL,    NULL,      run_drain};
const struct command command_undrain = {
    "undrain", "NODE...", "Let drained nodes take tasks again", 1, -1, true, NULL, NULL, run_undrain};
