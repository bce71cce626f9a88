/* manager/loop.h - the loop of flmd, and what listens to it. */
#ifndef MANAGER_LOOP_H
#define MANAGER_LOOP_H

#include "manager/manager.h"

/* Runs until manager->stop. */
void loop_run(struct manager *m);

/* Listens at an endpoint; what was bound is added to manager->endpoints. */
int listener_open(struct manager *m, const char *endpoint, flm_error *error);
void listener_close_all(struct manager *m);
/* After the loop has closed their handles. */
void listener_free_all(struct manager *m);

#endif
