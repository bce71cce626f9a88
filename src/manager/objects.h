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

/* object_output.c: the output of a task becomes a version of an object, in two steps: between them nothing
 * else is done, and the first can be undone. */
struct object_output {
    struct object *object;
    struct blob *blob;
    uint64_t version;
    bool is_new; /* the object */
};
/* data: those of a small one; blob: a large one, which stays the caller's until object_output_keep.
 * FLM_EAGAIN: there is no room yet; another error: it cannot. */
int object_output_begin(struct executor *e, const struct flm__object_ref *becomes, const void *data,
                        uint32_t size, struct blob *blob, struct object_output *out, flm_error *error);
void object_output_keep(struct executor *e, struct object_output *out);
/* blob: as it was given. */
void object_output_undo(struct manager *m, struct object_output *out, const struct blob *blob);

/* The client is gone. */
void objects_gone(struct peer *p);
void object_waits_gone(struct peer *p);

void objects_free(struct manager *m);

#endif
