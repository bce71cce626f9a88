/* manager/backend.h - flm-backend, the helper process that hosts the plugin which obtains nodes. */
#ifndef MANAGER_BACKEND_H
#define MANAGER_BACKEND_H

#include "manager/node.h"

/* Starts the helper and asks for the first block. Before any transport is opened. */
int backend_start(struct manager *m, flm_error *error);
void backend_stop(struct manager *m); /* asks it to release everything */
void backend_free(struct manager *m);
bool backend_running(const struct manager *m);

/* The block that a node belongs to. */
void backend_node_joined(struct manager *m, struct node *n);
void backend_node_left(struct manager *m, struct node *n);

#endif
