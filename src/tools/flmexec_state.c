#define _GNU_SOURCE 1
#include "base/file.h"
#include "flmexec_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file: a head, then records. Little endian, as all of Flame. */
enum { HEAD_BYTES = 4096, READ_RECORDS = 4096 };

struct head {
    char magic[16];
    uint32_t head_bytes, record_bytes;
    char command[HEAD_BYTES - 24]; /* as a person would type it; ended by a zero, cut if it is longer */
};

static const char magic[16] = "flmexec jobs 1\n";

_Static_assert(sizeof(struct head) == HEAD_BYTES, "the head is as long as it says");
_Static_assert(sizeof(struct flmexec_record) == 24, "records have no gaps");

static void cannot(const struct flmexec_state *s, const char *what, int error) __attribute__((noreturn));

static void cannot(const struct flmexec_state *s, const char *what, int error)
{
    flmexec_die(FLMEXEC_TROUBLE, "cannot %s '%s', which says what this run has done: %s", what, s->path,
                strerror(error));
}

static off_t place_of(uint64_t seq)
{
    return HEAD_BYTES + (off_t)(seq - 1) * (off_t)sizeof(struct flmexec_record);
}

/* FNV-1a; never 0. */
static uint64_t hash(const char *data, size_t size)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

/* --- opening --- */

static void make_head(struct head *h, const struct flmexec_options *o)
{
    struct flmexec_text text = {0};
    *h = (struct head){.head_bytes = HEAD_BYTES, .record_bytes = sizeof(struct flmexec_record)};
    memcpy(h->magic, magic, sizeof(magic));
    if (o->command.shell)
        flmexec_text_str(&text, o->command.raw ? "lines for " : "a line for ");
    flmexec_text_str(&text, o->command.shell ? o->command.shell : "");
    for (int i = 0; i < o->n_words; i++) {
        if (text.size)
            flmexec_text_char(&text, ' ');
        flmexec_text_quoted(&text, o->words[i], strlen(o->words[i]));
    }
    snprintf(h->command, sizeof(h->command), "%s", text.data);
    flmexec_text_free(&text);
}

static void begin(struct flmexec_state *s, const struct head *head)
{
    int rc = flm__write_at(s->fd, head, sizeof(*head), 0);
    if (rc)
        cannot(s, "write", rc);
}

/* The file of an earlier run: it must be of the same command. */
static void go_on(struct flmexec_state *s, const struct head *head, off_t size)
{
    struct head before;
    ssize_t n = pread(s->fd, &before, sizeof(before), 0);
    if (n < 0)
        cannot(s, "read", errno);
    if (n != sizeof(before) || memcmp(before.magic, magic, sizeof(magic)) != 0 ||
        before.head_bytes != HEAD_BYTES || before.record_bytes != sizeof(struct flmexec_record))
        flmexec_die(FLMEXEC_USAGE,
                    "'%s' is not the file of a run of flmexec, or of another version: choose another "
                    "--state-dir",
                    s->path);
    before.command[sizeof(before.command) - 1] = 0;
    if (strcmp(before.command, head->command) != 0)
        flmexec_die(
            FLMEXEC_USAGE,
            "--resume: '%s' is of another command: '%.300s' before, and '%.300s' now. Another run needs "
            "another --session or --state-dir",
            s->path, before.command, head->command);
    s->jobs = (uint64_t)(size - HEAD_BYTES) / sizeof(struct flmexec_record);
}

void flmexec_state_open(struct flmexec_state *s, const struct flmexec_options *o)
{
    struct head head;
    struct stat st;
    *s = (struct flmexec_state){.fd = -1};
    if (!o->state_dir)
        return;
    if (asprintf(&s->path, "%s/flmexec-%s.jobs", o->state_dir, o->session) < 0)
        flmexec_die(FLMEXEC_TROUBLE, "out of memory");
    s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->fd < 0 || fstat(s->fd, &st) < 0)
        cannot(s, "open", errno);
    if (flock(s->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        flmexec_die(FLMEXEC_TROUBLE, "another flmexec works on '%s': give this run another --session",
                    s->path);
    make_head(&head, o);
    if (st.st_size <= HEAD_BYTES) { /* none, or one that ended before it gave a job */
        begin(s, &head);
        return;
    }
    if (!o->resume)
        flmexec_die(
            FLMEXEC_USAGE,
            "'%s' is of an earlier run: --resume goes on with it; for a new one give another --session "
            "or --state-dir",
            s->path);
    go_on(s, &head, st.st_size);
}

/* --- records --- */

static struct flmexec_record read_record(struct flmexec_state *s, uint64_t seq)
{
    if (!s->read)
        s->read = flmexec_alloc(READ_RECORDS * sizeof(*s->read));
    if (!s->read_from || seq < s->read_from || seq - s->read_from >= s->n_read) {
        ssize_t n = pread(s->fd, s->read, READ_RECORDS * sizeof(*s->read), place_of(seq));
        if (n < (ssize_t)sizeof(*s->read))
            cannot(s, "read", n < 0 ? errno : EIO);
        s->read_from = seq;
        s->n_read = (unsigned)((size_t)n / sizeof(*s->read));
    }
    return s->read[seq - s->read_from];
}

/* The session of these tasks is gone: they count as never given, lest tasks of the new one with the same
 * ids be taken for them. */
static void forget_tasks(struct flmexec_state *s)
{
    for (uint64_t seq = 1; seq <= s->jobs; seq++) {
        struct flmexec_record r = read_record(s, seq);
        int rc = 0;
        if (r.task && r.fate == FATE_OPEN) {
            r.task = r.tries = 0;
            rc = flm__write_at(s->fd, &r, sizeof(r), (uint64_t)place_of(seq));
        }
        if (rc)
            cannot(s, "write", rc);
    }
    s->read_from = 0;
}

void flmexec_state_attach(struct flmexec_state *s, uint64_t submitted)
{
    s->submitted = submitted;
    if (!submitted)
        forget_tasks(s);
}

struct flmexec_record flmexec_state_of(struct flmexec_state *s, const struct flmexec_job *job, bool shell)
{
    struct flmexec_record r = read_record(s, job->seq);
    if (r.hash && r.hash != hash(job->input, job->input_size)) {
        struct flmexec_text text = {0};
        flmexec_job_command(job, shell, &text);
        flmexec_die(FLMEXEC_USAGE,
                    "--resume: job %" PRIu64 " is '%.300s' now and was another one before: give the same "
                    "arguments in the same order (more may follow), or another --session or --state-dir",
                    job->seq, text.data);
    }
    if (r.task > s->submitted && r.fate == FATE_OPEN)
        r.task = 0;
    return r;
}

static int write_record(struct flmexec_state *s, const struct flmexec_job *job, uint64_t task,
                        enum flmexec_fate fate)
{
    const struct flmexec_record r = {.hash = hash(job->input, job->input_size),
                                     .task = task,
                                     .tries = job->tries,
                                     .fate = (uint32_t)fate};
    return s->fd < 0 ? 0 : flm__write_at(s->fd, &r, sizeof(r), (uint64_t)place_of(job->seq));
}

int flmexec_state_give(struct flmexec_state *s, const struct flmexec_job *job, uint64_t task)
{
    return write_record(s, job, task, FATE_OPEN);
}

int flmexec_state_reported(struct flmexec_state *s, const struct flmexec_job *job)
{
    return write_record(s, job, (uint64_t)job->task, job->outcome.ok ? FATE_SUCCEEDED : FATE_FAILED);
}

void flmexec_state_close(struct flmexec_state *s)
{
    if (s->fd >= 0)
        close(s->fd);
    free(s->path);
    free(s->read);
    *s = (struct flmexec_state){.fd = -1};
}
