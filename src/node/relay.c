#define _GNU_SOURCE
#include "node/relay.h"

#include "base/error.h"
#include "net/address.h"
#include "node/relay_inside.h"

#include <flm/client.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    POLL_MS = 1, /* for a provider without a descriptor to sleep on */
};

/* ---- executor -> flmd -------------------------------------------------------------------------- */

/* A large output: shows it to flmd and rewrites the reference in the copy. 1, 0 not announced yet. */
static int show_payload(struct relay *r, struct lane *l, const struct flm__record *rec, char *copy)
{
    struct flm__result_parts parts;
    struct flm__blob_ref ref;
    flm_error error = {0, ""};
    if (!flm__result_split(rec, flm__record_payload(copy), &parts) || parts.size < sizeof(ref))
        return FLM_EPROTO;
    memcpy(&ref, parts.output, sizeof(ref));
    bool becomes_object = rec->flags & FLM__RECORD_OUTPUT;
    int rc = relay_expose(r, l, &ref, becomes_object, &error);
    if (rc == 0) { /* the announcement was sent before the record */
        flm__watch_read(r->agent->slots[relay_lane_index(r, l)].watch);
        rc = relay_expose(r, l, &ref, becomes_object, &error);
    }
    if (rc > 0)
        memcpy((void *)(uintptr_t)parts.output, &ref, sizeof(ref));
    return rc;
}

/* Moves one result. 1; 0: it has to wait; an error: the executor talks nonsense. */
static int move_result(struct relay *r, struct lane *l, const char *data, size_t n, uint32_t *bytes)
{
    struct flm__record rec;
    *bytes = flm__record_read(data, n, &rec);
    if (!*bytes || (rec.type != FLM__RESULT && rec.type != FLM__SETTLED))
        return FLM_EPROTO;
    char *room = flm__link_reserve(r->link, *bytes);
    if (!room) {
        r->blocked = true;
        return 0;
    }
    rec.lane = relay_lane_tag(r, l);
    memcpy(room, data, *bytes);
    memcpy(room, &rec, sizeof(rec)); /* as checked; the executor can write to its own copy */
    if (rec.flags & FLM__RECORD_BLOB) {
        int rc = show_payload(r, l, &rec, room);
        l->awaits = rc == 0;
        if (rc <= 0)
            return rc;
    }
    flm__link_commit(r->link, *bytes);
    if (l->given && rec.type == FLM__RESULT)
        relay_input_over(r, l, &rec);
    l->relayed++;
    return 1;
}

static bool move_results(struct relay *r, struct lane *l)
{
    const void *data;
    size_t n = l->broken ? 0 : flm__link_peek(l->ring, &data), at = 0;
    int rc = 1;
    l->awaits = false;
    while (at < n && rc > 0) {
        uint32_t bytes;
        rc = move_result(r, l, (const char *)data + at, n - at, &bytes);
        if (rc > 0)
            at += bytes;
    }
    if (at)
        flm__link_consume(l->ring, at);
    if (rc < 0) {
        l->broken = true;
        relay_fail_lane(r, l, "what it wrote to its ring is not the protocol");
    }
    return at > 0;
}

/* Nothing more will come out of this lane: its end is read, or spoilt, or waits for a payload that the dead
 * executor did not live to announce; or there is nobody to give it to. */
static bool is_drained(const struct relay *r, struct lane *l)
{
    return l->broken || l->awaits || flm__ring_empty(l->ring) || r->ops->failed(r->link);
}

bool relay_lane_drain(struct relay *r, unsigned lane)
{
    struct lane *l = &r->lanes[lane];
    if (!l->ring || !r->link)
        return true;
    move_results(r, l);
    flm__link_flush(r->link);
    if (is_drained(r, l))
        return true;
    l->draining = true;
    return false;
}

uint64_t relay_lane_relayed(const struct relay *r, unsigned lane)
{
    return r->lanes[lane].relayed;
}

/* ---- the turn ---------------------------------------------------------------------------------- */

static bool turn_lane(struct relay *r, struct lane *l)
{
    bool moved = relay_holds(l) && relay_release_held(r, l);
    moved |= move_results(r, l);
    if (l->dirty)
        flm__link_flush(l->ring);
    l->dirty = false;
    if (l->draining && is_drained(r, l)) {
        l->draining = false;
        slot_drained(&r->agent->slots[relay_lane_index(r, l)]);
    }
    return moved;
}

bool relay_turn(struct relay *r)
{
    bool moved = r->ops->progress(r->fabric) > 0;
    r->blocked = false;
    moved |= relay_move_tasks(r);
    for (unsigned i = 0; i < r->n_lanes; i++) {
        struct lane *l = &r->lanes[(r->first + i) % r->n_lanes];
        if (l->ring)
            moved |= turn_lane(r, l);
    }
    r->first = (r->first + 1) % r->n_lanes;
    flm__link_flush(r->link);
    if (r->ops->failed(r->link) && !r->agent->stopping) {
        agent_say(r->agent, "the link to flmd over %s has failed", r->link->ops->name);
        rejoin_begin(r->agent, "the link to flmd has failed");
        return false;
    }
    return moved;
}

void relay_tick(struct relay *r, int64_t now_ns, bool stood_still)
{
    flm__pool_trim(&r->pool, now_ns);
    flm__maps_trim(&r->maps, now_ns);
    for (unsigned i = 0; i < r->n_lanes; i++) {
        if (stood_still && r->lanes[i].waits_since)
            r->lanes[i].waits_since = now_ns;
        relay_lane_look(r, &r->lanes[i], now_ns);
    }
    if (r->fabric) /* else flmd is lost */
        r->ops->tick(r->fabric, now_ns);
}

bool relay_asks_kernel(const struct relay *r)
{
    return r->ops->asks_kernel(r->fabric);
}

/* A lane whose results cannot move on now is not a reason to stay awake: room on the link to flmd, or the
 * executor's connection, will wake us. */
static bool arm_lane(struct relay *r, struct lane *l)
{
    bool wants_room = relay_holds(l) && !l->pull && !l->waits_since;
    if (r->blocked || l->awaits || l->broken)
        return true;
    return flm__link_arm(l->ring, wants_room);
}

static void on_interval(uv_timer_t *timer)
{
    (void)timer; /* that we are awake is all */
}

bool relay_arm(struct relay *r)
{
    bool quiet = flm__link_arm(r->link, r->blocked);
    for (unsigned i = 0; quiet && i < r->n_lanes; i++)
        if (r->lanes[i].ring)
            quiet = arm_lane(r, &r->lanes[i]);
    int fd = r->fabric_poll ? r->ops->fd(r->fabric) : -1;
    if (quiet && fd >= 0)
        quiet = r->ops->arm(r->fabric);
    if (!quiet)
        relay_disarm(r);
    else if (fd < 0)
        uv_timer_start(&r->fabric_timer, on_interval, POLL_MS, 0);
    return quiet;
}

void relay_disarm(struct relay *r)
{
    flm__link_disarm(r->link);
    for (unsigned i = 0; i < r->n_lanes; i++)
        if (r->lanes[i].ring)
            flm__link_disarm(r->lanes[i].ring);
}

/* ---- lanes ------------------------------------------------------------------------------------- */

int relay_lane_open(struct relay *r, unsigned lane, uint32_t life, int fds[3], uint32_t *bytes,
                    flm_error *error)
{
    struct lane *l = &r->lanes[lane];
    relay_lane_close(r, lane);
    *bytes = FLM__RING_BYTES;
    int rc = flm__ring_create(*bytes, &fds[0], error);
    if (rc < 0)
        return rc;
    fds[1] = r->bell;
    fds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->ring = fds[2] < 0 ? NULL : flm__ring_open(fds[0], *bytes, true, fds[2], error);
    if (!l->ring) {
        close(fds[0]);
        if (fds[2] >= 0)
            close(fds[2]);
        return flm__error_set(error, FLM_ENOMEM, "cannot make a ring for an executor");
    }
    l->life = life;
    return 0;
}

void relay_lane_close(struct relay *r, unsigned lane)
{
    struct lane *l = &r->lanes[lane];
    relay_drop_held(r, l);
    flm__link_destroy(l->ring);
    relay_forget_announced(l);
    relay_forget_given(l);
    *l = (struct lane){0};
}

/* ---- begin and end ----------------------------------------------------------------------------- */

static void on_bell(uv_poll_t *poll, int status, int events)
{
    struct relay *r = poll->data;
    uint64_t count;
    (void)status;
    (void)events;
    ssize_t n = read(r->bell, &count, sizeof(count)); /* that we are awake is all */
    (void)n;
}

static void on_fabric(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
}

/* fd: the connection to flmd; where it is reached, peers of the fabric are too. */
static int open_fabric(struct relay *r, int fd, const Flm__Ready *ready, void *address, size_t *size,
                       flm_error *error)
{
    char own[FLM__ADDRESS_TEXT];
    bool known = flm__socket_address(fd, own, sizeof(own));
    const struct flm__fabric_options options = {.provider = ready->provider,
                                                .interface = r->agent->options->interface,
                                                .address = known ? own : NULL};
    r->ops = flm__fabric_load(error);
    if (!r->ops)
        return error->code;
    int rc = r->ops->open(&options, &r->fabric, error);
    if (rc == 0)
        rc = r->ops->address(r->fabric, address, size, error);
    if (rc == 0)
        rc = r->ops->connect(r->fabric, ready->address.data, ready->address.len, ready->key_to_peer,
                             ready->key_to_server, &r->link, error);
    return rc;
}

static void watch_fabric(struct relay *r)
{
    int fd = r->ops->fd(r->fabric);
    if (fd < 0)
        return;
    r->fabric_poll = calloc(1, sizeof(*r->fabric_poll));
    if (!r->fabric_poll || uv_poll_init(&r->agent->loop, r->fabric_poll, fd) < 0) {
        free(r->fabric_poll);
        r->fabric_poll = NULL;
        return; /* the timer looks */
    }
    uv_poll_start(r->fabric_poll, UV_READABLE, on_fabric);
}

int relay_open(struct agent *agent, int fd, const Flm__Ready *ready, void *address, size_t *size,
               struct relay **out, flm_error *error)
{
    flm_error why = {FLM_ENOMEM, "no memory for the relay"};
    struct relay *r = calloc(1, sizeof(*r));
    struct lane *lanes = calloc(agent->n_slots, sizeof(*lanes));
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = r && lanes && bell >= 0 ? 0 : FLM_ENOMEM;
    if (rc == 0) {
        *r = (struct relay){.agent = agent, .lanes = lanes, .n_lanes = agent->n_slots, .bell = bell};
        rc = open_fabric(r, fd, ready, address, size, &why);
    }
    if (rc < 0) {
        if (r && r->ops)
            r->ops->close(r->fabric);
        if (bell >= 0)
            close(bell);
        free(lanes);
        free(r);
        return flm__error_set(error, rc, "%s", why.text);
    }
    uv_poll_init(&agent->loop, &r->bell_poll, bell);
    r->bell_poll.data = r;
    uv_poll_start(&r->bell_poll, UV_READABLE, on_bell);
    uv_timer_init(&agent->loop, &r->fabric_timer);
    watch_fabric(r);
    *out = r;
    return 0;
}

static void close_handle(uv_handle_t *handle)
{
    if (handle->type != UV_UNKNOWN_HANDLE)
        uv_close(handle, NULL);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_fabric(struct relay *r)
{
    if (r->fabric_poll)
        uv_close((uv_handle_t *)r->fabric_poll, on_closed);
    r->fabric_poll = NULL;
    relay_conceal_all(r);
    relay_shared_conceal(r);
    relay_pull_cut(r);
    relay_sources_cut(r);
    flm__link_destroy(r->link);
    r->link = NULL;
    if (r->fabric)
        r->ops->close(r->fabric);
    r->fabric = NULL;
}

void relay_disconnect(struct relay *r)
{
    for (unsigned i = 0; i < r->n_lanes; i++) {
        struct lane *l = &r->lanes[i];
        if (!l->ring)
            continue;
        relay_drop_held(r, l);
        l->held_start = l->held_end = l->held_room = 0;
        flm__link_flush(l->ring); /* the executor is to see where the tasks end */
    }
    close_fabric(r);
    uv_timer_stop(&r->fabric_timer);
    relay_shared_retire(r);
    relay_objects_close(r); /* the next flmd has others */
    for (unsigned i = 0; i < r->n_lanes; i++) {
        bool draining = r->lanes[i].draining;
        r->lanes[i].draining = false;
        if (draining)
            slot_drained(&r->agent->slots[i]);
    }
}

int relay_reconnect(struct relay *r, int fd, const Flm__Ready *ready, void *address, size_t *size,
                    flm_error *error)
{
    close_fabric(r); /* of an attempt that got so far, and no further */
    int rc = open_fabric(r, fd, ready, address, size, error);
    if (rc < 0)
        close_fabric(r);
    else
        watch_fabric(r);
    return rc;
}

void relay_lane_restart(struct relay *r, unsigned lane, uint64_t began)
{
    struct lane *l = &r->lanes[lane];
    l->put = began;
    l->relayed = l->returned_from = l->returned_upto = 0;
}

void relay_close(struct relay *r)
{
    if (!r)
        return;
    close_handle((uv_handle_t *)&r->bell_poll);
    close_handle((uv_handle_t *)&r->fabric_timer);
    for (unsigned i = 0; i < r->n_lanes; i++)
        relay_lane_close(r, i);
    relay_shared_retire(r);
    relay_objects_close(r);
    close_fabric(r);
    flm__pool_clear(&r->pool);
    flm__maps_clear(&r->maps);
    close(r->bell);
    free(r->lanes);
}

void relay_free(struct relay *r)
{
    free(r);
}
