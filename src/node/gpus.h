/* node/gpus.h - each slot's share of the GPUs that this node's processes were given.
 *
 * Slurm and others say which in CUDA_VISIBLE_DEVICES and its like; a slot gets a contiguous part of that
 * list, or, where there are fewer devices than slots, one that it shares with others.
 */
#ifndef FLM_NODE_GPUS_H
#define FLM_NODE_GPUS_H

#include <stdbool.h>
#include <stddef.h>

/* The variables of this kind, NULL-terminated. */
extern const char *const gpus_variables[];

/* Writes the share of slot `lane` of `slots` in the list (elements between commas, of any form) to out[n].
 * false: the list is empty, says that there are none, or the share is too long. */
bool gpus_share(const char *list, unsigned lane, unsigned slots, char *out, size_t n);

#endif
