/* relay_common.c - common data of sessions: read once per node, mapped by all its executors, and shown to
 * other nodes, which read them here.
 *
 * flmd decides where they are read (manager/spread.h), knows whether they are here, and who reads them
 * here. So what no slot uses any more is kept until flmd says CommonFree, or until another reference names
 * it. Those that have come from a session manager that is gone have no id, and go with their last user.
 */
#define _GNU_SOURCE
#include "base/error.h"
#include "node/relay_inside.h"

#include <stdio.h>
#include <stdlib.h>

struct common {
    struct common *next;
    struct relay *relay;
    uint64_t id;                /* flmd's; 0: it is gone */
    uint64_t size, number;      /* number: of the last reference to it */
    uint64_t attempt;           /* at reading it */
    unsigned users;             /* slots that wait or are bound */
    struct pull *pull;          /* NULL: there is no source yet */
    bool ready;                 /* it is here */
    struct flm__region *region; /* exposed */
    char why[200];              /* it could not be read */
};

static struct common *find(struct relay *relay, uint64_t id)
{
    for (struct common *c = relay->commons; id && c; c = c->next)
        if (c->id == id)
            return c;
    return NULL;
}

static void conceal(struct common *common)
{
    if (common->region)
        common->relay->ops->conceal(common->relay->fabric, common->region);
    common->region = NULL;
}

static void free_common(struct common *common)
{
    for (struct common **p = &common->relay->commons; *p; p = &(*p)->next) {
        if (*p == common) {
            *p = common->next;
            break;
        }
    }
    conceal(common);
    relay_pull_drop(common->pull);
    free(common);
}

/* The slots that wait for it go on. */
static void tell_slots(struct common *common, int fd, const char *text)
{
    struct agent *agent = common->relay->agent;
    for (unsigned i = 0; i < agent->n_slots; i++) {
        struct slot *slot = &agent->slots[i];
        if ((slot->common == common && slot->bind) || slot->coming == common)
            slot_common_ready(slot, fd, text);
    }
}

/* It cannot be had: each slot lets it go by itself. */
static void fail(struct common *common)
{
    struct agent *agent = common->relay->agent;
    tell_slots(common, -1, *common->why ? common->why : "the common data could not be read");
    for (unsigned i = 0; i < agent->n_slots; i++)
        if (agent->slots[i].common == common)
            agent->slots[i].common = NULL;
    free_common(common);
}

/* ---- to flmd ----------------------------------------------------------------------------------- */

static void tell_at(struct relay *relay, Flm__CommonAt *at)
{
    FLM__MESSAGE(m, common_at, COMMON_AT, at);
    agent_tell(relay->agent, &m, NULL, 0);
}

static void tell_not_read(struct relay *relay, uint64_t id, uint64_t attempt, int code)
{
    Flm__CommonAt at = FLM__COMMON_AT__INIT;
    at.id = id;
    at.attempt = attempt;
    at.code = code;
    tell_at(relay, &at);
}

/* Others may read it here, if they can. */
static void tell_read(struct common *common)
{
    struct relay *relay = common->relay;
    Flm__CommonAt at = FLM__COMMON_AT__INIT;
    at.id = common->id;
    at.attempt = common->attempt;
    at.bytes = common->pull->from.bytes;
    at.open = relay->ops->expose(relay->fabric, common->pull->room.map, common->pull->size, &common->region,
                                 &at.address, &at.key, NULL) == 0;
    tell_at(relay, &at);
}

static void tell_gone(const struct common *common)
{
    Flm__CommonGone gone = FLM__COMMON_GONE__INIT;
    gone.id = common->id;
    gone.number = common->number;
    FLM__MESSAGE(m, common_gone, COMMON_GONE, &gone);
    agent_tell(common->relay->agent, &m, NULL, 0);
}

/* ---- reading ----------------------------------------------------------------------------------- */

static void on_pulled(struct pull *pull)
{
    struct common *common = pull->owner;
    int status = pull->status;
    if (status < 0) {
        snprintf(common->why, sizeof(common->why), "the common data could not be read: %s",
                 flm_strerror(status));
        common->pull = NULL;
        relay_pull_drop(pull);
        tell_not_read(common->relay, common->id, common->attempt, status);
        return;
    }
    common->ready = true;
    tell_read(common);
    tell_slots(common, pull->room.fd, "");
}

/* Where it is to be read, and what: of a version like one that is here, no more than differs. */
static struct pull_source source_of(const struct common *common, const Flm__CommonSource *source)
{
    const struct common *base = find(common->relay, source->before);
    struct pull_source from = {.node = source->node.data,
                               .node_size = source->node.len,
                               .address = source->address,
                               .key = source->key,
                               .bytes = (size_t)common->size};
    if (base && base->ready && base->size == common->size && source->offset <= common->size &&
        source->bytes <= common->size - source->offset) {
        from.base = base->pull;
        from.offset = (size_t)source->offset;
        from.bytes = (size_t)source->bytes;
    }
    return from;
}

void relay_common_source(struct relay *relay, const Flm__CommonSource *source)
{
    struct common *common = find(relay, source->id);
    flm_error error = {0, ""};
    if (!common) {
        if (source->code == 0)
            tell_not_read(relay, source->id, source->attempt, FLM_ENOTFOUND);
        return;
    }
    if (source->code < 0) {
        fail(common);
        return;
    }
    common->attempt = source->attempt;
    if (common->ready) { /* what we said of an earlier attempt has come too late */
        conceal(common);
        tell_read(common);
        return;
    }
    relay_pull_drop(common->pull);
    const struct pull_source from = source_of(common, source);
    common->pull = relay_pull_from(relay, &from, common->size, &error);
    if (!common->pull) {
        snprintf(common->why, sizeof(common->why), "%.199s", error.text);
        tell_not_read(relay, common->id, common->attempt, error.code);
        return;
    }
    common->pull->owner = common;
    common->pull->on_done = on_pulled;
}

/* ---- slots ------------------------------------------------------------------------------------- */

/* A reference has come. NULL: no memory; flmd will hear that we do not know it when it says where to read.
 */
static struct common *seen(struct relay *relay, const Flm__BlobRef *ref)
{
    struct common *common = find(relay, ref->id);
    if (!common && (common = calloc(1, sizeof(*common)))) {
        *common = (struct common){.next = relay->commons, .relay = relay, .id = ref->id, .size = ref->size};
        relay->commons = common;
    }
    if (common)
        common->number = ref->number;
    return common;
}

void relay_common_get(struct relay *relay, struct slot *slot, struct common **at, const Flm__BlobRef *ref)
{
    struct common *common = *at = seen(relay, ref);
    if (!common) {
        slot_common_ready(slot, -1, "no memory for common data");
        return;
    }
    common->users++;
    if (common->ready)
        slot_common_ready(slot, common->pull->room.fd, "");
}

static void leave(struct common *common)
{
    if (common->id)
        tell_gone(common);
    else
        free_common(common);
}

void relay_common_decline(struct relay *relay, const Flm__BlobRef *ref)
{
    struct common *common = ref && ref->size ? seen(relay, ref) : NULL;
    if (common && !common->users)
        leave(common);
}

void relay_common_release(struct relay *relay, struct common *common)
{
    (void)relay;
    if (--common->users == 0)
        leave(common);
}

void relay_common_free(struct relay *relay, uint64_t id)
{
    struct common *common = find(relay, id);
    if (common && !common->users)
        free_common(common);
}

/* ---- ends -------------------------------------------------------------------------------------- */

void relay_common_close(struct relay *relay)
{
    while (relay->commons)
        free_common(relay->commons);
}

void relay_common_conceal(struct relay *relay)
{
    for (struct common *c = relay->commons; c; c = c->next)
        conceal(c);
}

void relay_common_retire(struct relay *relay)
{
    for (struct common *c = relay->commons, *next; c; c = next) {
        next = c->next;
        c->id = 0;
        if (!c->users)
            free_common(c);
    }
}
