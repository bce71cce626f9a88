/* What a person can ask through flmctl and <flm/admin.h>: lists and views, and verbs on sessions by id.
 * None of it is on the way of a task. */
#include "manager/verbs.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/backend.h"
#include "manager/blocks_inside.h"
#include "manager/client.h"
#include "manager/executor.h"
#include "manager/flow.h"
#include "manager/logs.h"
#include "manager/objects_inside.h"
#include "manager/retention.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

void *verbs_list(size_t n, size_t size, void ***pointers)
{
    char *all = calloc(n ? n : 1, size + sizeof(void *));
    if (!all)
        return NULL;
    *pointers = (void **)(all + n * size);
    for (size_t i = 0; i < n; i++)
        (*pointers)[i] = all + i * size;
    return all;
}

void verbs_no_memory(struct peer *p, uint64_t id)
{
    client_reply(p, id, FLM_ENOMEM, "the session manager has no memory for the answer");
}

struct session *verbs_session(struct peer *p, uint64_t id, const char *name)
{
    char text[200];
    struct session *s = session_by_id(p->manager, name);
    if (s)
        return s;
    snprintf(text, sizeof(text), "there is no session '%.127s'", name);
    client_reply(p, id, FLM_ENOTFOUND, text);
    return NULL;
}

/* ---- applications --------------------------------------------------------------------- */

static void list_applications(struct peer *p, uint64_t id)
{
    struct application *a;
    size_t n = HASH_COUNT(p->manager->applications), i = 0;
    Flm__Application **list = calloc(n ? n : 1, sizeof(*list));
    if (!list) {
        verbs_no_memory(p, id);
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
    Flm__ExecutorView *views = verbs_list(m->n_executors, sizeof(*views), &pointers);
    if (!views) {
        verbs_no_memory(p, id);
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
        const struct executor *holder = e->lent_to ? e->lent_to : e;
        v->session = holder->session ? holder->session->id : (char *)(uintptr_t) "";
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

static int64_t time_left(int64_t end_time_s)
{
    int64_t left = end_time_s - flm__wall_ns() / 1000000000;
    return !end_time_s ? -1 : left > 0 ? left : 0;
}

/* Jobs that were asked for and have no nodes yet: rows without a name. */
static size_t fill_coming(const struct manager *m, Flm__NodeView *views, size_t room)
{
    const struct block *b;
    size_t n = 0;
    DL_FOREACH(m->blocks, b)
    {
        if (!b->is_job || b->state == BLOCK_WAITS || b->nodes || b->left_ns || n == room)
            continue;
        Flm__NodeView *v = &views[n++];
        flm__node_view__init(v);
        v->state = (char *)(uintptr_t)(b->state == BLOCK_GRANTED ? "Starting" : "Pending");
        v->block = (char *)(uintptr_t)b->job;
        v->trouble = (char *)(uintptr_t)(b->state == BLOCK_GRANTED ? "" : b->waits_for);
        v->time_left_s = time_left(b->end_time_s);
    }
    return n;
}

static void list_nodes(struct peer *p, uint64_t id)
{
    struct manager *m = p->manager;
    struct node *node;
    const struct block *b;
    size_t n = 0, n_blocks = 0, i = 0;
    void **pointers;
    DL_COUNT(m->nodes, node, n);
    DL_COUNT(m->blocks, b, n_blocks);
    Flm__NodeView *views = verbs_list(n + n_blocks, sizeof(*views), &pointers);
    if (!views) {
        verbs_no_memory(p, id);
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
        v->time_left_s = time_left(node->end_time_s);
    }
    n += fill_coming(m, views + n, n_blocks);
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
    v.objects = HASH_COUNT(m->objects);
    v.object_bytes = m->object_bytes;
    v.object_limit = objects_limit(m);
    v.object_file_bytes = spill_bytes(m);
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
    struct session *s = verbs_session(p, id, name);
    if (!s)
        return;
    if (cancel)
        session_cancel(s, "by flmctl or another administrator's program");
    else
        session_close(s);
    client_reply(p, id, 0, NULL);
}

static void delete_session(struct peer *p, uint64_t id, const Flm__DeleteSession *d)
{
    struct session *s = verbs_session(p, id, d->session_id);
    flm_error error = {0};
    if (s)
        client_reply(p, id, retention_delete(s, d->force, &error), error.text);
}

static void admin_cancel_task(struct peer *p, uint64_t id, const Flm__TaskRef *t)
{
    struct session *s = verbs_session(p, id, t->session_id);
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
        verbs_list_sessions(p, r->id);
        break;
    case FLM__REQUEST__VERB_GET_SESSION:
        verbs_get_session(p, r->id, r->get_session);
        break;
    case FLM__REQUEST__VERB_EVENTS:
        verbs_get_events(p, r->id, r->events);
        break;
    case FLM__REQUEST__VERB_LIST_TASKS:
        if (r->list_tasks->n == 0)
            verbs_get_task(p, r->id, r->list_tasks);
        else
            verbs_list_tasks(p, r->id, r->list_tasks);
        break;
    case FLM__REQUEST__VERB_LIST_EXECUTORS:
        list_executors(p, r->id);
        break;
    case FLM__REQUEST__VERB_LIST_OBJECTS:
        objects_list(p, r->id);
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
    case FLM__REQUEST__VERB_DELETE_SESSION:
        delete_session(p, r->id, r->delete_session);
        break;
    case FLM__REQUEST__VERB_ADMIN_CANCEL_TASK:
        admin_cancel_task(p, r->id, r->admin_cancel_task);
        break;
    case FLM__REQUEST__VERB_DRAIN:
        drain(p, r->id, r->drain);
        break;
    case FLM__REQUEST__VERB_DRY_RUN:
        backend_dry_run(p, r->id, r->dry_run);
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
