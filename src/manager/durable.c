#include "manager/durable.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/client.h"
#include "manager/common.h"
#include "manager/flow.h"
#include "manager/results.h"
#include "net/blob.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the journal's ring: for what cannot wait for room. */
enum { MARGIN_BYTES = 512 << 10 };

/* ---- opening, closing ---------------------------------------------------------------------------- */

static void on_bell(uv_poll_t *poll, int status, int events)
{
    struct durable *d = poll->data;
    uint64_t count;
    ssize_t n = read(d->bell, &count, sizeof(count));
    (void)n;
    (void)status;
    (void)events; /* the next turn looks */
}

static int watch_bell(struct durable *d, flm_error *error)
{
    int rc = uv_poll_init(&d->manager->uv, &d->poll, d->bell);
    d->poll.data = d;
    if (rc == 0)
        rc = uv_poll_start(&d->poll, UV_READABLE, on_bell);
    return rc < 0 ? flm__error_set(error, FLM_EIO, "cannot watch an eventfd: %s", uv_strerror(rc)) : 0;
}

int durable_open(struct manager *m, flm_error *error)
{
    char folder[4096];
    struct durable *d = calloc(1, sizeof(*d));
    if (!d)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the journal");
    d->manager = m;
    d->next_serial = 1;
    d->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->durable = d;
    if (d->bell < 0)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make an eventfd");
    if ((size_t)snprintf(folder, sizeof(folder), "%s/journal", m->options.state_dir) >= sizeof(folder))
        return flm__error_set(error, FLM_EINVAL, "the path of --state-dir is too long");
    if (mkdir(m->options.state_dir, 0700) < 0 && errno != EEXIST)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make --state-dir %s", m->options.state_dir);
    struct flm__journal_options options = {.event_fd = d->bell, .segment_bytes = m->options.segment_bytes};
    d->journal = flm__journal_open(folder, &options, error);
    if (!d->journal)
        return error->code;
    int rc = restore(d, error);
    if (rc == 0)
        rc = flm__journal_start(d->journal, error);
    if (rc < 0)
        return rc;
    struct session *s, *next;
    HASH_ITER(hh, m->sessions, s, next) /* what comes of it is recorded, and that was not possible before */
    {
        results_resume(s);
        session_resume(s);
    }
    return watch_bell(d, error);
}

void durable_stop(struct manager *m)
{
    struct durable *d = m->durable;
    flm_error error = {0};
    if (!d || !d->journal)
        return;
    core_time_record(m);
    durable_turn(d);
    if (flm__journal_stop(d->journal, &error) < 0)
        fprintf(stderr, "flmd: not all is durable: %s\n", error.text);
    results_stop(d);
}

void durable_free(struct manager *m)
{
    struct durable *d = m->durable;
    if (!d)
        return;
    inbound_unpark(d, true);
    flm__journal_close(d->journal);
    if (d->bell >= 0)
        close(d->bell);
    free(d);
    m->durable = NULL;
}

/* ---- room ------------------------------------------------------------------------------------------- */

bool durable_room(struct durable *d, uint64_t bytes)
{
    const struct flm__journal *j = d->journal;
    uint64_t need = flm__journal_bytes(bytes) + MARGIN_BYTES;
    if (flm__journal_bytes(bytes) >
        j->mask / 4) /* not through the ring: memory of its own, within a limit */
        return flm__journal_reserve(d->journal, bytes) != NULL;
    return j->limit - j->tail >= need || flm__journal_room(d->journal) >= need;
}

bool durable_half_free(struct durable *d)
{
    return flm__journal_room(d->journal) > d->journal->mask / 2 + MARGIN_BYTES;
}

const char *durable_trouble(struct durable *d)
{
    static flm_error error;
    if (d->state == FLM__JOURNAL_GOOD)
        return NULL;
    flm__journal_error(d->journal, &error);
    return error.text;
}

const char *durable_failure(struct durable *d)
{
    return d->state == FLM__JOURNAL_FAILED ? durable_trouble(d) : NULL;
}

/* ---- records of tasks and results ------------------------------------------------------------- */

static struct flm__journal_record *begin(struct durable *d, const struct session *s, enum durable_type type,
                                         uint64_t size)
{
    struct flm__journal_record *record = flm__journal_reserve(d->journal, size);
    if (!record)
        return NULL;
    record->type = (uint16_t)type;
    record->flags = 0;
    record->session = s ? s->serial : 0;
    record->value = 0;
    d->sync |= s && s->durability == FLM_DURABILITY_SYNC;
    return record;
}

/* A record and its payload; the blob, if it has one, in place of the reference. */
static void copy(struct flm__journal_record *record, char *to, const struct flm__record *r,
                 const void *payload, const struct blob *large)
{
    memcpy(to, r, FLM__RECORD_HEADER);
    to += FLM__RECORD_HEADER;
    if (!large) {
        memcpy(to, payload, r->size);
        return;
    }
    uint32_t before = r->size - (uint32_t)sizeof(struct flm__blob_ref);
    record->flags |= DURABLE_LARGE;
    memcpy(to, payload, before);
    memcpy(to + before, large->map, large->size);
}

bool durable_readable(struct blob *large)
{
    if (large && !large->map)
        blob_map(large, NULL);
    return !large || large->map;
}

uint64_t durable_bytes(uint32_t size, uint64_t large)
{
    return FLM__RECORD_HEADER + (large ? size - sizeof(struct flm__blob_ref) + large : size);
}

bool durable_task(struct session *s, const struct flm__record *r, const void *payload, struct blob *large)
{
    struct durable *d = s->manager->durable;
    uint64_t bytes = durable_bytes(r->size, large ? large->size : 0);
    if (!durable_room(d, bytes) || !durable_readable(large))
        return false;
    struct flm__journal_record *record = begin(d, s, DURABLE_TASK, bytes);
    if (!record)
        return false;
    copy(record, (char *)(record + 1), r, payload, large);
    flm__journal_put(d->journal, record);
    return true;
}

bool durable_stored_task(struct session *s, const struct flm__record *stored, struct blob *large)
{
    struct flm__record task = *stored;
    task.type = FLM__TASK;
    task.lane = 0;
    task.flags &= (uint8_t)~SESSION_CANCEL_WANTED;
    return durable_task(s, &task, stored + 1, large);
}

/* Results of a session that writes them to a file get the time, to about a millisecond. */
static void write_clock(struct durable *d)
{
    enum { STEP_NS = 1000000 };
    int64_t wall_ns;
    if (d->manager->now - d->clock_ns < STEP_NS)
        return;
    struct flm__journal_record *record = begin(d, NULL, DURABLE_CLOCK, sizeof(wall_ns));
    if (!record)
        return;
    wall_ns = flm__wall_ns();
    memcpy(record + 1, &wall_ns, sizeof(wall_ns));
    flm__journal_put(d->journal, record);
    d->clock_ns = d->manager->now;
}

uint64_t durable_reserve_result(struct session *s, uint32_t bytes, uint64_t large)
{
    struct durable *d = s->manager->durable;
    uint64_t size = sizeof(uint64_t) + durable_bytes(bytes - FLM__RECORD_HEADER, large);
    if (!d->urgent && !durable_room(d, size))
        return 0;
    if (s->results)
        write_clock(d);
    d->reserved = begin(d, s, DURABLE_RESULT, size);
    return d->reserved ? flm__journal_position(d->journal) + flm__journal_bytes(size) : 0;
}

static void put_result(struct durable *d, const struct flm__record *r, uint64_t number, uint32_t duration)
{
    struct blob *large = r->flags & FLM__RECORD_BLOB ? flow_blob(r) : NULL;
    uint64_t size = sizeof(number) + durable_bytes(r->size, large ? large->size : 0);
    /* What was reserved has the padding of the record, which the journal has itself. */
    d->reserved->size = (uint32_t)size;
    d->reserved->value = duration;
    if (size & 7)
        memset((char *)(d->reserved + 1) + (size & ~(uint64_t)7), 0, 8);
    memcpy(d->reserved + 1, &number, sizeof(number));
    copy(d->reserved, (char *)(d->reserved + 1) + sizeof(number), r, r + 1, large);
    flm__journal_put(d->journal, d->reserved);
}

void durable_result(struct session *s, const struct flm__record *r, uint32_t duration)
{
    put_result(s->manager->durable, r, s->outbox.put, s->results ? duration : 0);
}

bool durable_result_again(struct session *s, const struct flm__record *r, uint64_t number)
{
    struct blob *large = r->flags & FLM__RECORD_BLOB ? flow_blob(r) : NULL;
    if (!durable_readable(large) ||
        !durable_reserve_result(s, FLM__RECORD_HEADER + r->size, large ? large->size : 0))
        return false;
    put_result(s->manager->durable, r, number, 0);
    return true;
}

/* ---- sessions and applications ---------------------------------------------------------------- */

uint64_t durable_mark(const struct session *s)
{
    struct durable *d = s->manager->durable;
    d->sync |= s->durability == FLM_DURABILITY_SYNC;
    return flm__journal_position(d->journal);
}

void durable_watch(struct session *s)
{
    struct durable *d = s->manager->durable;
    if (s->in_syncing)
        return;
    s->in_syncing = true;
    s->next_syncing = d->syncing;
    d->syncing = s;
}

void durable_touch(struct session *s, unsigned what)
{
    struct durable *d = s->manager->durable;
    if (!d || s->durability == FLM_DURABILITY_NONE)
        return;
    if (!s->dirty) {
        s->next_dirty = d->dirty;
        d->dirty = s;
    }
    s->dirty |= what;
}

static bool write_packed(struct durable *d, const struct session *s, enum durable_type type,
                         const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    struct flm__journal_record *record = begin(d, s, type, size);
    if (!record)
        return false;
    protobuf_c_message_pack(message, (uint8_t *)(record + 1));
    flm__journal_put(d->journal, record);
    return true;
}

static void fill_spec(Flm__SessionSpec *spec, struct session *s)
{
    flm__session_spec__init(spec);
    spec->application = s->application->name;
    spec->id = s->id;
    spec->flags = FLM_DETACHED;
    spec->min_instances = s->min_instances;
    spec->max_instances = s->max_instances;
    spec->weight = s->weight;
    spec->delay_release_ms = s->delay_release_ms;
    spec->deadline_ms = s->deadline_ms;
    spec->retry_limit = s->retry_limit;
    spec->queue_bytes = s->queue_bytes;
    spec->result_bytes = s->result_bytes;
    spec->durability = s->durability;
    spec->ranks_per_task = s->ranks;
    spec->spread_ranks = s->spread;
    if (s->results)
        spec->results = (char *)(uintptr_t)s->results->file;
}

bool durable_session(struct session *s)
{
    Flm__StoredSession stored = FLM__STORED_SESSION__INIT;
    Flm__SessionSpec spec;
    fill_spec(&spec, s);
    stored.spec = &spec;
    stored.application = s->application->description;
    stored.state = s->state;
    /* The one whose input is still being read is not recorded yet, and none after it. */
    stored.last_task = s->fetching ? s->fetching_task - 1 : session_newest(s);
    stored.results = s->outbox.put;
    stored.taken = s->outbox.dropped;
    stored.succeed = s->succeed;
    stored.failed = s->failed;
    stored.cancelled = s->cancelled;
    stored.retried = s->retried;
    stored.created_ns = s->created_ns;
    stored.closed_ns = s->closed_ns;
    stored.trouble = s->trouble;
    stored.number = s->number;
    stored.results_done = s->results && s->results->done;
    stored.deleted = s->deleted;
    stored.n_ended = stored.n_lost = REASONS;
    stored.ended = s->reasons.ended;
    stored.lost = s->reasons.lost;
    return write_packed(s->manager->durable, s, DURABLE_SESSION, &stored.base);
}

bool durable_begin(struct session *s)
{
    s->serial = s->manager->durable->next_serial++;
    s->from = flm__journal_position(s->manager->durable->journal);
    return durable_session(s) && durable_common(s);
}

bool durable_common(struct session *s)
{
    struct durable *d = s->manager->durable;
    uint64_t version;
    struct blob *common = common_newest(s, &version);
    if (!common)
        return true;
    if (!durable_readable(common))
        return false;
    struct flm__journal_record *record = begin(d, s, DURABLE_COMMON, common->size);
    if (!record)
        return false;
    record->value = (uint32_t)version;
    memcpy(record + 1, common->map, common->size);
    flm__journal_put(d->journal, record);
    return true;
}

void durable_forget(struct session *s)
{
    struct durable *d = s->manager->durable;
    if (!d || s->durability == FLM_DURABILITY_NONE)
        return;
    for (struct session **at = &d->dirty; s->dirty && *at; at = &(*at)->next_dirty)
        if (*at == s) {
            *at = s->next_dirty;
            break;
        }
    for (struct session **at = &d->syncing; s->in_syncing && *at; at = &(*at)->next_syncing)
        if (*at == s) {
            *at = s->next_syncing;
            break;
        }
    struct flm__journal_record *record = d->manager->stopping ? NULL : begin(d, s, DURABLE_FORGOTTEN, 0);
    if (record)
        flm__journal_put(d->journal, record);
}

bool durable_last_serial(struct durable *d, uint32_t serial)
{
    if (!serial || session_by_serial(d->manager, serial))
        return true;
    struct flm__journal_record *record = begin(d, NULL, DURABLE_FORGOTTEN, 0);
    if (!record)
        return false;
    record->session = serial;
    flm__journal_put(d->journal, record);
    return true;
}

void durable_place(struct session *s, unsigned executor, const char *node)
{
    struct durable *d = s->manager->durable;
    size_t size = strlen(node);
    struct flm__journal_record *record = begin(d, NULL, DURABLE_PLACE, size);
    if (!record)
        return; /* the column of nodes has a gap then */
    record->value = executor;
    memcpy(record + 1, node, size);
    flm__journal_put(d->journal, record);
}

void durable_drop(struct durable *d)
{
    uint64_t hold = results_hold(d);
    if (d->drop_complete)
        flm__journal_drop_before(d->journal, d->drop_first < hold ? d->drop_first : hold, d->drop_complete);
}

bool durable_lost(struct session *s, const struct loss *loss)
{
    struct durable *d = s->manager->durable;
    struct flm__journal_record *record =
        d && s->durability ? begin(d, s, DURABLE_LOST, sizeof(*loss)) : NULL;
    if (!record)
        return false;
    memcpy(record + 1, loss, sizeof(*loss));
    flm__journal_put(d->journal, record);
    return true;
}

bool durable_core_time(struct session *s, const struct core_time *t)
{
    struct durable *d = s->manager->durable;
    bool sync = d->sync;
    struct flm__journal_record *record =
        durable_room(d, sizeof(*t)) ? begin(d, s, DURABLE_CORE_TIME, sizeof(*t)) : NULL;
    d->sync = sync; /* not worth one of its own */
    if (!record)
        return false;
    memcpy(record + 1, t, sizeof(*t));
    flm__journal_put(d->journal, record);
    return true;
}

bool durable_application(struct manager *m, const struct application *a, bool registered)
{
    struct durable *d = m->durable;
    if (!d || a->description->temporary || m->stopping)
        return true;
    if (registered)
        return write_packed(d, NULL, DURABLE_APPLICATION, &a->description->base);
    size_t size = strlen(a->name);
    struct flm__journal_record *record = begin(d, NULL, DURABLE_UNREGISTERED, size);
    if (!record)
        return false;
    memcpy(record + 1, a->name, size);
    flm__journal_put(d->journal, record);
    return true;
}

/* ---- one turn --------------------------------------------------------------------------------- */

static bool write_taken(struct durable *d, struct session *s)
{
    uint64_t taken = s->outbox.dropped;
    struct flm__journal_record *record = begin(d, s, DURABLE_TAKEN, sizeof(taken));
    if (!record)
        return false;
    memcpy(record + 1, &taken, sizeof(taken));
    flm__journal_put(d->journal, record);
    return true;
}

/* Those that find no room stay for the next turn. */
static void write_dirty(struct durable *d)
{
    while (d->dirty) {
        struct session *s = d->dirty;
        bool done = s->dirty & DURABLE_STATE_CHANGED ? durable_session(s) : write_taken(d, s);
        if (!done)
            return;
        d->dirty = s->next_dirty;
        s->dirty = 0;
    }
}

/* The journal has failed for ever: nothing more comes of durable sessions, and nobody is to wait for it. */
static void tell_clients(struct durable *d, const char *why)
{
    for (struct session *s = d->manager->sessions; s; s = s->hh.next)
        if (s->durability)
            client_lose_session(s, why);
}

static void look_at_state(struct durable *d)
{
    enum flm__journal_state state = flm__journal_state(d->journal);
    flm_error error = {0};
    if (state == d->state)
        return;
    d->state = state;
    if (state == FLM__JOURNAL_GOOD) {
        fprintf(stderr, "flmd: the journal has room again\n");
        return;
    }
    flm__journal_error(d->journal, &error);
    fprintf(stderr, "flmd: %s%s\n", error.text,
            state == FLM__JOURNAL_FAILED
                ? "; durable sessions take no tasks and deliver no results any more"
                : "; durable sessions take no tasks and deliver no results until then");
    if (state == FLM__JOURNAL_FAILED)
        tell_clients(d, error.text);
}

static void answer_syncs(struct durable *d)
{
    struct session **at = &d->syncing, *s;
    while ((s = *at)) {
        client_answer_syncs(s);
        if (s->syncs || s->common_next) {
            at = &s->next_syncing;
        } else {
            *at = s->next_syncing;
            s->in_syncing = false;
        }
    }
}

unsigned durable_turn(struct durable *d)
{
    uint64_t written = d->written, synced = d->synced, first;
    unsigned work = 0; /* what is durable since is answered in the next turn */
    if (__builtin_expect(d->parked != NULL, 0))
        inbound_unpark(d, false);
    if (__builtin_expect(d->dirty != NULL, 0))
        write_dirty(d);
    if (__builtin_expect(flm__journal_rolled(d->journal, &first), 0)) {
        results_consider(d);
        compact_consider(d, first);
    }
    if (__builtin_expect(d->compaction.on, 0))
        work += compact_some(d);
    if (__builtin_expect(d->syncing != NULL, 0))
        answer_syncs(d); /* may want a sync */
    flm__journal_commit(d->journal, d->sync);
    d->sync = false;
    d->written = flm__journal_written(d->journal);
    d->synced = flm__journal_synced(d->journal);
    look_at_state(d);
    return work + (d->written != written || d->synced != synced);
}

bool durable_arm(struct durable *d)
{
    return flm__journal_arm(d->journal);
}

void durable_disarm(struct durable *d)
{
    flm__journal_disarm(d->journal);
}
