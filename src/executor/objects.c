#include "executor/objects.h"

#include "base/error.h"
#include "executor/executor.h"
#include "net/blob.h"

#include <stdio.h>
#include <string.h>

void flm__objects_init(struct flm__objects *o)
{
    *o = (struct flm__objects){0};
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->came, NULL);
}

void flm__objects_fini(struct flm__objects *o)
{
    pthread_cond_destroy(&o->came);
    pthread_mutex_destroy(&o->lock);
}

/* ---- the main thread --------------------------------------------------------------------------- */

static int ask(struct flm__executor *e, Flm__GetObject *get, flm_error *error)
{
    struct flm__objects *o = &e->objects;
    const char *name = get->name;
    get->lane = e->identity.lane;
    get->life = e->identity.life;
    get->number = ++o->questions;
    pthread_mutex_lock(&o->lock);
    o->asked = get->number;
    o->answered = false;
    pthread_mutex_unlock(&o->lock);
    if (atomic_load(&e->control.alone)) /* asked before this: flm__objects_lose comes after it */
        return flm__error_set(error, FLM_EDISCONNECTED, "cannot ask for object %s: the agent is gone",
                              name);
    FLM__MESSAGE(m, get_object, GET_OBJECT, get);
    int rc = flm__control_send(e, &m, NULL, 0);
    return rc < 0 ? flm__error_set(error, rc, "cannot ask for object %s: %s", name, flm_strerror(rc)) : 0;
}

int flm__objects_ask(struct flm__executor *e, Flm__GetObject *get, struct flm_object *object,
                     flm_error *error)
{
    struct flm__objects *o = &e->objects;
    int rc = ask(e, get, error);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&o->lock);
    while (!o->answered)
        pthread_cond_wait(&o->came, &o->lock);
    rc = o->error.code;
    *object = o->object;
    o->asked = 0;
    if (rc < 0)
        flm__error_set(error, rc, "%s", o->error.text);
    pthread_mutex_unlock(&o->lock);
    return rc;
}

int flm__objects_get(struct flm_task_context *task, const char *name, uint64_t newer_than,
                     struct flm_object *object, flm_error *error)
{
    Flm__GetObject get = FLM__GET_OBJECT__INIT;
    get.name = (char *)(uintptr_t)name;
    get.version = newer_than;
    return flm__objects_ask(task->owner, &get, object, error);
}

/* ---- the second thread ------------------------------------------------------------------------- */

static void answer(struct flm__objects *o, uint64_t number, const flm_error *error, bool everywhere,
                   const struct flm_object *object)
{
    pthread_mutex_lock(&o->lock);
    bool wanted = o->asked && !o->answered && (!number || o->asked == number);
    if (wanted) {
        o->answered = true;
        o->error = *error;
        o->everywhere = everywhere;
        o->object = *object;
        pthread_cond_signal(&o->came);
    }
    pthread_mutex_unlock(&o->lock);
    if (!wanted)
        flm__blob_unmap(object->data, object->size);
}

void flm__objects_got(struct flm__executor *e, const Flm__GotObject *got, int fd)
{
    flm_error error = {got->code, ""};
    struct flm_object object = {.version = got->version};
    snprintf(error.text, sizeof(error.text), "%s", got->text);
    if (got->code == 0 && got->data && fd < 0)
        flm__error_set(&error, FLM_EPROTO, "the object did not come along");
    else if (got->code == 0 && got->data) {
        object.size = got->data->size;
        object.data = flm__blob_map(fd, object.size, &error);
        object.size = object.data ? object.size : 0;
    }
    answer(&e->objects, got->number, &error, got->everywhere, &object);
}

void flm__objects_lose(struct flm__objects *o)
{
    const flm_error gone = {FLM_EDISCONNECTED, "the session manager is gone"};
    answer(o, 0, &gone, false, &(struct flm_object){0});
}

/* ---- for services and clients ------------------------------------------------------------------- */

void flm_release_object(struct flm_object *object)
{
    if (!object)
        return;
    flm__blob_unmap(object->data, object->size);
    object->data = NULL;
    object->size = 0;
}

int flm_task_object(struct flm_task_context *task, const char *name, uint64_t newer_than,
                    struct flm_object *object, flm_error *error)
{
    if (!task || !object)
        return flm__error_set(error, FLM_EINVAL, "no %s for an object", task ? "place" : "task");
    *object = (struct flm_object){0};
    if (!name || strlen(name) > FLM_MAX_NAME)
        return flm__error_set(error, FLM_EINVAL, "'%.150s' is no name of an object", name ? name : "");
    if (!task->object)
        return flm__error_set(error, FLM_ENOTSUP,
                              "objects are for the first rank of tasks of a session manager");
    return task->object(task, name, newer_than, object, error);
}
