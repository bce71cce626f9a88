/* Takes up what the journal holds: applications, sessions, their tasks that are not finished and their
 * results that nobody has taken.
 *
 * The records are gathered in one pass. Those of a session may come in any order and twice (compact.c), so
 * tasks are known by their ids and results by their numbers, and everything is put together at the end. */
#include "manager/durable.h"

#include "base/error.h"
#include "manager/flow.h"
#include "manager/results.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BITS = 1 << 16 };

/* A set of numbers that mostly follow each other. */
struct page {
    uint64_t number; /* of the page */
    uint64_t bits[PAGE_BITS / 64];
    UT_hash_handle hh;
};

struct number_set {
    struct page *pages, *last;
};

struct gathered_result {
    uint64_t number;
    const struct flm__record *record; /* in `records` */
    uint32_t bytes;
    uint64_t weight;
};

struct gathered {
    uint32_t serial;
    uint64_t from;              /* where its first record begins */
    Flm__StoredSession *stored; /* the newest; NULL: none was found */
    struct blob *common;
    uint64_t common_version;
    struct queue queue; /* all tasks of the journal, in the order in which they were found */
    struct number_set seen, finished;
    struct outbox records; /* all results of the journal, in the order in which they were found */
    struct gathered_result *results;
    size_t n_results, room_results;
    uint64_t last_task, taken, counted;
    uint64_t succeed, failed, cancelled;
    struct core_time core_time;
    struct losses losses;
    struct reasons reasons;
    struct notes notes;
    UT_hash_handle hh;
};

struct restoration {
    struct durable *durable;
    struct gathered *sessions;
    flm_error *error;
    uint64_t tasks, results; /* taken up */
    unsigned n_sessions;
};

/* ---- sets of numbers -----------------------------------------------------------------------------------
 */

static struct page *page_of(struct number_set *set, uint64_t number, bool make)
{
    uint64_t page = number / PAGE_BITS;
    struct page *p = set->last && set->last->number == page ? set->last : NULL;
    if (!p)
        HASH_FIND(hh, set->pages, &page, sizeof(page), p);
    if (!p && make && (p = calloc(1, sizeof(*p)))) {
        p->number = page;
        HASH_ADD(hh, set->pages, number, sizeof(p->number), p);
        if (!flm__hash_added(&p->hh)) {
            free(p);
            p = NULL;
        }
    }
    if (p)
        set->last = p;
    return p;
}

static bool set_has(struct number_set *set, uint64_t number)
{
    const struct page *p = page_of(set, number, false);
    return p && p->bits[number % PAGE_BITS / 64] >> (number % 64) & 1;
}

static bool set_add(struct number_set *set, uint64_t number)
{
    struct page *p = page_of(set, number, true);
    if (p)
        p->bits[number % PAGE_BITS / 64] |= (uint64_t)1 << (number % 64);
    return p != NULL;
}

static void set_clear(struct number_set *set)
{
    struct page *p, *next;
    HASH_ITER(hh, set->pages, p, next)
    {
        HASH_DEL(set->pages, p);
        free(p);
    }
    set->last = NULL;
}

/* ---- gathering --------------------------------------------------------------------------------- */

static int no_memory(struct restoration *r)
{
    return flm__error_set(r->error, FLM_ENOMEM, "no memory for what the journal holds");
}

static int makes_no_sense(struct restoration *r, const char *what, uint64_t position)
{
    return flm__error_set(r->error, FLM_EIO,
                          "the journal in %s/journal has %s that makes no sense, before position %" PRIu64
                          ": it was written by something else, or by a version with an error",
                          r->durable->manager->options.state_dir, what, position);
}

static struct gathered *session_of(struct restoration *r, uint32_t serial, uint64_t from)
{
    struct gathered *g;
    HASH_FIND(hh, r->sessions, &serial, sizeof(serial), g);
    if (g)
        return g;
    g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->serial = serial;
    g->from = from;
    HASH_ADD(hh, r->sessions, serial, sizeof(g->serial), g);
    if (!flm__hash_added(&g->hh)) {
        free(g);
        return NULL;
    }
    if (serial >= r->durable->next_serial)
        r->durable->next_serial = serial + 1;
    return g;
}

static void *kept_large(const struct flm__record *r)
{
    return r->flags & FLM__RECORD_BLOB ? (void *)(uintptr_t)flow_kept(r).address : NULL;
}

static void drop_tasks(struct queue *q)
{
    struct task_ref ref;
    while (queue_next(q, &ref))
        free(kept_large(queue_record(ref)));
    queue_clear(q);
}

static void drop_result(struct outbox *o)
{
    uint32_t bytes;
    free(kept_large(outbox_first(o, &bytes)));
    outbox_drop_first(o);
}

static void drop(struct restoration *r, struct gathered *g)
{
    HASH_DEL(r->sessions, g);
    if (g->stored)
        flm__stored_session__free_unpacked(g->stored, NULL);
    blob_release(g->common);
    drop_tasks(&g->queue);
    while (!outbox_empty(&g->records))
        drop_result(&g->records);
    set_clear(&g->seen);
    set_clear(&g->finished);
    losses_clear(&g->losses);
    notes_clear(&g->notes);
    free(g->results);
    free(g);
}

static int take_session(struct restoration *r, struct gathered *g, const void *payload, uint32_t size,
                        uint64_t position)
{
    Flm__StoredSession *stored = flm__stored_session__unpack(NULL, size, payload);
    if (!stored || !stored->spec || !stored->application || stored->state > SESSION_CLOSED ||
        strlen(stored->spec->id) > FLM_MAX_NAME || !stored->spec->id[0]) {
        if (stored)
            flm__stored_session__free_unpacked(stored, NULL);
        return makes_no_sense(r, "a session", position);
    }
    if (g->stored)
        flm__stored_session__free_unpacked(g->stored, NULL);
    g->stored = stored;
    g->succeed = stored->succeed;
    g->failed = stored->failed;
    g->cancelled = stored->cancelled;
    for (size_t i = 0; i < REASONS; i++) {
        g->reasons.ended[i] = i < stored->n_ended ? stored->ended[i] : 0;
        g->reasons.lost[i] = i < stored->n_lost ? stored->lost[i] : 0;
    }
    if (stored->results > g->counted)
        g->counted = stored->results;
    if (stored->taken > g->taken)
        g->taken = stored->taken;
    if (stored->last_task > g->last_task)
        g->last_task = stored->last_task;
    return 0;
}

static int take_common(struct restoration *r, struct gathered *g, uint32_t version, const void *payload,
                       uint32_t size)
{
    blob_release(g->common);
    g->common_version = version ? version : 1;
    g->common = blob_make(r->durable->manager, payload, size, r->error);
    return g->common ? 0 : FLM_ENOMEM;
}

/* The record at the beginning of a payload, and where a large payload stands in for its reference. */
static bool read_record(const struct flm__journal_record *header, const char *payload, uint32_t size,
                        struct flm__record *record, uint32_t *before, uint64_t *large)
{
    if (size < FLM__RECORD_HEADER)
        return false;
    memcpy(record, payload, FLM__RECORD_HEADER);
    size -= FLM__RECORD_HEADER;
    *before = record->size;
    *large = 0;
    if (record->size > FLM__RECORD_MAX)
        return false;
    if (!(header->flags & DURABLE_LARGE))
        return !(record->flags & FLM__RECORD_BLOB) && size == record->size;
    if (!(record->flags & FLM__RECORD_BLOB) || record->size < sizeof(struct flm__blob_ref))
        return false;
    *before = record->size - (uint32_t)sizeof(struct flm__blob_ref);
    *large = size - *before;
    return size > *before && *large <= FLM_MAX_PAYLOAD;
}

/* Large payloads are kept in plain memory until it is known which are still needed: each blob takes a
 * descriptor, and the journal may hold many times what is alive. */
static bool keep_large(void *payload, uint32_t before, const char *data, uint64_t size)
{
    void *copy = malloc(size);
    struct flm__blob_ref kept = {.size = size, .address = (uintptr_t)copy};
    memcpy((char *)payload + before, &kept, sizeof(kept));
    if (copy)
        memcpy(copy, data, size);
    return copy != NULL;
}

/* What is still needed becomes a blob, where the reference is. False: it cannot. */
static bool make_blob(struct restoration *r, struct flm__record *record)
{
    struct flm__blob_ref kept;
    char *at = (char *)(record + 1) + record->size - sizeof(kept);
    if (!(record->flags & FLM__RECORD_BLOB))
        return true;
    memcpy(&kept, at, sizeof(kept));
    struct blob *blob =
        blob_make(r->durable->manager, (void *)(uintptr_t)kept.address, kept.size, r->error);
    kept.address = (uintptr_t)blob;
    memcpy(at, &kept, sizeof(kept));
    return blob != NULL;
}

static int take_task(struct restoration *r, struct gathered *g, const struct flm__journal_record *header,
                     const char *payload, uint64_t position)
{
    struct flm__record record;
    struct task_ref ref;
    uint32_t before;
    uint64_t large;
    if (!read_record(header, payload, header->size, &record, &before, &large) || record.task == 0)
        return makes_no_sense(r, "a task", position);
    if (record.task > g->last_task)
        g->last_task = record.task;
    if (set_has(&g->seen, record.task))
        return 0;
    record.type = QUEUE_PENDING;
    record.lane = 0;
    if (!large) {
        if (!queue_append(&g->queue, &record, payload + FLM__RECORD_HEADER, &ref))
            return no_memory(r);
    } else {
        char head[sizeof(uint64_t) + FLM__OBJECTS_MAX + sizeof(struct flm__blob_ref)] = {0};
        if (record.size > sizeof(head))
            return makes_no_sense(r, "a task", position);
        memcpy(head, payload + FLM__RECORD_HEADER, before);
        if (!keep_large(head, before, payload + FLM__RECORD_HEADER + before, large))
            return no_memory(r);
        if (!queue_append(&g->queue, &record, head, &ref))
            return no_memory(r);
    }
    return set_add(&g->seen, record.task) ? 0 : no_memory(r);
}

/* What flmctl tells of a task that did not succeed. */
static void take_note(struct gathered *g, const struct flm__record *record, const char *payload,
                      const struct flm__outcome *o)
{
    struct note *note = notes_add(&g->notes, record->task);
    uint32_t room = record->size - (uint32_t)sizeof(*o);
    note->state = o->state;
    note->reason = o->reason;
    note->code = o->code;
    note->attempts = o->attempts;
    snprintf(note->message, sizeof(note->message), "%.*s", (int)(o->text < room ? o->text : room),
             payload + sizeof(*o));
}

static void count(struct gathered *g, const struct flm__record *record, const char *payload)
{
    struct flm__outcome outcome = {.state = FLM_TASK_SUCCEED};
    if (record->flags & FLM__RECORD_OUTCOME && record->size >= sizeof(outcome))
        memcpy(&outcome, payload, sizeof(outcome));
    if (outcome.state != FLM_TASK_SUCCEED) {
        reasons_count(g->reasons.ended, outcome.reason);
        take_note(g, record, payload, &outcome);
    }
    if (outcome.state == FLM_TASK_SUCCEED)
        g->succeed++;
    else if (outcome.state == FLM_TASK_FAILED)
        g->failed++;
    else
        g->cancelled++;
}

static bool grow_results(struct gathered *g)
{
    size_t room = g->room_results ? 2 * g->room_results : 1024;
    struct gathered_result *more = realloc(g->results, room * sizeof(*more));
    if (!more)
        return false;
    g->results = more;
    g->room_results = room;
    return true;
}

static int take_result(struct restoration *r, struct gathered *g, const struct flm__journal_record *header,
                       const char *payload, uint64_t position)
{
    struct flm__record record;
    uint32_t before;
    uint64_t large, number;
    if (header->size < sizeof(number) ||
        !read_record(header, payload + sizeof(number), header->size - (uint32_t)sizeof(number), &record,
                     &before, &large))
        return makes_no_sense(r, "a result", position);
    memcpy(&number, payload, sizeof(number));
    payload += sizeof(number) + FLM__RECORD_HEADER;
    if (record.task > g->last_task) /* one that was answered and never taken */
        g->last_task = record.task;
    if (!set_add(&g->finished, record.task) || (g->n_results == g->room_results && !grow_results(g)))
        return no_memory(r);
    if (number > g->counted) {
        g->counted = number;
        count(g, &record, payload);
    }
    if (number <= g->taken)
        return 0;
    uint32_t bytes = flm__record_bytes(record.size);
    struct flm__record *to = outbox_put(&g->records, bytes, bytes + large, 0);
    if (!to)
        return no_memory(r);
    memset(to, 0, bytes);
    *to = record;
    memcpy(to + 1, payload, before);
    if (large && !keep_large(to + 1, before, payload + before, large))
        return no_memory(r);
    g->results[g->n_results++] = (struct gathered_result){number, to, bytes, bytes + large};
    return 0;
}

static int take_taken(struct restoration *r, struct gathered *g, const void *payload, uint32_t size,
                      uint64_t position)
{
    uint64_t taken;
    if (size != sizeof(taken))
        return makes_no_sense(r, "an acknowledgement", position);
    memcpy(&taken, payload, sizeof(taken));
    if (taken > g->taken)
        g->taken = taken;
    return 0;
}

static int take_loss(struct restoration *r, struct gathered *g, const void *payload, uint32_t size,
                     uint64_t position)
{
    struct loss loss;
    if (size != sizeof(loss))
        return makes_no_sense(r, "the loss of a task", position);
    memcpy(&loss, payload, sizeof(loss));
    return losses_add(&g->losses, &loss) ? 0 : no_memory(r);
}

static int64_t sum_of(const struct core_time *t)
{
    return t->useful_ns + t->wasted_ns + t->running_ns;
}

static int take_core_time(struct restoration *r, struct gathered *g, const void *payload, uint32_t size,
                          uint64_t position)
{
    struct core_time t;
    if (size != sizeof(t))
        return makes_no_sense(r, "a record of times", position);
    memcpy(&t, payload, sizeof(t));
    if (sum_of(&t) >= sum_of(&g->core_time))
        g->core_time = t;
    return 0;
}

static int take_application(struct restoration *r, const void *payload, uint32_t size, uint64_t position)
{
    Flm__Application *d = flm__application__unpack(NULL, size, payload);
    if (!d || !application_name_is_sound(d->name)) {
        if (d)
            flm__application__free_unpacked(d, NULL);
        return makes_no_sense(r, "an application", position);
    }
    struct application *a = application_restore(r->durable->manager, d, true);
    flm__application__free_unpacked(d, NULL);
    application_release(a);
    return a ? 0 : no_memory(r);
}

static int take_unregistered(struct restoration *r, const char *payload, uint32_t size)
{
    char name[FLM_MAX_NAME + 1];
    snprintf(name, sizeof(name), "%.*s", (int)(size < sizeof(name) ? size : sizeof(name) - 1), payload);
    application_forget(r->durable->manager, name);
    return 0;
}

static int take_record(void *arg, const struct flm__journal_record *header, const void *payload,
                       uint64_t position)
{
    struct restoration *r = arg;
    struct gathered *g = NULL;
    if (header->type == DURABLE_APPLICATION)
        return take_application(r, payload, header->size, position);
    if (header->type == DURABLE_UNREGISTERED)
        return take_unregistered(r, payload, header->size);
    if (header->type == DURABLE_CLOCK || header->type == DURABLE_PLACE)
        return 0; /* for those who write files of results */
    uint64_t from = position - flm__journal_bytes(header->size);
    if (header->session == 0 || !(g = session_of(r, header->session, from)))
        return header->session ? no_memory(r) : makes_no_sense(r, "a record without a session", position);
    switch (header->type) {
    case DURABLE_SESSION:
        return take_session(r, g, payload, header->size, position);
    case DURABLE_COMMON:
        return take_common(r, g, header->value, payload, header->size);
    case DURABLE_TASK:
        return take_task(r, g, header, payload, position);
    case DURABLE_RESULT:
        return take_result(r, g, header, payload, position);
    case DURABLE_TAKEN:
        return take_taken(r, g, payload, header->size, position);
    case DURABLE_LOST:
        return take_loss(r, g, payload, header->size, position);
    case DURABLE_CORE_TIME:
        return take_core_time(r, g, payload, header->size, position);
    case DURABLE_FORGOTTEN:
        drop(r, g);
        return 0;
    default:
        return makes_no_sense(r, "a record of an unknown type", position);
    }
}

/* ---- putting together -----------------------------------------------------------------------------------
 */

static int by_task(const void *a, const void *b)
{
    uint64_t x = queue_record(*(const struct task_ref *)a)->task;
    uint64_t y = queue_record(*(const struct task_ref *)b)->task;
    return x < y ? -1 : x > y;
}

/* The tasks that are not finished, in the order of their ids. */
static int give_tasks(struct restoration *r, struct gathered *g, struct session *s)
{
    size_t n = 0, room = 0;
    struct task_ref ref, *refs = NULL;
    while (queue_next(&g->queue, &ref)) {
        struct flm__record *record = queue_record(ref);
        if (set_has(&g->finished, record->task)) {
            free(kept_large(record));
            continue;
        }
        if (n == room) {
            room = room ? 2 * room : 1024;
            struct task_ref *more = realloc(refs, room * sizeof(*refs));
            if (!more) {
                free(refs);
                return no_memory(r);
            }
            refs = more;
        }
        refs[n++] = ref;
    }
    if (n)
        qsort(refs, n, sizeof(*refs), by_task);
    for (size_t i = 0; i < n; i++) {
        struct flm__record *record = queue_record(refs[i]);
        void *large = kept_large(record);
        record->session = s->number;
        record->lane = losses_of(&g->losses, record->task);
        if (!make_blob(r, record)) {
            free(refs);
            return r->error->code;
        }
        free(large);
        if (!queue_append(&s->queue, record, record + 1, &ref)) {
            free(refs);
            return no_memory(r);
        }
        if (large)
            s->blob_bytes += flow_kept(record).size;
    }
    s->pending = n;
    r->tasks += n;
    free(refs);
    queue_clear(&g->queue); /* blobs are the session's now */
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct gathered_result *)a)->number;
    uint64_t y = ((const struct gathered_result *)b)->number;
    return x < y ? -1 : x > y;
}

/* The results that nobody has taken, in the order of their numbers. */
static int give_results(struct restoration *r, struct gathered *g, struct session *s)
{
    s->outbox.dropped = s->outbox.sent = s->outbox.put = g->taken;
    if (g->n_results)
        qsort(g->results, g->n_results, sizeof(*g->results), by_number);
    for (size_t i = 0; i < g->n_results; i++) {
        const struct gathered_result *from = &g->results[i];
        if (from->number <= s->outbox.put)
            continue; /* taken meanwhile, or found twice */
        if (from->number != s->outbox.put + 1)
            return flm__error_set(r->error, FLM_EIO,
                                  "the journal in %s/journal lacks result %" PRIu64 " of session %s",
                                  r->durable->manager->options.state_dir, s->outbox.put + 1, s->id);
        struct flm__record *to = outbox_put(&s->outbox, from->bytes, from->weight, 0);
        if (!to)
            return no_memory(r);
        memcpy(to, from->record, from->bytes);
        to->session = s->number;
        if (!make_blob(r, to))
            return r->error->code;
        r->results++;
    }
    return 0;
}

static int make_session(struct restoration *r, struct gathered *g)
{
    const Flm__StoredSession *stored = g->stored;
    struct manager *m = r->durable->manager;
    struct application *a = application_restore(m, stored->application, false);
    if (!a)
        return no_memory(r);
    struct session *s = session_restore(m, a, stored, r->error);
    application_release(a);
    if (!s)
        return r->error->code;
    s->serial = g->serial;
    s->from = g->from;
    s->state = (enum session_state)stored->state;
    s->last_task = g->last_task;
    s->succeed = g->succeed;
    s->failed = g->failed;
    s->cancelled = g->cancelled;
    s->retried = stored->retried;
    s->created_ns = stored->created_ns;
    s->closed_ns = stored->closed_ns;
    s->reasons = g->reasons;
    s->notes = g->notes;
    g->notes = (struct notes){0};
    core_time_restore(s, &g->core_time);
    s->common = g->common;
    s->common_version = s->common_believed = g->common_version;
    g->common = NULL;
    s->deleted = stored->deleted;
    m->forget |= s->deleted;
    if (s->results)
        s->results->done = stored->results_done;
    snprintf(s->trouble, sizeof(s->trouble), "%s", stored->trouble);
    if (s->state == SESSION_CLOSED)
        s->application->open_sessions--;
    int rc = give_tasks(r, g, s);
    if (rc == 0)
        rc = give_results(r, g, s);
    if (rc < 0)
        return rc;
    events_add(&s->events, 0, 0, -1,
               "taken up from the journal: %" PRIu64 " tasks and %" PRIu64 " results wait", s->pending,
               s->outbox.put - s->outbox.dropped);
    r->n_sessions++;
    return 0;
}

static int by_serial(const struct gathered *a, const struct gathered *b)
{
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

int restore(struct durable *d, flm_error *error)
{
    struct restoration r = {.durable = d, .error = error};
    struct flm__journal_replayed replayed = {0};
    struct gathered *g, *next;
    int rc = flm__journal_replay(d->journal, take_record, &r, &replayed, error);
    HASH_SRT(hh, r.sessions, by_serial);
    HASH_ITER(hh, r.sessions, g, next)
    {
        if (rc == 0 && g->stored)
            rc = make_session(&r, g);
        drop(&r, g);
    }
    if (rc < 0)
        return rc;
    if (replayed.cut)
        fprintf(stderr,
                "flmd: the journal ended in the middle of a record (%s), as after a crash: %" PRIu64
                " bytes that nobody was told of are cut off\n",
                replayed.cut_where, replayed.cut);
    if (r.n_sessions)
        fprintf(stderr,
                "flmd: goes on with %u session%s of %s: %" PRIu64 " tasks and %" PRIu64 " results wait\n",
                r.n_sessions, r.n_sessions == 1 ? "" : "s", d->manager->options.state_dir, r.tasks,
                r.results);
    return 0;
}
