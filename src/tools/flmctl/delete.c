/* flmctl delete - reserved: sessions that are kept on disk come later. */
#include "tools/flmctl/flmctl.h"

#include <stdio.h>

static int run(struct flmctl *ctl, int n, char **args)
{
    (void)ctl;
    (void)n;
    (void)args;
    fprintf(stderr, "flmctl: delete is not supported yet: closed sessions are forgotten by and by\n");
    return EXIT_FAILURE;
}

const struct command command_delete = {"delete", "SESSION", "Not supported yet", 0, -1, false, NULL,
                                       NULL,     run};
