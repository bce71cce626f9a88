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

int object_check_room(const struct manager *m, uint64_t more, uint64_t less, flm_error *error)
{
    uint64_t limit = objects_limit(m);
    if (m->object_bytes - less + more <= limit)
        return 0;
    return flm__error_set(
        error, FLM_EFULL,
        "objects have %llu MiB in the session manager, and may have %llu, which is too little for "
        "%llu KiB more: delete some, or start flmd with another --object-memory",
        (unsigned long long)m->object_bytes >> 20, (unsigned long long)limit >> 20,
        (unsigned long long)(more - less + 1023) >> 10);
}

void object_set(struct manager *m, struct object *o, struct blob *blob)
{
    object_nodes_clear(m, o, o->blob && blob->patched.base == o->blob->id);
    m->object_bytes += blob->size - (o->blob ? o->blob->size : 0);
    blob_release(o->blob);
    o->blob = blob;
    o->version++;
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

/* Each is a descriptor of ours. */
static unsigned most_objects(void)
{
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0 || descriptors.rlim_cur > UINT_MAX)
        return UINT_MAX;
    return (unsigned)descriptors.rlim_cur / 2;
}

struct object *object_new(struct manager *m, const char *name, flm_error *error)
{
    if (HASH_COUNT(m->objects) >= most_objects()) {
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
        HASH_ADD_STR(m->objects, name, o);
    }
    if (o && flm__hash_added(&o->hh))
        return o;
    free(o);
    flm__error_set(error, FLM_ENOMEM, "no memory for an object");
    return NULL;
}

/* ---- changes; each takes the data ---------------------------------------------------------------- */

static struct object *put(struct manager *m, const Flm__ObjectRequest *q, struct blob *data,
                          flm_error *error)
{
    struct object *o = find(m, q->name);
    if (o)
        flm__error_set(error, FLM_EEXIST, "there is an object '%s' already", o->name);
    if (o || object_check_room(m, data->size, 0, error) < 0 || !(o = object_new(m, q->name, error))) {
        blob_release(data);
        return NULL;
    }
    object_set(m, o, data);
    return o;
}

static struct object *update(struct manager *m, const Flm__ObjectRequest *q, struct blob *data,
                             flm_error *error)
{
    struct object *o = object_find(m, q->name, q->version, error);
    if (!o || object_check_room(m, data->size, o->blob->size, error) < 0) {
        blob_release(data);
        return NULL;
    }
    object_set(m, o, data);
    return o;
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

static void change(struct peer *p, const Flm__Request *r, struct blob *data)
{
    const Flm__ObjectRequest *q = r->object;
    struct manager *m = p->manager;
    flm_error error = {0, ""};
    if (q->kind == FLM__OBJECT_REQUEST__KIND__PATCH) {
        object_patch(p, r, data);
        return;
    }
    struct object *o =
        q->kind == FLM__OBJECT_REQUEST__KIND__PUT ? put(m, q, data, &error) : update(m, q, data, &error);
    if (o)
        object_reply(p, r->id, o, NULL);
    else
        client_reply(p, r->id, error.code, error.text);
}

void object_drop(struct manager *m, struct object *o)
{
    HASH_DEL(m->objects, o);
    m->object_bytes -= o->blob ? o->blob->size : 0;
    if (o->version > m->object_floor)
        m->object_floor = o->version;
    object_nodes_clear(m, o, false);
    blob_release(o->blob);
    free(o->nodes);
    free(o);
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

static int give(struct peer *p, const Flm__Request *r, flm_error *error)
{
    const Flm__ObjectRequest *q = r->object;
    struct flm__blob_ref ref;
    Flm__BlobRef data = FLM__BLOB_REF__INIT;
    struct object *o = find(p->manager, q->name);
    if (!o)
        return flm__error_set(error, FLM_ENOTFOUND, "there is no object '%.127s'", q->name);
    if (q->version >= o->version) {
        object_reply(p, r->id, o, NULL);
        return 0;
    }
    if (!p->link)
        return flm__error_set(error, FLM_EPROTO, "object %s cannot be sent before there is a link",
                              o->name);
    int rc = blob_offer(o->blob, p, 0, 0, &ref);
    if (rc < 0)
        return flm__error_set(error, rc, "object %s cannot be sent: %s", o->name, flm_strerror(rc));
    if (!flm__ring_is(p->link)) /* on a ring the client has the descriptor */
        peer_keep_blob(p, blob_hold(o->blob));
    to_message(&data, &ref, o->version);
    object_reply(p, r->id, o, &data);
    return 0;
}

static int answer(struct peer *p, const Flm__Request *r, flm_error *error)
{
    const Flm__ObjectRequest *q = r->object;
    struct object *o;
    switch (q->kind) {
    case FLM__OBJECT_REQUEST__KIND__GET:
        return give(p, r, error);
    case FLM__OBJECT_REQUEST__KIND__DELETE:
        o = object_find(p->manager, q->name, q->version, error);
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

void objects_get(struct executor *e, const Flm__GetObject *get)
{
    struct peer *p = e->node->peer;
    struct object *o = find(p->manager, get->name);
    Flm__GotObject got = FLM__GOT_OBJECT__INIT;
    Flm__BlobRef data = FLM__BLOB_REF__INIT;
    char text[200] = "";
    int fd = -1;
    got.lane = e->lane;
    got.life = e->life;
    got.number = get->number;
    if (!o) {
        got.code = FLM_ENOTFOUND;
        snprintf(text, sizeof(text), "there is no object '%.127s'", get->name);
    } else if (get->exact && o->version != get->version + 1) {
        got.code = FLM_ESTALE;
        snprintf(text, sizeof(text), "object %s has version %llu, not %llu", o->name,
                 (unsigned long long)o->version, (unsigned long long)get->version + 1);
    } else if (get->version < o->version) {
        fd = blob_show(o->blob, e, &data);
        data.version = o->version;
        got.data = &data;
        object_node_add(p->manager, o, e->node, true);
    }
    got.version = o ? o->version : 0;
    got.text = text;
    FLM__MESSAGE(m, got_object, GOT_OBJECT, &got);
    peer_send(p, &m, &fd, fd >= 0);
    if (got.data)
        blob_shown(o->blob, e);
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
}
