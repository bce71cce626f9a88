/* relay_blob.c - large payloads between nodes: inputs are read from flmd into memory of this node, outputs
 * are shown to flmd until it has read them. */
#define _GNU_SOURCE
#include "base/error.h"
#include "net/blob.h"
#include "net/handshake.h"
#include "node/relay_inside.h"

#include <flm/client.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utlist.h>

static void unlink_pull(struct pull *pull)
{
    for (struct pull **p = &pull->relay->pulls; *p; p = &(*p)->next) {
        if (*p == pull) {
            *p = pull->next;
            return;
        }
    }
}

/* Whoever has read what is shared may look at it still; an input that nobody was told of is ours. */
static void free_pull(struct pull *pull)
{
    unlink_pull(pull);
    if (pull->ours && pull->done)
        flm__pool_give(&pull->relay->pool, &pull->room);
    else
        flm__room_free(&pull->room);
    free(pull);
}

static void tell_done(struct relay *relay, unsigned lane, uint64_t id, int code, bool in_use)
{
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = id;
    done.lane = lane;
    done.code = code;
    done.in_use = in_use;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    agent_tell(relay->agent, &m, NULL, 0);
}

void relay_tell_done(struct relay *relay, unsigned lane, uint64_t id, int code)
{
    tell_done(relay, lane, id, code, false);
}

void relay_pull_give_up(struct pull *pull, int code)
{
    struct relay *relay = pull->relay;
    uint64_t client = pull->from.client;
    tell_done(relay, pull->lane, pull->id, code, true);
    pull->given_up = true;
    relay_pull_drop(pull); /* it speaks once more, when nobody writes to its room any more */
    flm__source_cut(&relay->sources, client);
}

/* May call on_read. */
static void cut(struct pull *pull)
{
    struct flm__link *link = pull->link;
    pull->link = NULL;
    flm__link_destroy(link);
}

static void on_read(void *arg, int status)
{
    struct pull *pull = arg;
    const bool says_why = pull->from.client && !pull->given_up;
    pull->done = true;
    pull->status = status;
    cut(pull);
    if (pull->from.client)
        flm__source_done(&pull->relay->sources, pull->from.client, pull->size);
    if (pull->tell)
        relay_tell_done(pull->relay, pull->lane, pull->id, says_why ? status : 0);
    if (pull->orphaned)
        free_pull(pull);
    else if (pull->on_done)
        pull->on_done(pull);
}

static int read_of_client(struct pull *pull, flm_error *error)
{
    const struct flm__blob_ref where = {
        .size = pull->size, .address = pull->from.address, .key = pull->from.key};
    return flm__source_read(&pull->relay->sources, pull->from.client, pull->room.map, &where, on_read, pull,
                            error);
}

static int begin_read(struct pull *pull, flm_error *error)
{
    const struct relay *relay = pull->relay;
    const struct pull_source *from = &pull->from;
    if (from->client)
        return read_of_client(pull, error);
    int rc = from->node_size ? flm__connect_to_read(relay->ops, relay->fabric, pull->node, from->node_size,
                                                    &pull->link, error)
                             : 0;
    if (rc < 0)
        return rc;
    rc = relay->ops->read(pull->link ? pull->link : relay->link, (char *)pull->room.map + from->offset,
                          from->bytes, from->address + from->offset, from->key, on_read, pull);
    return rc < 0 ? flm__error_set(error, rc, "cannot read a payload from %s: %s",
                                   from->node_size ? "another node" : "flmd", flm_strerror(rc))
                  : 0;
}

/* On another thread. */
static void copy(uv_work_t *work)
{
    const struct pull *pull = work->data;
    memcpy(pull->room.map, pull->from.base->room.map, pull->size);
}

static void copied(uv_work_t *work, int status)
{
    struct pull *pull = work->data, *base = pull->from.base;
    flm_error error;
    pull->copying = false;
    if (--base->held == 0 && base->orphaned)
        free_pull(base);
    if (status < 0)
        pull->status = FLM_ENOMEM;
    if (!pull->orphaned && pull->status == 0)
        pull->status = begin_read(pull, &error);
    if (pull->orphaned || pull->status < 0)
        on_read(pull, pull->status);
}

static int begin_copy(struct pull *pull, flm_error *error)
{
    pull->work.data = pull;
    if (uv_queue_work(&pull->relay->agent->loop, &pull->work, copy, copied) < 0)
        return flm__error_set(error, FLM_ENOMEM, "no thread to copy a payload");
    pull->copying = true;
    pull->from.base->held++;
    return 0;
}

struct pull *relay_pull_start(struct relay *relay, uint64_t size, uint64_t address, uint64_t key,
                              flm_error *error)
{
    const struct pull_source from = {.address = address, .key = key, .bytes = (size_t)size};
    return relay_pull_from(relay, &from, size, error);
}

struct pull *relay_pull_from(struct relay *relay, const struct pull_source *from, uint64_t size,
                             flm_error *error)
{
    if (size == 0 || size > FLM_MAX_PAYLOAD || from->node_size > FLM__FABRIC_ADDRESS_MAX) {
        flm__error_set(error, FLM_EPROTO, "flmd announced a payload of %llu bytes",
                       (unsigned long long)size);
        return NULL;
    }
    struct pull *pull = calloc(1, sizeof(*pull));
    if (!pull) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a payload");
        return NULL;
    }
    pull->relay = relay;
    pull->size = (size_t)size;
    pull->from = *from;
    if (from->node_size)
        memcpy(pull->node, from->node, from->node_size);
    if (flm__pool_take(&relay->pool, pull->size, &pull->room, error) < 0) {
        free(pull);
        return NULL;
    }
    pull->next = relay->pulls;
    relay->pulls = pull;
    if ((from->base ? begin_copy(pull, error) : begin_read(pull, error)) < 0) {
        cut(pull);
        free_pull(pull);
        return NULL;
    }
    return pull;
}

struct pull *relay_pull_done(struct relay *relay, int fd, size_t size)
{
    struct pull *pull = calloc(1, sizeof(*pull));
    const void *map = pull ? flm__blob_map(fd, size, NULL) : NULL;
    if (!map) {
        free(pull);
        close(fd);
        return NULL;
    }
    *pull = (struct pull){.relay = relay,
                          .room = {.fd = fd, .map = (void *)(uintptr_t)map, .size = size},
                          .size = size,
                          .done = true};
    return pull;
}

void relay_pull_drop(struct pull *pull)
{
    if (!pull)
        return;
    pull->orphaned = true;
    if (!pull->done)
        cut(pull);
    else if (!pull->held)
        free_pull(pull);
}

void relay_pull_cut(struct relay *relay)
{
    struct pull *p = relay->pulls;
    while (p) {
        bool any = p->link;
        if (p->copying)
            p->status = FLM_EDISCONNECTED;
        if (any)
            cut(p);
        p = any ? relay->pulls : p->next; /* it, and others, may be gone */
    }
}

void relay_pull_given(struct pull *pull, struct lane *lane, const struct flm__record *task)
{
    struct given *g = malloc(sizeof(*g));
    if (g) {
        *g = (struct given){.task = task->task, .session = task->session, .room = pull->room};
        DL_APPEND(lane->given, g);
    } else {
        flm__room_free(&pull->room);
    }
    unlink_pull(pull);
    free(pull);
}

static void take_back(struct lane *lane, struct given *g)
{
    DL_DELETE(lane->given, g);
    flm__room_free(&g->room);
    free(g);
}

/* Those before it were recalled: the executor has them to look at, and says no more of them. One that did
 * not plainly succeed may have been answered for by somebody else than who runs it. */
void relay_input_over(struct relay *relay, struct lane *lane, const struct flm__record *result)
{
    struct given *g;
    DL_FOREACH(lane->given, g)
    {
        if (g->task == result->task && g->session == result->session)
            break;
    }
    if (!g)
        return;
    while (lane->given != g)
        take_back(lane, lane->given);
    if (!(result->flags & FLM__RECORD_OUTCOME)) {
        flm__pool_give(&relay->pool, &g->room);
        g->room = (struct flm__room){.fd = -1};
    }
    take_back(lane, g);
}

void relay_forget_given(struct lane *lane)
{
    while (lane->given)
        take_back(lane, lane->given);
}

void relay_blob_from_executor(struct relay *relay, unsigned lane, const Flm__Blob *blob, int fd)
{
    struct lane *l = &relay->lanes[lane];
    struct announced *a = l->ring ? calloc(1, sizeof(*a)) : NULL;
    if (!a) {
        close(fd);
        return;
    }
    a->id = blob->id;
    a->size = blob->size;
    a->fd = fd;
    a->reused = blob->reused;
    a->next = l->announced;
    l->announced = a;
}

void relay_forget_announced(struct lane *lane)
{
    while (lane->announced) {
        struct announced *a = lane->announced;
        lane->announced = a->next;
        close(a->fd);
        free(a);
    }
}

static struct announced *take_announced(struct lane *lane, uint64_t id)
{
    for (struct announced **p = &lane->announced; *p; p = &(*p)->next) {
        if ((*p)->id == id) {
            struct announced *a = *p;
            *p = a->next;
            return a;
        }
    }
    return NULL;
}

int relay_expose(struct relay *relay, struct lane *lane, struct flm__blob_ref *ref, bool becomes_object,
                 flm_error *error)
{
    struct announced *a = take_announced(lane, ref->id);
    if (!a)
        return 0;
    struct exposed *e = calloc(1, sizeof(*e));
    int rc = FLM_ENOMEM;
    if (e && a->size == ref->size && a->size <= FLM_MAX_PAYLOAD && a->size > 0) {
        e->size = a->size;
        e->map = a->reused ? flm__maps_get(&relay->maps, a->fd, (size_t)a->size, error)
                           : flm__blob_map(a->fd, (size_t)a->size, error);
        e->lane = relay_lane_index(relay, lane);
        e->life = a->reused ? lane->life : 0;
        e->original = a->id;
        rc = e->map ? relay->ops->expose(relay->fabric, e->map, (size_t)e->size, &e->region, &ref->address,
                                         &ref->key, error)
                    : FLM_EPROTO;
    } else {
        flm__error_set(error, FLM_EPROTO, "a large output is not what was announced");
    }
    bool keeps = rc >= 0 && becomes_object;
    if (e)
        e->fd = keeps ? a->fd : -1;
    if (!keeps)
        close(a->fd);
    free(a);
    if (rc < 0) {
        if (e)
            flm__maps_put(&relay->maps, e->map, (size_t)e->size);
        free(e);
        return rc;
    }
    ref->id = e->id = ++relay->blob_ids; /* executors count each for itself */
    e->next = relay->exposed;
    relay->exposed = e;
    return 1;
}

static void conceal(struct relay *relay, struct exposed **p)
{
    struct exposed *e = *p;
    *p = e->next;
    relay->ops->conceal(relay->fabric, e->region);
    flm__maps_put(&relay->maps, e->map, (size_t)e->size);
    if (e->fd >= 0)
        close(e->fd);
    free(e);
}

/* The executor may put another output there (but not where an object is), if it is still the one that lives
 * in the lane. */
static void tell_executor(struct relay *relay, const struct exposed *e, const Flm__BlobDone *told)
{
    struct slot *slot = &relay->agent->slots[e->lane];
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = e->original;
    done.lane = e->lane;
    done.life = e->life;
    done.object = told->object;
    done.version = told->version;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    if (e->life && e->life == slot->life && slot->watch)
        flm__watch_send(slot->watch, &m, NULL, 0);
}

void relay_blob_done(struct relay *relay, const Flm__BlobDone *done)
{
    struct exposed **p = &relay->exposed;
    while (*p && (*p)->id != done->id)
        p = &(*p)->next;
    struct exposed *e = *p;
    if (e)
        tell_executor(relay, e, done);
    if (done->object[0])
        relay_object_keep(relay, done, e ? e->fd : -1, e ? e->size : 0);
    if (e && done->object[0])
        e->fd = -1;
    if (e)
        conceal(relay, p);
}

bool relay_lends(const struct relay *relay)
{
    return relay->exposed != NULL;
}

void relay_conceal_all(struct relay *relay)
{
    while (relay->exposed)
        conceal(relay, &relay->exposed);
}
