/* net/conn.h - one control connection: framed messages, with file descriptors on Unix sockets.
 *
 * Never blocks: bytes that the socket does not take wait in a bounded buffer. It knows no event loop:
 * the owner watches fd for reading, and for writing while flm__conn_pending(); the flm__conn_wait_*
 * calls are for programs without a loop. One thread owns a connection, except where the owner locks.
 */
#ifndef FLM_NET_CONN_H
#define FLM_NET_CONN_H

#include "wire/frame.h"

#include <flm/error.h>
#include <stdbool.h>

struct flm__conn;

enum { FLM__CONN_OUT_MAX = 64 << 20 }; /* a peer that does not read for so long is given up */

/* Makes the socket non-blocking and close-on-exec; it belongs to the connection then. NULL: no memory, and
 * the socket is still the caller's. */
struct flm__conn *flm__conn_new(int fd);
/* The same, but the socket is closed also when there is no memory. */
struct flm__conn *flm__conn_new_take(int fd);
void flm__conn_free(struct flm__conn *conn); /* closes; NULL is allowed */
/* The same connection on another descriptor, for another owner; all that is left of conn is to be freed.
 * NULL: no memory, or no descriptor. */
struct flm__conn *flm__conn_move(struct flm__conn *conn);
int flm__conn_fd(const struct flm__conn *conn);
bool flm__conn_is_unix(const struct flm__conn *conn);

/* Queues a message and sends what the socket takes. fds are borrowed (duplicated where they must
 * wait). 0, FLM_EDISCONNECTED, FLM_ETOOBIG, FLM_EFULL, FLM_ENOMEM. */
int flm__conn_send(struct flm__conn *conn, const Flm__Message *message, const int *fds, unsigned n_fds);

/* Tells a stranger, on a socket that nothing else was sent on, why it is refused: without any memory, as
 * far as the socket takes it. fd stays open. */
void flm__conn_last_words(int fd, int code, const char *text);

/* Sends what waits. 0 (also when some is left) or FLM_EDISCONNECTED. */
int flm__conn_flush(struct flm__conn *conn);
bool flm__conn_pending(const struct flm__conn *conn); /* something waits to be sent */

/* Reads from the socket what is there. 0, FLM_EDISCONNECTED, FLM_ENOMEM (nothing is lost, try again later),
 * or FLM_EFULL: descriptors were lost because this process has no room for more, so the connection is of
 * no use any more. (Messages read before can still be taken.) */
int flm__conn_fill(struct flm__conn *conn);

/* Takes one message out of what was read: 1, 0 (none whole), FLM_EPROTO, FLM_ETOOBIG. fds has room for
 * FLM__FRAME_FDS; the caller owns message and descriptors. */
int flm__conn_take(struct flm__conn *conn, Flm__Message **message, int *fds, unsigned *n_fds);

/* The two above, waiting at most until `deadline_ns` (flm__now_ns; -1: for ever): 1, FLM_ETIMEDOUT,
 * FLM_EDISCONNECTED, FLM_EPROTO. Also sends what waits. */
int flm__conn_wait_message(struct flm__conn *conn, int64_t deadline_ns, Flm__Message **message, int *fds,
                           unsigned *n_fds);
/* Waits until all is sent. */
int flm__conn_wait_sent(struct flm__conn *conn, int64_t deadline_ns);

/* Connects to "unix:PATH" or "tcp:HOST:PORT", waiting at most until deadline_ns. A socket or
 * FLM_ECONNECT, FLM_EINVAL with the error filled. */
int flm__dial(const char *endpoint, int64_t deadline_ns, flm_error *error);

/* The same for the first of a list, separated by commas, that answers; the error is that of the last. */
int flm__dial_any(const char *endpoints, int64_t deadline_ns, flm_error *error);

/* Listens there; *bound gets the endpoint with the real port (size n). Unix: mode 0600, an old dead
 * socket is replaced, a living one is FLM_EBUSY. */
int flm__listen(const char *endpoint, char *bound, size_t n, flm_error *error);

/* Closes all of fds. */
void flm__close_fds(const int *fds, unsigned n);

#endif
