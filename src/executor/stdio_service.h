/* executor/stdio_service.h - the process of a service of shim stdio, and the exchange with it.
 *
 * Requests and replies are pumped at the same time, so that a service may answer before it has read all.
 */
#ifndef FLM_EXECUTOR_STDIO_SERVICE_H
#define FLM_EXECUTOR_STDIO_SERVICE_H

#include "executor/process.h"
#include "executor/shim_stdio.h"

#include <limits.h>
#include <sys/uio.h>

enum { FLM__STDIO_TEXT_MAX = 64 * 1024 }; /* of a failure */

struct flm__stdio {
    struct flm__shim shim;
    struct flm__watch watch;
    struct flm__process process;
    int in, out; /* our ends of the service's stdin and stdout; -1: it does not run */
    const struct flm__shim_app *app;
    const struct flm_session_info *info;
    struct flm__environment environment;
    int common_fd, own_common_fd;
    size_t limit; /* of one output */
    char path[PATH_MAX];
};

/* Starts the service and waits until it is ready. */
int flm__stdio_start(struct flm__stdio *x, flm_error *error);

/* Ends the service, politely at first, and returns its status. */
int flm__stdio_stop(struct flm__stdio *x, int why);

/* The end of a service that closed its output: mostly it is ending, and its own status tells why. */
int flm__stdio_stop_ending(struct flm__stdio *x);

void flm__stdio_close_pipes(struct flm__stdio *x);

/* How an exchange with the service ended. */
enum { FLM__STDIO_DONE = 0, FLM__STDIO_DIED, FLM__STDIO_STOPPED /* it is being ended: see watch.why */ };

/* What is still to be sent. */
struct flm__stdio_sending {
    struct iovec part[3];
    int at, n;
};

struct flm__stdio_reply {
    uint32_t size; /* of what follows */
    uint64_t task;
    int32_t code;
};

/* Sends and reads the fixed part of the reply. */
int flm__stdio_ask(struct flm__stdio *x, struct flm__stdio_sending *s, struct flm__stdio_reply *r);

/* Reads exactly size bytes while s is being sent; to NULL: goes on until s is
 * sent. FLM__STDIO_DONE, FLM__STDIO_DIED, FLM__STDIO_STOPPED. */
int flm__stdio_exchange(struct flm__stdio *x, struct flm__stdio_sending *s, void *to, size_t size);

/* Reads the text of a failure, at most room - 1 bytes of it. */
int flm__stdio_read_text(struct flm__stdio *x, struct flm__stdio_sending *s, uint32_t size, char *text,
                         size_t room);

#endif
