/* relay_common.c - common data of sessions: which of the data that this node shares (relay_shared.c) a slot
 * waits for, or has as long as its session lasts. */
#include "node/relay_inside.h"

#include <stdio.h>

void relay_common_get(struct relay *relay, struct slot *slot, struct shared **at, const Flm__BlobRef *ref)
{
    struct shared *s = *at = relay_shared_get(relay, ref);
    if (!s) /* flmd will hear that we do not know it when it says where to read */
        slot_common_ready(slot, -1, "no memory for common data");
    else if (s->ready)
        slot_common_ready(slot, s->pull->room.fd, "");
}

void relay_common_arrived(struct shared *s)
{
    struct agent *agent = s->relay->agent;
    char why[240];
    snprintf(why, sizeof(why), "the common data %s", s->why);
    for (unsigned i = 0; i < agent->n_slots; i++) {
        struct slot *slot = &agent->slots[i];
        if ((slot->common == s && slot->bind) || slot->coming == s)
            slot_common_ready(slot, s->ready ? s->pull->room.fd : -1, why);
    }
}
