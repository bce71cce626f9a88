/* manager/verbs.h - what verbs.c and verbs_session.c share. Each verb sends its reply. */
#ifndef MANAGER_VERBS_H
#define MANAGER_VERBS_H

#include "manager/client.h"
#include "manager/session.h"

/* A list of message pointers under construction: one allocation for all. */
void *verbs_list(size_t n, size_t size, void ***pointers);

void verbs_no_memory(struct peer *p, uint64_t id);

/* The session of this id; NULL after the reply that there is none. */
struct session *verbs_session(struct peer *p, uint64_t id, const char *name);

/* ---- verbs_session.c ---- */

void verbs_list_sessions(struct peer *p, uint64_t id);
void verbs_get_session(struct peer *p, uint64_t id, const char *name);
void verbs_get_events(struct peer *p, uint64_t id, const Flm__EventQuery *q);
void verbs_list_tasks(struct peer *p, uint64_t id, const Flm__TaskQuery *q);
void verbs_get_task(struct peer *p, uint64_t id, const Flm__TaskQuery *q);

/* Views, for who sends them. The events with numbers above cursor (and about the task, if not 0): NULL: no
 * memory; to be freed. */
void verbs_fill_session(Flm__SessionView *v, struct session *s);
Flm__Event *verbs_collect_events(const struct events *e, uint64_t cursor, uint64_t task, void ***pointers,
                                 size_t *n);

#endif
