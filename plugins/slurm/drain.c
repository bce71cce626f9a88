/* drain.c - whether an administrator takes a node out of service. Slurm lets what runs on it run on; a job
 * of ours, which is there for whatever comes, would keep it for as long as there is work. */
#define _GNU_SOURCE
#include "slurm.h"

#include <slurm/slurm.h>
#include <stdio.h>
#include <stdlib.h>

bool drain_find(const char *nodes, char *out, size_t n)
{
    bool found = false;
    hostlist_t list = slurm_hostlist_create(nodes);
    char *name = NULL;
    while (list && !found && (name = slurm_hostlist_shift(list))) {
        node_info_msg_t *answer = NULL;
        if (slurm_load_node_single(&answer, name, SHOW_ALL) == SLURM_SUCCESS) {
            found = answer->record_count == 1 && answer->node_array[0].node_state & NODE_STATE_DRAIN;
            slurm_free_node_info_msg(answer);
        }
        if (found)
            snprintf(out, n, "%s", name);
        free(name);
    }
    if (list)
        slurm_hostlist_destroy(list);
    return found;
}
