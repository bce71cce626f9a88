/* manager/objects_inside.h - what objects.c and object_*.c share. */
#ifndef MANAGER_OBJECTS_INSIDE_H
#define MANAGER_OBJECTS_INSIDE_H

#include "base/hash.h"
#include "manager/object_spill.h"
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
    uint64_t size;
    struct blob *blob; /* NULL: it is in a file alone */
    struct object_spilled spill;
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
/* Its memory goes: those on this node that look at it let it go. */
void object_nodes_let_go(struct manager *m, struct object *o);

/* Makes one, which has no version yet; NULL: no memory, or there are too many. */
struct object *object_new(struct manager *m, const char *name, flm_error *error);
/* Whether its next version (NULL: the first one), of so many bytes, has room. FLM_EAGAIN: not yet. */
int object_check_room(const struct manager *m, const struct object *o, uint64_t size, flm_error *error);
/* Bytes more that it takes, which may be none. */
uint64_t object_more(const struct object *o, uint64_t size);
/* Deletes it. */
void object_drop(struct manager *m, struct object *o);
/* A new version; takes the blob. */
void object_set(struct manager *m, struct object *o, struct blob *blob);
/* Answers a request with it. */
void object_reply(struct peer *p, uint64_t id, const struct object *o, Flm__BlobRef *data);

/* What a client asks for. */
struct object_request {
    uint64_t id;
    Flm__ObjectRequest__Kind kind;
    const char *name;
    uint64_t version;
};
/* Answers a PUT or an UPDATE, or a GET, now or when there is room, or when it has been read; takes the
 * data. */
void object_change(struct peer *p, const struct object_request *q, struct blob *data);
void object_give(struct peer *p, const struct object_request *q);

/* Answers an executor. failed: with that; NULL: with the object, now or when it has been read. */
void object_show(struct executor *e, const Flm__GetObject *get, const flm_error *failed);

/* object_wait.c: those that have to wait; then the same is called again. An error: it cannot. */
int object_wait_room(struct peer *p, const struct object_request *q, struct blob *data, uint64_t more,
                     flm_error *error);
int object_wait_read(struct peer *p, const struct object_request *q, struct object *o, flm_error *error);
int object_wait_show(struct executor *e, const Flm__GetObject *get, struct object *o, flm_error *error);

/* Answers a PATCH, now or when a copy has been made; takes the data. */
void object_patch(struct peer *p, const Flm__Request *r, struct blob *data);

#endif
