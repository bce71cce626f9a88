/* manager/group.h - the slots of a world of MPI ranks.
 *
 * Each executor of a session with ranks_per_task = k takes k slots of one node: its own, in which its world
 * is started, and k - 1 that are lent to it. A lent slot keeps its process, which sleeps; nobody gets it
 * until the executor leaves the session.
 *
 * All k are taken at once or none is, by the scheduler alone: no group is ever partial, and no two sessions
 * wait for each other's halves. A session that is due a group and finds none free claims the k slots of the
 * node where that costs others the least: their sessions leave them, and nobody else is given them. A claim
 * lasts for one run of the scheduler and is made anew in the next, so whatever happens to a node or to the
 * session nothing stays claimed.
 */
#ifndef MANAGER_GROUP_H
#define MANAGER_GROUP_H

#include "manager/executor.h"

/* Slots that each executor of the session takes. */
static inline unsigned group_width(const struct session *s)
{
    return s->ranks > 1 ? s->ranks : 1;
}

/* Slots that this executor takes. */
static inline unsigned group_slots(const struct executor *e)
{
    return e->session ? group_width(e->session) : 1;
}

/* 0; an error: no node has, or will have, so many slots. */
int group_possible(const struct manager *m, unsigned ranks, flm_error *error);
/* With the heartbeat: sessions that turn out to be impossible say so, and fail unless they are durable. */
void group_look(struct manager *m);

/* An executor that can be bound to the session, with the slots beside it that its world needs; NULL: none.
 */
struct executor *group_find(struct manager *m, const struct session *s);

/* Lends to an executor that enters the session what its world needs: as group_find has found it, or, of one
 * that comes from an earlier session manager, these lanes, the first of which is its own. */
void group_take(struct executor *leader, const struct session *s);
void group_take_again(struct executor *leader, const uint32_t *lanes, size_t n);
/* It leaves the session. */
void group_release(struct executor *leader);
/* The lanes of a world's ranks, its own first. Room for group_width. */
void group_lanes(const struct executor *leader, uint32_t *lanes);

/* What the scheduler can deal out in this run: slots, and what of them is together on each node. */
unsigned group_count(struct manager *m);
/* Takes the slots of one executor of the session out of what is left; false: there are not so many. */
bool group_deal(struct manager *m, const struct session *s, unsigned *slots);

void group_claim(struct manager *m, struct session *s);
void group_forget_claims(struct manager *m);

#endif
