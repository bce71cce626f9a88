/* flmctl cancel - a session or tasks of it end at once. */
#include "tools/flmctl/flmctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum {
    LOOKS = 10,
    PAUSE_MS = 50
}; /* that a service has to heed the request before we say that it runs on */

static bool runs(struct flmctl *ctl, const char *session, uint64_t task)
{
    struct flm_task_view *t = NULL;
    flm_error ignored;
    if (flm_get_task(ctl->client, session, task, &t, &ignored))
        return false;
    bool running = t->state == FLM_TASK_RUNNING;
    flm_free_tasks(t, 1);
    return running;
}

/* The request is only a request to a task that runs. */
static void tell_if_it_runs_on(struct flmctl *ctl, const char *session, uint64_t task)
{
    const struct timespec pause = {0, PAUSE_MS * 1000000L};
    for (int i = 0; i < LOOKS; i++) {
        if (!runs(ctl, session, task))
            return;
        nanosleep(&pause, NULL);
    }
    if (runs(ctl, session, task))
        fprintf(stderr,
                "flmctl: task %" PRIu64 " was asked to stop and still runs: a service that does not heed "
                "that runs to its end (to kill it after 5 s: flmctl cancel %s, which ends the session)\n",
                task, session);
}

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
        else
            tell_if_it_runs_on(ctl, args[0], task);
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
