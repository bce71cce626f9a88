/* node/slot_inside.h - what slot.c shares with slot_messages.c. */
#ifndef FLM_NODE_SLOT_INSIDE_H
#define FLM_NODE_SLOT_INSIDE_H

#include "node/slot.h"

/* Says so when the edge is not in slot.dot. */
void slot_set_state(struct slot *slot, enum slot_state to);

void slot_leave_session(struct slot *slot);
void slot_drop_update(struct slot *slot); /* newer common data that are on their way */
void slot_drop_bind(struct slot *slot);
void slot_tell_bind_failed(struct slot *slot, const char *text);
void slot_tell_up(struct slot *slot, int32_t pid);

/* Ends the process so that another kind can take the lane; flmd is told of the new one only. */
void slot_replace(struct slot *slot);

/* slot_back.c: keeps what the next flmd will need: of the ring with this one (takes two descriptors), and
 * of a large output while there is none. */
void slot_keep_ring(struct slot *slot, int *fds, uint32_t bytes);
void slot_hold_blob(struct slot *slot, const Flm__Blob *blob, int *fd);
void slot_take_stock(struct slot *slot, const Flm__Stock *stock);
void slot_drop_kept(struct slot *slot);

enum { SLOT_REPLACE_MS = 2000 }; /* between SIGTERM and SIGKILL of a process that makes room */

/* It has closed its connection, so it is about to end by itself; how, its status will tell. */
void slot_closed(struct slot *slot);

#endif
