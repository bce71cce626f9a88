/* tools/flmexec_joblog.h - the log of jobs that have ended, in GNU parallel's columns.
 *
 * Seq Host Starttime JobRuntime Send Receive Exitval Signal Command, separated
 * by tabs, a line per job in the order in which outputs were written. A line is
 * written by one write(2) after the output of its job, so a job in the log has
 * had its output. A torn last line (a crash, a full disk) is cut off on resume.
 */
#ifndef FLM_TOOLS_FLMEXEC_JOBLOG_H
#define FLM_TOOLS_FLMEXEC_JOBLOG_H

#include "flmexec_text.h"

#include <stdbool.h>
#include <stdint.h>

enum { FLMEXEC_JOBLOG_COMMANDS = 256 };

struct flmexec_joblog {
    const char *file;
    int fd;         /* -1: there is none */
    uint64_t *done; /* a bit per Seq: not to be run again */
    uint64_t done_bits, n_done;
    char *commands[FLMEXEC_JOBLOG_COMMANDS]; /* of the first jobs, by Seq; NULL: not known */
    struct flmexec_text line;
};

struct flmexec_joblog_entry {
    uint64_t seq;
    const char *host;
    double start_s, run_s; /* start since the epoch */
    uint64_t sent, received;
    int exit_value, signal;
    const char *command; /* one line */
};

/* Opens the log, empties it unless resume. With resume_failed only what has
 * succeeded counts as done. Gives up when the file cannot be used. */
void flmexec_joblog_open(struct flmexec_joblog *log, const char *file, bool resume, bool resume_failed);
bool flmexec_joblog_done(const struct flmexec_joblog *log, uint64_t seq);
/* The command that the log has for a job, for one of the first ones; NULL: not known. */
const char *flmexec_joblog_command(const struct flmexec_joblog *log, uint64_t seq);
/* 0 or an errno value. */
int flmexec_joblog_write(struct flmexec_joblog *log, const struct flmexec_joblog_entry *e);
void flmexec_joblog_close(struct flmexec_joblog *log);

#endif
