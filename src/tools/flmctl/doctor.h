/* tools/flmctl/doctor.h - findings of `flmctl doctor`. */
#ifndef FLM_TOOLS_FLMCTL_DOCTOR_H
#define FLM_TOOLS_FLMCTL_DOCTOR_H

#include "tools/flmctl/report.h"

#include <flm/error.h>
#include <stddef.h>

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
    struct report *report;
    int worst; /* enum doctor_level */
};

/* One finding: what was looked at, what is there, and (not for OK) what to do. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *advice,
                const char *format, ...) FLM_PRINTF(5, 6);

/* The checks, by what they look at. Libraries that they try stay loaded: not all can be
 * unloaded cleanly. */
void doctor_limits(struct doctor *d);   /* doctor_limits.c: memory, files, disk */
void doctor_cpus(struct doctor *d);     /* doctor_cpus.c: cores, affinity, quota */
void doctor_kernel(struct doctor *d);   /* doctor_kernel.c: system calls, folders */
void doctor_programs(struct doctor *d); /* doctor_programs.c: of Flame */
void doctor_site(struct doctor *d);     /* doctor_site.c: libfabric, MPI, batch system */

/* First line of a file without its newline; false: it cannot be read. */
bool doctor_read_line(const char *file, char *text, size_t size);

/* What a command prints (stdout and stderr), at most size - 1 bytes, at most 10 s.
 * Its exit status, or -1: it could not be run or did not end. */
int doctor_run(const char *const *argv, char *text, size_t size);

#endif
