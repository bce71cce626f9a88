/* relay_blob.c - large payloads between nodes: inputs are read from flmd into memory of this node, outputs
 * are shown to flmd until it has read them. */
#define _GNU_SOURCE
#include "base/error.h"
#include "net/blob.h"
#include "node/relay_inside.h"

#include <flm/client.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void unlink_pull(struct pull *pull)
{
    for (struct pull **p = &pull->relay->pulls; *p; p = &(*p)->next) {
        if (*p == pull) {
            *p = pull->next;
            return;
        }
    }
}

static void free_pull(struct pull *pull)
{
    unlink_pull(pull);
    munmap(pull->map, pull->size);
    close(pull->fd);
    free(pull);
}

void relay_tell_done(struct relay *relay, unsigned lane, uint64_t id)
{
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = id;
    done.lane = lane;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    agent_tell(relay->agent, &m, NULL, 0);
}

static void on_read(void *arg, int status)
{
    struct pull *pull = arg;
    pull->done = true;
    pull->status = status;
    if (pull->tell)
        relay_tell_done(pull->relay, pull->lane, pull->id);
    if (pull->orphaned)
        free_pull(pull);
    else if (pull->on_done)
        pull->on_done(pull);
}

struct pull *relay_pull_start(struct relay *relay, uint64_t size, uint64_t address, uint64_t key,
                              flm_error *error)
{
    if (size == 0 || size > FLM_MAX_PAYLOAD) {
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
    pull->fd = flm__blob_create(pull->size, &pull->map, error);
    if (pull->fd < 0) {
        free(pull);
        return NULL;
    }
    pull->next = relay->pulls;
    relay->pulls = pull;
    int rc = relay->ops->read(relay->link, pull->map, pull->size, address, key, on_read, pull);
    if (rc < 0) {
        flm__error_set(error, rc, "cannot read a payload from flmd: %s", flm_strerror(rc));
        free_pull(pull);
        return NULL;
    }
    return pull;
}

void relay_pull_drop(struct pull *pull)
{
    if (!pull)
        return;
    pull->orphaned = true;
    if (pull->done)
        free_pull(pull);
}

void relay_blob_from_executor(struct relay *relay, unsigned lane, uint64_t id, uint64_t size, int fd)
{
    struct lane *l = &relay->lanes[lane];
    struct announced *a = l->ring ? calloc(1, sizeof(*a)) : NULL;
    if (!a) {
        close(fd);
        return;
    }
    a->id = id;
    a->size = size;
    a->fd = fd;
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

int relay_expose(struct relay *relay, struct lane *lane, struct flm__blob_ref *ref, flm_error *error)
{
    struct announced *a = take_announced(lane, ref->id);
    if (!a)
        return 0;
    struct exposed *e = calloc(1, sizeof(*e));
    int rc = FLM_ENOMEM;
    if (e && a->size == ref->size && a->size <= FLM_MAX_PAYLOAD && a->size > 0) {
        e->size = a->size;
        e->map = flm__blob_map(a->fd, (size_t)a->size, error);
        rc = e->map ? relay->ops->expose(relay->fabric, e->map, (size_t)e->size, &e->region, &ref->address,
                                         &ref->key, error)
                    : FLM_EPROTO;
    } else {
        flm__error_set(error, FLM_EPROTO, "a large output is not what was announced");
    }
    close(a->fd);
    free(a);
    if (rc < 0) {
        if (e)
            flm__blob_unmap(e->map, (size_t)e->size);
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
    flm__blob_unmap(e->map, (size_t)e->size);
    free(e);
}

void relay_blob_done(struct relay *relay, uint64_t id)
{
    for (struct exposed **p = &relay->exposed; *p; p = &(*p)->next) {
        if ((*p)->id == id) {
            conceal(relay, p);
            return;
        }
    }
}

void relay_conceal_all(struct relay *relay)
{
    while (relay->exposed)
        conceal(relay, &relay->exposed);
}
