/* flmctl doctor - looks at this machine; needs no session manager. */
#include "tools/flmctl/doctor.h"
#include "tools/flmctl/flmctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *advice,
                const char *format, ...)
{
    static const char *const levels[] = {"ok", "warn", "FAIL"};
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if ((int)level > d->worst)
        d->worst = (int)level;
    report_row(d->report);
    report_text(d->report, check);
    report_text(d->report, levels[level]);
    report_text(d->report, text);
    report_text(d->report, level == DOCTOR_OK ? "" : advice);
}

bool doctor_read_line(const char *file, char *text, size_t size)
{
    FILE *f = fopen(file, "re");
    bool good = f && fgets(text, (int)size, f);
    if (f)
        fclose(f);
    if (good)
        text[strcspn(text, "\n")] = 0;
    return good;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    static const struct report_column columns[] = {
        {"check", "Check", 0},
        {"state", "State", 0},
        {"found", "Found", REPORT_WRAP},
        {"advice", "What to do", REPORT_WRAP},
    };
    struct doctor d = {.report = report_new(ctl->format)};
    (void)n;
    (void)args;
    report_table(d.report, "checks", COLUMNS(columns));
    doctor_cpus(&d);
    doctor_limits(&d);
    doctor_kernel(&d);
    doctor_programs(&d);
    doctor_site(&d);
    int status = report_print(d.report);
    return d.worst == DOCTOR_FAIL ? EXIT_FAILURE : status;
}

const struct command command_doctor = {
    "doctor", "", "Check this machine and say what to do", 0, 0, false, NULL, NULL, run};
