/* failed_start.c - slots in which no executor can be started, and nodes that have no others. The agent goes
 * on trying, at long intervals. A private instance without any executor and without the prospect of one
 * fails its sessions and ends; a shared one says so to whoever looks, and waits.
 */
#include "manager/executor.h"
#include "manager/say.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { HOPELESS_MS = 1000 }; /* for clients to take what failed, before a private instance ends */

const char *node_trouble(const struct node *n)
{
    for (unsigned i = 0; i < n->n_slots; i++)
        if (!n->lanes[i]->trouble)
            return NULL;
    return n->n_slots ? n->lanes[0]->trouble : NULL;
}

void executor_forget_trouble(struct executor *e)
{
    free(e->trouble);
    e->trouble = NULL;
}

static bool any_hope(const struct manager *m)
{
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    if (!node_trouble(n))
        return true;
    return false;
}

static void on_hopeless(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    m->exit_status = 1;
    manager_stop(m, "no executor can be started");
}

static void give_up(struct manager *m, const char *text)
{
    struct session *s, *next;
    HASH_ITER(hh, m->sessions, s, next)
    {
        if (s->state == SESSION_CLOSED)
            continue;
        events_add(&s->events, FLM_EBIND, 0, -1, "no executor can be started: %s", text);
        if (m->options.private_instance && !s->durability)
            session_fail(s, "no executor can be started", text);
    }
    if (!m->options.private_instance || m->stopping)
        return;
    m->hopeless = true;
    uv_timer_start(&m->hopeless_timer, on_hopeless, HOPELESS_MS, 0);
}

void executor_failed(struct executor *e, const Flm__ExecutorFailed *failed)
{
    struct manager *m = e->node->peer->manager;
    const struct node *n = e->node;
    if (e->state != EXECUTOR_VOID || e->trouble)
        return;
    e->trouble = strndup(failed->text, EVENT_TEXT - 1);
    events_add(&e->events, FLM_EBIND, 0, (int)e->id, "%u starts in a row failed: %s", failed->failures,
               failed->text);
    if (!e->trouble)
        return;
    if (!node_trouble(n)) {
        say_limited(
            &m->losses, m->now,
            "executor %u of node %s could not be started %u times in a row; it is tried again every "
            "%u s: %s",
            e->id, n->name, failed->failures, failed->retry_s, failed->text);
        return;
    }
    if (m->options.private_instance)
        say("no executor of node %s can be started: %s", n->name, failed->text);
    else
        say("no executor of node %s can be started; tried again every %u s, and by 'flmctl undrain %s': %s",
            n->name, failed->retry_s, n->name, failed->text);
    if (!any_hope(m))
        give_up(m, failed->text);
}
