/* relay_objects.c - objects that executors of this node ask for: which of the data that this node shares
 * (relay_shared.c) they are, the least recently used ones going first when they are too many.
 *
 * flmd is always asked, since it knows the newest version; it shows the data only if we do not have them.
 * But not for the input of a task: flmd has said which version that needs. A question holds the object that
 * we have until it is answered. flmd says when a version is past, and we say when we keep one no more; so
 * do executors let go of it. One of which a patch has made the next stays, if there is room, until that was
 * read, and so is not read but for what has changed. A large output that becomes an object stays where its
 * executor has put it: flmd has read it and says so (BlobDone).
 */
#define _GNU_SOURCE
#include "net/blob.h"
#include "node/relay_inside.h"

#include <flm/client.h>
#include <stdio.h>
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
    struct shared *data; /* that it uses */
    unsigned users;      /* questions that hold it */
    bool outdated;       /* goes with the last of these, */
    bool base;           /* but for what the next version is to be made of */
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
    r->object_bytes -= o->data->size;
    r->n_objects--;
    relay_shared_leave(o->data);
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
    if (o && --o->users == 0 && o->outdated && !o->base)
        free_object(o);
}

static void forget(struct object *o)
{
    o->outdated = true;
    o->users++;
    let_go(o);
}

/* No version up to this one is to be what the next is made of. */
static void forget_bases(struct relay *r, const char *name, uint64_t version)
{
    struct object *o, *next;
    DL_FOREACH_SAFE(r->objects, o, next)
    if (o->base && o->version <= version && strcmp(o->name, name) == 0) {
        o->base = false;
        forget(o);
    }
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
    const struct shared *whole = data ? q->object->data : NULL;
    int fd = data ? whole->pull->room.fd : -1;
    got.lane = q->slot->lane;
    got.life = q->life;
    got.number = q->number;
    got.version = version;
    got.code = code;
    got.everywhere = q->everywhere;
    got.text = (char *)(uintptr_t)text;
    if (data) {
        ref.size = whole->size;
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
    if (!q->object->data->ready)
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
    if (!ours && o && (get->input || !o->data->ready || o->version <= get->version))
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

/* Its questions are answered; what cannot be had goes with the last of them. */
static void arrived(struct object *o)
{
    struct question *q, *next;
    bool there = o->data->ready;
    char text[sizeof(o->data->why) + FLM_MAX_NAME + 20];
    snprintf(text, sizeof(text), "object %s %s", o->name, o->data->why);
    o->users++;
    DL_FOREACH_SAFE(o->relay->questions, q, next)
    {
        if (q->object != o || !q->reads)
            continue;
        answer(q, there, o->version, there ? 0 : FLM_EIO, there ? "" : text);
        end_question(q);
    }
    if (!there && !o->outdated)
        tell_gone(o->relay, o->name, o->version, FLM__OBJECT_GONE__WHY__NOT_READ);
    if (there)
        forget_bases(o->relay, o->name, o->version - 1);
    o->outdated |= !there;
    let_go(o);
}

void relay_objects_arrived(struct shared *s)
{
    struct object *o;
    DL_FOREACH(s->relay->objects, o)
    if (o->data == s) { /* no other is: a version comes once */
        arrived(o);
        return;
    }
}

/* In the place of an older version; takes one use of the data (NULL: there are none). NULL: no memory. */
static struct object *add(struct relay *r, const char *name, uint64_t version, struct shared *data)
{
    struct object *o = data ? calloc(1, sizeof(*o)) : NULL, *older = find(r, name);
    char *copy = o ? strdup(name) : NULL;
    if (!copy) {
        if (data)
            relay_shared_leave(data);
        free(o);
        return NULL;
    }
    if (older)
        forget(older);
    *o = (struct object){.relay = r, .name = copy, .version = version, .data = data};
    DL_PREPEND(r->objects, o);
    r->object_bytes += data->size;
    r->n_objects++;
    return o;
}

/* There are data for it, that we may be reading, or have, already: another executor has asked, too. */
static void read_for(struct relay *r, struct question *q, const Flm__GotObject *got)
{
    struct object *o = find(r, q->name);
    if (o && o->version == got->version)
        relay_shared_decline(r, got->data);
    else
        o = add(r, q->name, got->version, relay_shared_get(r, got->data));
    if (!o) {
        tell_gone(r, q->name, got->version, FLM__OBJECT_GONE__WHY__NOT_READ);
        answer(q, false, 0, FLM_ENOMEM, "no memory for an object");
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
    if (!q) {
        relay_shared_decline(r, got->data);
        return;
    }
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

void relay_object_keep(struct relay *r, const Flm__BlobDone *done, int fd, uint64_t size)
{
    if (fd >= 0)
        flm__blob_trim(fd, (size_t)size);
    struct shared *data = relay_shared_keep(r, done, fd, size);
    struct object *o = find(r, done->object);
    if (o && data && o->data == data)
        relay_shared_leave(data); /* somebody was quicker to ask for it */
    else if (add(r, done->object, done->version, data))
        evict(r);
    else
        tell_gone(r, done->object, done->version, FLM__OBJECT_GONE__WHY__NOT_KEPT);
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
    forget_bases(r, gone->name, gone->version);
    if (!o || o->version > gone->version)
        return;
    o->base = gone->patched && o->data->ready;
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
