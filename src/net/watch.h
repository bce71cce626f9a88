/* net/watch.h - a control connection on a libuv loop: calls back for each message and for the end.
 *
 * For programs with a loop (flm-node, flm-backend); libflm itself knows no loop. All calls belong to the
 * thread of the loop. Any of them may be made inside the callbacks, also flm__watch_close.
 */
#ifndef FLM_NET_WATCH_H
#define FLM_NET_WATCH_H

#include "net/conn.h"

#include <uv.h>

struct flm__watch;

/* message and fds are borrowed: what is to live on is copied; a descriptor that is kept is set to -1 in
 * fds, the others are closed afterwards. */
typedef void flm__watch_message_fn(void *arg, Flm__Message *message, int *fds, unsigned n_fds);
/* The connection is over, code says why (FLM_EDISCONNECTED, FLM_EPROTO, FLM_EFULL, ...). Called once, not
 * after flm__watch_close; the owner still closes. */
typedef void flm__watch_end_fn(void *arg, int code);

/* Owns conn from here on, also on failure (NULL: no memory). */
struct flm__watch *flm__watch_new_take(uv_loop_t *loop, struct flm__conn *conn,
                                       flm__watch_message_fn *on_message, flm__watch_end_fn *on_end,
                                       void *arg);

/* Another owner for the callbacks (a connection that has said who it is). */
void flm__watch_retarget(struct flm__watch *watch, flm__watch_message_fn *on_message,
                         flm__watch_end_fn *on_end, void *arg);

/* As flm__conn_send. A failure is also reported by on_end, later, from the loop. NULL: FLM_EDISCONNECTED.
 */
int flm__watch_send(struct flm__watch *watch, const Flm__Message *message, const int *fds, unsigned n_fds);

/* Reads and handles now what is there, as the loop would. */
void flm__watch_read(struct flm__watch *watch);

struct flm__conn *flm__watch_conn(struct flm__watch *watch);

/* Closes the connection; no callback comes any more. NULL is allowed. */
void flm__watch_close(struct flm__watch *watch);

#endif
