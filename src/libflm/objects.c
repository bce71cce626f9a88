/* <flm/object.h>: requests about objects, and what comes of them. */
#include "libflm/handle.h"
#include "libflm/options.h"
#include "base/error.h"

#include <flm/object.h>

static int check(const flm_client *c, const char *name, flm_error *error)
{
    if (!c)
        return flm__error_set(error, FLM_EINVAL, "no client");
    if (!name || !flm__name_is_valid(name))
        return flm__error_set(error, FLM_EINVAL,
                              "'%.150s' is no name of an object: 1 to %d letters, digits and . _ - : @ +",
                              name ? name : "", FLM_MAX_NAME);
    if (c->inproc)
        return flm__error_set(error, FLM_ENOTSUP, "the endpoint inproc: has no objects");
    return 0;
}

static int check_data(const char *name, const void *data, size_t size, flm_error *error)
{
    if (!data || size == 0)
        return flm__error_set(error, FLM_EINVAL, "data of object %s: %s", name,
                              data ? "there are 0 bytes of them" : "data is NULL");
    if (size > FLM_MAX_PAYLOAD)
        return flm__error_set(error, FLM_ETOOBIG,
                              "object %s cannot have %zu bytes: at most %zu are possible", name, size,
                              FLM_MAX_PAYLOAD);
    return 0;
}

/* With the lock. *reply: NULL where it is not wanted. */
static int ask(flm_client *c, Flm__ObjectRequest *q, const int *fds, unsigned n_fds, Flm__Message **reply,
               flm_error *error)
{
    Flm__Request request = FLM__REQUEST__INIT;
    request.verb_case = FLM__REQUEST__VERB_OBJECT;
    request.object = q;
    int rc = flm__request(c, &request, fds, n_fds, FLM__REQUEST_PLAIN, c->timeout_ms, reply, error);
    if (rc == 0 && reply && !(*reply)->reply->object) {
        flm__message__free_unpacked(*reply, NULL);
        return flm__error_set(error, FLM_EPROTO, "the session manager answered without the object");
    }
    return rc;
}

static int change_locked(flm_client *c, Flm__ObjectRequest *q, const void *data, size_t size,
                         uint64_t *version, flm_error *error)
{
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    struct flm__common blob;
    Flm__Message *reply;
    int rc = flm__client_check_outside(c, error);
    if (rc == 0)
        rc = flm__blob_common(c, data, size, &ref, &blob, error);
    if (rc < 0)
        return rc;
    q->data = &ref;
    rc = ask(c, q, &blob.fd, blob.fd >= 0, &reply, error);
    flm__blob_common_done(c, &blob);
    if (rc < 0)
        return rc;
    if (version)
        *version = reply->reply->object->version;
    flm__message__free_unpacked(reply, NULL);
    return 0;
}

static int change(flm_client *c, Flm__ObjectRequest *q, const char *name, const void *data, size_t size,
                  uint64_t *version, flm_error *error)
{
    int rc = check(c, name, error);
    if (rc == 0)
        rc = check_data(name, data, size, error);
    if (rc < 0)
        return rc;
    q->name = (char *)(uintptr_t)name;
    flm__client_lock(c);
    rc = change_locked(c, q, data, size, version, error);
    flm__client_unlock(c);
    return rc;
}

int flm_put_object(flm_client *c, const char *name, const void *data, size_t size, flm_error *error)
{
    Flm__ObjectRequest q = FLM__OBJECT_REQUEST__INIT;
    q.kind = FLM__OBJECT_REQUEST__KIND__PUT;
    return change(c, &q, name, data, size, NULL, error);
}

int flm_update_object(flm_client *c, const char *name, uint64_t version, const void *data, size_t size,
                      uint64_t *new_version, flm_error *error)
{
    Flm__ObjectRequest q = FLM__OBJECT_REQUEST__INIT;
    q.kind = FLM__OBJECT_REQUEST__KIND__UPDATE;
    q.version = version;
    return change(c, &q, name, data, size, new_version, error);
}

int flm_patch_object(flm_client *c, const char *name, uint64_t version, size_t offset, const void *data,
                     size_t size, uint64_t *new_version, flm_error *error)
{
    Flm__ObjectRequest q = FLM__OBJECT_REQUEST__INIT;
    q.kind = FLM__OBJECT_REQUEST__KIND__PATCH;
    q.version = version;
    q.offset = offset;
    return change(c, &q, name, data, size, new_version, error);
}

int flm_delete_object(flm_client *c, const char *name, uint64_t version, flm_error *error)
{
    Flm__ObjectRequest q = FLM__OBJECT_REQUEST__INIT;
    int rc = check(c, name, error);
    if (rc < 0)
        return rc;
    q.kind = FLM__OBJECT_REQUEST__KIND__DELETE;
    q.name = (char *)(uintptr_t)name;
    q.version = version;
    flm__client_lock(c);
    rc = flm__client_check_outside(c, error);
    if (rc == 0)
        rc = ask(c, &q, NULL, 0, NULL, error);
    flm__client_unlock(c);
    return rc;
}

static int get_locked(flm_client *c, Flm__ObjectRequest *q, struct flm_object *object, flm_error *error)
{
    Flm__Message *reply;
    int rc = flm__client_check_outside(c, error);
    if (rc == 0)
        rc = ask(c, q, NULL, 0, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__ObjectView *view = reply->reply->object;
    object->version = view->version;
    if (view->data) {
        struct flm__blob_ref ref = {.id = view->data->id,
                                    .size = view->data->size,
                                    .address = view->data->address,
                                    .key = view->data->key};
        struct flm__result_blob blob = {0};
        rc = flm__blob_await(c, &ref, &blob);
        object->data = blob.map;
        object->size = blob.size;
    }
    flm__message__free_unpacked(reply, NULL);
    return rc < 0 ? flm__error_set(error, rc, "object %s could not be read: %s", q->name, flm_strerror(rc))
                  : 0;
}

int flm_get_object(flm_client *c, const char *name, uint64_t newer_than, struct flm_object *object,
                   flm_error *error)
{
    Flm__ObjectRequest q = FLM__OBJECT_REQUEST__INIT;
    int rc = check(c, name, error);
    if (rc < 0)
        return rc;
    if (!object)
        return flm__error_set(error, FLM_EINVAL, "no place for object %s", name);
    *object = (struct flm_object){0};
    q.kind = FLM__OBJECT_REQUEST__KIND__GET;
    q.name = (char *)(uintptr_t)name;
    q.version = newer_than;
    flm__client_lock(c);
    rc = get_locked(c, &q, object, error);
    flm__client_unlock(c);
    return rc;
}
