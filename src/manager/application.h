/* manager/application.h - registered descriptions of services. Counted: a session keeps the description
 * with which it was created, also when the name is registered again. */
#ifndef MANAGER_APPLICATION_H
#define MANAGER_APPLICATION_H

#include "manager/manager.h"

/* A client that registered a temporary application. */
struct application_keeper {
    struct application_keeper *next;
    const struct peer *peer;
};

struct application {
    char *name;
    Flm__Message *owner;           /* the request that it came with */
    Flm__Application *description; /* points into owner */
    unsigned refs, open_sessions;
    bool registered;
    bool told;                          /* of tables.c */
    struct application_keeper *keepers; /* temporary: goes with the last of them */
    UT_hash_handle hh;
};

/* Registers for p; takes owner on success. */
int application_register(struct peer *p, Flm__Message *owner, Flm__Application *description, bool replace,
                         flm_error *error);
/* p is gone, and with it the temporary applications that nobody else keeps. */
void application_forget_peer(struct manager *m, const struct peer *p);
/* One of the journal: the one that is registered, if it is the same, or a copy of d. The caller gets a
 * reference. NULL: no memory. */
struct application *application_restore(struct manager *m, Flm__Application *d, bool registered);
void application_forget(struct manager *m, const char *name);
int application_unregister(struct manager *m, const char *name, flm_error *error);
struct application *application_find(struct manager *m, const char *name);
struct application *application_hold(struct application *a);
void application_release(struct application *a);
void application_free_all(struct manager *m);

/* Letters, digits and . _ - : @ +, 1 to FLM_MAX_NAME of them. */
bool application_name_is_sound(const char *name);

#endif
