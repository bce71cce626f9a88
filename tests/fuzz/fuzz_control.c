/* Whatever a stranger writes to a control socket: read as the daemons read it. */
#include "net/conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    if (size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return 0;
    struct flm__conn *conn = flm__conn_new_take(ends[0]);
    ssize_t written = conn ? write(ends[1], data, size) : 0;
    close(ends[1]);
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    Flm__Message *message;
    while (conn && written >= 0 && flm__conn_wait_message(conn, -1, &message, fds, &n_fds) > 0) {
        /* What was understood can be said again. */
        uint8_t *again = malloc(flm__message__get_packed_size(message));
        if (again)
            flm__message__pack(message, again);
        free(again);
        flm__message__free_unpacked(message, NULL);
        flm__close_fds(fds, n_fds);
    }
    flm__conn_free(conn);
    return 0;
}
