#define _GNU_SOURCE
#include "manager/blob_store.h"

#include "base/error.h"
#include "manager/executor.h"
#include "manager/node.h"
#include "manager/peer.h"
#include "manager/spread.h"
#include "net/blob.h"
#include "net/ring.h"

#include <flm/client.h>
#include <stdlib.h>
#include <unistd.h>

enum { LENT_MAX = 64 }; /* outputs that one client over a ring has and has not given back */

static struct blob *blob_new(struct manager *m, int fd, uint64_t size)
{
    struct blob *b = calloc(1, sizeof(*b));
    if (!b) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    *b = (struct blob){
        .id = ++m->next_blob, .size = size, .fd = fd, .refs = 1, .manager = m, .room = {.fd = -1}};
    return b;
}

struct blob *blob_remote(const struct peer *client, const struct flm__blob_ref *where)
{
    struct blob *b = blob_new(client->manager, -1, where->size);
    if (!b)
        return NULL;
    b->remote = true;
    b->address = where->address;
    b->key = where->key;
    blob_lent_by(b, client, where->id);
    return b;
}

struct blob *blob_take(struct manager *m, int fd, uint64_t size, bool reused, flm_error *error)
{
    int rc = size && size <= FLM_MAX_PAYLOAD
                 ? flm__blob_check(fd, size, error)
                 : flm__error_set(error, FLM_ETOOBIG, "a payload of %lu bytes is beyond the limit",
                                  (unsigned long)size);
    if (rc < 0) {
        close(fd);
        return NULL;
    }
    struct blob *b = blob_new(m, fd, size);
    if (!b)
        flm__error_set(error, FLM_ENOMEM, "no memory");
    else
        b->reused = reused;
    return b;
}

struct blob *blob_make(struct manager *m, const void *data, uint64_t size, flm_error *error)
{
    int fd = flm__blob_copy(data, size, error);
    if (fd < 0)
        return NULL;
    struct blob *b = blob_new(m, fd, size);
    if (!b)
        flm__error_set(error, FLM_ENOMEM, "no memory");
    return b;
}

bool blob_map(struct blob *b, flm_error *error)
{
    if (!b->map)
        b->map = b->reused ? flm__maps_get(&b->manager->blob_maps, b->fd, b->size, error)
                           : flm__blob_map(b->fd, b->size, error);
    return b->map != NULL;
}

struct blob *blob_hold(struct blob *b)
{
    b->refs++;
    return b;
}

/* Once. object NULL: it becomes none. False: nobody is there to be told. */
static bool tell_origin(struct blob *b, const char *object, uint64_t version)
{
    const struct executor *e =
        b->origin.birth ? executor_of(b->manager, b->origin.executor, b->origin.birth) : NULL;
    b->origin.birth = 0;
    if (!e)
        return false;
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = b->origin.id;
    done.lane = e->lane;
    done.life = b->origin.copied ? 0 : e->life;
    if (object)
        done.object = (char *)(uintptr_t)object;
    done.version = version;
    if (object && b->origin.copied) {
        done.blob = b->id;
        done.number = spread_keep(b, e->node);
    }
    FLM__MESSAGE(message, blob_done, BLOB_DONE, &done);
    peer_send(e->node->peer, &message, NULL, 0);
    return true;
}

void blob_leave_origin(struct blob *b)
{
    if (b->origin.copied)
        tell_origin(b, NULL, 0);
}

bool blob_adopt(struct blob *b, const char *object, uint64_t version)
{
    b->reused = false;
    return tell_origin(b, object, version) && b->origin.copied;
}

void blob_lent_by(struct blob *b, const struct peer *client, uint64_t id)
{
    b->lender.client = client->number;
    b->lender.id = id;
}

static void tell_lender(const struct blob *b)
{
    struct peer *client = b->lender.client ? peer_client(b->manager, b->lender.client) : NULL;
    if (client)
        peer_input_done(client, b->lender.id, b->lender.looking);
}

void blob_release(struct blob *b)
{
    if (!b || --b->refs)
        return;
    spread_end(b);
    if (b->region)
        b->manager->fabric_ops->conceal(b->manager->fabric, b->region);
    tell_origin(b, NULL, 0);
    tell_lender(b);
    if (b->room.fd >= 0 && !b->shown) {
        flm__pool_give(&b->manager->blob_pool, &b->room);
    } else if (b->room.fd >= 0) {
        flm__room_free(&b->room);
    } else {
        flm__maps_put(&b->manager->blob_maps, b->map, b->size);
        if (!b->remote)
            close(b->fd);
    }
    free(b);
}

int blob_expose(struct blob *b, flm_error *error)
{
    if (b->region)
        return 0;
    if (!manager_fabric(b->manager, error))
        return FLM_ENOTSUP;
    if (!blob_map(b, error))
        return FLM_ENOMEM;
    return b->manager->fabric_ops->expose(b->manager->fabric, b->map, b->size, &b->region, &b->address,
                                          &b->key, error);
}

struct blob_read {
    struct blob *blob;
    blob_fetched_fn *done;
    void *arg;
};

static void read_done(void *arg, int status)
{
    struct blob_read *r = arg;
    if (status < 0) {
        blob_release(r->blob);
        r->blob = NULL;
    }
    r->done(r->arg, r->blob, status);
    free(r);
}

/* A blob to read into. */
static int make_room(struct manager *m, uint64_t size, struct blob **out)
{
    struct flm__room room;
    int rc = flm__pool_take(&m->blob_pool, size, &room, NULL);
    if (rc < 0)
        return rc;
    struct blob *b = *out = calloc(1, sizeof(*b));
    if (!b) {
        flm__room_free(&room);
        return FLM_ENOMEM;
    }
    *b = (struct blob){.id = ++m->next_blob,
                       .size = size,
                       .fd = room.fd,
                       .refs = 1,
                       .manager = m,
                       .map = room.map,
                       .room = room};
    return 0;
}

int blob_fetch(struct manager *m, struct flm__link *link, const struct flm__blob_ref *ref,
               blob_fetched_fn *done, void *arg)
{
    if (ref->size == 0 || ref->size > FLM_MAX_PAYLOAD)
        return FLM_ETOOBIG;
    struct blob_read *r = calloc(1, sizeof(*r));
    if (!r)
        return FLM_ENOMEM;
    r->done = done;
    r->arg = arg;
    int rc = make_room(m, ref->size, &r->blob);
    if (rc == 0)
        rc = m->fabric_ops->read(link, r->blob->room.map, ref->size, ref->address, ref->key, read_done, r);
    if (rc < 0) {
        blob_release(r->blob);
        free(r);
    }
    return rc;
}

static bool is_by_rma(const struct peer *to)
{
    return to->link && !flm__ring_is(to->link);
}

static int expose_to(struct blob *b, struct flm__blob_ref *ref)
{
    int rc = b->remote ? 0 : blob_expose(b, NULL);
    ref->source = b->remote ? b->lender.client : 0;
    ref->address = b->address;
    ref->key = b->key;
    return rc;
}

static int announce(struct blob *b, struct peer *to, Flm__Blob *announced)
{
    announced->id = b->id;
    announced->size = b->size;
    FLM__MESSAGE(m, blob, BLOB, announced);
    return peer_try_send(to, &m, &b->fd, 1);
}

int blob_offer(struct blob *b, struct peer *to, uint32_t lane, uint32_t life, struct flm__blob_ref *ref)
{
    Flm__Blob announced = FLM__BLOB__INIT;
    *ref = (struct flm__blob_ref){.id = b->id, .size = b->size};
    if (is_by_rma(to))
        return expose_to(b, ref);
    announced.lane = lane;
    announced.life = life;
    announced.reused = b->reused;
    b->shown = true;
    int rc = announce(b, to, &announced);
    b->lender.looking += rc == 0;
    return rc;
}

int blob_lend(struct blob *b, struct peer *client, struct flm__blob_ref *ref)
{
    Flm__Blob announced = FLM__BLOB__INIT;
    *ref = (struct flm__blob_ref){.id = b->id, .size = b->size};
    bool by_rma = is_by_rma(client);
    announced.reused = b->reused || b->room.fd >= 0;
    /* Each that waits for its BlobDone keeps a descriptor, and the user may let none go. */
    if (!by_rma && announced.reused && HASH_COUNT(client->kept) >= LENT_MAX) {
        blob_give_up(b);
        announced.reused = false;
    }
    int rc = by_rma ? expose_to(b, ref) : announce(b, client, &announced);
    if (rc == 0 && (by_rma || announced.reused)) /* else the client has the descriptor, and says nothing */
        peer_keep_blob(client, blob_hold(b));
    return rc;
}

void blob_give_up(struct blob *b)
{
    b->origin.birth = 0;
    b->shown = true;
}

int blob_show(struct blob *b, const struct executor *e, Flm__BlobRef *ref)
{
    if (!e->link) {
        spread_show(b, e->node, ref);
        return -1;
    }
    ref->id = b->id;
    ref->size = b->size;
    b->shown = true;
    return b->fd;
}

void blob_shown(struct blob *b, const struct executor *e)
{
    if (!e->link)
        spread_shown(b, e->node);
}
