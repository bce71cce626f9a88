/* What a person can ask through flmctl and <flm/admin.h>: lists and views, and verbs on sessions by id.
 * None of it is on the way of a task. */
#include "base/error.h"
#include "base/time.h"
#include "manager/backend.h"
#include "manager/client.h"
#include "manager/executor.h"
#include "manager/flow.h"
#include "manager/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum { TASKS_LISTED_MAX = 10000 };

/* A list of message pointers under construction: one allocation for all. */
static void *list_new(size_t n, size_t size, void ***pointers)
{
    char *all = calloc(n ? n : 1, size + sizeof(void *));
    if (!all)
        return NULL;
    *pointers = (void **)(all + n * size);
    for (size_t i = 0; i < n; i++)
        (*pointers)[i] = all + i * size;
    return all;
}

static void no_memory(struct peer *p, uint64_t id)
{
    client_reply(p, id, FLM_ENOMEM, "the session manager has no memory for the answer");
}

/* ---- applications --------------------------------------------------------------------- */

static void list_applications(struct peer *p, uint64_t id)
{
    struct application *a;
    size_t n = HASH_COUNT(p->manager->applications), i = 0;
    Flm__Application **list = calloc(n ? n : 1, sizeof(*list));
    if (!list) {
        no_memory(p, id);
        return;
    }
    for (a = p->manager->applications; a; a = a->hh.next)
        list[i++] = a->description;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_applications = n;
    r.applications = list;
    client_send_reply(p, &r);
    free(list);
}

/* ---- sessions --------------------------------------------------------------------------- */

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

/* Executors take one task at a time; the others of those that were sent to them wait there. */
static uint64_t begun(const struct session *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < s->n_bound; i++)
        n += s->bound[i]->n != 0;
    return n < s->running ? n : s->running;
}

static void fill_session(Flm__SessionView *v, struct session *s)
{
    flm__session_view__init(v);
    v->running = begun(s);
    v->pending = s->pending + s->running - v->running;
    v->id = s->id;
    v->application = s->application->name;
    v->client = s->client ? s->client->name : (char *)(uintptr_t) "";
    v->state = (char *)(uintptr_t)session_state_name(s);
    for (unsigned i = 0; i < s->n_bound; i++)
        v->slots += s->bound[i]->state == EXECUTOR_BOUND;
    v->succeed = s->succeed;
    v->failed = s->failed;
    v->cancelled = s->cancelled;
    v->retried = s->retried;
    v->queue_bytes = s->queue.bytes;
    v->result_bytes = s->outbox.bytes;
    v->created_ns = s->created_ns;
    v->closed_ns = s->closed_ns;
    v->min_instances = s->min_instances;
    v->max_instances = s->max_instances == MANAGER_EXECUTORS_MAX ? 0 : s->max_instances;
    v->weight = s->weight;
    v->tasks_per_second = rate(s);
    v->trouble = s->trouble;
}

static void list_sessions(struct peer *p, uint64_t id)
{
    struct session *s;
    size_t n = HASH_COUNT(p->manager->sessions), i = 0;
    void **pointers;
    Flm__SessionView *views = list_new(n, sizeof(*views), &pointers);
    if (!views) {
        no_memory(p, id);
        return;
    }
    for (s = p->manager->sessions; s; s = s->hh.next)
        fill_session(&views[i++], s);
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_sessions = n;
    r.sessions = (Flm__SessionView **)pointers;
    client_send_reply(p, &r);
    free(views);
}

static struct session *wanted(struct peer *p, uint64_t id, const char *name)
{
    char text[200];
    struct session *s = session_by_id(p->manager, name);
    if (s)
        return s;
    snprintf(text, sizeof(text), "there is no session '%.127s'", name);
    client_reply(p, id, FLM_ENOTFOUND, text);
    return NULL;
}

/* The events with numbers above cursor (and about the task, if not 0). */
static Flm__Event *collect_events(const struct events *e, uint64_t cursor, uint64_t task, void ***pointers,
                                  size_t *n)
{
    Flm__Event *list = list_new(EVENTS_KEPT, sizeof(*list), pointers);
    *n = 0;
    uint64_t first = events_first(e);
    for (uint64_t i = cursor + 1 > first ? cursor + 1 : first; list && i <= e->n; i++) {
        const struct event *event = events_get(e, i);
        if (event && (!task || event->task == task))
            fill_event(&list[(*n)++], event);
    }
    return list;
}

static void get_session(struct peer *p, uint64_t id, const char *name)
{
    struct session *s = wanted(p, id, name);
    if (!s)
        return;
    Flm__SessionView v, *views = &v;
    void **pointers;
    fill_session(&v, s);
    Flm__Event *events = collect_events(&s->events, 0, 0, &pointers, &v.n_events);
    v.events = (Flm__Event **)pointers;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_sessions = 1;
    r.sessions = &views;
    if (events)
        client_send_reply(p, &r);
    else
        no_memory(p, id);
    free(events);
}

static void get_events(struct peer *p, uint64_t id, const Flm__EventQuery *q)
{
    struct session *s = wanted(p, id, q->session);
    if (!s)
        return;
    void **pointers;
    Flm__Reply r = FLM__REPLY__INIT;
    Flm__Event *events = collect_events(&s->events, q->cursor, 0, &pointers, &r.n_events);
    r.id = id;
    r.events = (Flm__Event **)pointers;
    r.cursor = s->events.n;
    if (events)
        client_send_reply(p, &r);
    else
        no_memory(p, id);
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

/* Its own, else the session's; 0: none. */
static uint64_t deadline_of(const struct session *s, struct task_ref ref)
{
    const struct flm__record *r = queue_record(ref);
    uint64_t own = 0;
    if (r->flags & FLM__RECORD_DEADLINE && r->size >= sizeof(own))
        memcpy(&own, queue_payload(ref), sizeof(own));
    return own ? own : s->deadline_ms;
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
    v->deadline_ms = deadline_of(l->session, ref);
    v->message = (char *)(uintptr_t) "";
    return true;
}

static void fill_note(Flm__TaskView *v, const struct note *note)
{
    flm__task_view__init(v);
    v->id = note->task;
    v->state = note->state;
    v->reason = note->reason;
    v->code = note->code;
    v->attempts = note->attempts;
    v->executor = note->executor;
    v->message = (char *)(uintptr_t)note->message;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const Flm__TaskView *)a)->id, y = ((const Flm__TaskView *)b)->id;
    return x < y ? -1 : x > y;
}

static void list_tasks(struct peer *p, uint64_t id, const Flm__TaskQuery *q)
{
    struct session *s = wanted(p, id, q->session);
    if (!s)
        return;
    size_t most = q->n && q->n < TASKS_LISTED_MAX ? q->n : TASKS_LISTED_MAX;
    void **pointers;
    struct task_list l = {.session = s, .most = most};
    l.views = list_new(most + NOTES_KEPT, sizeof(*l.views), &pointers);
    if (!l.views) {
        no_memory(p, id);
        return;
    }
    queue_each(&s->queue, q->from, add_stored, &l);
    uint64_t first = s->notes.n > NOTES_KEPT ? s->notes.n - NOTES_KEPT : 0;
    for (uint64_t i = first; s->notes.ring && i < s->notes.n; i++)
        if (s->notes.ring[i % NOTES_KEPT].task >= q->from)
            fill_note(&l.views[l.n++], &s->notes.ring[i % NOTES_KEPT]);
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
        fill_note(v, note);
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

static void get_task(struct peer *p, uint64_t id, const Flm__TaskQuery *q)
{
    struct session *s = wanted(p, id, q->session);
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
    Flm__Event *events = collect_events(&s->events, 0, q->from, &pointers, &v.n_events);
    v.events = (Flm__Event **)pointers;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_tasks = 1;
    r.tasks = &views;
    if (events)
        client_send_reply(p, &r);
    else
        no_memory(p, id);
    free(events);
}

/* ---- executors, nodes, instance ------------------------------------------------------------------ */

static const char *transport(const struct peer *p, bool relay)
{
    return relay ? p->manager->fabric_ops && p->manager->fabric
                       ? p->manager->fabric_ops->provider(p->manager->fabric)
                       : "fabric"
                 : "ring";
}

static void list_executors(struct peer *p, uint64_t id)
{
    struct manager *m = p->manager;
    void **pointers;
    size_t n = 0;
    Flm__ExecutorView *views = list_new(m->n_executors, sizeof(*views), &pointers);
    if (!views) {
        no_memory(p, id);
        return;
    }
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->state == EXECUTOR_RELEASED)
            continue;
        Flm__ExecutorView *v = &views[n++];
        flm__executor_view__init(v);
        v->id = e->id;
        v->node = e->node->name;
        v->state = (char *)(uintptr_t)executor_state_name(e);
        v->session = e->session ? e->session->id : (char *)(uintptr_t) "";
        v->pid = e->pid;
        v->cpus = e->cpus;
        v->transport = (char *)(uintptr_t)transport(p, e->node->relay);
        v->done = e->done;
        v->restarts = e->restarts;
        v->trouble = e->trouble ? e->trouble : (char *)(uintptr_t) "";
    }
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_executors = n;
    r.executors = (Flm__ExecutorView **)pointers;
    client_send_reply(p, &r);
    free(views);
}

static void list_nodes(struct peer *p, uint64_t id)
{
    struct manager *m = p->manager;
    struct node *node;
    size_t n = 0, i = 0;
    void **pointers;
    DL_COUNT(m->nodes, node, n);
    Flm__NodeView *views = list_new(n, sizeof(*views), &pointers);
    if (!views) {
        no_memory(p, id);
        return;
    }
    DL_FOREACH(m->nodes, node)
    {
        Flm__NodeView *v = &views[i++];
        flm__node_view__init(v);
        v->name = node->name;
        const char *trouble = node_trouble(node);
        v->state = (char *)(uintptr_t)(trouble ? "Failed" : node->drained ? "Drained" : "Up");
        v->trouble = (char *)(uintptr_t)(trouble ? trouble : "");
        v->transport = (char *)(uintptr_t)transport(p, node->relay);
        v->block = node->block;
        v->pid = node->peer->pid;
        v->slots = node->n_slots;
        for (unsigned k = 0; k < node->n_slots; k++)
            v->executors += node->lanes[k]->state != EXECUTOR_VOID;
        v->time_left_s = node->end_time_s ? node->end_time_s - flm__wall_ns() / 1000000000 : -1;
    }
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_nodes = n;
    r.nodes = (Flm__NodeView **)pointers;
    client_send_reply(p, &r);
    free(views);
}

static void get_instance(struct peer *p, uint64_t id)
{
    struct manager *m = p->manager;
    Flm__InstanceView v = FLM__INSTANCE_VIEW__INIT;
    v.id = m->instance;
    v.version = (char *)(uintptr_t)FLM_VERSION;
    v.endpoint = m->endpoints;
    v.provider = (char *)(uintptr_t)(m->fabric ? m->fabric_ops->provider(m->fabric) : "ring");
    v.pid = getpid();
    v.started_ns = m->started_ns;
    v.tasks = m->tasks;
    v.refused = m->refused + (m->fabric ? m->fabric_ops->strangers(m->fabric) : 0);
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.instance = &v;
    client_send_reply(p, &r);
}

static void drain(struct peer *p, uint64_t id, const Flm__DrainNode *d)
{
    char text[200];
    struct node *n = node_by_name(p->manager, d->node);
    if (n) {
        node_drain(n, d->drain);
        client_reply(p, id, 0, NULL);
        return;
    }
    snprintf(text, sizeof(text), "there is no node '%.127s'", d->node);
    client_reply(p, id, FLM_ENOTFOUND, text);
}

/* ---- verbs by id ------------------------------------------------------------------------------------- */

static void admin_end(struct peer *p, uint64_t id, const char *name, bool cancel)
{
    struct session *s = wanted(p, id, name);
    if (!s)
        return;
    if (cancel)
        session_cancel(s, "by flmctl or another administrator's program");
    else
        session_close(s);
    client_reply(p, id, 0, NULL);
}

static void admin_cancel_task(struct peer *p, uint64_t id, const Flm__TaskRef *t)
{
    struct session *s = wanted(p, id, t->session_id);
    flm_error error = {0};
    if (s)
        client_reply(p, id, session_cancel_task(s, t->task, &error), error.text);
}

/* Takes the message. */
static void register_application(struct peer *p, Flm__Message *m)
{
    Flm__Request *r = m->request;
    uint64_t id = r->id;
    flm_error error = {0};
    int rc = application_register(p, m, r->register_application, r->replace, &error);
    client_reply(p, id, rc, error.text);
    if (rc < 0)
        flm__message__free_unpacked(m, NULL);
}

bool verbs_answer(struct peer *p, Flm__Message *m)
{
    const Flm__Request *r = m->request;
    flm_error error = {0};
    int rc;
    switch (r->verb_case) {
    case FLM__REQUEST__VERB_REGISTER_APPLICATION:
        register_application(p, m);
        return true;
    case FLM__REQUEST__VERB_UNREGISTER_APPLICATION:
        rc = application_unregister(p->manager, r->unregister_application, &error);
        client_reply(p, r->id, rc, error.text);
        break;
    case FLM__REQUEST__VERB_LIST_APPLICATIONS:
        list_applications(p, r->id);
        break;
    case FLM__REQUEST__VERB_LIST_SESSIONS:
        list_sessions(p, r->id);
        break;
    case FLM__REQUEST__VERB_GET_SESSION:
        get_session(p, r->id, r->get_session);
        break;
    case FLM__REQUEST__VERB_EVENTS:
        get_events(p, r->id, r->events);
        break;
    case FLM__REQUEST__VERB_LIST_TASKS:
        if (r->list_tasks->n == 0)
            get_task(p, r->id, r->list_tasks);
        else
            list_tasks(p, r->id, r->list_tasks);
        break;
    case FLM__REQUEST__VERB_LIST_EXECUTORS:
        list_executors(p, r->id);
        break;
    case FLM__REQUEST__VERB_LIST_NODES:
        list_nodes(p, r->id);
        break;
    case FLM__REQUEST__VERB_GET_INSTANCE:
        get_instance(p, r->id);
        break;
    case FLM__REQUEST__VERB_READ_LOGS:
        logs_ask(p, r->id, r->read_logs);
        break;
    case FLM__REQUEST__VERB_ADMIN_CLOSE:
        admin_end(p, r->id, r->admin_close, false);
        break;
    case FLM__REQUEST__VERB_ADMIN_CANCEL:
        admin_end(p, r->id, r->admin_cancel, true);
        break;
    case FLM__REQUEST__VERB_ADMIN_CANCEL_TASK:
        admin_cancel_task(p, r->id, r->admin_cancel_task);
        break;
    case FLM__REQUEST__VERB_DRAIN:
        drain(p, r->id, r->drain);
        break;
    case FLM__REQUEST__VERB_SHUTDOWN:
        client_reply(p, r->id, 0, NULL);
        manager_stop(p->manager, "asked to shut down");
        break;
    default:
        client_reply(p, r->id, FLM_ENOTSUP, "this session manager does not know that request");
    }
    return false;
}
