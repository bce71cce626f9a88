/* manager/objects.h - objects: named data with versions (<flm/object.h>). The newest version of each is in
 * a memfd here; whoever gets it maps that, or reads it by RMA. */
#ifndef MANAGER_OBJECTS_H
#define MANAGER_OBJECTS_H

#include "manager/executor.h"

void objects_init(struct manager *m);

/* An ObjectRequest of a client. Takes the message, and takes or closes the descriptors. */
void objects_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds);

/* All of them, for people; and how many bytes of them there may be. */
void objects_list(struct peer *p, uint64_t id);
uint64_t objects_limit(const struct manager *m);

/* An executor asks for one. */
void objects_get(struct executor *e, const Flm__GetObject *get);

/* A node does not keep one any more, or is gone. */
void objects_node_drops(struct node *n, const Flm__ObjectGone *gone);
void objects_node_gone(struct manager *m, const struct node *n);

/* The client is gone. */
void objects_gone(struct peer *p);

void objects_free(struct manager *m);

#endif
