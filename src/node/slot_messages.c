/* What a slot hears: from its executor, and from flmd. */
#define _GNU_SOURCE
#include "node/slot_inside.h"

#include "base/time.h"
#include "node/agent.h"
#include "node/relay.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the executor ------------------------------------------------------------------------------ */

static void give_bind(struct slot *slot)
{
    Flm__Bind *bind = slot->bind;
    if (!bind || slot->state != SLOT_IDLE || !slot_kind_fits(&slot->kind, bind))
        return;
    bool has_common = bind->common && bind->common->size;
    if (has_common && slot->bind_fd < 0)
        return; /* on its way */
    bind->lane = slot->lane;
    bind->life = slot->life;
    if (has_common)
        bind->common->number = 0;
    FLM__MESSAGE(m, bind, BIND, bind);
    flm__watch_send(slot->watch, &m, &slot->bind_fd, has_common);
    slot->common_version = has_common ? bind->common->version : 0;
    slot->session = bind->session;
    slot->serial = bind->serial;
    slot->log.executor = bind->executor;
    slot_forget_line(slot);
    snprintf(slot->log.session, sizeof(slot->log.session), "%s", bind->session_id);
    slot->heard_ns = flm__now_ns();
    slot_drop_bind(slot);
    slot_set_state(slot, SLOT_BINDING);
}

static void forward(struct slot *slot, const Flm__Message *message, int *fds, unsigned n_fds)
{
    agent_tell(slot->agent, message, fds, n_fds);
}

static void on_bound(struct slot *slot, Flm__Message *m)
{
    if (slot->state != SLOT_BINDING)
        return;
    slot_set_state(slot, SLOT_BOUND);
    slot->was_bound = true;
    slot->backoff_ms = 0;
    m->bound->lane = slot->lane;
    m->bound->life = slot->life;
    m->bound->session = slot->session;
    forward(slot, m, NULL, 0);
}

static void on_bind_failed(struct slot *slot, Flm__Message *m)
{
    if (slot->state != SLOT_BINDING)
        return;
    slot_set_state(slot, SLOT_IDLE);
    m->bind_failed->lane = slot->lane;
    m->bind_failed->life = slot->life;
    m->bind_failed->session = slot->session;
    slot_leave_session(slot);
    forward(slot, m, NULL, 0);
}

static void on_unbound(struct slot *slot, Flm__Message *m)
{
    if (slot->state != SLOT_UNBINDING)
        return;
    slot_set_state(slot, SLOT_IDLE);
    m->unbound->lane = slot->lane;
    m->unbound->life = slot->life;
    m->unbound->session = slot->session;
    slot_leave_session(slot);
    forward(slot, m, NULL, 0);
}

static void on_blob(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    if (n_fds != 1)
        return;
    if (slot->agent->relay) {
        relay_blob_from_executor(slot->agent->relay, slot->lane, m->blob, fds[0]);
        fds[0] = -1;
        return;
    }
    m->blob->lane = slot->lane;
    m->blob->life = slot->life;
    if (slot->agent->lost_ns)
        slot_hold_blob(slot, m->blob, &fds[0]);
    else
        forward(slot, m, fds, 1);
}

static void on_get_object(struct slot *slot, Flm__Message *m)
{
    if (slot->agent->lost_ns) {
        Flm__GotObject got = FLM__GOT_OBJECT__INIT;
        got.lane = slot->lane;
        got.life = slot->life;
        got.number = m->get_object->number;
        got.code = FLM_EDISCONNECTED;
        got.text = (char *)(uintptr_t) "the session manager is gone";
        FLM__MESSAGE(answer, got_object, GOT_OBJECT, &got);
        flm__watch_send(slot->watch, &answer, NULL, 0);
        return;
    }
    m->get_object->lane = slot->lane;
    m->get_object->life = slot->life;
    if (slot->agent->relay)
        relay_object_ask(slot->agent->relay, slot, m->get_object);
    else
        forward(slot, m, NULL, 0);
}

void slots_object_gone(struct agent *agent, const char *name, uint64_t version)
{
    Flm__ObjectGone gone = FLM__OBJECT_GONE__INIT;
    gone.name = (char *)(uintptr_t)name;
    gone.version = version;
    FLM__MESSAGE(m, object_gone, OBJECT_GONE, &gone);
    for (unsigned i = 0; i < agent->n_slots; i++) {
        const struct slot *slot = &agent->slots[i];
        if (slot->watch && slot->state >= SLOT_BINDING && slot->state <= SLOT_UNBINDING)
            flm__watch_send(slot->watch, &m, NULL, 0);
    }
}

static void on_message(void *arg, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct slot *slot = arg;
    slot->heard_ns = flm__now_ns();
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_BOUND:
        on_bound(slot, m);
        break;
    case FLM__MESSAGE__BODY_BIND_FAILED:
        on_bind_failed(slot, m);
        break;
    case FLM__MESSAGE__BODY_UNBOUND:
        on_unbound(slot, m);
        break;
    case FLM__MESSAGE__BODY_RETURNED:
        m->returned->lane = slot->lane;
        m->returned->life = slot->life;
        if (slot->agent->relay)
            relay_lane_returned(slot->agent->relay, slot->lane, m->returned->from, m->returned->upto);
        forward(slot, m, NULL, 0);
        break;
    case FLM__MESSAGE__BODY_BLOB:
        on_blob(slot, m, fds, n_fds);
        break;
    case FLM__MESSAGE__BODY_GET_OBJECT:
        on_get_object(slot, m);
        break;
    case FLM__MESSAGE__BODY_OBJECT_USED:
        if (slot->agent->relay)
            relay_object_used(slot->agent->relay, m->object_used->name);
        break;
    case FLM__MESSAGE__BODY_COMMON_TAKEN:
        if (m->common_taken->code < 0)
            slot->common_version = 0; /* it is not what it has */
        m->common_taken->lane = slot->lane;
        m->common_taken->life = slot->life;
        forward(slot, m, NULL, 0);
        break;
    case FLM__MESSAGE__BODY_STOCK:
        slot_take_stock(slot, m->stock);
        break;
    default: /* PONG has said what it had to say */
        break;
    }
}

static void on_end(void *arg, int code)
{
    struct slot *slot = arg;
    if (slot->state == SLOT_GONE || slot->state == SLOT_LEAVING || slot->state == SLOT_EMPTY)
        return;
    if (code != FLM_EDISCONNECTED) {
        slot_fail(slot, "what it sent to its agent is not the protocol");
        return;
    }
    slot_closed(slot);
}

/* A relay makes the ring itself. */
static int make_ring(struct slot *slot, flm_error *error)
{
    int fds[4];
    Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
    int rc = relay_lane_open(slot->agent->relay, slot->lane, slot->life, fds, &ring.bytes, error);
    if (rc < 0)
        return rc;
    fds[3] = slot->page_fd;
    ring.lane = slot->lane;
    ring.life = slot->life;
    ring.executor = slot->log.executor;
    FLM__MESSAGE(m, executor_ring, EXECUTOR_RING, &ring);
    flm__watch_send(slot->watch, &m, fds, 4);
    close(fds[0]);
    close(fds[2]);
    return 0;
}

void slot_attached(struct slot *slot, struct flm__watch *watch, int32_t pid)
{
    flm_error error = {0, ""};
    uv_timer_stop(&slot->timer);
    slot->watch = watch;
    slot->heard_ns = flm__now_ns();
    slot_has_joined(slot);
    flm__watch_retarget(watch, on_message, on_end, slot);
    slot_set_state(slot, SLOT_UP);
    slot_world_learn(slot, pid);
    slot_tell_up(slot, pid);
    if (!slot->agent->relay)
        return;
    if (make_ring(slot, &error) < 0) {
        slot_fail(slot, error.text);
        return;
    }
    slot_set_state(slot, SLOT_IDLE);
    give_bind(slot);
}

void slot_ping(struct slot *slot, uint64_t number, int64_t now_ns, int64_t interval_ns)
{
    const struct node_options *o = slot->agent->options;
    if (slot->state < SLOT_BINDING || slot->state > SLOT_UNBINDING)
        return;
    int64_t silent = now_ns - slot->heard_ns;
    /* Under a debugger it may stand still for as long as it likes. */
    if (silent > (int64_t)o->loss_ms * 1000000 + interval_ns && !slot_is_wrapped(slot)) {
        char text[100];
        snprintf(text, sizeof(text), "it did not answer for %.1f s", (double)silent * 1e-9);
        slot_fail(slot, text);
        return;
    }
    Flm__Ping ping = FLM__PING__INIT;
    ping.number = number;
    FLM__MESSAGE(m, ping, PING, &ping);
    flm__watch_send(slot->watch, &m, NULL, 0);
}

/* ---- what flmd says ---------------------------------------------------------------------------- */

static void take_ring(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    slot->log.executor = m->executor_ring->executor;
    if (slot->agent->relay)
        return;
    if (slot->state != SLOT_UP) { /* another flmd at the other end of the ring that it has */
        if (n_fds == 1)
            flm__watch_send(slot->watch, m, fds, 1);
        return;
    }
    if (n_fds != 3) {
        agent_say(slot->agent, "flmd sent a ring without its descriptors");
        return;
    }
    int all[4] = {fds[0], fds[1], fds[2], slot->page_fd};
    flm__watch_send(slot->watch, m, all, 4);
    if (slot->agent->rejoin.ms)
        slot_keep_ring(slot, fds, m->executor_ring->bytes);
    slot_set_state(slot, SLOT_IDLE);
    give_bind(slot);
}

static void take_bind(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    if (slot->bind || (slot->state != SLOT_UP && slot->state != SLOT_IDLE))
        return; /* it is ending, flmd will hear of it */
    slot->bind = m->bind;
    m->bind = NULL;
    m->body_case = FLM__MESSAGE__BODY__NOT_SET;
    if (n_fds) {
        slot->bind_fd = fds[0];
        fds[0] = -1;
    }
    const Flm__BlobRef *common = slot->bind->common;
    if (slot->agent->relay && common && common->size)
        relay_common_get(slot->agent->relay, slot, &slot->common, common);
    if (!slot->bind) /* the common data cannot be had: told already */
        return;
    if (!slot_kind_fits(&slot->kind, slot->bind))
        slot_replace(slot);
    else
        give_bind(slot);
}

static void bind_is_ready(struct slot *slot, int fd, const char *text)
{
    if (fd >= 0)
        slot->bind_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* not for those that we start meanwhile */
    if (slot->bind_fd >= 0) {
        give_bind(slot);
        return;
    }
    slot_tell_bind_failed(slot, text);
    slot_drop_bind(slot);
    if (slot->common)
        relay_shared_leave(slot->common);
    slot->common = NULL;
    slot->replaced = false;
}

static void give_update(struct slot *slot, int *fd)
{
    FLM__MESSAGE(m, common, COMMON, slot->update);
    slot->update->common->number = 0;
    flm__watch_send(slot->watch, &m, fd, 1);
    slot->common_version = slot->update->common->version;
    if (slot->common)
        relay_shared_leave(slot->common);
    slot->common = slot->coming;
    slot->coming = NULL;
}

static void update_is_ready(struct slot *slot, int fd, const char *text)
{
    if (fd >= 0) {
        give_update(slot, &fd);
    } else {
        Flm__CommonTaken taken = FLM__COMMON_TAKEN__INIT;
        taken.lane = slot->lane;
        taken.life = slot->announced;
        taken.session = slot->update->session;
        taken.version = slot->update->common->version;
        taken.code = FLM_EBIND;
        taken.text = (char *)(uintptr_t)text;
        FLM__MESSAGE(m, common_taken, COMMON_TAKEN, &taken);
        agent_tell(slot->agent, &m, NULL, 0);
        if (slot->coming)
            relay_shared_leave(slot->coming);
        slot->coming = NULL;
    }
    flm__common__free_unpacked(slot->update, NULL);
    slot->update = NULL;
}

void slot_common_ready(struct slot *slot, int fd, const char *text)
{
    if (slot->bind)
        bind_is_ready(slot, fd, text);
    else if (slot->update)
        update_is_ready(slot, fd, text);
}

static void take_common(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct relay *relay = slot->agent->relay;
    const Flm__BlobRef *ref = m->common->common;
    if (slot->state != SLOT_BOUND || m->common->session != slot->session || !ref)
        return;
    if (!relay) {
        flm__watch_send(slot->watch, m, fds, n_fds);
        slot->common_version = ref->version;
        return;
    }
    slot_drop_update(slot);
    slot->update = m->common;
    m->common = NULL;
    m->body_case = FLM__MESSAGE__BODY__NOT_SET;
    relay_common_get(relay, slot, &slot->coming, ref);
}

static void take_unbind(struct slot *slot, Flm__Message *m)
{
    if (slot->state == SLOT_BOUND) {
        slot_drop_update(slot);
        slot_set_state(slot, SLOT_UNBINDING);
        flm__watch_send(slot->watch, m, NULL, 0);
    } else if (slot->bind && slot->bind->session == m->unbind->session) {
        Flm__Unbound unbound = FLM__UNBOUND__INIT; /* it never came to entering */
        unbound.lane = slot->lane;
        unbound.life = slot->announced;
        unbound.session = m->unbind->session;
        FLM__MESSAGE(answer, unbound, UNBOUND, &unbound);
        slot_drop_bind(slot);
        slot_leave_session(slot);
        agent_tell(slot->agent, &answer, NULL, 0);
    }
}

void slot_from_manager(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_EXECUTOR_RING:
        take_ring(slot, m, fds, n_fds);
        break;
    case FLM__MESSAGE__BODY_BIND:
        take_bind(slot, m, fds, n_fds);
        break;
    case FLM__MESSAGE__BODY_UNBIND:
        take_unbind(slot, m);
        break;
    case FLM__MESSAGE__BODY_COMMON:
        take_common(slot, m, fds, n_fds);
        break;
    case FLM__MESSAGE__BODY_KILL:
        slot_end(slot, m->kill->reason, m->kill->text, m->kill->gently ? SLOT_REPLACE_MS : 0);
        break;
    case FLM__MESSAGE__BODY_GOT_OBJECT:
    case FLM__MESSAGE__BODY_RECALL:
    case FLM__MESSAGE__BODY_CANCEL:
    case FLM__MESSAGE__BODY_BLOB:
    case FLM__MESSAGE__BODY_BLOB_DONE:
        if (slot->life == slot->announced)
            flm__watch_send(slot->watch, m, fds, n_fds);
        break;
    default:
        break;
    }
}
