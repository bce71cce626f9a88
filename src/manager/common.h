/* manager/common.h - common data of sessions, and their newer versions (doc/protocol.md, "Common data").
 *
 * A session has one version, the newest. Each of its executors has that, or was told of it: then it is sent
 * no task before it has answered. So a task that came after the update sees it. An older version is kept
 * where it is on its way: by the descriptor that goes along, and for nodes that relay as spread.h tells.
 *
 * In a durable session a version is shown to nobody before it is durable, and its client is answered then.
 * So what an executor has that outlives flmd is what the journal calls by that number.
 */
#ifndef MANAGER_COMMON_H
#define MANAGER_COMMON_H

#include "manager/executor.h"

/* Common data that come with a request: as a descriptor, or to be read from the client's memory, at once or
 * later. then gets them to own; where they cannot be had the request is answered with that. Takes the
 * message, and takes or closes the descriptors. */
typedef void common_received_fn(struct peer *p, const Flm__Request *r, struct blob *common);
void common_receive(struct peer *p, Flm__Message *m, const Flm__BlobRef *ref, int *fds, unsigned n_fds,
                    common_received_fn *then);
/* The client is gone. */
void common_gone(struct peer *p);

/* An UpdateCommon. Takes the message, and takes or closes the descriptors. */
void common_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds);

/* common_patch.c: the same for one that changes a part, or that comes behind such ones. Takes the data. The
 * client is gone. */
void common_patch(struct peer *p, const Flm__Request *r, struct blob *data);
void common_patches_gone(struct peer *p);
/* Gives the session that the peer is attached to a version, and answers the request. Takes the data. */
void common_set(struct peer *p, uint64_t request, uint32_t session, uint64_t version, struct blob *common);

/* The newest version that was recorded, or is about to be; NULL: none. */
struct blob *common_newest(const struct session *s, uint64_t *version);
/* Something has become durable. */
void common_recorded(struct session *s);
/* Answers those that wait for that: nothing comes of it for them. */
void common_refuse(struct session *s, int code, const char *why);
/* The session is no more. */
void common_forget(struct session *s);

/* What Bind or Common says of the newest version, and the descriptor that goes along (-1: none). Once that
 * message is sent, common_shown. */
int common_show(struct executor *e, Flm__BlobRef *ref);
void common_shown(struct executor *e);

/* Tells an executor that has entered the session of newer ones, if there are. */
void common_tell(struct executor *e);

#endif
