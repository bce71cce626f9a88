#define _GNU_SOURCE 1
#include "flmexec_joblog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char head[] = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
static const uint64_t seq_max = (uint64_t)1 << 36; /* 8 GiB of bits: a larger number is a damaged line */

static void mark(struct flmexec_joblog *log, uint64_t seq, bool done)
{
    if (seq >= log->done_bits) {
        uint64_t bits = (seq + seq / 2 + 1024) & ~(uint64_t)63;
        log->done = flmexec_realloc(log->done, bits / 8);
        memset((char *)log->done + log->done_bits / 8, 0, (bits - log->done_bits) / 8);
        log->done_bits = bits;
    }
    uint64_t bit = (uint64_t)1 << (seq % 64), *word = &log->done[seq / 64];
    log->n_done += done && !(*word & bit);
    log->n_done -= !done && (*word & bit);
    *word = done ? *word | bit : *word & ~bit;
}

/* A number that fills the column up to its tab. */
static bool column(const char **at, double *value)
{
    char *end;
    *value = strtod(*at, &end);
    if (end == *at || *end != '\t')
        return false;
    *at = end + 1;
    return true;
}

/* A line without its newline. Later lines about a job overrule earlier ones. */
static bool read_line(struct flmexec_joblog *log, const char *line, bool resume_failed)
{
    double seq, ignored, exit_value, sig;
    const char *at = line;
    if (!column(&at, &seq) || !(at = strchr(at, '\t')) || !(seq >= 1 && seq < (double)seq_max))
        return false; /* also for "nan" */
    at++;             /* behind the host */
    if (!column(&at, &ignored) || !column(&at, &ignored) || !column(&at, &ignored) ||
        !column(&at, &ignored) || !column(&at, &exit_value) || !column(&at, &sig))
        return false;
    mark(log, (uint64_t)seq, !resume_failed || (exit_value == 0 && sig == 0));
    if (seq < FLMEXEC_JOBLOG_COMMANDS) {
        free(log->commands[(int)seq]);
        log->commands[(int)seq] = strdup(at);
    }
    return true;
}

/* Reads what is there; returns the offset behind the last whole line. */
static off_t read_log(struct flmexec_joblog *log, bool resume_failed)
{
    char *line = NULL;
    size_t capacity = 0;
    off_t whole = 0;
    uint64_t n = 0, strange = 0;
    int copy = dup(log->fd);
    FILE *f = copy >= 0 ? fdopen(copy, "r") : NULL;
    if (!f)
        flmexec_die(FLMEXEC_TROUBLE, "cannot read the joblog '%s': %s", log->file, strerror(errno));
    for (ssize_t size; (size = getline(&line, &capacity, f)) > 0; n++) {
        if (line[size - 1] != '\n')
            break;
        if (n == 0 && strcmp(line, head) != 0)
            flmexec_die(FLMEXEC_USAGE,
                        "'%s' is not a joblog (its first line is not 'Seq Host ...'): give another file",
                        log->file);
        whole += size;
        line[size - 1] = 0;
        strange += n > 0 && !read_line(log, line, resume_failed);
    }
    if (strange)
        flmexec_warn("%" PRIu64 " lines of the joblog '%s' are not understood and are ignored", strange,
                     log->file);
    free(line);
    fclose(f);
    return whole;
}

void flmexec_joblog_open(struct flmexec_joblog *log, const char *file, bool resume, bool resume_failed)
{
    off_t whole = 0;
    *log = (struct flmexec_joblog){.file = file, .fd = -1};
    if (!file)
        return;
    log->fd = open(file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (resume ? 0 : O_TRUNC), 0666);
    if (log->fd < 0)
        flmexec_die(FLMEXEC_USAGE, "cannot write the joblog '%s': %s", file, strerror(errno));
    if (resume)
        whole = read_log(log, resume_failed);
    int rc = 0;
    if (lseek(log->fd, 0, SEEK_END) > whole && ftruncate(log->fd, whole) < 0)
        rc = errno;
    if (!rc && whole == 0)
        rc = flmexec_write_whole(log->fd, head, sizeof(head) - 1);
    if (rc)
        flmexec_die(FLMEXEC_TROUBLE, "cannot write the joblog '%s': %s", file, strerror(rc));
}

bool flmexec_joblog_done(const struct flmexec_joblog *log, uint64_t seq)
{
    return seq < log->done_bits && (log->done[seq / 64] >> (seq % 64) & 1);
}

const char *flmexec_joblog_command(const struct flmexec_joblog *log, uint64_t seq)
{
    return seq < FLMEXEC_JOBLOG_COMMANDS ? log->commands[seq] : NULL;
}

int flmexec_joblog_write(struct flmexec_joblog *log, const struct flmexec_joblog_entry *e)
{
    char numbers[256];
    if (log->fd < 0)
        return 0;
    log->line.size = 0;
    snprintf(numbers, sizeof(numbers),
             "%" PRIu64 "\t%.64s\t%.3f\t%10.3f\t%" PRIu64 "\t%" PRIu64 "\t%d\t%d\t", e->seq, e->host,
             e->start_s, e->run_s, e->sent, e->received, e->exit_value, e->signal);
    flmexec_text_str(&log->line, numbers);
    flmexec_text_str(&log->line, e->command);
    flmexec_text_char(&log->line, '\n');
    return flmexec_write_whole(log->fd, log->line.data, log->line.size);
}

void flmexec_joblog_close(struct flmexec_joblog *log)
{
    if (log->fd >= 0)
        close(log->fd);
    free(log->done);
    for (int i = 0; i < FLMEXEC_JOBLOG_COMMANDS; i++)
        free(log->commands[i]);
    flmexec_text_free(&log->line);
    log->fd = -1;
}
