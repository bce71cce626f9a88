/* flmctl register - applications from files, see flm-application(5). */
#include "tools/flmctl/flmctl.h"

#include <stdio.h>

static int replace;

static const struct argp_option options[] = {
    {"replace", 'r', NULL, 0, "Replace an application of the same name, for sessions created later", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    (void)state;
    if (key != 'r')
        return ARGP_ERR_UNKNOWN;
    replace = 1;
    return 0;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    int status = EXIT_SUCCESS;
    for (int i = 0; i < n; i++) {
        struct flm_application *a = flm_read_application(args[i], &ctl->error);
        if (!a) {
            status = flmctl_fail(ctl, NULL);
            continue;
        }
        if (flm_register_application(ctl->client, a, replace, &ctl->error)) {
            status = flmctl_fail(ctl, NULL);
            if (ctl->error.code == FLM_EEXIST && !replace)
                fprintf(stderr, "flmctl: --replace registers the new one in its place\n");
        } else {
            puts(a->name);
        }
        flm_free_applications(a, 1);
    }
    return fflush(stdout) ? EXIT_FAILURE : status;
}

const struct command command_register = {
    "register", "FILE...", "Register applications described in files", 1, -1, true, options, parse, run};
