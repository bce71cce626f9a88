/* Sessions: created, waited for, closed. */
#include "libflm/handle.h"
#include "libflm/options.h"
#include "libflm/reconnect.h"
#include "libflm/retained.h"
#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* ---- handles ------------------------------------------------------------ */

flm_session *flm__session_by_number(flm_client *c, uint32_t number)
{
    flm_session *s;
    HASH_FIND(hh, c->by_number, &number, sizeof(number), s);
    return s;
}

/* Tasks of a session that is given up: their results find no slot any more. */
static void forget_tasks(flm_session *s)
{
    flm_client *c = s->client;
    flm__overflow_drop(s);
    for (uint32_t i = 0; s->outstanding && i < c->n_slots; i++) {
        if (c->slots[i].session != s)
            continue;
        if (c->exposed)
            flm__blob_conceal(c, i);
        flm__buffers_forget(c, i);
        flm__output_forget(c, i);
        flm__invoke_forget(c->slots[i].callback, c->slots[i].arg);
        flm__slot_free(c, i);
        s->outstanding--;
    }
}

void flm__session_free(flm_session *s)
{
    flm_client *c = s->client;
    forget_tasks(s);
    flm__retained_free(s);
    c->n_acknowledging -= s->acknowledges;
    if (c->inproc)
        flm__inproc_leave(c, s->number);
    flm__results_free(s);
    DL_DELETE2(c->sessions, s, previous, next);
    if (s->number)
        HASH_DEL(c->by_number, s);
    free(s);
    if (!c->sessions) {
        flm__pool_clear(&c->pool);
        flm__maps_clear(&c->maps);
    }
}

static flm_session *new_session(flm_client *c, const Flm__Reply *reply, const struct flm_session_options *o,
                                flm_error *error)
{
    if (strlen(reply->session_id) > FLM_MAX_NAME || !reply->session_id[0]) {
        flm__error_set(error, FLM_EPROTO, "the session manager answered with an impossible session");
        return NULL;
    }
    if (flm__session_by_number(c, reply->session)) {
        flm__error_set(error, FLM_EBUSY, "this client has session %s open already", reply->session_id);
        return NULL;
    }
    flm_session *s = calloc(1, sizeof(*s));
    if (s) {
        s->client = c;
        s->number = reply->session;
        HASH_ADD(hh, c->by_number, number, sizeof(s->number), s);
        if (!flm__hash_added(&s->hh)) {
            free(s);
            s = NULL;
        }
    }
    if (!s) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a session");
        return NULL;
    }
    s->credit = reply->credit;
    s->submitted = s->sent = reply->task;
    s->common_version = reply->common_version;
    s->flags = o->flags;
    s->special = (c->shared ? FLM__SPECIAL_SHARED : 0) | (c->lost ? FLM__SPECIAL_LOST : 0);
    snprintf(s->id, sizeof(s->id), "%s", reply->session_id);
    DL_APPEND2(c->sessions, s, previous, next);
    flm__inherit(s, reply, o->callback, o->arg);
    return s;
}

const char *flm_session_id(const flm_session *s)
{
    return s ? s->id : "";
}

uint64_t flm_submitted(const flm_session *s)
{
    if (!s)
        return 0;
    flm__client_lock(s->client);
    uint64_t id = s->submitted;
    flm__client_unlock(s->client);
    return id;
}

/* ---- creation ----------------------------------------------------------- */

static int check_options(const struct flm_session_options *o, bool open, flm_error *error)
{
    if (!o->application || !flm__name_is_valid(o->application))
        return flm__error_set(error, FLM_EINVAL,
                              "'%s' is no name of an application: 1 to %d letters, digits "
                              "and . _ - : @ +",
                              o->application ? o->application : "", FLM_MAX_NAME);
    if (o->id && !flm__name_is_valid(o->id))
        return flm__error_set(error, FLM_EINVAL,
                              "'%.150s' is no session id: 1 to %d letters, digits and "
                              ". _ - : @ +",
                              o->id, FLM_MAX_NAME);
    if (open && !o->id)
        return flm__error_set(error, FLM_EINVAL, "flm_open_session needs the id of the session");
    if (!o->common && o->common_size)
        return flm__error_set(error, FLM_EINVAL, "common_size is %zu, and common is NULL", o->common_size);
    if (o->common_size > FLM_MAX_PAYLOAD)
        return flm__error_set(error, FLM_ETOOBIG, "common data of %zu bytes: at most %zu are possible",
                              o->common_size, FLM_MAX_PAYLOAD);
    if (o->flags & ~(unsigned)(FLM_DETACHED | FLM_NONBLOCK | FLM_KEEP_RESULTS))
        return flm__error_set(error, FLM_EINVAL, "unknown session flags 0x%x", o->flags);
    if (o->weight > 1000)
        return flm__error_set(error, FLM_EINVAL, "the weight %u is not within 1 and 1000", o->weight);
    if (o->max_instances && o->min_instances > o->max_instances)
        return flm__error_set(error, FLM_EINVAL, "min_instances %u is larger than max_instances %u",
                              o->min_instances, o->max_instances);
    if (o->durability < FLM_DURABILITY_NONE || o->durability > FLM_DURABILITY_SYNC)
        return flm__error_set(error, FLM_EINVAL, "unknown durability %d", o->durability);
    return 0;
}

static void fill_spec(Flm__SessionSpec *spec, const struct flm_session_options *o, bool open)
{
    spec->application = (char *)(uintptr_t)o->application;
    if (o->id)
        spec->id = (char *)(uintptr_t)o->id;
    spec->flags = o->flags;
    spec->min_instances = o->min_instances;
    spec->max_instances = o->max_instances;
    spec->weight = o->weight;
    spec->delay_release_ms = o->delay_release_ms;
    spec->deadline_ms = o->deadline_ms;
    spec->retry_limit = o->retry_limit;
    spec->queue_bytes = o->queue_bytes;
    spec->result_bytes = o->result_bytes;
    spec->durability = o->durability;
    spec->ranks_per_task = o->ranks_per_task;
    spec->spread_ranks = o->spread_ranks != 0;
    spec->open = open;
}

/* The session manager runs elsewhere: a file is meant from where the client is. */
static int full_path(const char *file, char *path, size_t size, flm_error *error)
{
    size_t n = 0;
    if (*file != '/') {
        if (!getcwd(path, size - 1))
            return flm__error_errno(error, FLM_EIO, errno, "cannot tell from where '%.100s' is meant",
                                    file);
        n = strlen(path);
        path[n++] = '/';
    }
    if ((size_t)snprintf(path + n, size - n, "%s", file) >= size - n)
        return flm__error_set(error, FLM_ETOOBIG, "the path of the file of results is too long");
    return 0;
}

static flm_session *create(flm_client *c, const struct flm_session_options *o, bool open, flm_error *error)
{
    Flm__SessionSpec spec = FLM__SESSION_SPEC__INIT;
    Flm__Request request = FLM__REQUEST__INIT;
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    struct flm__common common = {.fd = -1, .slot = FLM__NO_SLOT};
    Flm__Message *reply = NULL;
    flm_session *s = NULL;
    char results[PATH_MAX];

    fill_spec(&spec, o, open);
    if (o->results && o->results[0]) {
        if (full_path(o->results, results, sizeof(results), error) < 0)
            return NULL;
        spec.results = results;
    }
    request.verb_case = FLM__REQUEST__VERB_CREATE_SESSION;
    request.create_session = &spec;
    spec.key = c->key;
    if (o->common_size) {
        if (flm__blob_common(c, o->common, o->common_size, &ref, &common, error) < 0)
            return NULL;
        spec.common = &ref;
    }
    c->opening++;
    if (flm__request(c, &request, &common.fd, common.fd >= 0, FLM__REQUEST_PLAIN, c->timeout_ms, &reply,
                     error) == 0) {
        s = new_session(c, reply->reply, o, error);
        flm__message__free_unpacked(reply, NULL);
    }
    c->opening--;
    if (c->shared)
        flm__wait_notify(c); /* what other threads have left for this session */
    flm__blob_common_done(c, &common);
    return s;
}

static flm_session *create_locked(flm_client *c, const struct flm_session_options *options, bool open,
                                  flm_error *error)
{
    struct flm_session_options o;
    flm_session *s = NULL;
    if (!c || !options || flm__options_copy(&o, sizeof(o), options) < 0) {
        flm__error_set(error, FLM_EINVAL, "a session needs a client and options whose size is set");
        return NULL;
    }
    if (check_options(&o, open, error) < 0)
        return NULL;
    flm__client_lock(c);
    if (flm__client_check_outside(c, error) == 0)
        s = create(c, &o, open, error);
    flm__client_unlock(c);
    return s;
}

flm_session *flm_create_session(flm_client *c, const struct flm_session_options *options, flm_error *error)
{
    return create_locked(c, options, false, error);
}

flm_session *flm_open_session(flm_client *c, const struct flm_session_options *options, flm_error *error)
{
    return create_locked(c, options, true, error);
}

/* ---- waiting --------------------------------------------------------------- */

static bool all_delivered(struct flm__wait *wait)
{
    return ((const flm_session *)wait->arg)->outstanding == 0;
}

/* Waits for the tasks of the session; the lock is held. */
static int wait_for_tasks(flm_session *s, int timeout_ms, flm_error *error)
{
    flm_client *c = s->client;
    struct flm__wait wait = {FLM__WAIT_DATA, all_delivered, s, flm__client_deadline(timeout_ms)};
    int rc = flm__client_check_outside(c, error);
    if (rc < 0)
        return rc;
    bool gone = c->buried || (flm__session_is_lost(s) && !c->untold);
    rc = flm__wait_until(c, &wait);
    if (rc == FLM_ETIMEDOUT)
        return flm__error_set(error, rc, "%lu tasks of session %s are not done after %d ms",
                              (unsigned long)s->outstanding, s->id, timeout_ms);
    /* What came before the manager went counts. */
    return rc < 0 || gone || s->lost_tasks ? flm__session_lost_error(s, error) : 0;
}

int flm_wait(flm_session *s, int timeout_ms)
{
    if (!s)
        return FLM_EINVAL;
    flm__client_lock(s->client);
    int rc = wait_for_tasks(s, timeout_ms, NULL);
    flm__client_unlock(s->client);
    return rc;
}

int flm__session_ask(flm_session *s, Flm__Request *request, const int *fds, unsigned n_fds,
                     enum flm__request_mode mode, int timeout_ms, Flm__Message **reply, flm_error *error)
{
    int rc = flm__session_is_lost(s) ? 0 : flm__reconnect_await(s->client, mode, timeout_ms, error);
    if (flm__session_is_lost(s))
        return flm__session_lost_error(s, error);
    if (rc < 0)
        return rc;
    request->submitted = s->sent;
    switch (request->verb_case) {
    case FLM__REQUEST__VERB_CANCEL_TASK:
        request->cancel_task->session = s->number;
        break;
    case FLM__REQUEST__VERB_CANCEL_SESSION:
        request->cancel_session = s->number;
        break;
    case FLM__REQUEST__VERB_CLOSE_SESSION:
        request->close_session = s->number;
        break;
    case FLM__REQUEST__VERB_UPDATE_COMMON:
        request->update_common->session = s->number;
        break;
    default:
        request->sync_session = s->number;
        request->taken = s->acknowledges ? flm__done_with(s) : 0;
        break;
    }
    return flm__request(s->client, request, fds, n_fds, mode, timeout_ms, reply, error);
}

/* The same, once more when the manager went meanwhile; for what does no harm twice. */
static int ask(flm_session *s, Flm__Request *request, enum flm__request_mode mode, int timeout_ms,
               flm_error *error)
{
    int rc;
    do
        rc = flm__session_ask(s, request, NULL, 0, mode, timeout_ms, NULL, error);
    while (rc == FLM_EDISCONNECTED && !flm__session_is_lost(s) &&
           (mode == FLM__REQUEST_PROGRESS || (mode == FLM__REQUEST_PLAIN && !s->client->lost)));
    return rc;
}

static bool all_sent(struct flm__wait *wait)
{
    const flm_session *s = wait->arg;
    return flm__session_is_lost(s) || (!s->queue_first && !s->unsent && !s->client->away);
}

static int sync_session(flm_session *s, uint64_t *task, flm_error *error)
{
    flm_client *c = s->client;
    Flm__Request request = FLM__REQUEST__INIT;
    Flm__Message *reply;
    struct flm__wait wait = {FLM__WAIT_DATA, all_sent, s, flm__client_deadline(c->timeout_ms)};
    int rc = flm__client_check_outside(c, error);
    if (rc < 0)
        return rc;
    request.verb_case = FLM__REQUEST__VERB_SYNC_SESSION;
    do {
        rc = flm__wait_until(c, &wait);
        if (rc == FLM_ETIMEDOUT)
            return flm__error_set(error, rc, "session %s has no room for all its tasks", s->id);
        rc = flm__session_ask(s, &request, NULL, 0, FLM__REQUEST_PLAIN, c->timeout_ms, &reply, error);
    } while (rc == FLM_EDISCONNECTED && !flm__session_is_lost(s)); /* the manager went meanwhile */
    if (rc < 0)
        return rc;
    s->acknowledged = request.taken > s->acknowledged ? request.taken : s->acknowledged;
    flm__retained_recorded(s, reply->reply->task);
    if (task)
        *task = reply->reply->task;
    flm__message__free_unpacked(reply, NULL);
    return 0;
}

int flm_sync(flm_session *s, uint64_t *task, flm_error *error)
{
    if (!s)
        return flm__error_set(error, FLM_EINVAL, "no session");
    flm__client_lock(s->client);
    int rc = sync_session(s, task, error);
    flm__client_unlock(s->client);
    return rc;
}

/* ---- cancelling and closing --------------------------------------------------- */

static int cancel_task(flm_session *s, uint64_t task, flm_error *error)
{
    flm_client *c = s->client;
    if (flm__session_is_lost(s))
        return flm__session_lost_error(s, error);
    if (task == 0 || task > s->submitted)
        return flm__error_set(error, FLM_ENOTFOUND, "session %s has no task %lu", s->id,
                              (unsigned long)task);
    if (flm__overflow_cancel(s, task)) {
        flm__wait_notify(c);
        return 0;
    }
    Flm__Request request = FLM__REQUEST__INIT;
    Flm__TaskRef ref = FLM__TASK_REF__INIT;
    ref.task = task;
    request.verb_case = FLM__REQUEST__VERB_CANCEL_TASK;
    request.cancel_task = &ref;
    return ask(s, &request, c->in_callback ? FLM__REQUEST_SEND : FLM__REQUEST_PLAIN, c->timeout_ms, error);
}

int flm_cancel_task(flm_session *s, uint64_t task, flm_error *error)
{
    if (!s)
        return flm__error_set(error, FLM_EINVAL, "no session");
    flm__client_lock(s->client);
    int rc = cancel_task(s, task, error);
    flm__client_unlock(s->client);
    return rc;
}

/* Tells the manager, waits for its answer and for what it sent before that. */
static int end(flm_session *s, bool cancel, flm_error *error)
{
    Flm__Request request = FLM__REQUEST__INIT;
    int rc;
    if (!cancel) {
        rc = wait_for_tasks(s, -1, error);
        if (rc < 0)
            return rc;
        request.verb_case = FLM__REQUEST__VERB_CLOSE_SESSION;
    } else {
        flm__overflow_cancel_all(s);
        request.verb_case = FLM__REQUEST__VERB_CANCEL_SESSION;
    }
    s->special |= FLM__SPECIAL_CLOSED;
    rc = ask(s, &request, FLM__REQUEST_PROGRESS, -1, error);
    if (rc == FLM_EDISCONNECTED && !cancel && s->lost_error.code == FLM_ENOTFOUND)
        rc = 0; /* it was closed and forgotten before the answer came */
    if (rc == 0 || rc == FLM_EDISCONNECTED) {
        int waited = wait_for_tasks(s, -1, rc == 0 ? error : NULL);
        return rc < 0 ? rc : waited;
    }
    return rc;
}

static int end_locked(flm_session *s, bool cancel, flm_error *error)
{
    if (!s)
        return flm__error_set(error, FLM_EINVAL, "no session");
    flm_client *c = s->client;
    flm__client_lock(c);
    int rc = flm__client_check_outside(c, error);
    if (rc == 0) {
        s->given_up = true;
        rc = end(s, cancel, error);
        if (rc == 0 && s->acknowledges)
            sync_session(s, NULL, NULL); /* says what we are done with */
        flm__session_free(s);
    }
    flm__client_unlock(c);
    return rc;
}

int flm_close_session(flm_session *s, flm_error *error)
{
    return end_locked(s, false, error);
}

int flm_cancel_session(flm_session *s, flm_error *error)
{
    return end_locked(s, true, error);
}
