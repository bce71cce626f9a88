/* Requests about objects that wait for room, or for an object to be read back from its file. Then they are
 * looked at as if they came now. */
#include "base/error.h"
#include "manager/client.h"
#include "manager/objects_inside.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { WAITS_MAX = 4096 }; /* of all clients; an executor has one */

/* Of a client. */
struct client_wait {
    struct client_wait *prev, *next; /* in peer->object_waits */
    struct peer *peer;
    struct object_request request;
    char name[FLM_MAX_NAME + 1];
    struct blob *data;     /* of a change, which waits for room */
    struct object *object; /* NULL: it does not wait for one */
    struct room_wait room;
    struct object_wait read;
};

/* Of an executor. */
struct executor_wait {
    struct manager *manager;
    unsigned executor;
    uint64_t birth;
    Flm__GetObject get;
    char name[FLM_MAX_NAME + 1];
    struct object_wait read;
};

/* ---- clients --------------------------------------------------------------------------------------- */

static struct client_wait *client_wait_new(struct peer *p, const struct object_request *q, flm_error *error)
{
    struct manager *m = p->manager;
    if (m->object_waits >= WAITS_MAX) {
        flm__error_set(error, FLM_EAGAIN, "%d requests wait for objects in files already: try again",
                       WAITS_MAX);
        return NULL;
    }
    struct client_wait *w = calloc(1, sizeof(*w));
    if (!w) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a request");
        return NULL;
    }
    m->object_waits++;
    w->peer = p;
    w->request = *q;
    strncpy(w->name, q->name, sizeof(w->name) - 1);
    w->request.name = w->name;
    DL_APPEND(p->object_waits, w);
    return w;
}

static void client_wait_free(struct client_wait *w)
{
    DL_DELETE(w->peer->object_waits, w);
    w->peer->manager->object_waits--;
    free(w);
}

static void has_room(struct room_wait *room, const flm_error *error)
{
    struct client_wait *w = (struct client_wait *)((char *)room - offsetof(struct client_wait, room));
    struct blob *data = w->data;
    w->data = NULL; /* it may have to wait again */
    if (error) {
        blob_release(data);
        client_reply(w->peer, w->request.id, error->code, error->text);
    } else {
        object_change(w->peer, &w->request, data);
    }
    client_wait_free(w);
}

static bool has_waiting_put(const struct peer *p)
{
    const struct client_wait *w;
    DL_FOREACH(p->object_waits, w)
    if (w->data)
        return true;
    return false;
}

int object_wait_room(struct peer *p, const struct object_request *q, struct blob *data, uint64_t more,
                     flm_error *error)
{
    bool only = !has_waiting_put(p);
    struct client_wait *w = client_wait_new(p, q, error);
    if (!w)
        return error->code;
    w->data = data;
    w->room = (struct room_wait){.bytes = more, .held = data->size, .what = ROOM_FOR_PUT, .go = has_room};
    int rc = spill_await(p->manager, &w->room, only, error);
    if (rc < 0)
        client_wait_free(w);
    return rc;
}

static void was_read(struct object_wait *read, const flm_error *error)
{
    struct client_wait *w = (struct client_wait *)((char *)read - offsetof(struct client_wait, read));
    if (error)
        client_reply(w->peer, w->request.id, error->code, error->text);
    else
        object_give(w->peer, &w->request);
    client_wait_free(w);
}

int object_wait_read(struct peer *p, const struct object_request *q, struct object *o, flm_error *error)
{
    struct client_wait *w = client_wait_new(p, q, error);
    if (!w)
        return error->code;
    w->object = o;
    w->read.go = was_read;
    spill_read(p->manager, o, &w->read);
    return 0;
}

void object_waits_gone(struct peer *p)
{
    struct client_wait *w, *next;
    DL_FOREACH_SAFE(p->object_waits, w, next)
    {
        if (w->object)
            spill_read_not(w->object, &w->read);
        else
            spill_await_not(p->manager, &w->room);
        blob_release(w->data);
        client_wait_free(w);
    }
}

/* ---- executors ------------------------------------------------------------------------------------- */

static void show(struct object_wait *read, const flm_error *error)
{
    struct executor_wait *w = (struct executor_wait *)((char *)read - offsetof(struct executor_wait, read));
    struct executor *e = executor_of(w->manager, w->executor, w->birth);
    if (e)
        object_show(e, &w->get, error);
    free(w);
}

int object_wait_show(struct executor *e, const Flm__GetObject *get, struct object *o, flm_error *error)
{
    struct manager *m = e->node->peer->manager;
    struct executor_wait *w = calloc(1, sizeof(*w));
    if (!w)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a question");
    w->manager = m;
    w->executor = e->id;
    w->birth = e->birth;
    w->get = *get;
    strncpy(w->name, get->name, sizeof(w->name) - 1);
    w->get.name = w->name;
    w->read.go = show;
    spill_read(m, o, &w->read);
    return 0;
}
