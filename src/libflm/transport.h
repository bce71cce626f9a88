/* libflm/transport.h - the data plane of a client, as the manager offered it. */
#ifndef FLM_LIBFLM_TRANSPORT_H
#define FLM_LIBFLM_TRANSPORT_H

#include "libflm/handle.h"

/* A ring: fds are memfd, the manager's bell, ours. They stay the caller's. */
int flm__transport_ring(flm_client *c, const Flm__Ready *ready, const int *fds, flm_error *error);

/* A fabric: opens it and tells the manager our address. */
int flm__transport_fabric(flm_client *c, const Flm__Ready *ready, int64_t deadline, flm_error *error);

/* Closes data plane and control connection, whatever there is of them. */
void flm__transport_close(flm_client *c);

/* A number that is the same for one life of this process. */
uint64_t flm__transport_incarnation(void);

#endif
