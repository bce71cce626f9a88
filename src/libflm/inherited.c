/* Sessions that outlive their clients: the results of tasks that an earlier client submitted come to the
 * present one, and whoever has had a result says so, lest it come again to the next client. */
#include "libflm/handle.h"
#include "libflm/retained.h"

void flm__inherit(flm_session *s, const Flm__Reply *reply, flm_task_fn *callback, void *arg)
{
    s->owed = reply->owed;
    s->inherited = reply->task;
    s->outstanding += s->owed;
    s->uncollected += callback ? 0 : s->owed;
    s->on_inherited = callback;
    s->on_inherited_arg = arg;
    s->taken = s->acknowledged = s->released = reply->taken;
    s->acknowledges = reply->acknowledge;
    s->client->n_acknowledging += s->acknowledges;
    s->recorded = s->dropped_task = reply->task;
    s->outlives = reply->outlives;
    s->is_durable = reply->resume != 0;
    s->resume = s->client->reconnect ? reply->resume : 0;
    s->special |= s->resume ? FLM__SPECIAL_RETAINS : 0;
}

void flm__inherited_lost(flm_session *s)
{
    s->outstanding -= s->owed;
    s->uncollected -= s->on_inherited ? 0 : s->owed;
    s->owed = 0;
}

/* The slot that such a task has got already. */
static uint32_t slot_of(flm_session *s, uint64_t task)
{
    const flm_client *c = s->client;
    for (uint32_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].session == s && c->slots[i].id == task && task <= s->inherited) {
            s->reads_lost--;
            return i;
        }
    return FLM__NO_SLOT;
}

uint32_t flm__inherited_slot(flm_client *c, const struct flm__record *r)
{
    flm_session *s = flm__session_by_number(c, r->session);
    if (s)
        c->result_number = s->taken += !(r->flags & FLM__RECORD_UNCOUNTED);
    if (s && s->taken <= s->seen)
        return s->reads_lost ? slot_of(s, r->task) : FLM__NO_SLOT; /* it has come before */
    if (!s || !s->owed || r->task > s->inherited)
        return FLM__NO_SLOT; /* nobody waits for it, or not any more */
    uint32_t slot = flm__slot_take(c);
    if (slot == FLM__NO_SLOT) {
        flm__client_lost(c, FLM_ENOMEM, "no memory for the results of session %s", s->id);
        return slot;
    }
    c->slots[slot] = (struct flm__outstanding){
        .id = r->task, .callback = s->on_inherited, .arg = s->on_inherited_arg, .session = s};
    s->owed--;
    return slot;
}

/* After a reconnect they come again, and the session manager takes no word about what it has not sent. */
static uint64_t come(const flm_session *s, uint64_t results)
{
    return results < s->taken ? results : s->taken;
}

uint64_t flm__done_with(const flm_session *s)
{
    const flm_client *c = s->client;
    if (c->silent)
        return come(s, s->done_before_silence);
    if (s->flags & FLM_KEEP_RESULTS && !s->given_up)
        return come(s, s->released);
    if (c->reads || c->reads_done) /* these come out of order */
        return s->acknowledged;
    /* After a reconnect results come again that are held already. */
    bool holds = s->first_held && !s->given_up && s->first_held <= s->taken;
    return holds ? s->first_held - 1 : s->taken;
}

void flm__acknowledge(flm_client *c)
{
    if (c->lost || c->away)
        return;
    for (flm_session *s = c->sessions; s; s = s->next) {
        if (s->retained_first)
            flm__retained_trim(s);
        uint64_t done = flm__done_with(s);
        struct flm__record *to;
        if (!s->acknowledges || done <= s->acknowledged)
            continue;
        to = flm__link_reserve(c->link, FLM__RECORD_HEADER);
        if (!to)
            return; /* next time */
        *to = (struct flm__record){.type = FLM__ACK, .session = s->number, .task = done};
        flm__link_commit(c->link, FLM__RECORD_HEADER);
        s->acknowledged = done;
        c->unflushed = true;
    }
}
