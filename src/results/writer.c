#define _GNU_SOURCE
#include "results/writer.h"

#include "base/error.h"
#include "store/records.h"
#include "wire/flame.pb-c.h"
#include "wire/record.h"

#include <errno.h>
#include <flm/client.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void no_memory(const struct writer *w)
{
    errno = ENOMEM;
    sheet_fail(&w->sheet, "write");
}

/* ---- beginning ------------------------------------------------------------------------------------- */

/* A file that cannot be gone on with keeps its content, under another name. */
static void move_aside(struct writer *w, const char *why)
{
    char to[PATH_MAX];
    struct stat st;
    const char *path = w->sheet.path;
    if (lstat(path, &st) < 0 || st.st_size == 0)
        return;
    for (unsigned n = 1;; n++) {
        if ((size_t)snprintf(to, sizeof(to), "%s.damaged-%u", path, n) >= sizeof(to))
            sheet_fail(&w->sheet, "move aside");
        if (lstat(to, &st) < 0)
            break;
    }
    if (rename(path, to) < 0)
        sheet_fail(&w->sheet, "move aside");
    tell("note the file of results %s cannot be gone on with (%s): it is now %s, and a new one is written "
         "from the journal",
         path, why, to);
}

static void save(struct writer *w, enum progress_kind kind)
{
    flm_error error = {0};
    if (progress_write(&w->file, kind, &w->progress, w->places, &error) == 0)
        return;
    tell("trouble %s", error.text);
    _exit(1);
}

static void save_both(struct writer *w)
{
    save(w, PROGRESS_SYNCED);
    save(w, PROGRESS_NOW);
}

/* All results that the journal still has, in whatever order they come. */
static void begin_anew(struct writer *w)
{
    uint64_t journal = w->sheet.journal;
    w->progress = (struct progress){.journal = journal, .next = w->counted + 1, .state = PROGRESS_ANEW};
    memset(w->places, 0, sizeof(w->places));
    tell("again");
    save_both(w);
    sheet_create(&w->sheet);
    w->seen = calloc(w->counted / 64 + 1, sizeof(*w->seen));
    if (!w->seen)
        no_memory(w);
}

/* After a loss of power the journal may have less than the file: what came after will be others. False:
 * that cannot be told apart. */
static bool forget_unrecorded(struct writer *w)
{
    if (w->progress.next - 1 <= w->counted)
        return true;
    uint64_t more = w->progress.next - 1 - w->counted;
    if (more > w->progress.rows)
        return false;
    w->progress.rows -= more;
    w->progress.bytes = sheet_shorten(&w->sheet, w->progress.rows);
    w->progress.next = w->counted + 1;
    w->progress.position = 0;
    w->progress.state = PROGRESS_OPEN;
    return true;
}

/* NULL: the file is as this progress tells; "": it tells nothing; else what is wrong. */
static const char *go_on(struct writer *w, enum progress_kind kind)
{
    if (!progress_read(&w->file, kind, &w->progress, w->places) ||
        w->progress.journal != w->sheet.journal || w->progress.state == PROGRESS_ANEW)
        return "";
    const char *wrong = sheet_repair(&w->sheet, w->progress.rows, w->progress.bytes);
    return wrong ? wrong : forget_unrecorded(w) ? NULL : "the journal has fewer results than it has";
}

static void follow_from(struct writer *w, const char *folder, uint64_t position)
{
    flm_error error = {0};
    if (follow_open(&w->follow, folder, position, &error) == 0 && !w->follow.open)
        flm__error_set(&error, FLM_EIO, "it has no segment");
    if (!error.code)
        return;
    tell("trouble cannot read the journal: %s", error.text);
    exit(1);
}

void writer_begin(struct writer *w, const char *state_dir)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s/" FLM__JOURNAL_FOLDER, state_dir);
    follow_from(w, folder, 0);
    w->sheet.journal = w->follow.reader.header.journal;
    follow_close(&w->follow);
    const char *wrong = go_on(w, PROGRESS_NOW);
    if (wrong)
        wrong = go_on(w, PROGRESS_SYNCED);
    if (wrong && *wrong)
        move_aside(w, wrong);
    if (wrong)
        begin_anew(w);
    w->saved = w->progress.position;
    w->closed = w->progress.state == PROGRESS_CLOSED;
    follow_from(w, folder, w->progress.position);
    w->room_rows = WRITER_BYTES / w->sheet.row_bytes + 1;
    w->rows = calloc(w->room_rows, w->sheet.row_bytes);
    w->bytes = malloc(WRITER_BYTES);
    if (!w->rows || !w->bytes)
        no_memory(w);
}

/* ---- rows ----------------------------------------------------------------------------------------------
 */

static void flush(struct writer *w)
{
    struct sheet *s = &w->sheet;
    if (!w->n_rows && !w->n_bytes)
        return;
    wait_for_space(s, w->n_rows * s->row_bytes + w->n_bytes);
    sheet_open(s);
    if (w->n_bytes)
        sheet_append_bytes(s, w->bytes, w->n_bytes);
    if (w->n_rows)
        sheet_append_rows(s, w->rows, w->n_rows);
    w->n_rows = w->n_bytes = 0;
}

static uint64_t add_bytes(struct writer *w, const char *data, uint64_t size)
{
    uint64_t start = w->progress.bytes;
    if (w->n_bytes + size > WRITER_BYTES)
        flush(w);
    if (size > WRITER_BYTES) {
        wait_for_space(&w->sheet, size);
        sheet_open(&w->sheet);
        sheet_append_bytes(&w->sheet, data, size);
    } else {
        memcpy(w->bytes + w->n_bytes, data, size);
        w->n_bytes += size;
    }
    w->progress.bytes += size;
    return start;
}

/* The seconds that came in place of a cookie. */
static double duration_of(uint32_t cookie)
{
    float seconds;
    memcpy(&seconds, &cookie, sizeof(seconds));
    return cookie && seconds >= 0 && isfinite(seconds) ? (double)seconds : (double)NAN;
}

/* Who ran it; nobody, if it was ended before. */
static int executor_of(const struct flm__record *r, const struct flm__outcome *o, double duration)
{
    bool by_manager =
        isnan(duration) && (o->reason == FLM_REASON_CANCELLED || o->reason == FLM_REASON_BIND);
    return by_manager ? -1 : r->flags & FLM__RECORD_OUTCOME ? (int)o->executor : (int)r->lane;
}

static void fill_row(const struct writer *w, struct sheet_row *row, const struct flm__record *r,
                     const struct flm__outcome *o, uint32_t cookie)
{
    row->task = r->task;
    row->state = o->state;
    row->reason = o->reason;
    row->code = o->code;
    row->attempts = o->attempts;
    row->duration = duration_of(cookie);
    row->finished_ns = w->progress.clock_ns;
    if (row->finished_ns && !isnan(row->duration))
        row->started_ns = row->finished_ns - (int64_t)(row->duration * 1e9);
    row->executor = executor_of(r, o, row->duration);
    row->node = SHEET_NODES_MAX;
    if (row->executor >= 0 && (uint32_t)row->executor < w->progress.n_places && w->places[row->executor])
        row->node = (uint16_t)(w->places[row->executor] - 1);
}

/* Whether the result is new, and not one that was written again by a compaction. */
static bool is_new(struct writer *w, uint64_t number)
{
    if (w->seen && number <= w->counted) {
        uint64_t *word = &w->seen[number / 64], bit = (uint64_t)1 << number % 64;
        bool was = *word & bit;
        *word |= bit;
        return !was;
    }
    if (number < w->progress.next)
        return false;
    if (number > w->progress.next)
        tell("note results %" PRIu64 " to %" PRIu64 " of session %s are not in the journal any more, and "
             "missing in its file of results",
             w->progress.next, number - 1, w->sheet.session);
    w->progress.next = number + 1;
    return true;
}

static void take_result(struct writer *w, const struct flm__journal_record *header, const char *payload)
{
    struct flm__record r;
    struct flm__outcome o = {.state = FLM_TASK_SUCCEED};
    uint64_t number, size = header->size;
    if (size < sizeof(number) + sizeof(r))
        return;
    memcpy(&number, payload, sizeof(number));
    memcpy(&r, payload + sizeof(number), sizeof(r));
    payload += sizeof(number) + sizeof(r);
    size -= sizeof(number) + sizeof(r);
    if (r.flags & FLM__RECORD_OUTCOME) {
        if (size < sizeof(o))
            return;
        memcpy(&o, payload, sizeof(o));
        uint64_t before = sizeof(o) + flm__record_padded(o.text);
        if (before > size)
            return;
        payload += before;
        size -= before;
    }
    if (!is_new(w, number))
        return;
    if (w->n_rows == w->room_rows)
        flush(w);
    struct sheet_row row = {.task = 0};
    bool fits = w->sheet.type.n && size == w->sheet.type.bytes;
    fill_row(w, &row, &r, &o, header->value);
    row.bytes_size = fits ? 0 : size;
    row.bytes_start = fits ? w->progress.bytes : add_bytes(w, payload, size);
    char *at = w->rows + w->n_rows * w->sheet.row_bytes; /* that may have made room */
    memcpy(at, &row, sizeof(row));
    if (fits)
        memcpy(at + sizeof(row), payload, size);
    else
        memset(at + sizeof(row), 0, w->sheet.type.bytes);
    w->n_rows++;
    w->progress.rows++;
}

/* ---- other records ----------------------------------------------------------------------------- */

static void take_place(struct writer *w, uint32_t executor, const char *name, uint32_t size)
{
    if (executor >= PROGRESS_EXECUTORS_MAX)
        return;
    unsigned node = sheet_node(&w->sheet, name, size);
    w->places[executor] = (uint16_t)(node < SHEET_NODES_MAX ? node + 1 : 0);
    if (executor >= w->progress.n_places)
        w->progress.n_places = executor + 1;
}

static void take_session(struct writer *w, const void *payload, uint32_t size)
{
    Flm__StoredSession *stored = flm__stored_session__unpack(NULL, size, payload);
    if (!stored)
        return;
    w->closed = stored->state == DURABLE_STATE_CLOSED && w->progress.next > stored->results;
    flm__stored_session__free_unpacked(stored, NULL);
}

static int take_record(void *arg, const struct flm__journal_record *header, const void *payload,
                       uint64_t position)
{
    struct writer *w = arg;
    (void)position;
    if (header->type == DURABLE_CLOCK && header->size == sizeof(w->progress.clock_ns))
        memcpy(&w->progress.clock_ns, payload, sizeof(w->progress.clock_ns));
    else if (header->type == DURABLE_PLACE)
        take_place(w, header->value, payload, header->size);
    else if (header->session != w->serial)
        return 0;
    else if (header->type == DURABLE_RESULT)
        take_result(w, header, payload);
    else if (header->type == DURABLE_SESSION)
        take_session(w, payload, header->size);
    else if (header->type == DURABLE_FORGOTTEN)
        w->closed = true;
    return 0;
}

/* The journal has been read to its end for the first time. */
static void complete(struct writer *w)
{
    uint64_t missing = w->counted;
    for (uint64_t i = 0; i <= w->counted / 64; i++)
        missing -= (uint64_t)__builtin_popcountll(w->seen[i]);
    free(w->seen);
    w->seen = NULL;
    if (missing)
        tell("note %" PRIu64 " results of session %s are not in the journal any more, and missing in its "
             "file of results",
             missing, w->sheet.session);
}

bool writer_take(struct writer *w)
{
    struct flm__frame frame;
    flm_error error = {0};
    bool malformed;
    for (uint64_t bytes = 0; bytes < WRITER_BYTES; bytes += frame.header.bytes) {
        int rc = follow_next(&w->follow, &frame, &error);
        if (rc < 0) {
            tell("trouble %s", error.text);
            exit(1);
        }
        if (rc == 0) {
            if (w->seen)
                complete(w);
            return false;
        }
        flm__frame_records(&frame, take_record, w, &malformed);
        w->progress.position = w->follow.position;
    }
    return true;
}

void writer_finish(struct writer *w, bool sync)
{
    flush(w);
    sheet_close(&w->sheet);
    if (w->seen)
        return;
    w->progress.state = w->closed ? PROGRESS_CLOSED : PROGRESS_OPEN;
    if (w->progress.position != w->told) {
        save(w, PROGRESS_NOW);
        tell("rows %" PRIu64, w->progress.rows);
    }
    w->told = w->progress.position;
    if (!sync || (w->progress.position == w->saved && !w->closed))
        return;
    sheet_sync(&w->sheet);
    save(w, PROGRESS_SYNCED);
    w->saved = w->progress.position;
    tell("at %" PRIu64 " %" PRIu64, w->saved, w->progress.rows);
}
