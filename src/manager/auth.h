/* manager/auth.h - who is at the other end of a TCP connection: the server's side of net/handshake.h.
 *
 * munged is asked, and the secret made, on libuv's threads: the loop does not wait for them.
 */
#ifndef MANAGER_AUTH_H
#define MANAGER_AUTH_H

#include "manager/peer.h"

/* What is needed to listen at a TCP port: munge, or a secret. */
int auth_prepare(struct manager *m, flm_error *error);

/* The peer has said hello: proves ourselves to it, at once or later, or refuses it. */
void auth_challenge(struct peer *p);

/* Its proof has come: peer_welcome, at once or later, or it is refused. */
void auth_answer(struct peer *p, const Flm__Proof *proof);

/* The peer is freed: what is still under way for it comes to nothing. */
void auth_forget(struct peer *p);

#endif
