#include "libflm/reconnect.h"
#include "libflm/retained.h"
#include "libflm/transport.h"
#include "base/error.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_PAUSE_MS = 20, /* between two attempts; doubles */
    LAST_PAUSE_MS = 500,
};

struct flm__reconnect {
    char *endpoints, *name, *secret_file, *provider;
    struct flm_connect_options options;
    int64_t until, next, pause; /* ns: given up then; the next attempt; after that one */
    int64_t since;              /* of the present connection, or when the last was lost */
    uint64_t delivered;         /* when it was lost */
    flm_error why;              /* it was lost */
    bool busy;                  /* an attempt is being made */
};

/* ---- what is needed to connect ------------------------------------------------------------------- */

static bool copy(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return *to || !from;
}

struct flm__reconnect *flm__reconnect_new(const char *endpoints, const struct flm_connect_options *o)
{
    struct flm__reconnect *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->options = *o;
    if (!copy(&r->endpoints, endpoints) || !copy(&r->name, o->name) ||
        !copy(&r->secret_file, o->secret_file) || !copy(&r->provider, o->provider)) {
        flm__reconnect_free(r);
        return NULL;
    }
    r->options.name = r->name;
    r->options.secret_file = r->secret_file;
    r->options.provider = r->provider;
    r->since = flm__now_ns();
    return r;
}

void flm__reconnect_free(struct flm__reconnect *r)
{
    if (!r)
        return;
    free(r->endpoints);
    free(r->name);
    free(r->secret_file);
    free(r->provider);
    free(r);
}

static void tell_user(const struct flm__reconnect *r, int event, const char *text)
{
    if (r->options.on_connection)
        r->options.on_connection(event, text, r->options.on_connection_arg);
}

/* ---- the link of a client that is away --------------------------------------------------------------- */

static void *no_room(struct flm__link *l, uint32_t bytes)
{
    (void)l;
    (void)bytes;
    return NULL;
}

static void nothing(struct flm__link *l)
{
    (void)l;
}

static size_t nothing_came(struct flm__link *l, const void **data)
{
    (void)l;
    (void)data;
    return 0;
}

static void consume_nothing(struct flm__link *l, size_t bytes)
{
    (void)l;
    (void)bytes;
}

static bool may_sleep(struct flm__link *l, bool want_room)
{
    (void)l;
    (void)want_room;
    return true;
}

static const struct flm__link_ops away_ops = {
    .name = "none",
    .reserve = no_room,
    .flush = nothing,
    .nudge = nothing,
    .peek = nothing_came,
    .consume = consume_nothing,
    .arm = may_sleep,
    .disarm = nothing,
    .destroy = nothing,
};
static struct flm__link away_link = {.ops = &away_ops};

/* ---- departing ------------------------------------------------------------------------------------------
 */

/* Of a session that is to be resumed: what belonged to the connection. */
static void leave_session(flm_session *s)
{
    if (s->number)
        HASH_DEL(s->client->by_number, s);
    s->number = 0; /* no session of the manager has that */
    if (s->taken > s->seen)
        s->seen = s->taken;
    s->special &= ~(unsigned)FLM__SPECIAL_LOST;
}

static void leave_connection(flm_client *c)
{
    for (flm_session *s = c->sessions; s; s = s->next)
        if (s->resume)
            leave_session(s);
    flm__fd_leave(c);
    flm__transport_close(c);
    c->link = &away_link;
    c->connections++;
    c->unflushed = false;
}

/* Sessions that cannot be resumed have tasks whose callbacks are to be told. */
static bool has_to_call(const flm_client *c)
{
    if (c->cancelled_first)
        return true;
    for (const flm_session *s = c->sessions; s; s = s->next)
        if (!s->resume && s->outstanding)
            return true;
    return false;
}

static void lose_others(flm_client *c)
{
    for (flm_session *s = c->sessions; s; s = s->next)
        if (!s->resume && s->number)
            flm__session_lost(s, FLM_EDISCONNECTED, c->lost_error.text);
}

bool flm__reconnect_depart(flm_client *c, bool may_call, unsigned *n)
{
    struct flm__reconnect *r = c->reconnect;
    if (!c->recoverable || (!may_call && has_to_call(c)))
        return false;
    if (may_call)
        *n += flm__progress_drain(c);
    if (!c->recoverable) /* what came made no sense */
        return false;
    flm_error text;
    int64_t now = flm__now_ns(), limit = (int64_t)r->options.reconnect_ms * 1000000;
    /* One that comes and goes at once is no new beginning. */
    if (!r->until || c->delivered != r->delivered || now - r->since > limit)
        r->until = now + limit;
    r->delivered = c->delivered;
    r->since = r->next = now;
    r->pause = FIRST_PAUSE_MS * 1000000;
    r->why = c->lost_error;
    flm__error_set(&text, 0, "%.300s; trying to connect again for %d s", r->why.text,
                   r->options.reconnect_ms / 1000);
    flm__blob_note_reads(c);
    lose_others(c);
    leave_connection(c);
    c->away = true;
    tell_user(r, FLM_CONNECTION_LOST, text.text);
    return true;
}

unsigned flm__reconnect_tell(flm_client *c)
{
    c->untold = false;
    return flm__deliver_lost(c);
}

/* ---- coming back --------------------------------------------------------------------------------------
 */

static int take_up(flm_session *s, const Flm__Reply *reply, flm_error *error)
{
    flm_client *c = s->client;
    s->number = reply->session;
    HASH_ADD(hh, c->by_number, number, sizeof(s->number), s);
    if (!flm__hash_added(&s->hh)) {
        s->number = 0;
        return flm__error_set(error, FLM_ENOMEM, "no memory for a session");
    }
    s->credit = reply->credit;
    s->spent = 0;
    s->sent = reply->task;
    s->taken = s->acknowledged = reply->taken;
    if (!flm__retained_rewind(s, reply->task) || s->taken > s->seen)
        return flm__error_set(error, FLM_EIO,
                              "the session manager has an older state of session %s than it had: it knows "
                              "%lu tasks, %lu were recorded",
                              s->id, (unsigned long)reply->task, (unsigned long)s->recorded);
    if (s->unsent)
        flm__overflow_remember(s);
    return 0;
}

/* 0, also when the session is lost alone; FLM_EDISCONNECTED: the connection is. */
static int resume(flm_session *s, flm_error *why)
{
    flm_client *c = s->client;
    Flm__SessionSpec spec = FLM__SESSION_SPEC__INIT;
    Flm__Request request = FLM__REQUEST__INIT;
    Flm__Message *reply = NULL;
    flm_error error = {0};
    request.verb_case = FLM__REQUEST__VERB_CREATE_SESSION;
    request.create_session = &spec;
    spec.id = s->id;
    spec.resume = s->resume;
    spec.key = c->key;
    spec.refused = s->refused;
    int rc = flm__request(c, &request, NULL, 0, FLM__REQUEST_ALONE, c->timeout_ms, &reply, &error);
    if (c->lost || rc == FLM_ETIMEDOUT || rc == FLM_EAGAIN) {
        flm__error_set(why, rc, "%s", error.text);
        return FLM_EDISCONNECTED; /* the next attempt may do better */
    }
    if (rc == 0) {
        rc = take_up(s, reply->reply, &error);
        flm__message__free_unpacked(reply, NULL);
    }
    if (rc < 0)
        flm__session_lost(s, rc, error.text);
    return 0;
}

static int attempt(flm_client *c, flm_error *error)
{
    struct flm__reconnect *r = c->reconnect;
    struct flm_connect_options o = r->options;
    int64_t left = (r->until - flm__now_ns()) / 1000000 + 1;
    if (left < o.timeout_ms)
        o.timeout_ms = left > 0 ? (int)left : 1;
    c->link = NULL;
    int rc = flm__connect_list(c, r->endpoints, &o, error);
    for (flm_session *s = c->sessions; s && rc == 0; s = s->next)
        if (s->resume)
            rc = resume(s, error);
    if (rc < 0 && c->lost)
        *error = c->lost_error;
    if (rc < 0)
        leave_connection(c);
    return rc;
}

static void give_up(flm_client *c, const flm_error *last)
{
    const struct flm__reconnect *r = c->reconnect;
    flm_error why = r->why;
    c->away = false;
    flm__client_lost(c, FLM_EDISCONNECTED, "%.150s; none has come again within %d s: %.100s", why.text,
                     r->options.reconnect_ms / 1000, last->text);
    c->recoverable = false;
    tell_user(r, FLM_CONNECTION_GIVEN_UP, c->lost_error.text);
}

static void come_back(flm_client *c)
{
    struct flm__reconnect *r = c->reconnect;
    c->away = false;
    r->since = flm__now_ns();
    flm__fd_join(c);
    flm__wait_notify(c);
    tell_user(r, FLM_CONNECTION_BACK, "");
}

unsigned flm__reconnect_try(flm_client *c)
{
    struct flm__reconnect *r = c->reconnect;
    int64_t now = flm__now_ns();
    flm_error error = {0};
    if (now < r->next || r->busy)
        return 0;
    r->busy = true;
    int rc = attempt(c, &error);
    r->busy = false;
    if (rc == 0) {
        come_back(c);
        return 1;
    }
    now = flm__now_ns();
    if (now >= r->until) {
        give_up(c, &error);
        return 1;
    }
    r->next = now + r->pause < r->until ? now + r->pause : r->until;
    r->pause = 2 * r->pause < LAST_PAUSE_MS * 1000000LL ? 2 * r->pause : LAST_PAUSE_MS * 1000000LL;
    return 0;
}

int64_t flm__reconnect_next(const flm_client *c)
{
    return c->reconnect->next;
}

/* ---- waiting for it ------------------------------------------------------------------------------------
 */

static bool is_back(struct flm__wait *wait)
{
    const flm_client *c = wait->arg;
    return !c->away && !c->lost;
}

int flm__reconnect_await(flm_client *c, enum flm__request_mode mode, int timeout_ms, flm_error *error)
{
    unsigned n = 0;
    struct flm__wait wait = {.what = mode == FLM__REQUEST_PROGRESS ? FLM__WAIT_DATA : FLM__WAIT_CONTROL,
                             .done = is_back,
                             .arg = c,
                             .deadline = flm__client_deadline(timeout_ms)};
    if ((!c->away && !c->lost) || mode == FLM__REQUEST_ALONE)
        return c->lost ? flm__client_lost_error(c, error) : 0;
    if (mode == FLM__REQUEST_SEND || c->in_callback ||
        (c->lost && mode == FLM__REQUEST_PLAIN && !flm__reconnect_depart(c, false, &n)))
        return flm__client_lost_error(c, error);
    int rc = flm__wait_until(c, &wait);
    if (rc == FLM_EDISCONNECTED)
        return flm__client_lost_error(c, error);
    if (rc == FLM_ETIMEDOUT)
        return flm__error_set(error, rc, "there has been no session manager for %d ms", timeout_ms);
    return rc;
}
