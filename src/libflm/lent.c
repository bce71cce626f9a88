/* Memory in which large inputs go to a manager on this node. It is used again once the manager says that
 * nobody looks at it any more (BlobDone), which saves finding, clearing and mapping its pages at each side
 * (facts.md, section I). Each that is out keeps a descriptor, so there is a limit; what is beyond that goes
 * in memory that is used once. */
#define _GNU_SOURCE
#include "libflm/handle.h"
#include "base/error.h"
#include "net/blob.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LENT_MAX = 64 };

struct flm__lent_input {
    uint64_t id; /* key of the hash */
    struct flm__room room;
    UT_hash_handle hh;
};

/* One that was of an output over a fabric, before the connection was another, cannot be handed over. */
static bool find_file(flm_client *c, size_t size, struct flm__room *out)
{
    while (flm__pool_find(&c->pool, size, out)) {
        if (out->fd >= 0)
            return true;
        flm__room_free(out);
    }
    return false;
}

static bool find_room(flm_client *c, size_t size, struct flm__room *out)
{
    if (find_file(c, size, out))
        return true;
    if (!c->lent)
        return false;
    flm__control_read(c); /* some may have come back */
    return find_file(c, size, out);
}

/* What is new is filled by write, not through a mapping: see net/blob.c. */
static int fill_room(flm_client *c, const void *input, size_t size, struct flm__room *out)
{
    if (find_room(c, size, out)) {
        memcpy(out->map, input, size);
        return 0;
    }
    *out = (struct flm__room){.size = size};
    out->fd = flm__blob_copy(input, size, NULL);
    return out->fd < 0 ? out->fd : 0;
}

static bool lend(flm_client *c, uint64_t id, const struct flm__room *room)
{
    if (room->size > FLM__POOLED_BYTES || HASH_COUNT(c->lent) >= LENT_MAX)
        return false;
    struct flm__lent_input *l = calloc(1, sizeof(*l));
    if (!l)
        return false;
    l->id = id;
    l->room = *room;
    HASH_ADD(hh, c->lent, id, sizeof(l->id), l);
    if (flm__hash_added(&l->hh))
        return true;
    free(l);
    return false;
}

static struct flm__room take(flm_client *c, struct flm__lent_input *l)
{
    struct flm__room room = l->room;
    HASH_DEL(c->lent, l);
    free(l);
    return room;
}

/* untold: it is used again, but not because of a BlobDone. */
static int announce(flm_client *c, const struct flm__blob_ref *ref, int fd, bool reused, bool untold)
{
    Flm__Blob blob = FLM__BLOB__INIT;
    blob.id = ref->id;
    blob.size = ref->size;
    blob.reused = reused;
    blob.untold = untold;
    FLM__MESSAGE(m, blob, BLOB, &blob);
    return flm__control_say(c, &m, &fd, 1, NULL);
}

int flm__input_announce(flm_client *c, const void *input, int fd, const struct flm__blob_ref *ref)
{
    struct flm__room room;
    if (fd >= 0)
        return announce(c, ref, fd, true, true);
    int rc = fill_room(c, input, (size_t)ref->size, &room);
    if (rc < 0)
        return rc;
    bool lent = lend(c, ref->id, &room);
    rc = announce(c, ref, room.fd, lent, false);
    if (!lent)
        flm__room_free(&room);
    else if (rc < 0)
        flm__input_back(c, ref->id, true);
    return rc;
}

bool flm__input_back(flm_client *c, uint64_t id, bool in_use)
{
    struct flm__lent_input *l;
    HASH_FIND(hh, c->lent, &id, sizeof(id), l);
    if (!l)
        return false;
    struct flm__room room = take(c, l);
    if (in_use || !c->sessions)
        flm__room_free(&room);
    else
        flm__pool_give(&c->pool, &room);
    return true;
}

void flm__inputs_lost(flm_client *c)
{
    while (c->lent) {
        struct flm__room room = take(c, c->lent);
        flm__room_free(&room);
    }
}
