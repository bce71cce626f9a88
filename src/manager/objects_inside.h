/* manager/objects_inside.h - what objects.c and object_patch.c share. */
#ifndef MANAGER_OBJECTS_INSIDE_H
#define MANAGER_OBJECTS_INSIDE_H

#include "base/hash.h"
#include "manager/objects.h"

struct object {
    char name[FLM_MAX_NAME + 1];
    uint64_t version;
    struct blob *blob;
    UT_hash_handle hh;
};

/* If it has this version (0: any); NULL: error says what is wrong. */
struct object *object_find(struct manager *m, const char *name, uint64_t version, flm_error *error);
/* A new version; takes the blob. */
void object_set(struct manager *m, struct object *o, struct blob *blob);
/* Answers a request with it. */
void object_reply(struct peer *p, uint64_t id, const struct object *o, Flm__BlobRef *data);

/* Answers a PATCH, now or when a copy has been made; takes the data. */
void object_patch(struct peer *p, const Flm__Request *r, struct blob *data);

#endif
