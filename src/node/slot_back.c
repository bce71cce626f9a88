/* slot_back.c - a slot while there is no flmd, and how the next one hears of it (rejoin.c). */
#define _GNU_SOURCE
#include "node/agent.h"
#include "node/relay.h"
#include "node/slot_inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct held_blob {
    struct held_blob *next;
    uint64_t id, size;
    int fd;
};

void slot_keep_ring(struct slot *slot, int *fds, uint32_t bytes)
{
    slot->ring_fd = fds[0];
    slot->ring_bell = fds[2];
    slot->ring_bytes = bytes;
    fds[0] = fds[2] = -1;
}

/* Without memory the result that refers to it will be missed, and its task runs again. */
void slot_hold_blob(struct slot *slot, const Flm__Blob *blob, int *fd)
{
    struct held_blob *held = calloc(1, sizeof(*held));
    if (!held)
        return;
    *held = (struct held_blob){slot->blobs, blob->id, blob->size, *fd};
    slot->blobs = held;
    *fd = -1;
}

static void drop_blobs(struct slot *slot)
{
    while (slot->blobs) {
        struct held_blob *held = slot->blobs;
        slot->blobs = held->next;
        close(held->fd);
        free(held);
    }
}

void slot_drop_kept(struct slot *slot)
{
    if (slot->ring_fd >= 0)
        close(slot->ring_fd);
    if (slot->ring_bell >= 0)
        close(slot->ring_bell);
    slot->ring_fd = slot->ring_bell = -1;
    drop_blobs(slot);
    memset(&slot->stock, 0, sizeof(slot->stock));
}

/* ---- flmd is lost ------------------------------------------------------------------------------ */

static void ask_for_stock(struct slot *slot)
{
    Flm__ManagerLost lost = FLM__MANAGER_LOST__INIT;
    lost.lane = slot->lane;
    lost.life = slot->life;
    lost.round = slot->agent->losses;
    FLM__MESSAGE(m, manager_lost, MANAGER_LOST, &lost);
    flm__watch_send(slot->watch, &m, NULL, 0);
}

void slot_manager_lost(struct slot *slot)
{
    if (slot->bind) { /* whoever comes next will have other plans */
        slot_drop_bind(slot);
        slot_leave_session(slot);
        slot->replaced = false;
    }
    slot_drop_update(slot);
    if (slot->state != SLOT_BINDING && slot->state != SLOT_BOUND)
        return;
    if (slot->serial)
        ask_for_stock(slot);
    else
        slot_end(slot, 0, NULL, SLOT_REPLACE_MS);
}

void slot_take_stock(struct slot *slot, const Flm__Stock *stock)
{
    if (stock->round != slot->agent->losses)
        return;
    slot->stock.round = stock->round;
    slot->stock.began = stock->began;
    slot->stock.task = stock->task;
}

/* ---- the next one is there --------------------------------------------------------------------- */

static int state_to_tell(const struct slot *slot)
{
    switch (slot->state) {
    case SLOT_IDLE:
        return FLM__EXECUTOR_BACK__STATE__IDLE;
    case SLOT_BINDING:
        return FLM__EXECUTOR_BACK__STATE__BINDING;
    case SLOT_BOUND:
        return FLM__EXECUTOR_BACK__STATE__BOUND;
    case SLOT_UNBINDING:
        return FLM__EXECUTOR_BACK__STATE__UNBINDING;
    default:
        return FLM__EXECUTOR_BACK__STATE__NONE;
    }
}

bool slot_survives(const struct slot *slot)
{
    return state_to_tell(slot) != FLM__EXECUTOR_BACK__STATE__NONE &&
           (slot->agent->relay || slot->ring_fd >= 0);
}

static void give_blobs(struct slot *slot)
{
    for (struct held_blob *held = slot->blobs; held; held = held->next) {
        Flm__Blob blob = FLM__BLOB__INIT;
        blob.lane = slot->lane;
        blob.life = slot->life;
        blob.id = held->id;
        blob.size = held->size;
        FLM__MESSAGE(m, blob, BLOB, &blob);
        agent_tell(slot->agent, &m, &held->fd, 1);
    }
    drop_blobs(slot);
}

void slot_tell_back(struct slot *slot)
{
    slot->announced = 0; /* the next one knows nothing yet */
    if (slot->state == SLOT_UP) {
        slot_tell_up(slot, slot->pid);
        return;
    }
    if (!slot_survives(slot))
        return;
    Flm__ExecutorBack back = FLM__EXECUTOR_BACK__INIT;
    bool asked = slot->stock.round == slot->agent->losses && slot->session;
    back.lane = slot->lane;
    back.life = slot->announced = slot->life;
    back.pid = slot->pid;
    back.cpus = slot->kind.ranks ? "" : (char *)(uintptr_t)slot->place->cpus;
    back.restarts = slot->restarts;
    back.lanes = slot->kind.lanes;
    back.n_lanes = slot->kind.n_lanes;
    back.state = state_to_tell(slot);
    back.session = slot->session;
    back.serial = slot->serial;
    back.began = asked ? slot->stock.began : slot->page->began;
    back.task = asked ? slot->stock.task : 0;
    back.round = slot->stock.round;
    if (slot->agent->relay)
        relay_lane_restart(slot->agent->relay, slot->lane, back.began);
    back.bytes = slot->ring_bytes;
    back.common_version = slot->common_version;
    FLM__MESSAGE(m, executor_back, EXECUTOR_BACK, &back);
    agent_tell(slot->agent, &m, (int[]){slot->ring_fd, slot->ring_bell}, slot->agent->relay ? 0 : 2);
    give_blobs(slot);
}
