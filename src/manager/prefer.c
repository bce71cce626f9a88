/* Which executor gets a task that names objects; see inputs.h. Tasks that name none pass here untouched. */
#include "manager/durable.h"
#include "manager/flow.h"
#include "manager/inputs.h"

enum {
    ENDED_MAX = 64,                 /* tasks that fail in one turn, for one executor */
    WORTH_BYTES = 100000,           /* what takes less to read is not worth any waiting */
    WAIT_MAX_NS = 50 * 1000 * 1000, /* of an executor that has nothing to do */
};
static const int64_t aside_max_ns = 1000000000;   /* then whoever comes gets it */
static const int64_t failed_max_ns = 10000000000; /* then also one whose node could not read an object */

/* Reading takes a nanosecond per byte, which is what a fast network does, or it is too slow to be waited
 * for. */
static int64_t wait_ns(uint64_t bytes)
{
    return bytes < WORTH_BYTES ? 0 : bytes > WAIT_MAX_NS ? WAIT_MAX_NS : (int64_t)bytes;
}

static bool is_at_hand(const struct executor *e, uint64_t nodes)
{
    return !e->node->relay || nodes & node_bit(e->node);
}

/* Nodes of the executors that the session has now; *here: some are on flmd's own. */
static uint64_t session_nodes(struct session *s, bool *here)
{
    if (s->nodes_seen_ns != s->manager->now) {
        s->nodes_seen_ns = s->manager->now;
        s->nodes = 0;
        s->here = false;
        for (unsigned i = 0; i < s->n_bound; i++) {
            const struct executor *e = s->bound[i];
            if (e->state != EXECUTOR_BOUND || e->dying || e->node->drained)
                continue;
            s->nodes |= node_bit(e->node);
            s->here |= !e->node->relay;
        }
    }
    *here = s->here;
    return s->nodes;
}

/* Its node could not read one of the objects, and there are others that can try. */
static bool must_leave(struct executor *e, uint64_t failed)
{
    bool here;
    if (!e->node->relay || !(failed & node_bit(e->node)))
        return false;
    return session_nodes(e->session, &here) & ~failed || here;
}

/* Whether it is worth leaving to others. */
static bool belongs_to_others(struct executor *e, const struct inputs *in)
{
    bool here;
    if (is_at_hand(e, in->nodes) || !wait_ns(in->bytes))
        return false;
    return session_nodes(e->session, &here) & in->nodes || here;
}

static void end(struct session *s, struct task_ref ref, const flm_error *error)
{
    outbound_end_task(s, ref,
                      &(struct ending){.state = FLM_TASK_FAILED,
                                       .reason = FLM_REASON_OBJECT,
                                       .code = error->code,
                                       .attempts = queue_record(ref)->lane,
                                       .text = error->text});
    outbound_finish_task(s, ref);
}

/* Nobody has room for more failures now. */
static bool must_pause(struct session *s, unsigned ended)
{
    return ended == ENDED_MAX || session_results_full(s) ||
           (s->durability && !durable_room(s->manager->durable, FLM__MESSAGE_MAX));
}

/* A task that was set aside for so long. */
static bool may_try(struct executor *e, const struct aside *a, int64_t aside_ns)
{
    return aside_ns > failed_max_ns || !must_leave(e, a->failed);
}

/* Objects have come to nodes, or gone from there. */
static void look_again(struct session *s)
{
    struct queue *q = &s->queue;
    struct inputs in;
    if (q->aside_seen == s->manager->objects_moved)
        return;
    q->aside_seen = s->manager->objects_moved;
    for (uint32_t i = 0; i < q->aside_n; i++) {
        bool found = inputs_find(s, q->aside[i].ref, &in);
        q->aside[i].nodes = found ? in.nodes : UINT64_MAX;
        q->aside[i].failed = found ? in.failed : 0;
    }
}

/* The oldest that was set aside for this one, or for too long. */
static bool take_aside(struct executor *e, struct task_ref *ref)
{
    struct session *s = e->session;
    struct queue *q = &s->queue;
    look_again(s);
    for (uint32_t i = 0; i < q->aside_n; i++) {
        const struct aside *a = &q->aside[i];
        int64_t aside_ns = s->manager->now - a->since_ns;
        if ((is_at_hand(e, a->nodes) || aside_ns > aside_max_ns) && may_try(e, a, aside_ns)) {
            *ref = queue_take_aside(q, i);
            return true;
        }
    }
    return false;
}

/* The same, for one that has nothing else to do. */
static bool take_waited(struct executor *e, struct task_ref *ref)
{
    struct queue *q = &e->session->queue;
    int64_t now = e->session->manager->now;
    for (uint32_t i = 0; e->n == 0 && i < q->aside_n; i++) {
        const struct aside *a = &q->aside[i];
        if (now - a->since_ns >= a->wait_ns && may_try(e, a, now - a->since_ns)) {
            *ref = queue_take_aside(q, i);
            return true;
        }
    }
    return false;
}

/* What comes of a task that names objects: it is sent, it is past (set aside, or has failed), or it has to
 * wait. */
enum choice { SEND, PAST, WAIT };

static enum choice choose(struct executor *e, struct task_ref ref, struct inputs *in, bool anybody,
                          unsigned *ended)
{
    struct session *s = e->session;
    bool found = inputs_find(s, ref, in);
    if (!found && must_pause(s, *ended)) {
        queue_push_back(&s->queue, ref);
        return WAIT;
    }
    if (!found) {
        end(s, ref, &in->error);
        ++*ended;
        return PAST;
    }
    if (anybody || (!must_leave(e, in->failed) && !belongs_to_others(e, in)))
        return SEND;
    struct aside aside = {.ref = ref,
                          .since_ns = s->manager->now,
                          .wait_ns = wait_ns(in->bytes),
                          .nodes = in->nodes,
                          .failed = in->failed};
    return queue_set_aside(&s->queue, &aside) ? PAST : SEND;
}

static bool next(struct executor *e, struct task_ref *ref, bool *anybody)
{
    struct queue *q = &e->session->queue;
    *anybody = true;
    if (q->aside_n && take_aside(e, ref))
        return true;
    *anybody = false;
    if (!queue_aside_full(q) && queue_next(q, ref))
        return true;
    *anybody = true;
    return take_waited(e, ref);
}

bool prefer_next(struct executor *e, struct task_ref *ref, struct inputs *in, unsigned *ended)
{
    bool anybody;
    while (next(e, ref, &anybody)) {
        const struct flm__record *r = queue_record(*ref);
        if (r->type != QUEUE_PENDING || !(r->flags & FLM__RECORD_OBJECTS))
            return true;
        enum choice choice = choose(e, *ref, in, anybody, ended);
        if (choice != PAST)
            return choice == SEND;
    }
    return false;
}
