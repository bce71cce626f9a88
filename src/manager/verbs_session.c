/* Views of sessions, their events and their tasks. */
#include "manager/verbs.h"

#include "base/time.h"
#include "manager/executor.h"
#include "manager/flow.h"
#include "manager/results.h"
#include "manager/spread.h"

#include <stdio.h>
#include <stdlib.h>

enum { TASKS_LISTED_MAX = 10000 };

static void fill_event(Flm__Event *out, const struct event *e)
{
    flm__event__init(out);
    out->time_ns = e->time_ns;
    out->code = e->code;
    out->task = e->task;
    out->executor = e->executor;
    out->number = e->number;
    out->text = (char *)(uintptr_t)e->text;
}

/* Tasks per second since it was last asked, at least a second ago; else since the beginning. */
static double rate(struct session *s)
{
    uint64_t done = s->succeed + s->failed + s->cancelled;
    int64_t now = flm__wall_ns();
    if (!s->rate_ns)
        s->rate_ns = s->created_ns;
    if (now - s->rate_ns > 1000000000 || s->rate == 0) {
        double seconds = (double)(now - s->rate_ns) / 1e9;
        s->rate = seconds > 0 ? (double)(done - s->rate_done) / seconds : 0;
        s->rate_ns = now;
        s->rate_done = done;
    }
    return s->rate;
}

/* Executors take one task at a time; the others of those that were sent to them wait there. A task that was
 * answered is not over before its client has read the output. */
static uint64_t begun(const struct session *s)
{
    uint64_t n = s->n_unread;
    for (unsigned i = 0; i < s->n_bound; i++)
        n += s->bound[i]->n != 0;
    return n < s->running ? n : s->running;
}

void verbs_fill_session(Flm__SessionView *v, struct session *s)
{
    flm__session_view__init(v);
    v->id = s->id;
    v->application = s->application->name;
    v->client = s->client ? s->client->name : (char *)(uintptr_t) "";
    v->state = (char *)(uintptr_t)session_state_name(s);
    for (unsigned i = 0; i < s->n_bound; i++)
        v->slots += s->bound[i]->state == EXECUTOR_BOUND;
    v->running = begun(s);
    v->pending = s->pending + s->running - v->running;
    v->succeed = s->succeed;
    v->failed = s->failed;
    v->cancelled = s->cancelled;
    v->retried = s->retried;
    v->queue_bytes = s->queue.bytes;
    v->result_bytes = s->outbox.bytes + s->unread_bytes;
    v->created_ns = s->created_ns;
    v->closed_ns = s->closed_ns;
    v->min_instances = s->min_instances;
    v->max_instances = s->max_instances == MANAGER_EXECUTORS_MAX ? 0 : s->max_instances;
    v->weight = s->weight;
    v->tasks_per_second = rate(s);
    v->trouble = s->trouble[0] ? s->trouble : s->too_long;
    if (s->results)
        results_view(s->results, v);
    struct core_time spent = core_time_of(s);
    v->useful_s = (double)spent.useful_ns / 1e9;
    v->wasted_s = (double)spent.wasted_ns / 1e9;
}

void verbs_list_sessions(struct peer *p, uint64_t id)
{
    struct session *s;
    size_t n = HASH_COUNT(p->manager->sessions), i = 0;
    void **pointers;
    Flm__SessionView *views = verbs_list(n, sizeof(*views), &pointers);
    if (!views) {
        verbs_no_memory(p, id);
        return;
    }
    for (s = p->manager->sessions; s; s = s->hh.next)
        verbs_fill_session(&views[i++], s);
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_sessions = n;
    r.sessions = (Flm__SessionView **)pointers;
    client_send_reply(p, &r);
    free(views);
}

Flm__Event *verbs_collect_events(const struct events *e, uint64_t cursor, uint64_t task, void ***pointers,
                                 size_t *n)
{
    Flm__Event *list = verbs_list(EVENTS_KEPT, sizeof(*list), pointers);
    *n = 0;
    uint64_t first = events_first(e);
    for (uint64_t i = cursor + 1 > first ? cursor + 1 : first; list && i <= e->n; i++) {
        const struct event *event = events_get(e, i);
        if (event && (!task || event->task == task))
            fill_event(&list[(*n)++], event);
    }
    return list;
}

/* What has been counted, and what the executors that are there have done. */
static Flm__PlaceView *collect_places(const struct session *s, void ***pointers)
{
    Flm__PlaceView *list = verbs_list(s->places.n, sizeof(*list), pointers);
    for (unsigned i = 0; list && i < s->places.n; i++) {
        flm__place_view__init(&list[i]);
        list[i].node = s->places.list[i].node;
        list[i].block = s->places.list[i].block;
        list[i].tasks = s->places.list[i].tasks;
    }
    for (unsigned i = 0; list && i < s->n_bound; i++) {
        const struct executor *e = s->bound[i];
        if (e->place >= 0) {
            list[e->place].tasks += e->done - e->done_before;
            list[e->place].executors++;
        }
    }
    return list;
}

void verbs_get_session(struct peer *p, uint64_t id, const char *name)
{
    struct session *s = verbs_session(p, id, name);
    if (!s)
        return;
    Flm__SessionView v, *views = &v;
    void **pointers, **place_pointers;
    verbs_fill_session(&v, s);
    Flm__Event *events = verbs_collect_events(&s->events, 0, 0, &pointers, &v.n_events);
    Flm__PlaceView *places = collect_places(s, &place_pointers);
    v.events = (Flm__Event **)pointers;
    v.n_places = s->places.n;
    v.places = (Flm__PlaceView **)place_pointers;
    v.n_ended = v.n_lost = REASONS;
    v.ended = s->reasons.ended;
    v.lost = s->reasons.lost;
    Flm__CommonView common = FLM__COMMON_VIEW__INIT;
    Flm__CommonPlace *common_places = s->common ? spread_view(s->common, &common) : NULL;
    common.version = s->common_version;
    v.common = common_places ? &common : NULL;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_sessions = 1;
    r.sessions = &views;
    if (events && places)
        client_send_reply(p, &r);
    else
        verbs_no_memory(p, id);
    free(common_places);
    free(places);
    free(events);
}

void verbs_get_events(struct peer *p, uint64_t id, const Flm__EventQuery *q)
{
    struct session *s = verbs_session(p, id, q->session);
    if (!s)
        return;
    void **pointers;
    Flm__Reply r = FLM__REPLY__INIT;
    Flm__Event *events = verbs_collect_events(&s->events, q->cursor, 0, &pointers, &r.n_events);
    r.id = id;
    r.events = (Flm__Event **)pointers;
    r.cursor = s->events.n;
    if (events)
        client_send_reply(p, &r);
    else
        verbs_no_memory(p, id);
    free(events);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

struct task_list {
    struct session *session;
    Flm__TaskView *views;
    size_t n, most;
    uint64_t from;
};

/* The executor that runs it; NULL: it waits, perhaps sent ahead to one. */
static struct executor *runner_of(struct session *s, struct task_ref ref)
{
    for (unsigned i = 0; i < s->n_bound; i++) {
        struct executor *e = s->bound[i];
        const struct inflight *in = e->n ? executor_inflight(e, 0) : NULL;
        if (in && in->ref.chunk == ref.chunk && in->ref.offset == ref.offset)
            return e;
    }
    return NULL;
}

static void set_place(Flm__TaskView *v, const struct session *s, int place)
{
    if (place >= 0) {
        v->node = s->places.list[place].node;
        v->block = s->places.list[place].block;
    }
}

static bool add_stored(struct task_ref ref, void *arg)
{
    struct task_list *l = arg;
    struct flm__record *r = queue_record(ref);
    if (l->n == l->most)
        return false;
    Flm__TaskView *v = &l->views[l->n++];
    flm__task_view__init(v);
    v->id = r->task;
    struct executor *e = r->type == QUEUE_RUNNING ? runner_of(l->session, ref) : NULL;
    v->state = e ? FLM_TASK_RUNNING : FLM_TASK_PENDING;
    v->input_size = r->flags & FLM__RECORD_BLOB && flow_blob(r) ? flow_blob(r)->size : r->size;
    v->attempts = r->lane;
    v->executor = e ? (int)e->id : -1;
    v->started_ns = e ? flm__wall_ns() - (l->session->manager->now - e->since_ns) : 0;
    v->deadline_ms = session_deadline_ms(l->session, ref);
    v->message = (char *)(uintptr_t) "";
    if (e)
        set_place(v, l->session, e->place);
    return true;
}

static void fill_note(Flm__TaskView *v, const struct session *s, const struct note *note)
{
    flm__task_view__init(v);
    v->id = note->task;
    v->state = note->state;
    v->reason = note->reason;
    v->code = note->code;
    v->attempts = note->attempts;
    v->executor = note->executor;
    set_place(v, s, note->place);
    v->message = (char *)(uintptr_t)note->message;
    v->cause = note->cause;
    v->user_us = note->usage.user_us;
    v->system_us = note->usage.system_us;
    v->max_rss_kib = note->usage.max_rss_kib;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const Flm__TaskView *)a)->id, y = ((const Flm__TaskView *)b)->id;
    return x < y ? -1 : x > y;
}

void verbs_list_tasks(struct peer *p, uint64_t id, const Flm__TaskQuery *q)
{
    struct session *s = verbs_session(p, id, q->session);
    if (!s)
        return;
    size_t most = q->n && q->n < TASKS_LISTED_MAX ? q->n : TASKS_LISTED_MAX;
    void **pointers;
    struct task_list l = {.session = s, .most = most};
    l.views = verbs_list(most + NOTES_KEPT, sizeof(*l.views), &pointers);
    if (!l.views) {
        verbs_no_memory(p, id);
        return;
    }
    queue_each(&s->queue, q->from, add_stored, &l);
    uint64_t first = s->notes.n > NOTES_KEPT ? s->notes.n - NOTES_KEPT : 0;
    for (uint64_t i = first; s->notes.ring && i < s->notes.n; i++)
        if (s->notes.ring[i % NOTES_KEPT].task >= q->from)
            fill_note(&l.views[l.n++], s, &s->notes.ring[i % NOTES_KEPT]);
    qsort(l.views, l.n, sizeof(*l.views), by_id);
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_tasks = l.n < most ? l.n : most;
    r.tasks = (Flm__TaskView **)pointers;
    client_send_reply(p, &r);
    free(l.views);
}

/* One task: stored, or remembered. False: neither. */
static bool view_task(struct session *s, uint64_t task, Flm__TaskView *v)
{
    struct task_ref ref;
    struct task_list l = {.session = s, .views = v, .most = 1};
    if (queue_find(&s->queue, task, &ref))
        return add_stored(ref, &l);
    const struct note *note = notes_find(&s->notes, task);
    if (note) {
        fill_note(v, s, note);
        return true;
    }
    if (!task || task > s->last_task)
        return false;
    flm__task_view__init(v);
    v->id = task;
    v->state = FLM_TASK_SUCCEED;
    v->executor = -1;
    v->message = (char *)(uintptr_t) "finished; of tasks that succeed only their number is kept";
    return true;
}

void verbs_get_task(struct peer *p, uint64_t id, const Flm__TaskQuery *q)
{
    struct session *s = verbs_session(p, id, q->session);
    Flm__TaskView v, *views = &v;
    void **pointers;
    char text[200];
    if (!s)
        return;
    if (!view_task(s, q->from, &v)) {
        snprintf(text, sizeof(text), "session %s has no task %lu", s->id, (unsigned long)q->from);
        client_reply(p, id, FLM_ENOTFOUND, text);
        return;
    }
    Flm__Event *events = verbs_collect_events(&s->events, 0, q->from, &pointers, &v.n_events);
    v.events = (Flm__Event **)pointers;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_tasks = 1;
    r.tasks = &views;
    if (events)
        client_send_reply(p, &r);
    else
        verbs_no_memory(p, id);
    free(events);
}
