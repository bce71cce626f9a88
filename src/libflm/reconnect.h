/* libflm/reconnect.h - a client survives its session manager.
 *
 * When the connection is lost, flm__client_lost notes it. If the client has sessions that a session manager
 * takes up again (`resume`), the next progress departs: what had come is delivered, other sessions are told
 * that they are lost, and the client is `away` - its link takes nothing, as a full one does. Then it is
 * tried again and again to connect and to resume the sessions: what the manager has not recorded is sent
 * again (retained.h), and results that come a second time are known by their numbers (inherited.c). When
 * the time is over, the client is lost as any other.
 *
 * All of it happens in progress, with the lock held; only departing and delivering run callbacks.
 */
#ifndef FLM_LIBFLM_RECONNECT_H
#define FLM_LIBFLM_RECONNECT_H

#include "libflm/handle.h"

/* What is needed to connect again; `endpoints` and options are copied. NULL: no memory. */
struct flm__reconnect *flm__reconnect_new(const char *endpoints, const struct flm_connect_options *o);
void flm__reconnect_free(struct flm__reconnect *r);

/* Leaves a lost session manager behind. may_call: callbacks may run; else only if none has to. False: it is
 * lost for good, or callbacks have to run. *n: what was done. */
bool flm__reconnect_depart(flm_client *c, bool may_call, unsigned *n);
/* While away: the next attempt, if it is time. Returns whether something came of it. */
unsigned flm__reconnect_try(flm_client *c);
/* When that will be, ns. */
int64_t flm__reconnect_next(const flm_client *c);

/* Waits until the client is not away (mode and timeout as of flm__request): 0 or an error. */
int flm__reconnect_await(flm_client *c, enum flm__request_mode mode, int timeout_ms, flm_error *error);

/* Callbacks of the tasks of sessions that were lost alone; returns how many. */
unsigned flm__reconnect_tell(flm_client *c);

#endif
