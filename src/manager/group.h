/* manager/group.h - the slots of a world of MPI ranks.
 *
 * Each executor of a session with ranks_per_task = k takes k slots of one place: its own, in which its
 * world is started, and k - 1 that are lent to it. A place is a node; or, for a session that wants its
 * ranks spread or has more of them than any node has slots, all nodes of a block, where the backend starts
 * worlds so (manager/backend.h). Ranks then fill the nodes one after the other, that of rank 0 first, or
 * are dealt to them in turn. When a node of such a world is lost the world is ended, and its task is not
 * charged. A lent slot keeps its process, which sleeps; nobody gets it until the executor leaves the
 * session.
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

/* 0; an error: no place has, or will have, so many slots; or they are to be spread and cannot be. */
int group_possible(const struct manager *m, unsigned ranks, bool spread, flm_error *error);
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
/* An executor's node is lost: the world that it was part of ends. */
void group_tear(struct executor *e, const char *text);

/* Where the ranks of a world are, as Bind tells it. Owned. */
struct group_places {
    uint32_t *lanes; /* on the leader's node, its own first */
    size_t n_lanes, room;
    char *nodes, *cpus; /* "": all are on that node */
};
int group_places_init(struct group_places *p, const struct session *s); /* FLM_ENOMEM */
void group_places_free(struct group_places *p);
void group_tell(const struct executor *leader, struct group_places *p);

/* What the scheduler can deal out in this run: slots, and what of them is together on each node. */
unsigned group_count(struct manager *m);
/* Takes the slots of one executor of the session out of what is left; false: there are not so many. */
bool group_deal(struct manager *m, const struct session *s, unsigned *slots);

void group_claim(struct manager *m, struct session *s);
void group_forget_claims(struct manager *m);

#endif
