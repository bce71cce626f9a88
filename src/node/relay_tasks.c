/* relay_tasks.c - tasks from flmd to the rings of the executors. One that waits, for its payload or for
 * room in the ring, is held, and those of its lane that come after it. */
#define _GNU_SOURCE
#include "base/time.h"
#include "node/relay_inside.h"

#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = FLM__RING_BYTES };

static bool read_reference(const struct flm__record *rec, const void *data, struct flm__blob_ref *ref)
{
    struct flm__task_parts parts;
    if (!flm__task_split(rec, flm__record_payload(data), &parts) || !parts.blob ||
        parts.size < sizeof(*ref))
        return false;
    memcpy(ref, parts.input, sizeof(*ref));
    return true;
}

/* A task that nobody will run. */
static void drop_task(struct relay *r, unsigned lane, const struct flm__record *rec, const void *data)
{
    struct flm__blob_ref ref;
    if (rec->type == FLM__TASK && (rec->flags & FLM__RECORD_BLOB) && read_reference(rec, data, &ref))
        relay_tell_done(r, lane, ref.id, 0);
}

/* The first task that is held cannot have its input from its client: it waits to be called back. */
static void give_up(struct relay *r, struct lane *l, uint64_t id, int code)
{
    l->unreadable = true;
    if (!l->pull)
        relay_tell_done(r, relay_lane_index(r, l), id, code);
    else if (l->pull->done) /* it has told flmd itself */
        relay_pull_drop(l->pull);
    else
        relay_pull_give_up(l->pull, code);
    l->pull = NULL;
}

/* Begins to read it. 1; 0: not yet, or not here; or an error. */
static int begin_pull(struct relay *r, struct lane *l, const struct flm__blob_ref *ref)
{
    flm_error error = {0, ""};
    if (ref->source && !flm__source_known(&r->sources, ref->source))
        return 0;
    const struct pull_source from = {
        .address = ref->address, .key = ref->key, .bytes = (size_t)ref->size, .client = ref->source};
    l->pull = relay_pull_from(r, &from, ref->size, &error);
    if (!l->pull && ref->source)
        give_up(r, l, ref->id, error.code);
    if (!l->pull)
        return ref->source ? 0 : error.code;
    l->pull->tell = l->pull->ours = true;
    l->pull->lane = relay_lane_index(r, l);
    l->pull->id = ref->id;
    return 1;
}

/* The payload that the record at `data` refers to: 1 it is here (l->pull), 0 not yet, or an error. */
static int have_payload(struct relay *r, struct lane *l, const struct flm__record *rec, const void *data,
                        struct flm__blob_ref *ref)
{
    if (l->unreadable)
        return 0;
    if (!read_reference(rec, data, ref))
        return FLM_EPROTO;
    if (ref->source && !l->waits_since)
        l->waits_since = flm__now_ns();
    int rc = l->pull ? 1 : begin_pull(r, l, ref);
    if (rc <= 0 || !l->pull->done)
        return rc < 0 ? rc : 0;
    if (l->pull->status < 0 && ref->source) {
        give_up(r, l, ref->id, l->pull->status);
        return 0;
    }
    l->waits_since = 0;
    return l->pull->status < 0 ? l->pull->status : 1;
}

void relay_lane_look(struct relay *r, struct lane *l, int64_t now_ns)
{
    struct flm__record rec;
    struct flm__blob_ref ref;
    if (!l->waits_since || l->unreadable || !relay_holds(l) || (l->pull && l->pull->done))
        return;
    const char *data = l->held + l->held_start;
    if (flm__record_read(data, l->held_end - l->held_start, &rec) && read_reference(&rec, data, &ref) &&
        flm__source_silent(&r->sources, ref.source, l->waits_since, now_ns))
        give_up(r, l, ref.id, FLM_ETIMEDOUT);
}

/* Announces the payload to the executor. */
static void pass_payload(struct relay *r, struct lane *l, const struct flm__record *rec,
                         const struct flm__blob_ref *ref)
{
    Flm__Blob blob = FLM__BLOB__INIT;
    blob.lane = relay_lane_index(r, l);
    blob.life = l->life;
    blob.id = ref->id;
    blob.size = ref->size;
    blob.reused = true;
    FLM__MESSAGE(m, blob, BLOB, &blob);
    flm__watch_send(r->agent->slots[relay_lane_index(r, l)].watch, &m, &l->pull->room.fd, 1);
    relay_pull_given(l->pull, l, rec);
    l->pull = NULL;
}

/* The first task that is held will not be run. A pull speaks for itself, when it is done, and who gave up
 * has spoken. */
static void let_go(struct relay *r, struct lane *l, const struct flm__record *rec, const void *data)
{
    if (!l->pull && !l->unreadable)
        drop_task(r, relay_lane_index(r, l), rec, data);
    relay_pull_drop(l->pull);
    l->pull = NULL;
    l->unreadable = false;
    l->waits_since = 0;
}

/* A task that was given back goes to the executor without its payload: there it only counts. */
static void put_empty(struct relay *r, struct lane *l, const struct flm__record *rec, const void *data,
                      char *room)
{
    struct flm__record stripped = *rec;
    if (!(rec->flags & FLM__RECORD_BLOB))
        return;
    let_go(r, l, rec, data);
    stripped.flags &= (uint8_t)~FLM__RECORD_BLOB;
    memcpy(room, &stripped, sizeof(stripped));
}

/* The payload, or that it has to wait. */
static bool put_large(struct relay *r, struct lane *l, const struct flm__record *rec, const void *data,
                      char *room)
{
    struct flm__blob_ref ref;
    struct flm__task_parts parts;
    int rc = have_payload(r, l, rec, data, &ref);
    if (rc < 0)
        relay_fail_lane(r, l, "an input could not be read from flmd");
    if (rc <= 0)
        return false;
    pass_payload(r, l, rec, &ref);
    ref.address = ref.key = 0;
    flm__task_split(rec, flm__record_payload(room), &parts);
    memcpy((void *)(uintptr_t)parts.input, &ref, sizeof(ref));
    return true;
}

/* Puts a task in the executor's ring. false: it has to wait. */
static bool put_task(struct relay *r, struct lane *l, const struct flm__record *rec, const void *data,
                     uint32_t bytes)
{
    uint64_t number = l->put + 1;
    char *room = flm__link_reserve(l->ring, bytes);
    if (!room)
        return false;
    memcpy(room, data, bytes);
    if (number > l->returned_from && number <= l->returned_upto)
        put_empty(r, l, rec, data, room);
    else if ((rec->flags & FLM__RECORD_BLOB) && !put_large(r, l, rec, data, room))
        return false;
    flm__link_commit(l->ring, bytes);
    l->put = number;
    l->dirty = true;
    return true;
}

uint64_t relay_lane_reads(const struct relay *r, unsigned lane)
{
    const struct lane *l = &r->lanes[lane];
    return l->pull && relay_holds(l) ? l->put + 1 : 0;
}

void relay_lane_returned(struct relay *r, unsigned lane, uint64_t from, uint64_t upto)
{
    struct lane *l = &r->lanes[lane];
    if (from >= upto)
        return;
    bool follows =
        from <= l->returned_upto && l->put < l->returned_upto; /* some of the last are still here */
    if (!follows || from < l->returned_from)                   /* what was spared is given back after all */
        l->returned_from = from;
    l->returned_upto = upto;
}

static void hold(struct relay *r, struct lane *l, const void *data, uint32_t bytes)
{
    if (l->held_start == l->held_end)
        l->held_start = l->held_end = 0;
    if (l->held_start && l->held_end + bytes > l->held_room) {
        memmove(l->held, l->held + l->held_start, l->held_end - l->held_start);
        l->held_end -= l->held_start;
        l->held_start = 0;
    }
    if (l->held_end + bytes > l->held_room) {
        size_t room = l->held_room ? 2 * l->held_room : 64 << 10;
        char *held = room <= 2 * HELD_MAX ? realloc(l->held, room) : NULL;
        if (!held) {
            relay_fail_lane(r, l, "more tasks were sent to it than there is room for");
            return;
        }
        l->held = held;
        l->held_room = room;
    }
    memcpy(l->held + l->held_end, data, bytes);
    l->held_end += bytes;
}

bool relay_release_held(struct relay *r, struct lane *l)
{
    bool moved = false;
    while (relay_holds(l)) {
        struct flm__record rec;
        const char *data = l->held + l->held_start;
        uint32_t bytes = flm__record_read(data, l->held_end - l->held_start, &rec);
        if (!put_task(r, l, &rec, data, bytes))
            break;
        l->held_start += bytes;
        moved = true;
    }
    return moved;
}

static void take_task(struct relay *r, const struct flm__record *rec, const void *data, uint32_t bytes)
{
    unsigned index = rec->lane & ((1u << RELAY_LANE_BITS) - 1);
    struct lane *l = index < r->n_lanes ? &r->lanes[index] : NULL;
    if (!l || !l->ring || l->draining || rec->lane != relay_lane_tag(r, l) || rec->type != FLM__TASK) {
        drop_task(r, index, rec, data); /* of another life */
        return;
    }
    if (relay_holds(l) || !put_task(r, l, rec, data, bytes))
        hold(r, l, data, bytes);
}

bool relay_move_tasks(struct relay *r)
{
    const void *data;
    size_t n = flm__link_peek(r->link, &data);
    for (size_t at = 0; at < n;) {
        struct flm__record rec;
        uint32_t bytes = flm__record_read((const char *)data + at, n - at, &rec);
        if (!bytes) {
            agent_stop(r->agent, 1, "what flmd sent over %s is not the protocol", r->link->ops->name);
            break;
        }
        take_task(r, &rec, (const char *)data + at, bytes);
        at += bytes;
    }
    if (n)
        flm__link_consume(r->link, n);
    return n > 0;
}

void relay_drop_held(struct relay *r, struct lane *l)
{
    while (relay_holds(l)) {
        struct flm__record rec;
        uint32_t bytes = flm__record_read(l->held + l->held_start, l->held_end - l->held_start, &rec);
        let_go(r, l, &rec, l->held + l->held_start);
        l->held_start += bytes;
    }
    free(l->held);
    l->held = NULL;
}
