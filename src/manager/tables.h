/* manager/tables.h - what operators query with SQL: sessions, applications and events, in
 * STATE-DIR/flame.sqlite (doc/tables.md). A process of its own (flm-tables) writes them; once per heartbeat
 * it is sent what has changed, as far as its socket takes it. Nothing depends on them. */
#ifndef MANAGER_TABLES_H
#define MANAGER_TABLES_H

#include "manager/manager.h"

/* With --state-dir, where flm-tables is installed. */
void tables_start(struct manager *m);

/* Once per heartbeat: sends what is new. */
void tables_look(struct manager *m);

/* Sends the last of it, and waits a little until it is written. */
void tables_stop(struct manager *m);

#endif
