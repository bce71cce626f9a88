/* From a RESULT record to the callback of its task. */
#include "libflm/handle.h"
#include "libflm/retained.h"

#include <string.h>

/* Frees the slot and tells who waits for it. */
static inline void finish(flm_client *c, uint32_t slot, const struct flm_result *result,
                          struct flm__result_blob *blob)
{
    struct flm__outstanding o = c->slots[slot];
    struct flm_result mine;
    bool placed = false;
    if (__builtin_expect(c->checked_tasks != NULL, 0))
        flm__buffers_check(c, slot);
    if (__builtin_expect(c->exposed != NULL, 0))
        flm__blob_conceal(c, slot);
    if (__builtin_expect(c->output_rooms != NULL, 0)) {
        mine = *result;
        placed = flm__output_put(c, slot, &mine);
        result = &mine;
    }
    flm__slot_free(c, slot);
    o.session->outstanding--;
    c->delivered++;
    if (__builtin_expect(!o.callback, 0)) {
        o.session->uncollected--;
        flm__results_keep(o.session, result, blob, placed);
        return;
    }
    bool before = c->in_callback;
    c->in_callback = true;
    c->result_blob = blob;
    o.callback(result, o.arg);
    c->in_callback = before;
}

void flm__deliver(flm_client *c, uint32_t slot, const struct flm_result *result,
                  struct flm__result_blob *blob)
{
    finish(c, slot, result, blob);
}

void flm__deliver_made(flm_client *c, uint32_t slot, int state, int reason, int code, const char *text)
{
    struct flm_result result = {
        .task = c->slots[slot].id,
        .state = state,
        .reason = reason,
        .code = code,
        .message = text,
    };
    finish(c, slot, &result, NULL);
}

/* Counts a RESULT; the slot that it is for, or FLM__NO_SLOT. */
static inline uint32_t receive(flm_client *c, const struct flm__record *r)
{
    uint32_t slot = flm__deliver_slot(c, r);
    if (__builtin_expect(slot == FLM__NO_SLOT, 0))
        return flm__inherited_slot(c, r);
    c->slots[slot].session->taken += !(r->flags & FLM__RECORD_UNCOUNTED);
    c->result_number = c->slots[slot].session->taken;
    return slot;
}

/* The output has become an object: what stands there is its version. */
static bool take_version(const struct flm__result_parts *parts, struct flm_result *result)
{
    if (parts->size != sizeof(result->object_version))
        return false;
    memcpy(&result->object_version, parts->output, sizeof(result->object_version));
    result->output = NULL;
    result->size = 0;
    return true;
}

/* A result that says more than success, or whose output is large. */
static int deliver_slow(flm_client *c, const struct flm__record *r, const void *payload)
{
    struct flm__result_parts parts;
    if (!flm__result_split(r, payload, &parts))
        return flm__client_lost(c, FLM_EPROTO, "a result of the session manager is malformed");

    const struct flm__outcome *o = &parts.outcome;
    bool plain = !(r->flags & FLM__RECORD_OUTCOME);
    uint32_t slot = receive(c, r);
    if (r->flags & FLM__RECORD_UNCOUNTED && slot != FLM__NO_SLOT)
        flm__retained_refused(c->slots[slot].session, r->task);
    memcpy(c->message, parts.text, o->text);
    c->message[o->text] = 0;
    struct flm_result result = {
        .task = r->task,
        .state = o->state,
        .reason = o->reason,
        .code = o->code,
        .attempts = o->attempts,
        .executor = plain ? r->lane : o->executor,
        .output = parts.size ? parts.output : NULL,
        .size = parts.size,
        .message = c->message,
    };
    if (result.state < FLM_TASK_SUCCEED || result.state > FLM_TASK_CANCELLED)
        return flm__client_lost(c, FLM_EPROTO, "a result of the session manager has no final state");
    if (parts.blob) {
        struct flm__blob_ref ref;
        memcpy(&ref, parts.output, sizeof(ref));
        return flm__blob_result(c, slot, &ref, &result, r->flags & FLM__RECORD_HELD);
    }
    if (r->flags & FLM__RECORD_OUTPUT && !take_version(&parts, &result))
        return flm__client_lost(c, FLM_EPROTO, "a result of the session manager is malformed");
    bool held =
        r->flags & FLM__RECORD_HELD && slot != FLM__NO_SLOT && flm__blob_hold_back(c, slot, &result);
    if (slot != FLM__NO_SLOT && !held)
        finish(c, slot, &result, NULL);
    return 0;
}

static int credit(flm_client *c, const struct flm__record *r, const void *payload)
{
    uint64_t bytes;
    if (r->size != sizeof(bytes))
        return flm__client_lost(c, FLM_EPROTO, "a credit of the session manager is malformed");
    memcpy(&bytes, payload, sizeof(bytes));
    flm_session *s = flm__session_by_number(c, r->session);
    if (s && bytes > s->credit)
        s->credit = bytes;
    return 0;
}

int flm__deliver_record(flm_client *c, const struct flm__record *r, const void *payload)
{
    if (__builtin_expect(r->type != FLM__RESULT, 0)) {
        if (r->type == FLM__CREDIT)
            return credit(c, r, payload);
        return flm__client_lost(c, FLM_EPROTO, "the session manager sent a record of the unknown type %u",
                                r->type);
    }
    if (__builtin_expect(r->flags != 0, 0))
        return deliver_slow(c, r, payload);

    uint32_t slot = receive(c, r);
    if (__builtin_expect(slot == FLM__NO_SLOT, 0))
        return 0;
    struct flm_result result = {
        .task = r->task,
        .state = FLM_TASK_SUCCEED,
        .executor = r->lane,
        .output = r->size ? payload : NULL,
        .size = r->size,
        .message = "",
    };
    finish(c, slot, &result, NULL);
    return 0;
}

unsigned flm__deliver_lost(flm_client *c)
{
    unsigned n = 0;
    for (flm_session *s = c->sessions; s; s = s->next) {
        if (!flm__session_is_lost(s))
            continue;
        s->lost_tasks |= s->outstanding != 0;
        flm__inherited_lost(s);
        flm__overflow_drop(s);
        flm__retained_free(s);
    }
    for (uint32_t i = 0; i < c->n_slots; i++) {
        const flm_session *s = c->slots[i].session;
        if (!s || !flm__session_is_lost(s))
            continue;
        flm__deliver_made(c, i, FLM_TASK_FAILED, FLM_REASON_DISCONNECTED, FLM_EDISCONNECTED,
                          s->lost_error.code ? s->lost_error.text : c->lost_error.text);
        n++;
    }
    return n;
}
