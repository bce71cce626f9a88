/* flmctl version - of the library that is running. */
#include "tools/flmctl/flmctl.h"

static int run(struct flmctl *ctl, int n, char **args)
{
    static const struct report_column columns[] = {{"version", "Flame", 0}};
    (void)n;
    (void)args;
    struct report *r = report_new(ctl->format);
    report_record(r, "version", COLUMNS(columns));
    report_row(r);
    report_text(r, flm_version());
    return report_print(r);
}

const struct command command_version = {"version", "", "Show the version of Flame", 0, 0, false, NULL,
                                        NULL,      run};
