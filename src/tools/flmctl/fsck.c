/* flmctl fsck - verifies the journal of a session manager that does not run. */
#include "tools/flmctl/flmctl.h"

static int repair;

static const struct argp_option options[] = {{"repair", 'r', NULL, 0,
                                              "Cut off the end of the last segment from where it is torn, "
                                              "or was not on the disk before a loss of power",
                                              0},
                                             {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    (void)state;
    if (key != 'r')
        return ARGP_ERR_UNKNOWN;
    repair = 1;
    return 0;
}

static void damage(const struct flm_store_damage *d, void *arg)
{
    struct report *r = arg;
    report_row(r);
    report_text(r, d->file);
    report_number(r, (int64_t)d->offset);
    report_number(r, (int64_t)d->bytes);
    report_truth(r, d->repaired);
    report_text(r, d->what);
}

static void summary(struct report *r, const struct flm_store_state *s)
{
    static const struct report_column columns[] = {
        {"segments", "Segments", REPORT_RIGHT}, {"frames", "Frames", REPORT_RIGHT},
        {"records", "Records", REPORT_RIGHT},   {"bytes", "Bytes", REPORT_RIGHT},
        {"damages", "Damages", REPORT_RIGHT},   {"repaired", "Repaired", REPORT_RIGHT},
    };
    report_record(r, "journal", COLUMNS(columns));
    report_row(r);
    report_number(r, (int64_t)s->segments);
    report_number(r, (int64_t)s->frames);
    report_number(r, (int64_t)s->records);
    report_number(r, (int64_t)s->bytes);
    report_number(r, (int64_t)s->damages);
    report_number(r, (int64_t)s->repaired);
}

static int run(struct flmctl *ctl, int n, char **args)
{
    static const struct report_column columns[] = {
        {"file", "File", 0},         {"offset", "Byte", REPORT_RIGHT}, {"bytes", "Bytes", REPORT_RIGHT},
        {"repaired", "Repaired", 0}, {"what", "Damage", REPORT_WRAP},
    };
    struct report *r = report_new(ctl->format);
    struct flm_store_state found = {.damages = 0};
    (void)n;
    report_table(r, "damages", COLUMNS(columns));
    int rc = flm_check_store(args[0], repair, damage, r, &found, &ctl->error);
    if (rc < 0 && !found.segments && !found.damages) {
        report_drop(r);
        return flmctl_fail(ctl, NULL);
    }
    summary(r, &found);
    int status = report_print(r); /* what was found before it failed, too */
    if (rc < 0)
        return flmctl_fail(ctl, NULL);
    return found.damages > found.repaired ? EXIT_FAILURE : status;
}

const struct command command_fsck = {
    "fsck",  "DIRECTORY", "Verify the journal in the state directory of a flmd that does not run",
    1,       1,           false,
    options, parse,       run};
