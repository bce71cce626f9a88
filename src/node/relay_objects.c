/* relay_objects.c - objects that executors of this node ask for: read from flmd once, and kept in memory of
 * this node, the least recently used ones going first when they are too many.
 *
 * flmd is always asked, since it knows the newest version; it sends the data only if we do not have them.
 * But not for the input of a task: flmd has said which version that needs. A question holds the object that
 * we have until it is answered. flmd says when a version is past, and we say when we keep one no more; so
 * do executors let go of it. A large output that becomes an object stays where its executor has put it:
 * flmd has read it and says so (BlobDone).
 */
#define _GNU_SOURCE
#include "base/error.h"
#include "net/blob.h"
#include "node/relay_inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    PART_OF_MEMORY = 8, /* of this machine, that the objects that nobody asks for may have */
    KEPT_MAX = 1024,    /* of them: each is a descriptor */
};

struct object {
    struct object *prev, *next; /* in relay->objects: the one that was used last first */
    struct relay *relay;
    char *name;
    uint64_t version;
    struct pull *pull;
    unsigned users; /* questions that hold it */
    bool outdated;  /* goes with the last of these */
};

/* An executor waits for an answer. */
struct question {
    struct question *prev, *next; /* in relay->questions */
    struct slot *slot;
    uint32_t life;
    uint64_t number, known; /* version that the executor has */
    char *name;
    struct object *object; /* that we have, or are reading; NULL: none */
    bool reads;            /* it waits for that to be read */
    bool everywhere;       /* flmd cannot read it */
};

/* ---- what we have ------------------------------------------------------------------------------ */

static void free_object(struct object *o)
{
    struct relay *r = o->relay;
    DL_DELETE(r->objects, o);
    r->object_bytes -= o->pull->size;
    r->n_objects--;
    relay_pull_drop(o->pull);
    free(o->name);
    free(o);
}

static struct object *find(struct relay *r, const char *name)
{
    struct object *o;
    DL_FOREACH(r->objects, o)
    if (!o->outdated && strcmp(o->name, name) == 0)
        return o;
    return NULL;
}

static void let_go(struct object *o)
{
    if (o && --o->users == 0 && o->outdated)
        free_object(o);
}

static void forget(struct object *o)
{
    o->outdated = true;
    o->users++;
    let_go(o);
}

/* flmd believes that we have it. */
static void tell_gone(struct relay *r, const char *name, uint64_t version, Flm__ObjectGone__Why why)
{
    Flm__ObjectGone gone = FLM__OBJECT_GONE__INIT;
    gone.name = (char *)(uintptr_t)name;
    gone.version = version;
    gone.why = why;
    FLM__MESSAGE(m, object_gone, OBJECT_GONE, &gone);
    agent_tell(r->agent, &m, NULL, 0);
}

/* No room for it any more. */
static void give_up(struct object *o)
{
    if (!o->outdated)
        tell_gone(o->relay, o->name, o->version, FLM__OBJECT_GONE__WHY__NOT_KEPT);
    slots_object_gone(o->relay->agent, o->name, o->version);
    free_object(o);
}

static void touch(struct object *o)
{
    DL_DELETE(o->relay->objects, o);
    DL_PREPEND(o->relay->objects, o);
}

static void evict(struct relay *r)
{
    uint64_t limit = r->agent->options->object_bytes;
    if (!limit)
        limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / PART_OF_MEMORY;
    struct object *o = r->objects ? r->objects->prev : NULL; /* the head's is the last */
    while (o && (r->object_bytes > limit || r->n_objects > KEPT_MAX)) {
        struct object *before = o == r->objects ? NULL : o->prev;
        if (!o->users)
            give_up(o);
        o = before;
    }
}

/* ---- questions --------------------------------------------------------------------------------- */

static void end_question(struct question *q)
{
    struct relay *r = q->slot->agent->relay;
    DL_DELETE(r->questions, q);
    let_go(q->object);
    free(q->name);
    free(q);
}

/* data: what we have of it, or nothing is newer. */
static void answer(const struct question *q, bool data, uint64_t version, int code, const char *text)
{
    Flm__GotObject got = FLM__GOT_OBJECT__INIT;
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    int fd = data ? q->object->pull->room.fd : -1;
    got.lane = q->slot->lane;
    got.life = q->life;
    got.number = q->number;
    got.version = version;
    got.code = code;
    got.everywhere = q->everywhere;
    got.text = (char *)(uintptr_t)text;
    if (data) {
        ref.size = q->object->pull->size;
        ref.version = version;
        got.data = &ref;
    }
    FLM__MESSAGE(m, got_object, GOT_OBJECT, &got);
    if (q->slot->life == q->life && q->slot->announced == q->life)
        flm__watch_send(q->slot->watch, &m, &fd, data);
}

/* Whether flmd need not be asked: we have it, or read it. */
static bool does(const struct object *o, const Flm__GetObject *get)
{
    return get->input && (get->exact ? o->version == get->version + 1 : o->version > get->version);
}

/* Its object is there or on its way. */
static void await(struct question *q)
{
    q->reads = true;
    if (!q->object->pull->done)
        return;
    answer(q, true, q->object->version, 0, "");
    end_question(q);
}

void relay_object_ask(struct relay *r, struct slot *slot, const Flm__GetObject *get)
{
    struct question *q = calloc(1, sizeof(*q));
    char *name = q ? strdup(get->name) : NULL;
    if (!name) {
        slot_fail(slot, "no memory to pass on what it asks for");
        free(q);
        return;
    }
    struct object *o = find(r, name);
    bool ours = o && does(o, get);
    if (!ours && o && (get->input || !o->pull->done || o->version <= get->version))
        o = NULL;
    *q = (struct question){.slot = slot,
                           .life = slot->life,
                           .number = get->number,
                           .known = get->version,
                           .name = name,
                           .object = o};
    if (o)
        o->users++;
    DL_APPEND(r->questions, q);
    if (ours) {
        touch(o);
        await(q);
        return;
    }
    Flm__GetObject up = *get;
    up.version = o ? o->version : get->version;
    FLM__MESSAGE(m, get_object, GET_OBJECT, &up);
    agent_tell(r->agent, &m, NULL, 0);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void on_pulled(struct pull *pull)
{
    struct object *o = pull->owner;
    struct question *q, *next;
    bool failed = pull->status < 0;
    o->users++;
    DL_FOREACH_SAFE(o->relay->questions, q, next)
    {
        if (q->object != o || !q->reads)
            continue;
        answer(q, !failed, o->version, failed ? FLM_EIO : 0,
               failed ? "the object could not be read from flmd" : "");
        end_question(q);
    }
    if (failed && !o->outdated)
        tell_gone(o->relay, o->name, o->version, FLM__OBJECT_GONE__WHY__NOT_READ);
    o->outdated |= failed;
    let_go(o);
}

/* In the place of an older version; takes the pull (NULL: there is none). NULL: no memory. */
static struct object *add(struct relay *r, const char *name, uint64_t version, struct pull *pull)
{
    struct object *o = pull ? calloc(1, sizeof(*o)) : NULL, *older = find(r, name);
    char *copy = o ? strdup(name) : NULL;
    if (!copy) {
        relay_pull_drop(pull);
        free(o);
        return NULL;
    }
    if (older)
        forget(older);
    *o = (struct object){.relay = r, .name = copy, .version = version, .pull = pull};
    DL_PREPEND(r->objects, o);
    r->object_bytes += pull->size;
    r->n_objects++;
    pull->owner = o;
    pull->on_done = on_pulled;
    return o;
}

static struct object *start(struct relay *r, const struct question *q, const Flm__GotObject *got,
                            flm_error *error)
{
    const Flm__BlobRef *ref = got->data;
    struct pull *pull = relay_pull_start(r, ref->size, ref->address, ref->key, error);
    struct object *o = add(r, q->name, got->version, pull);
    if (!o)
        return NULL;
    pull->tell = true;
    pull->lane = q->slot->lane;
    pull->id = ref->id;
    return o;
}

/* There are data for it, that we may be reading, or have, already: another executor has asked, too. */
static void read_for(struct relay *r, struct question *q, const Flm__GotObject *got)
{
    flm_error error = {FLM_ENOMEM, "no memory for an object"};
    struct object *o = find(r, q->name);
    if (o && o->version == got->version)
        relay_tell_done(r, q->slot->lane, got->data->id, 0);
    else if (!(o = start(r, q, got, &error)))
        relay_tell_done(r, q->slot->lane, got->data->id, 0);
    if (!o) {
        tell_gone(r, q->name, got->version, FLM__OBJECT_GONE__WHY__NOT_READ);
        answer(q, false, 0, error.code, error.text);
        end_question(q);
        return;
    }
    let_go(q->object);
    q->object = o;
    o->users++;
    await(q);
    evict(r);
}

void relay_object_got(struct relay *r, struct slot *slot, const Flm__GotObject *got)
{
    struct question *q;
    DL_FOREACH(r->questions, q)
    if (q->slot == slot && q->life == slot->life && q->number == got->number && !q->reads)
        break;
    if (!q && got->data)
        relay_tell_done(r, got->lane, got->data->id, 0);
    if (!q)
        return;
    struct object *gone = got->code == FLM_ENOTFOUND ? find(r, q->name) : NULL;
    if (gone)
        forget(gone);
    if (got->data) {
        read_for(r, q, got);
        return;
    }
    q->everywhere = got->everywhere;
    bool ours =
        got->code == 0 && q->object && q->object->version == got->version && got->version > q->known;
    if (ours)
        touch(q->object);
    answer(q, ours, got->version, got->code, got->text);
    end_question(q);
}

void relay_object_keep(struct relay *r, const char *name, uint64_t version, int fd, uint64_t size)
{
    if (fd >= 0)
        flm__blob_trim(fd, (size_t)size);
    struct pull *pull = fd >= 0 ? relay_pull_done(r, fd, (size_t)size) : NULL;
    if (add(r, name, version, pull))
        evict(r);
    else
        tell_gone(r, name, version, FLM__OBJECT_GONE__WHY__NOT_KEPT);
}

void relay_object_used(struct relay *r, const char *name)
{
    struct object *o = find(r, name);
    if (o)
        touch(o);
}

void relay_object_gone(struct relay *r, const Flm__ObjectGone *gone)
{
    struct object *o = find(r, gone->name);
    if (o && o->version <= gone->version)
        forget(o);
}

void relay_objects_lose(struct relay *r, struct slot *slot)
{
    struct question *q, *next;
    DL_FOREACH_SAFE(r->questions, q, next)
    if (!slot || q->slot == slot)
        end_question(q);
}

void relay_objects_close(struct relay *r)
{
    relay_objects_lose(r, NULL);
    while (r->objects)
        free_object(r->objects);
}
