/* flmctl cancel - a session or tasks of it end at once. */
#include "tools/flmctl/flmctl.h"

static int run(struct flmctl *ctl, int n, char **args)
{
    int status = EXIT_SUCCESS;
    uint64_t task;
    if (n == 1)
        return flm_admin_cancel_session(ctl->client, args[0], &ctl->error) ? flmctl_fail(ctl, args[0])
                                                                           : EXIT_SUCCESS;
    for (int i = 1; i < n; i++) {
        if (!flmctl_number("TASK", args[i], INT64_MAX, &task))
            return EXIT_USAGE;
        if (flm_admin_cancel_task(ctl->client, args[0], task, &ctl->error))
            status = flmctl_fail(ctl, args[i]);
    }
    return status;
}

const struct command command_cancel = {"cancel",
                                       "SESSION [TASK...]",
                                       "Cancel a session with all that is not done, or single tasks",
                                       1,
                                       -1,
                                       true,
                                       NULL,
                                       NULL,
                                       run};
