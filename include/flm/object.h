/* flm/object.h - objects: named data with versions, kept by the session manager for all clients and tasks of
 * this user, apart from sessions.
 *
 *     flm_put_object(client, "matrix", a, size, &err);                       in a client
 *     struct flm_object o;
 *     if (flm_task_object(task, "matrix", 0, &o, &err) == 0) {               in on_task_invoke
 *         compute(o.data, o.size);
 *         flm_release_object(&o);
 *     }
 *
 * The versions of an object are numbers that grow by 1; the newest is kept, and who has got an older one
 * keeps that until it is released. No version comes twice under a name, also when the object was deleted.
 * Names are those of sessions (FLM_MAX_NAME), sizes 1 .. FLM_MAX_PAYLOAD bytes. `version` of a change is a
 * condition: the change is made only if the object has this version; 0: whatever it has. The functions of
 * clients wait for the session manager, so they return FLM_EINVAL in a callback.
 *
 * The output of a task can become a version of one (flm_task.output_object).
 *
 * They are in memory, or in files (flmd --object-spill), and go with the session manager, also where sessions
 * outlive it.
 *
 * All return 0 or an error: FLM_EINVAL, FLM_ETOOBIG, FLM_ENOTFOUND (no such object), FLM_EEXIST (there is
 * one), FLM_ESTALE (it has another version), FLM_EFULL (the manager keeps as much as it may), FLM_EAGAIN
 * (several at once have to wait for room), FLM_EIO (one cannot be written to a file, or read back),
 * FLM_ENOMEM, FLM_ETIMEDOUT, FLM_EDISCONNECTED, FLM_ENOTSUP (endpoint "inproc:").
 */
#ifndef FLM_OBJECT_H
#define FLM_OBJECT_H

#include <flm/client.h>
#include <flm/service.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One version, as it was got: read-only memory, page aligned, of the caller's until it releases it. All tasks
 * of a node that have it share one copy, and so do clients on the node of the session manager. */
struct flm_object {
    const void *data; /* NULL: nothing newer than what was asked for */
    size_t size;      /* bytes */
    uint64_t version;
};

/* Makes an object; its data are copied. */
FLM_API int flm_put_object(flm_client *client, const char *name, const void *data, size_t size,
                           flm_error *error);

/* Gives it other data, of any size. *new_version (NULL: not wanted): what they are called. */
FLM_API int flm_update_object(flm_client *client, const char *name, uint64_t version, const void *data,
                              size_t size, uint64_t *new_version, flm_error *error);

/* Gives it new bytes from `offset` on, which do not make it larger: also a new version. */
FLM_API int flm_patch_object(flm_client *client, const char *name, uint64_t version, size_t offset,
                             const void *data, size_t size, uint64_t *new_version, flm_error *error);

FLM_API int flm_delete_object(flm_client *client, const char *name, uint64_t version, flm_error *error);

/* Gets the newest version, if that is newer than newer_than (0: in any case); else object->data is NULL. */
FLM_API int flm_get_object(flm_client *client, const char *name, uint64_t newer_than,
                           struct flm_object *object, flm_error *error);

/* The same in on_task_invoke, of the first rank where there are several (FLM_ENOTSUP in others). What was got
 * may be kept from task to task, until on_session_leave. */
FLM_API int flm_task_object(struct flm_task_context *task, const char *name, uint64_t newer_than,
                            struct flm_object *object, flm_error *error);

/* What flm_get_object or flm_task_object has filled, once. */
FLM_API void flm_release_object(struct flm_object *object);

#ifdef __cplusplus
}
#endif
#endif
