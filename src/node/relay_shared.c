/* relay_shared.c - data that flmd shows to several nodes, that is common data of sessions and objects: read
 * once per node, mapped by all its executors, and shown to other nodes, which read them here.
 *
 * flmd decides where they are read (manager/spread.h), knows whether they are here, and who reads them
 * here. So what nobody here uses any more is kept until flmd says SharedFree, or until another reference
 * names it. What has come from a session manager that is gone has no id, and goes with its last user.
 */
#include "base/error.h"
#include "net/blob.h"
#include "node/relay_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

static struct shared *find(struct relay *relay, uint64_t id)
{
    struct shared *s;
    DL_FOREACH(relay->shared, s)
    if (id && s->id == id)
        return s;
    return NULL;
}

static void conceal(struct shared *s)
{
    if (s->region)
        s->relay->ops->conceal(s->relay->fabric, s->region);
    s->region = NULL;
}

static void free_shared(struct shared *s)
{
    DL_DELETE(s->relay->shared, s);
    conceal(s);
    relay_pull_drop(s->pull);
    free(s);
}

/* ---- to flmd ----------------------------------------------------------------------------------- */

static void tell_at(struct relay *relay, Flm__SharedAt *at)
{
    FLM__MESSAGE(m, shared_at, SHARED_AT, at);
    agent_tell(relay->agent, &m, NULL, 0);
}

static void tell_not_read(struct relay *relay, uint64_t id, uint64_t attempt, int code)
{
    Flm__SharedAt at = FLM__SHARED_AT__INIT;
    at.id = id;
    at.attempt = attempt;
    at.code = code;
    tell_at(relay, &at);
}

/* Others may read it here, if they can. */
static void tell_read(struct shared *s)
{
    struct relay *relay = s->relay;
    Flm__SharedAt at = FLM__SHARED_AT__INIT;
    at.id = s->id;
    at.attempt = s->attempt;
    at.bytes = s->pull->from.bytes;
    at.open = relay->ops->expose(relay->fabric, s->pull->room.map, s->pull->size, &s->region, &at.address,
                                 &at.key, NULL) == 0;
    tell_at(relay, &at);
}

static void tell_gone(const struct shared *s)
{
    Flm__SharedGone gone = FLM__SHARED_GONE__INIT;
    gone.id = s->id;
    gone.number = s->number;
    FLM__MESSAGE(m, shared_gone, SHARED_GONE, &gone);
    agent_tell(s->relay->agent, &m, NULL, 0);
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* Who waits for it goes on. */
static void arrived(struct shared *s)
{
    s->users++;
    relay_common_arrived(s);
    relay_objects_arrived(s);
    relay_shared_leave(s);
}

static void on_pulled(struct pull *pull)
{
    struct shared *s = pull->owner;
    int status = pull->status;
    if (status < 0) {
        snprintf(s->why, sizeof(s->why), "could not be read: %s", flm_strerror(status));
        s->pull = NULL;
        relay_pull_drop(pull);
        tell_not_read(s->relay, s->id, s->attempt, status);
        return;
    }
    s->ready = true;
    tell_read(s);
    arrived(s);
}

/* Where it is to be read, and what: of a version like one that is here, no more than differs. */
static struct pull_source source_of(const struct shared *s, const Flm__SharedSource *source)
{
    const struct shared *base = find(s->relay, source->before);
    struct pull_source from = {.node = source->node.data,
                               .node_size = source->node.len,
                               .address = source->address,
                               .key = source->key,
                               .bytes = (size_t)s->size};
    if (base && base->ready && base->size == s->size && source->offset <= s->size &&
        source->bytes <= s->size - source->offset) {
        from.base = base->pull;
        from.offset = (size_t)source->offset;
        from.bytes = (size_t)source->bytes;
    }
    return from;
}

/* flmd has no source for it, and knows nothing more of it. */
static void give_up(struct shared *s)
{
    s->id = 0;
    if (!s->ready) {
        if (!*s->why)
            snprintf(s->why, sizeof(s->why), "could not be read");
        arrived(s);
    } else if (!s->users) {
        free_shared(s);
    }
}

void relay_shared_source(struct relay *relay, const Flm__SharedSource *source)
{
    struct shared *s = find(relay, source->id);
    flm_error error = {0, ""};
    if (!s) {
        if (source->code == 0)
            tell_not_read(relay, source->id, source->attempt, FLM_ENOTFOUND);
        return;
    }
    if (source->code < 0) {
        give_up(s);
        return;
    }
    s->attempt = source->attempt;
    if (s->ready) { /* what we said of an earlier attempt has come too late */
        conceal(s);
        tell_read(s);
        return;
    }
    relay_pull_drop(s->pull);
    const struct pull_source from = source_of(s, source);
    s->pull = relay_pull_from(relay, &from, s->size, &error);
    if (!s->pull) {
        snprintf(s->why, sizeof(s->why), "could not be read: %.170s", error.text);
        tell_not_read(relay, s->id, s->attempt, error.code);
        return;
    }
    s->pull->owner = s;
    s->pull->on_done = on_pulled;
}

/* ---- users ------------------------------------------------------------------------------------- */

static struct shared *find_or_add(struct relay *relay, uint64_t id, uint64_t size, uint64_t number)
{
    struct shared *s = find(relay, id);
    if (!s && (s = calloc(1, sizeof(*s)))) {
        *s = (struct shared){.relay = relay, .id = id, .size = size};
        DL_PREPEND(relay->shared, s);
    }
    if (s)
        s->number = number;
    return s;
}

struct shared *relay_shared_get(struct relay *relay, const Flm__BlobRef *ref)
{
    struct shared *s = find_or_add(relay, ref->id, ref->size, ref->number);
    if (s)
        s->users++;
    return s;
}

/* Somebody may have asked for it before we hear that it is here, so that it is being read, or was. */
struct shared *relay_shared_keep(struct relay *relay, const Flm__BlobDone *done, int fd, uint64_t size)
{
    struct pull *pull = fd >= 0 ? relay_pull_done(relay, fd, (size_t)size) : NULL;
    struct shared *s = pull ? find_or_add(relay, done->blob, size, done->number) : NULL;
    if (!s) {
        relay_pull_drop(pull);
        tell_not_read(relay, done->blob, done->number, fd >= 0 ? FLM_ENOMEM : FLM_ENOTFOUND);
        return NULL;
    }
    const bool was_ready = s->ready, awaited = !was_ready && s->users;
    s->users++;
    s->attempt = done->number;
    relay_pull_drop(was_ready ? pull : s->pull);
    if (!was_ready)
        s->pull = pull;
    s->ready = true;
    conceal(s);
    tell_read(s);
    if (awaited)
        arrived(s);
    return s;
}

void relay_shared_leave(struct shared *s)
{
    if (--s->users)
        return;
    if (s->id)
        tell_gone(s);
    else
        free_shared(s);
}

void relay_shared_decline(struct relay *relay, const Flm__BlobRef *ref)
{
    struct shared *s = ref && ref->size ? relay_shared_get(relay, ref) : NULL;
    if (s)
        relay_shared_leave(s);
}

void relay_shared_free(struct relay *relay, uint64_t id)
{
    struct shared *s = find(relay, id);
    if (s && !s->users)
        free_shared(s);
}

/* ---- ends -------------------------------------------------------------------------------------- */

void relay_shared_conceal(struct relay *relay)
{
    struct shared *s;
    DL_FOREACH(relay->shared, s)
    conceal(s);
}

void relay_shared_retire(struct relay *relay)
{
    struct shared *s, *next;
    DL_FOREACH_SAFE(relay->shared, s, next)
    {
        s->id = 0;
        if (!s->users)
            free_shared(s);
    }
}
