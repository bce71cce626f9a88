/* manager/inputs.h - objects that the inputs of tasks name (FLM__RECORD_OBJECTS): whether they are there
 * when a task is to be sent, and who is best sent it.
 *
 * An executor whose node has none of them leaves the task to those of its session whose nodes have (the
 * most bytes of) them: it is set aside, and the executor goes on with the next. It takes it all the same
 * when it has nothing else to do and has waited for as long as reading what it lacks would take, or when
 * the task has been set aside for long (prefer.c). flmd's own node has all of them. A node that could not
 * read one of them does not take it, for ten seconds, as long as the session has executors
 * elsewhere.
 */
#ifndef MANAGER_INPUTS_H
#define MANAGER_INPUTS_H

#include "manager/executor.h"

/* What was found of the objects of a task. */
struct inputs {
    struct object *objects[FLM__OBJECTS];
    uint32_t at[FLM__OBJECTS]; /* where the payload names them */
    unsigned n;
    uint64_t nodes;  /* node_bit of those that have the most bytes of them */
    uint64_t bytes;  /* so many; where no node has any: of all of them */
    uint64_t failed; /* node_bit of those that could not read some */
    flm_error error; /* code 0: all are there */
};

/* Looks. False: the task cannot be sent, in->error says why. */
bool inputs_find(const struct session *s, struct task_ref ref, struct inputs *in);

/* The task goes to this executor, in the same turn: `to` is its record there, still to be committed. */
void inputs_stamp(struct executor *e, const struct inputs *in, struct flm__record *to);

/* It comes back from there without having begun. */
void inputs_unstamp(struct executor *e, struct task_ref ref);

/* prefer.c: the next task to send to the executor; false: none now. in is filled where it names objects.
 * Tasks whose objects are not there have failed; *ended counts them. */
bool prefer_next(struct executor *e, struct task_ref *ref, struct inputs *in, unsigned *ended);

#endif
