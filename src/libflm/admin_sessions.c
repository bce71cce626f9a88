/* Sessions, their tasks and their events, as the manager sees them. */
#include "libflm/admin.h"
#include "base/error.h"
#include "base/time.h"

enum {
    TASKS_MAX = 10000, /* of one list: an answer must fit a control message */
    WATCH_NS = 100000000,
};

/* ---- sessions ---------------------------------------------------------------- */

/* What the views of sessions point to; each is followed by the next. */
struct room {
    struct flm_event *events;
    struct flm_place_view *places;
    struct flm_reason_count *reasons;
    struct flm_common_place *common;
};

static void fill_common(struct flm_session_view *to, const Flm__CommonView *v, struct room *room)
{
    to->common_places = room->common;
    if (!v)
        return;
    to->common_version = v->version;
    to->common_size = v->size;
    to->common_sent = v->sent;
    to->n_common_places = (int)v->n_places;
    for (size_t i = 0; i < v->n_places; i++)
        *room->common++ = (struct flm_common_place){.node = v->places[i]->node,
                                                    .from = v->places[i]->from,
                                                    .state = v->places[i]->state,
                                                    .bytes = v->places[i]->bytes};
}

static void fill_session(struct flm_session_view *to, const Flm__SessionView *v, struct room *room)
{
    *to = (struct flm_session_view){
        .id = v->id,
        .application = v->application,
        .client = v->client,
        .state = v->state,
        .slots = v->slots,
        .pending = v->pending,
        .running = v->running,
        .succeed = v->succeed,
        .failed = v->failed,
        .cancelled = v->cancelled,
        .retried = v->retried,
        .queue_bytes = v->queue_bytes,
        .result_bytes = v->result_bytes,
        .created_ns = v->created_ns,
        .closed_ns = v->closed_ns,
        .min_instances = v->min_instances,
        .max_instances = v->max_instances,
        .weight = v->weight,
        .tasks_per_second = v->tasks_per_second,
        .trouble = v->trouble,
        .events = room->events,
        .n_events = (int)v->n_events,
        .places = room->places,
        .n_places = (int)v->n_places,
        .results_file = v->results_file,
        .results_rows = v->results_rows,
        .results_lag = v->results_lag,
        .results_trouble = v->results_trouble,
        .useful_s = v->useful_s,
        .wasted_s = v->wasted_s,
    };
    for (size_t i = 0; i < v->n_events; i++)
        flm__views_event(room->events++, v->events[i]);
    for (size_t i = 0; i < v->n_places; i++)
        *room->places++ = (struct flm_place_view){.node = v->places[i]->node,
                                                  .block = v->places[i]->block,
                                                  .tasks = v->places[i]->tasks,
                                                  .executors = v->places[i]->executors};
    to->reasons = room->reasons;
    for (size_t i = 0; i < v->n_ended && i < v->n_lost; i++)
        if (v->ended[i] || v->lost[i])
            *room->reasons++ = (struct flm_reason_count){(int)i, v->ended[i], v->lost[i]};
    to->n_reasons = (int)(room->reasons - to->reasons);
    fill_common(to, v->common, room);
}

static int take_sessions(Flm__Message *reply, struct flm_session_view **list, flm_error *error)
{
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_sessions, n_events = 0, n_places = 0, n_reasons = 0, n_common = 0;
    struct room room;
    void *more;
    for (size_t i = 0; i < n; i++) {
        n_events += r->sessions[i]->n_events;
        n_places += r->sessions[i]->n_places;
        n_reasons += r->sessions[i]->n_ended;
        n_common += r->sessions[i]->common ? r->sessions[i]->common->n_places : 0;
    }
    *list =
        flm__views_make_room_take(reply, n, sizeof(**list),
                                  n_events * sizeof(*room.events) + n_places * sizeof(*room.places) +
                                      n_reasons * sizeof(*room.reasons) + n_common * sizeof(*room.common),
                                  &more);
    if (!*list)
        return flm__admin_no_memory(error);
    room.events = more;
    room.places = (struct flm_place_view *)(void *)(room.events + n_events);
    room.common = (struct flm_common_place *)(void *)(room.places + n_places);
    room.reasons = (struct flm_reason_count *)(void *)(room.common + n_common);
    for (size_t i = 0; i < n; i++)
        fill_session(&(*list)[i], r->sessions[i], &room);
    return (int)n;
}

int flm_list_sessions(flm_client *c, struct flm_session_view **list, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_LIST_SESSIONS;
    q.list_sessions = true;
    int rc = flm__admin_request(c, &q, &reply, error);
    return rc < 0 ? rc : take_sessions(reply, list, error);
}

int flm_get_session(flm_client *c, const char *id, struct flm_session_view **view, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_GET_SESSION;
    q.get_session = flm__admin_text(id);
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    rc = take_sessions(reply, view, error);
    if (rc == 1)
        return 0;
    if (rc < 0)
        return rc;
    flm__views_free(*view);
    *view = NULL;
    return flm__error_set(error, FLM_ENOTFOUND, "there is no session %s", id ? id : "");
}

/* ---- tasks ----------------------------------------------------------------------- */

static void fill_task(struct flm_task_view *to, const Flm__TaskView *v, struct flm_event **events)
{
    *to = (struct flm_task_view){
        .id = v->id,
        .state = v->state,
        .reason = v->reason,
        .code = v->code,
        .input_size = v->input_size,
        .attempts = v->attempts,
        .executor = v->executor,
        .message = v->message,
        .started_ns = v->started_ns,
        .deadline_ms = v->deadline_ms,
        .node = v->node,
        .block = v->block,
        .cause = v->cause,
        .user_s = (double)v->user_us * 1e-6,
        .system_s = (double)v->system_us * 1e-6,
        .max_rss_kib = v->max_rss_kib,
        .events = *events,
        .n_events = (int)v->n_events,
    };
    for (size_t i = 0; i < v->n_events; i++)
        flm__views_event((*events)++, v->events[i]);
}

int flm_list_tasks(flm_client *c, const char *session, uint64_t from, int n, struct flm_task_view **list,
                   flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__TaskQuery query = FLM__TASK_QUERY__INIT;
    Flm__Message *reply;
    if (n < 0)
        return flm__error_set(error, FLM_EINVAL, "%d is no number of tasks", n);
    query.session = flm__admin_text(session);
    query.from = from;
    query.n = (uint32_t)(n < TASKS_MAX ? n : TASKS_MAX);
    q.verb_case = FLM__REQUEST__VERB_LIST_TASKS;
    q.list_tasks = &query;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t count = r->n_tasks, n_events = 0;
    struct flm_event *events;
    for (size_t i = 0; i < count; i++)
        n_events += r->tasks[i]->n_events;
    *list = flm__views_make_take(reply, count, sizeof(**list), n_events, &events);
    if (!*list)
        return flm__admin_no_memory(error);
    for (size_t i = 0; i < count; i++)
        fill_task(&(*list)[i], r->tasks[i], &events);
    return (int)count;
}

int flm_get_task(flm_client *c, const char *session, uint64_t task, struct flm_task_view **view,
                 flm_error *error)
{
    int n = flm_list_tasks(c, session, task, 1, view, error);
    if (n < 0)
        return n;
    if (n > 0 && (*view)->id == task)
        return 0;
    flm_free_tasks(*view, n);
    *view = NULL;
    return flm__error_set(error, FLM_ENOTFOUND,
                          "the session manager remembers no task %lu of session %s: it has "
                          "ended plainly, or never was",
                          (unsigned long)task, session ? session : "");
}

/* ---- events ------------------------------------------------------------------------ */

static int read_events(flm_client *c, const char *session, uint64_t *cursor, flm_event_fn *fn, void *arg,
                       flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__EventQuery query = FLM__EVENT_QUERY__INIT;
    Flm__Message *reply;
    query.session = flm__admin_text(session);
    query.cursor = *cursor;
    q.verb_case = FLM__REQUEST__VERB_EVENTS;
    q.events = &query;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_events;
    for (size_t i = 0; i < n; i++) {
        struct flm_event event;
        flm__views_event(&event, r->events[i]);
        fn(&event, arg);
    }
    *cursor = r->cursor;
    flm__message__free_unpacked(reply, NULL);
    return (int)n;
}

static bool never(struct flm__wait *wait)
{
    (void)wait;
    return false;
}

/* Lets a moment pass, but no longer than until `deadline`. */
static void pause_until(flm_client *c, int64_t deadline)
{
    int64_t next = flm__now_ns() + WATCH_NS;
    struct flm__wait wait = {FLM__WAIT_CONTROL, never, NULL,
                             deadline != FLM__FOR_EVER && deadline < next ? deadline : next};
    flm__client_lock(c);
    flm__wait_until(c, &wait);
    flm__client_unlock(c);
}

int flm_watch_session(flm_client *c, const char *session, uint64_t *cursor, int timeout_ms,
                      flm_event_fn *fn, void *arg, flm_error *error)
{
    int64_t deadline = flm__client_deadline(timeout_ms);
    if (!c || !cursor || !fn)
        return flm__error_set(error, FLM_EINVAL, "watching needs a client, a cursor and a function");
    for (;;) {
        int n = read_events(c, session, cursor, fn, arg, error);
        if (n != 0 || (deadline != FLM__FOR_EVER && flm__now_ns() >= deadline))
            return n;
        pause_until(c, deadline); /* if the manager goes the next request says so */
    }
}
