#include "manager/retention.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/durable.h"
#include "manager/results.h"

#include <inttypes.h>
#include <stdio.h>

/* No one of ours needs it. */
static bool is_left(const struct session *s)
{
    return s->state == SESSION_CLOSED && !s->client && s->n_bound == 0;
}

static bool is_written(const struct session *s)
{
    return !s->results || s->results->done;
}

/* Nobody will want what it holds, either. What is durable waits for who takes it. */
static bool may_be_forgotten(const struct session *s)
{
    return is_left(s) && is_written(s) && (!s->durability || outbox_empty(&s->outbox));
}

/* That it is gone must be in the journal: without room there it goes later. */
static bool forget(struct session *s)
{
    if (s->durability && (durable_trouble(s->manager->durable) || !durable_room(s->manager->durable, 0)))
        return false;
    session_free(s);
    return true;
}

void retention_forget(struct manager *m)
{
    unsigned closed = 0;
    struct session *s, *next;
    m->forget = false;
    for (s = m->sessions; s; s = s->hh.next)
        closed += may_be_forgotten(s);
    HASH_ITER(hh, m->sessions, s, next)
    {
        bool counts = may_be_forgotten(s);
        if ((s->deleted && is_left(s)) || (counts && closed > SESSION_CLOSED_KEPT))
            closed -= forget(s) && counts;
    }
}

/* ---- age and size ------------------------------------------------------------------------------------ */

static uint64_t held(const struct session *s)
{
    return s->outbox.bytes + (s->common ? s->common->size : 0);
}

static bool expire(struct session *s, const char *option)
{
    char id[sizeof(s->id)];
    uint64_t results = s->outbox.put - s->outbox.dropped;
    snprintf(id, sizeof(id), "%s", s->id);
    if (!forget(s))
        return false;
    fprintf(stderr,
            "flmd: session %s, which is closed, is deleted (%s); %" PRIu64 " results were not taken\n", id,
            option, results);
    return true;
}

static void expire_old(struct manager *m)
{
    struct session *s, *next;
    int64_t before_ns = flm__wall_ns() - m->options.keep_closed_s * 1000000000LL;
    HASH_ITER(hh, m->sessions, s, next)
    if (is_left(s) && is_written(s) && s->closed_ns < before_ns)
        expire(s, "--keep-closed");
}

static void expire_large(struct manager *m)
{
    uint64_t bytes = 0, most = (uint64_t)m->options.keep_size_mib << 20;
    struct session *s;
    for (s = m->sessions; s; s = s->hh.next)
        bytes += is_left(s) && is_written(s) ? held(s) : 0;
    while (bytes > most) {
        struct session *oldest = NULL;
        for (s = m->sessions; s; s = s->hh.next)
            if (is_left(s) && is_written(s) && held(s) && (!oldest || s->closed_ns < oldest->closed_ns))
                oldest = s;
        uint64_t less = oldest ? held(oldest) : 0;
        if (!oldest || !expire(oldest, "--keep-size"))
            return;
        bytes -= less;
    }
}

void retention_look(struct manager *m)
{
    if (m->options.keep_closed_s)
        expire_old(m);
    if (m->options.keep_size_mib)
        expire_large(m);
    retention_forget(m);
}

/* ---- by hand --------------------------------------------------------------------------------------- */

int retention_delete(struct session *s, bool force, flm_error *error)
{
    if (!force && s->state != SESSION_CLOSED)
        return flm__error_set(
            error, FLM_EBUSY,
            "session %s is %s: close or cancel it first, or use --force, which cancels it", s->id,
            session_state_name(s));
    if (!force && s->client)
        return flm__error_set(error, FLM_EBUSY,
                              "session %s still has a client, %s: with --force it goes with that", s->id,
                              s->client->name);
    if (!force && !is_written(s))
        return flm__error_set(
            error, FLM_EBUSY,
            "the file of results of session %s is not complete (flmctl view): with --force it "
            "stays as it is",
            s->id);
    s->deleted = true;
    durable_touch(s, DURABLE_STATE_CHANGED);
    session_cancel(s, "it is to be deleted");
    s->manager->forget = true;
    return 0;
}
