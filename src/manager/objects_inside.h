/* manager/objects_inside.h - what objects.c and object_*.c share. */
#ifndef MANAGER_OBJECTS_INSIDE_H
#define MANAGER_OBJECTS_INSIDE_H

#include "base/hash.h"
#include "manager/objects.h"

/* A node that has the newest version in its memory (or is about to), or was sent a task that will ask for
 * it, or could not read it; or that has the version before, of which that one is a patch. */
struct object_node {
    struct node *node;
    bool has, asks, failed, older;
};

struct object {
    char name[FLM_MAX_NAME + 1];
    uint64_t version;
    struct blob *blob;
    struct object_node *nodes;
    unsigned n_nodes, nodes_room;
    UT_hash_handle hh;
};

/* If it has this version (0: any); NULL: error says what is wrong. */
struct object *object_find(struct manager *m, const char *name, uint64_t version, flm_error *error);
/* object_nodes.c: such a node; it will not ask for it, unless it has; as node_bit, those
 * that have it or will; the version is past, they are told so. */
void object_node_add(struct manager *m, struct object *o, struct node *n, bool has);
void object_node_unless(struct manager *m, struct object *o, const struct node *n);
uint64_t object_nodes_set(const struct object *o);
/* The same of those that could not read it. */
uint64_t object_nodes_failed(const struct object *o);
void object_nodes_clear(struct manager *m, struct object *o, bool patched);

/* Makes one, which has no version yet; NULL: no memory, or there are too many. */
struct object *object_new(struct manager *m, const char *name, flm_error *error);
/* Whether `more` bytes may come in place of `less`. */
int object_check_room(const struct manager *m, uint64_t more, uint64_t less, flm_error *error);
/* Deletes it. */
void object_drop(struct manager *m, struct object *o);
/* A new version; takes the blob. */
void object_set(struct manager *m, struct object *o, struct blob *blob);
/* Answers a request with it. */
void object_reply(struct peer *p, uint64_t id, const struct object *o, Flm__BlobRef *data);

/* Answers a PATCH, now or when a copy has been made; takes the data. */
void object_patch(struct peer *p, const Flm__Request *r, struct blob *data);

#endif
