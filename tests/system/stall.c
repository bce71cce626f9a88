/* For LD_PRELOAD: as long as the file $FLM_STALL is there nothing large leaves over a socket, as if its
 * line were full; what is small does. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LARGE = 1 << 16 };

static bool stalls(size_t bytes)
{
    const char *file = getenv("FLM_STALL");
    if (bytes < LARGE || !file || access(file, F_OK) < 0)
        return false;
    errno = EAGAIN;
    return true;
}

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t bytes = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        bytes += message->msg_iov[i].iov_len;
    return stalls(bytes) ? -1 : syscall(SYS_sendmsg, fd, message, flags);
}

__attribute__((visibility("default"))) ssize_t send(int fd, const void *data, size_t bytes, int flags)
{
    return stalls(bytes) ? -1 : syscall(SYS_sendto, fd, data, bytes, flags, NULL, 0);
}
