/* node/relay.h - moves records between flmd and the executors of a node on which flmd is not, or when it
 * is told to: one fabric link to flmd, a ring to each executor.
 *
 * Order: tasks of a lane reach its executor in the order in which flmd sent them, results flmd in the order
 * in which the executor sent them. A large payload on its way holds back the records of its lane only.
 * Bounds: flmd has at most half a ring of unanswered records per lane, so what waits here for a lane is at
 * most that; results wait in the executor's ring.
 */
#ifndef FLM_NODE_RELAY_H
#define FLM_NODE_RELAY_H

#include "wire/frame.h"

#include <flm/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;
struct slot;
struct relay;
struct shared;

/* Opens the provider that flmd named and connects; the address that flmd must be told is stored in
 * address (*size in and out). fd: the connection to flmd. */
int relay_open(struct agent *agent, int fd, const Flm__Ready *ready, void *address, size_t *size,
               struct relay **out, flm_error *error);
/* flmd is lost: nothing moves until there is another. Rings, and what is in them for flmd, stay. */
void relay_disconnect(struct relay *relay);
/* As relay_open. */
int relay_reconnect(struct relay *relay, int fd, const Flm__Ready *ready, void *address, size_t *size,
                    flm_error *error);
/* The executor has taken stock: it has begun so many tasks, and is sent others from here on. */
void relay_lane_restart(struct relay *relay, unsigned lane, uint64_t began);

/* Closes all; the memory is for relay_free, once the loop has let go of its handles. NULL is allowed. */
void relay_close(struct relay *relay);
void relay_free(struct relay *relay);

/* A ring for a new life: fds[0] memory and fds[2] the executor's bell are the caller's to close, fds[1]
 * (our bell) is not. */
int relay_lane_open(struct relay *relay, unsigned lane, uint32_t life, int fds[3], uint32_t *bytes,
                    flm_error *error);
void relay_lane_close(struct relay *relay, unsigned lane); /* nothing when it is not open */

/* The executor is dead: moves on what it had sent. true: nothing is left; else slot_drained is called
 * later. */
bool relay_lane_drain(struct relay *relay, unsigned lane);
uint64_t relay_lane_relayed(const struct relay *relay, unsigned lane); /* results of this life */

/* The executor has given these tasks back, from + 1 .. upto: what of them is still here needs no payload.
 */
void relay_lane_returned(struct relay *relay, unsigned lane, uint64_t from, uint64_t upto);

/* Number of the task that the executor is to get next, and whose input is being read; 0: there is none. */
uint64_t relay_lane_reads(const struct relay *relay, unsigned lane);

/* Outputs are here that somebody may be reading. */
bool relay_lends(const struct relay *relay);

/* One turn: moves what can be moved; true if anything was. */
bool relay_turn(struct relay *relay);
/* Every now and then: asks flmd whether it has what was sent. stood_still: we have not run for long, so
 * that nobody is to blame for having been silent. */
void relay_tick(struct relay *relay, int64_t now_ns, bool stood_still);
/* Each turn costs system calls. */
bool relay_asks_kernel(const struct relay *relay);
/* About to sleep in the loop. false: there is work, do not. */
bool relay_arm(struct relay *relay);
void relay_disarm(struct relay *relay);

/* An executor announces a large output; takes fd. */
void relay_blob_from_executor(struct relay *relay, unsigned lane, const Flm__Blob *blob, int fd);
/* A client whose inputs flmd may refer to, or that is gone. */
void relay_fabric_peer(struct relay *relay, const Flm__FabricPeer *peer);

/* flmd has read a large output, and may keep it as an object. */
void relay_blob_done(struct relay *relay, const Flm__BlobDone *done);

/* relay_shared.c: one of those that have it (NULL is not one) needs it no more. */
void relay_shared_leave(struct shared *shared);
/* Nobody has a use for this reference (NULL: there is none). */
void relay_shared_decline(struct relay *relay, const Flm__BlobRef *ref);
/* flmd says where it is to be read, and that nobody reads it here any more. */
void relay_shared_source(struct relay *relay, const Flm__SharedSource *source);
void relay_shared_free(struct relay *relay, uint64_t id);

/* relay_common.c: one version of a session's common data. Stores it in *at, a field of the slot (NULL: it
 * cannot be had), and then calls slot_common_ready, now or later. */
void relay_common_get(struct relay *relay, struct slot *slot, struct shared **at, const Flm__BlobRef *ref);

/* relay_objects.c: an executor asks for an object; flmd answers, perhaps a slot (NULL: none) that does not
 * wait for it any more; the executor is gone. */
void relay_object_ask(struct relay *relay, struct slot *slot, const Flm__GetObject *get);
void relay_object_got(struct relay *relay, struct slot *slot, const Flm__GotObject *got);
/* A task has used it again. */
void relay_object_used(struct relay *relay, const char *name);
/* flmd says that versions up to this one are past. */
void relay_object_gone(struct relay *relay, const Flm__ObjectGone *gone);
void relay_objects_lose(struct relay *relay, struct slot *slot); /* NULL: all; flmd is gone */

#endif
