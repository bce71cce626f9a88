/* pbs/reports.h - what qstat -f -F json and pbsnodes -F json say. */
#ifndef PLUGIN_PBS_REPORTS_H
#define PLUGIN_PBS_REPORTS_H

#include "../parts/jobs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_report {
    char id[JOB_ID];
    char state;          /* 'Q', 'R', ...; 0: not said */
    char comment[240];   /* "" none */
    int64_t start_s;     /* -1: not said */
    int64_t walltime_s;  /* -1: none */
    int64_t used_s;      /* of it, when its node last said so; -1: not said */
    int64_t suspended_s; /* since its start, at least; see reports_follow */
    int64_t seen_s;      /* of that: between answers that said so */
    bool has_ranks;      /* it was asked for with mpiprocs */
    bool has_threads;    /* or with ompthreads */
    bool has_status;
    int status;      /* as PBS counts it */
    char *exec_host; /* NULL: not said */
};

struct job_reports {
    struct job_report *list;
    unsigned n;
    int64_t at_s; /* when the server wrote it; -1: not said */
};

/* false: the text is not whole, and what it lacks says nothing. */
bool reports_read(const char *text, size_t n, struct job_reports *out);
void reports_free(struct job_reports *reports);
/* The id may lack the server's name; NULL: it says nothing of it. */
const struct job_report *reports_find(const struct job_reports *reports, const char *id);

/* What only several answers tell: how long jobs were suspended, which does not count as walltime. From the
 * answers that say so; and from the time used, which is told late, so that only a change of it between two
 * answers says when it was true. stopped_s: of the jobs, since the answer before, as far as we know. */
void reports_follow(struct job_reports *now, const struct job_reports *before, int64_t stopped_s);

/* When a job that runs ends; -1: never, or not known, as while it is suspended. */
int64_t report_end(const struct job_report *job);
/* How one that is over has ended, for people. */
const char *report_how(const struct job_report *job, char *out, size_t n);

/* "1:02:03", "02:03" or seconds; -1: no such time. */
int64_t report_walltime(const char *text);

/* Whether an administrator has taken the node out of service, from pbsnodes: 1, 0, or -1: it does not say.
 */
int report_is_offline(const char *text, size_t size, const char *node);
/* The CPUs that most nodes have; 0: not known. */
unsigned report_usual_cpus(const char *text, size_t size);

#endif
