/* relay_common.c - common data of sessions: read once per node, mapped by all its executors.
 *
 * flmd keeps them readable for each reference that it sends (Bind, Common), and hears BlobDone for each:
 * when the read is over that this one began, at once where another one had. */
#define _GNU_SOURCE
#include "base/error.h"
#include "node/relay_inside.h"

#include <stdlib.h>

struct common {
    struct common *next;
    struct relay *relay;
    uint32_t session;
    uint64_t version;
    unsigned users; /* slots that wait or are bound */
    struct pull *pull;
};

static struct common *find(struct relay *relay, uint32_t session, uint64_t version)
{
    for (struct common *c = relay->commons; c; c = c->next)
        if (c->session == session && c->version == version)
            return c;
    return NULL;
}

static void free_common(struct common *common)
{
    for (struct common **p = &common->relay->commons; *p; p = &(*p)->next) {
        if (*p == common) {
            *p = common->next;
            break;
        }
    }
    relay_pull_drop(common->pull);
    free(common);
}

/* All slots that wait for it go on. One that cannot lets it go by itself. */
static void on_pulled(struct pull *pull)
{
    struct common *common = pull->owner;
    struct agent *agent = common->relay->agent;
    bool failed = pull->status < 0;
    for (unsigned i = 0; i < agent->n_slots; i++) {
        struct slot *slot = &agent->slots[i];
        if ((slot->common == common && slot->bind) || slot->coming == common)
            slot_common_ready(slot, failed ? -1 : pull->room.fd,
                              "the common data could not be read from flmd");
    }
    for (unsigned i = 0; failed && i < agent->n_slots; i++)
        if (agent->slots[i].common == common)
            agent->slots[i].common = NULL;
    if (failed)
        free_common(common);
}

static struct common *start(struct relay *relay, uint32_t session, const Flm__BlobRef *ref,
                            flm_error *error)
{
    struct common *common = calloc(1, sizeof(*common));
    struct pull *pull = common ? relay_pull_start(relay, ref->size, ref->address, ref->key, error) : NULL;
    if (!pull) {
        free(common);
        return NULL;
    }
    *common = (struct common){
        .next = relay->commons, .relay = relay, .session = session, .version = ref->version, .pull = pull};
    relay->commons = common;
    pull->owner = common;
    pull->on_done = on_pulled;
    pull->tell = true;
    pull->id = ref->id;
    return common;
}

void relay_common_get(struct relay *relay, struct slot *slot, struct common **at, uint32_t session,
                      const Flm__BlobRef *ref)
{
    flm_error error = {0, "no memory for common data"};
    struct common *there = find(relay, session, ref->version);
    struct common *common = there ? there : start(relay, session, ref, &error);
    if (there || !common)
        relay_common_decline(relay, ref);
    *at = common;
    if (!common) {
        slot_common_ready(slot, -1, error.text);
        return;
    }
    common->users++;
    if (common->pull->done)
        slot_common_ready(slot, common->pull->room.fd, "");
}

void relay_common_decline(struct relay *relay, const Flm__BlobRef *ref)
{
    if (ref && ref->size)
        relay_tell_done(relay, 0, ref->id);
}

void relay_common_release(struct relay *relay, struct common *common)
{
    (void)relay;
    if (--common->users == 0)
        free_common(common);
}

void relay_common_close(struct relay *relay)
{
    while (relay->commons)
        free_common(relay->commons);
}

void relay_common_retire(struct relay *relay)
{
    for (struct common *c = relay->commons; c; c = c->next)
        c->session = 0;
}
