#include "manager/objects_inside.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/client.h"
#include "manager/common.h"
#include "net/ring.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PART_OF_MEMORY = 2 }; /* of this machine, that all of them may have if nothing else was said */

static struct object *find(struct manager *m, const char *name)
{
    struct object *o;
    HASH_FIND_STR(m->objects, name, o);
    return o;
}

uint64_t objects_limit(const struct manager *m)
{
    if (m->options.object_mib)
        return (uint64_t)m->options.object_mib << 20;
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / PART_OF_MEMORY;
}

uint64_t object_more(const struct object *o, uint64_t size)
{
    uint64_t less = o && o->blob ? o->size : 0;
    return size > less ? size - less : 0;
}

int object_check_room(const struct manager *m, const struct object *o, uint64_t size, flm_error *error)
{
    uint64_t limit = objects_limit(m), more = object_more(o, size);
    int rc = more ? spill_check(m, more) : 0;
    if (rc == 0 || rc == FLM_EAGAIN)
        return rc;
    return flm__error_set(
        error, FLM_EFULL,
        "objects have %llu MiB in the session manager, and may have %llu, which is too little for "
        "%llu KiB more: delete some, or start flmd with another --object-memory",
        (unsigned long long)m->object_bytes >> 20, (unsigned long long)limit >> 20,
        (unsigned long long)(more + 1023) >> 10);
}

void object_set(struct manager *m, struct object *o, struct blob *blob)
{
    struct object_wait *waits = spill_forget(m, o);
    object_nodes_clear(m, o, o->blob && blob->patched.base == o->blob->id);
    m->object_bytes += blob->size - (o->blob ? o->size : 0);
    blob_release(o->blob);
    o->blob = blob;
    o->size = blob->size;
    o->version++;
    spill_keep(m, o);
    spill_wake(waits);
}

struct object *object_find(struct manager *m, const char *name, uint64_t version, flm_error *error)
{
    struct object *o = find(m, name);
    if (!o)
        flm__error_set(error, FLM_ENOTFOUND, "there is no object '%.127s'", name);
    else if (version && version != o->version)
        flm__error_set(error, FLM_ESTALE, "object %s has version %llu, not %llu", o->name,
                       (unsigned long long)o->version, (unsigned long long)version);
    else
        return o;
    return NULL;
}

/* Each is a descriptor of ours, or two: its memory and its file. */
static unsigned most_objects(const struct manager *m)
{
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0 || descriptors.rlim_cur > UINT_MAX)
        return UINT_MAX;
    return (unsigned)descriptors.rlim_cur / (m->spill ? 3 : 2);
}

struct object *object_new(struct manager *m, const char *name, flm_error *error)
{
    if (HASH_COUNT(m->objects) >= most_objects(m)) {
        flm__error_set(
            error, FLM_EFULL,
            "there are %u objects, which is as many as the session manager may have open (ulimit -n): "
            "delete some",
            HASH_COUNT(m->objects));
        return NULL;
    }
    struct object *o = calloc(1, sizeof(*o));
    if (o) {
        snprintf(o->name, sizeof(o->name), "%s", name);
        o->version = m->object_floor; /* none comes twice under a name */
        o->spill.file = -1;
        HASH_ADD_STR(m->objects, name, o);
    }
    if (o && flm__hash_added(&o->hh))
        return o;
    free(o);
    flm__error_set(error, FLM_ENOMEM, "no memory for an object");
    return NULL;
}

/* ---- changes; each takes the data ---------------------------------------------------------------- */

/* The object that it is about, for which there is room; NULL: error says why not, FLM_EAGAIN not yet. */
static struct object *to_put(struct manager *m, const struct object_request *q, uint64_t size,
                             flm_error *error)
{
    struct object *o = find(m, q->name);
    if (o)
        flm__error_set(error, FLM_EEXIST, "there is an object '%s' already", o->name);
    else if ((error->code = object_check_room(m, NULL, size, error)) == 0)
        return object_new(m, q->name, error);
    return NULL;
}

static struct object *to_update(struct manager *m, const struct object_request *q, uint64_t size,
                                flm_error *error)
{
    struct object *o = object_find(m, q->name, q->version, error);
    return o && (error->code = object_check_room(m, o, size, error)) == 0 ? o : NULL;
}

void object_reply(struct peer *p, uint64_t id, const struct object *o, Flm__BlobRef *data)
{
    Flm__Reply r = FLM__REPLY__INIT;
    Flm__ObjectView view = FLM__OBJECT_VIEW__INIT;
    r.id = id;
    r.object = &view;
    view.version = o->version;
    view.data = data;
    client_send_reply(p, &r);
}

void object_change(struct peer *p, const struct object_request *q, struct blob *data)
{
    struct manager *m = p->manager;
    flm_error error = {0, ""};
    struct object *o = q->kind == FLM__OBJECT_REQUEST__KIND__PUT ? to_put(m, q, data->size, &error)
                                                                 : to_update(m, q, data->size, &error);
    if (o) {
        object_set(m, o, data);
        object_reply(p, q->id, o, NULL);
        return;
    }
    if (error.code == FLM_EAGAIN &&
        object_wait_room(p, q, data, object_more(find(m, q->name), data->size), &error) == 0)
        return;
    blob_release(data);
    client_reply(p, q->id, error.code, error.text);
}

static struct object_request request_of(const Flm__Request *r)
{
    return (struct object_request){r->id, r->object->kind, r->object->name, r->object->version};
}

static void change(struct peer *p, const Flm__Request *r, struct blob *data)
{
    struct object_request q = request_of(r);
    if (q.kind == FLM__OBJECT_REQUEST__KIND__PATCH)
        object_patch(p, r, data);
    else
        object_change(p, &q, data);
}

void object_drop(struct manager *m, struct object *o)
{
    struct object_wait *waits = spill_forget(m, o);
    HASH_DEL(m->objects, o);
    m->object_bytes -= o->blob ? o->size : 0;
    if (o->version > m->object_floor)
        m->object_floor = o->version;
    object_nodes_clear(m, o, false);
    blob_release(o->blob);
    free(o->nodes);
    free(o);
    spill_wake(waits);
}

/* ---- those who get them -------------------------------------------------------------------------- */

static void to_message(Flm__BlobRef *out, const struct flm__blob_ref *ref, uint64_t version)
{
    out->id = ref->id;
    out->size = ref->size;
    out->address = ref->address;
    out->key = ref->key;
    out->version = version;
}

static int give(struct peer *p, const struct object_request *q, flm_error *error)
{
    struct flm__blob_ref ref;
    Flm__BlobRef data = FLM__BLOB_REF__INIT;
    struct object *o = find(p->manager, q->name);
    if (!o)
        return flm__error_set(error, FLM_ENOTFOUND, "there is no object '%.127s'", q->name);
    if (q->version >= o->version) {
        object_reply(p, q->id, o, NULL);
        return 0;
    }
    if (!p->link)
        return flm__error_set(error, FLM_EPROTO, "object %s cannot be sent before there is a link",
                              o->name);
    if (spill_has(o))
        return object_wait_read(p, q, o, error);
    spill_touch(p->manager, o);
    int rc = blob_offer(o->blob, p, 0, 0, &ref);
    if (rc < 0)
        return flm__error_set(error, rc, "object %s cannot be sent: %s", o->name, flm_strerror(rc));
    if (!flm__ring_is(p->link)) /* on a ring the client has the descriptor */
        peer_keep_blob(p, blob_hold(o->blob));
    to_message(&data, &ref, o->version);
    object_reply(p, q->id, o, &data);
    return 0;
}

void object_give(struct peer *p, const struct object_request *q)
{
    flm_error error = {0, ""};
    if (give(p, q, &error) < 0)
        client_reply(p, q->id, error.code, error.text);
}

static int answer(struct peer *p, const Flm__Request *r, flm_error *error)
{
    const struct object_request q = request_of(r);
    struct object *o;
    switch (q.kind) {
    case FLM__OBJECT_REQUEST__KIND__GET:
        return give(p, &q, error);
    case FLM__OBJECT_REQUEST__KIND__DELETE:
        o = object_find(p->manager, q.name, q.version, error);
        if (!o)
            return error->code;
        object_drop(p->manager, o);
        client_reply(p, r->id, 0, NULL);
        return 0;
    default:
        return flm__error_set(error, FLM_EINVAL, "a request about an object that makes no sense");
    }
}

void objects_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    const Flm__Request *r = m->request;
    const Flm__ObjectRequest *q = r->object;
    flm_error error = {0, ""};
    bool changes = q->kind >= FLM__OBJECT_REQUEST__KIND__PUT && q->kind <= FLM__OBJECT_REQUEST__KIND__PATCH;
    if (changes && q->data && q->data->size && strlen(q->name) <= FLM_MAX_NAME && q->name[0]) {
        common_receive(p, m, q->data, fds, n_fds, change);
        return;
    }
    flm__close_fds(fds, n_fds);
    if (changes)
        flm__error_set(&error, FLM_EINVAL, "an object needs a name and data");
    else
        answer(p, r, &error);
    if (error.code < 0)
        client_reply(p, r->id, error.code, error.text);
    flm__message__free_unpacked(m, NULL);
}

/* What is there of it; it is in memory, or not to be sent. The descriptor that goes along, or -1. */
static int fill_got(struct executor *e, const Flm__GetObject *get, struct object *o, Flm__GotObject *got,
                    Flm__BlobRef *data, flm_error *error)
{
    got->version = o ? o->version : 0;
    if (!o) {
        flm__error_set(error, FLM_ENOTFOUND, "there is no object '%.127s'", get->name);
    } else if (get->exact && o->version != get->version + 1) {
        flm__error_set(error, FLM_ESTALE, "object %s has version %llu, not %llu", o->name,
                       (unsigned long long)o->version, (unsigned long long)get->version + 1);
    } else if (get->version < o->version) {
        struct manager *m = e->node->peer->manager;
        int fd = blob_show(o->blob, e, data);
        data->version = o->version;
        got->data = data;
        object_node_add(m, o, e->node, true);
        spill_touch(m, o);
        return fd;
    }
    return -1;
}

static bool wants_data(const struct object *o, const Flm__GetObject *get)
{
    return o && get->version < o->version && (!get->exact || o->version == get->version + 1);
}

void object_show(struct executor *e, const Flm__GetObject *get, const flm_error *failed)
{
    struct peer *p = e->node->peer;
    struct object *o = find(p->manager, get->name);
    Flm__GotObject got = FLM__GOT_OBJECT__INIT;
    Flm__BlobRef data = FLM__BLOB_REF__INIT;
    flm_error error = {0, ""};
    int fd = -1;
    if (!failed && wants_data(o, get) && spill_has(o)) {
        if (object_wait_show(e, get, o, &error) == 0)
            return;
        failed = &error;
    }
    if (failed) {
        error = *failed;
        got.everywhere = error.code == FLM_EIO;
    } else {
        fd = fill_got(e, get, o, &got, &data, &error);
    }
    got.lane = e->lane;
    got.life = e->life;
    got.number = get->number;
    got.code = error.code;
    got.text = error.text;
    FLM__MESSAGE(m, got_object, GOT_OBJECT, &got);
    peer_send(p, &m, &fd, fd >= 0);
    if (got.data)
        blob_shown(o->blob, e);
}

void objects_get(struct executor *e, const Flm__GetObject *get)
{
    object_show(e, get, NULL);
}

void objects_init(struct manager *m)
{
    /* Executors and clients may outlive us, and what they know must not become another object's version. */
    if (m->options.state_dir)
        m->object_floor = (uint64_t)flm__wall_ns() >> 10;
}

void objects_free(struct manager *m)
{
    struct object *o, *next;
    HASH_ITER(hh, m->objects, o, next)
    {
        o->n_nodes = 0; /* they are gone */
        object_drop(m, o);
    }
    spill_free(m);
}
