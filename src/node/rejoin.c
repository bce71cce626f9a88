/* rejoin.c - flmd is lost: what becomes of the slots, and the way to the next one.
 *
 * Executors that are in a durable session take stock (executor/stock.h), the others end as they would with
 * us. All of them, and the ring that each had with flmd, are then offered to the session manager that is
 * started with the same state directory; it takes them or has them end.
 */
#include "base/time.h"
#include "node/agent.h"
#include "node/relay.h"

enum { STOCK_MS = 2000 }; /* for an executor to answer */

static void on_rejoining(uv_timer_t *timer);

void rejoin_begin(struct agent *agent, const char *why)
{
    if (agent->stopping || agent->lost_ns)
        return;
    if (!agent->rejoin.ms || agent->finish_ns) {
        agent_stop(agent, 1, "%s", why);
        return;
    }
    agent_say(agent, "%s; waiting %u s for the next session manager", why, agent->rejoin.ms / 1000);
    agent->lost_ns = flm__now_ns();
    agent->losses++;
    flm__watch_close(agent->manager);
    agent->manager = NULL;
    if (agent->relay)
        relay_disconnect(agent->relay);
    for (unsigned i = 0; i < agent->n_slots; i++)
        slot_manager_lost(&agent->slots[i]);
    uv_timer_start(&agent->rejoining, on_rejoining, FLM__REJOIN_EVERY_MS / 4, FLM__REJOIN_EVERY_MS);
}

/* Whether all executors have said what they do; one that does not in time is no survivor. */
static bool have_stock(struct agent *agent)
{
    bool all = true;
    for (unsigned i = 0; i < agent->n_slots; i++) {
        struct slot *slot = &agent->slots[i];
        bool asked = slot->serial && (slot->state == SLOT_BOUND || slot->state == SLOT_BINDING);
        if (!asked || slot->stock.round == agent->losses)
            continue;
        all = false;
        if (flm__now_ns() - agent->lost_ns > STOCK_MS * 1000000LL)
            slot_fail(slot, "it did not answer when the session manager was lost");
    }
    return all;
}

static void tell_all(struct agent *agent)
{
    Flm__NodeBack back = FLM__NODE_BACK__INIT;
    FLM__MESSAGE(m, node_back, NODE_BACK, &back);
    for (unsigned i = 0; i < agent->n_slots; i++)
        slot_tell_back(&agent->slots[i]);
    agent_tell(agent, &m, NULL, 0);
    flm__watch_read(agent->manager);
}

static void on_rejoining(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    flm_error error = {0, ""};
    if (!have_stock(agent))
        return;
    int rc = manager_reconnect(agent, &error);
    if (rc == 0) {
        uv_timer_stop(timer);
        agent->lost_ns = 0;
        tell_all(agent);
    } else if (rc == FLM_ECLOSED) {
        agent_stop(agent, 1, "the next session manager does not take this node: %s", error.text);
    } else if (flm__now_ns() - agent->lost_ns > agent->rejoin.ms * 1000000LL) {
        agent_stop(agent, 1, "no session manager has come back: %s", error.text);
    }
}
