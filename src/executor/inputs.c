/* Objects that the inputs of tasks name: those of the last tasks stay mapped. */
#include "executor/executor.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* ---- with the lock ----------------------------------------------------------------------------- */

static void drop(struct flm__kept_object *k)
{
    flm_release_object(&k->object);
    *k = (struct flm__kept_object){.name = ""};
}

/* As soon as no task looks at it. */
static void let_go(struct flm__kept_object *k)
{
    k->gone = true;
    if (!k->busy)
        drop(k);
}

/* What does for this reference; NULL: nothing that we have. */
static struct flm__kept_object *find(struct flm__objects *o, const struct flm__object_ref *ref)
{
    for (unsigned i = 0; i < FLM__OBJECTS; i++) {
        struct flm__kept_object *k = &o->kept[i];
        bool fits = ref->version ? k->object.version == ref->version : k->object.version >= ref->least;
        if (fits && !k->gone && strcmp(k->name, ref->name) == 0)
            return k;
    }
    return NULL;
}

/* Where one goes that has come: in the place of its older version, else of what was not used for longest. A
 * task names no more than there are places. */
static struct flm__kept_object *place_for(struct flm__objects *o, const char *name)
{
    struct flm__kept_object *best = NULL;
    for (unsigned i = 0; i < FLM__OBJECTS; i++) {
        struct flm__kept_object *k = &o->kept[i];
        if (k->busy)
            continue;
        if (strcmp(k->name, name) == 0)
            return k;
        if (!best || k->used < best->used)
            best = k;
    }
    return best;
}

/* ---- the main thread --------------------------------------------------------------------------- */

static void hand_out(struct flm__executor *e, struct flm__kept_object *k)
{
    k->busy = true;
    k->used = ++e->objects.clock;
    e->task.objects[e->task.n_objects++] = k->object;
}

/* So that the node does not take it for one that nobody uses. */
static void tell_used(struct flm__executor *e, const struct flm__object_ref *ref)
{
    Flm__ObjectUsed used = FLM__OBJECT_USED__INIT;
    used.name = (char *)(uintptr_t)ref->name;
    FLM__MESSAGE(m, object_used, OBJECT_USED, &used);
    flm__control_send(e, &m, NULL, 0);
}

static bool take_kept(struct flm__executor *e, const struct flm__object_ref *ref)
{
    struct flm__objects *o = &e->objects;
    bool tell = false;
    pthread_mutex_lock(&o->lock);
    struct flm__kept_object *k = find(o, ref);
    if (k) {
        tell = k->told < o->fetched;
        hand_out(e, k);
        if (tell)
            k->told = k->used;
    }
    pthread_mutex_unlock(&o->lock);
    if (tell)
        tell_used(e, ref);
    return k != NULL;
}

static int fetch(struct flm__executor *e, const struct flm__object_ref *ref, flm_error *error)
{
    struct flm__objects *o = &e->objects;
    struct flm_object object = {0};
    Flm__GetObject get = FLM__GET_OBJECT__INIT;
    uint64_t least = ref->version ? ref->version : ref->least, gone;
    get.name = (char *)(uintptr_t)ref->name;
    get.version = least ? least - 1 : 0;
    get.input = true;
    get.exact = ref->version != 0;
    pthread_mutex_lock(&o->lock);
    gone = o->gone;
    pthread_mutex_unlock(&o->lock);
    int rc = flm__objects_ask(e, &get, &object, error);
    if (rc < 0)
        return rc;
    if (!object.data || object.version < least)
        return flm__error_set(error, FLM_ESTALE, "object %s is there in version %llu, not %llu", ref->name,
                              (unsigned long long)object.version, (unsigned long long)least);
    pthread_mutex_lock(&o->lock);
    struct flm__kept_object *k = place_for(o, ref->name);
    drop(k);
    snprintf(k->name, sizeof(k->name), "%s", ref->name);
    k->object = object;
    k->gone = gone != o->gone; /* perhaps it was this one */
    hand_out(e, k);
    k->told = o->fetched = k->used;
    pthread_mutex_unlock(&o->lock);
    return 0;
}

int flm__inputs_take(struct flm__executor *e, const struct flm__task_objects *objects, flm_error *error)
{
    const struct flm__object_ref *ref = NULL;
    e->task.n_objects = 0;
    while ((ref = flm__task_object(objects, ref))) {
        int rc = take_kept(e, ref) ? 0 : fetch(e, ref, error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void flm__inputs_done(struct flm__executor *e)
{
    struct flm__objects *o = &e->objects;
    pthread_mutex_lock(&o->lock);
    for (unsigned i = 0; i < FLM__OBJECTS; i++) {
        o->kept[i].busy = false;
        if (o->kept[i].gone)
            drop(&o->kept[i]);
    }
    pthread_mutex_unlock(&o->lock);
    e->task.n_objects = 0;
}

void flm__inputs_forget(struct flm__executor *e)
{
    struct flm__objects *o = &e->objects;
    pthread_mutex_lock(&o->lock);
    for (unsigned i = 0; i < FLM__OBJECTS; i++)
        drop(&o->kept[i]);
    pthread_mutex_unlock(&o->lock);
}

/* ---- the second thread ------------------------------------------------------------------------- */

void flm__inputs_gone(struct flm__executor *e, const Flm__ObjectGone *gone)
{
    struct flm__objects *o = &e->objects;
    pthread_mutex_lock(&o->lock);
    o->gone++;
    for (unsigned i = 0; i < FLM__OBJECTS; i++) {
        struct flm__kept_object *k = &o->kept[i];
        if (!k->name[0] || k->object.version > gone->version || strcmp(k->name, gone->name) != 0)
            continue;
        let_go(k);
    }
    pthread_mutex_unlock(&o->lock);
}

void flm__inputs_lose(struct flm__executor *e)
{
    struct flm__objects *o = &e->objects;
    pthread_mutex_lock(&o->lock);
    o->gone++;
    for (unsigned i = 0; i < FLM__OBJECTS; i++)
        let_go(&o->kept[i]);
    pthread_mutex_unlock(&o->lock);
}
