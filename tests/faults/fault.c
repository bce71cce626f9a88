/* For LD_PRELOAD: a process that kills itself in the middle of a system call, as FLM_FAULT says:
 *
 *     FLM_FAULT=PROGRAM:POINT:COUNT:HOW   FLM_FAULT_DONE=FILE
 *
 * PROGRAM (its name as in /proc/PID/comm) dies in its COUNT-th call at POINT:
 *     frame      pwritev of a frame of the journal (two parts)
 *     sync       fdatasync
 *     send       sendmsg
 *     ring       write of 8 bytes: an eventfd rings
 *     wake       read of 8 bytes: an eventfd was heard
 * HOW: before the call, after it, or torn (frame, send: a part of it was written).
 * Only the first process that gets there dies: it makes FILE, and leaves "POINT HOW PID" in it. The
 * product knows nothing of this.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum point { FRAME, SYNC, SEND, RING, WAKE, POINTS };
enum how { BEFORE, AFTER, TORN };

static const char *const point_names[POINTS] = {"frame", "sync", "send", "ring", "wake"};
static const char *const how_names[] = {"before", "after", "torn"};

static enum point point = POINTS;
static enum how how;
static atomic_long count;

static int index_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return n;
}

static __attribute__((constructor)) void read_order(void)
{
    char program[64], at[16], way[16];
    long n;
    const char *order = getenv("FLM_FAULT");
    if (!order || sscanf(order, "%63[^:]:%15[^:]:%ld:%15s", program, at, &n, way) != 4 ||
        strcmp(program, program_invocation_short_name) != 0)
        return;
    how = (enum how)index_of(way, how_names, 3);
    atomic_store(&count, n);
    point = (enum point)index_of(at, point_names, POINTS);
}

/* Whether this is the call. */
static bool is_it(enum point here)
{
    return __builtin_expect(point == here, 0) && atomic_fetch_sub(&count, 1) == 1;
}

static void die(void)
{
    char text[64];
    const char *file = getenv("FLM_FAULT_DONE");
    int fd = file ? open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return; /* another was first */
    int n = snprintf(text, sizeof(text), "%s %s %d\n", point_names[point], how_names[how], (int)getpid());
    if (writev(fd, &(struct iovec){text, (size_t)n}, 1) == n)
        kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

#pragma GCC visibility push(default)

#define REAL(name)                                                                                         \
    static __typeof__(name) *real;                                                                         \
    if (!real)                                                                                             \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* What of it is written where the call is torn: some of both parts, or of the first one only. */
static void tear(const struct iovec *parts, int n, struct iovec out[2])
{
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += parts[i].iov_len;
    size_t left = all / 2 + all % 7 * (all / 16);
    for (int i = 0; i < 2; i++) {
        out[i] = i < n ? parts[i] : (struct iovec){0};
        if (out[i].iov_len > left)
            out[i].iov_len = left;
        left -= out[i].iov_len;
    }
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, __off64_t at)
{
    REAL(pwritev64);
    bool now = n == 2 && is_it(FRAME);
    if (now && how == BEFORE)
        die();
    if (now && how == TORN) {
        struct iovec some[2];
        tear(parts, n, some);
        if (real(fd, some, 2, at) > 0)
            die();
    }
    ssize_t done = real(fd, parts, n, at);
    if (now)
        die();
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
    return pwritev64(fd, parts, n, at);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    bool now = is_it(SYNC);
    if (now && how == BEFORE)
        die();
    int status = real(fd);
    if (now)
        die();
    return status;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    bool now = is_it(SEND);
    if (now && how == BEFORE)
        die();
    if (now && how == TORN && message->msg_iovlen) {
        struct iovec some[2];
        struct msghdr part = *message;
        tear(message->msg_iov, (int)message->msg_iovlen, some);
        part.msg_iov = some;
        part.msg_iovlen = 2;
        if (real(fd, &part, flags) > 0)
            die();
    }
    ssize_t done = real(fd, message, flags);
    if (now)
        die();
    return done;
}

/* write and read are alike: 8 bytes are those of an eventfd. */
#define ON_EVENTFD(call, pointer, point)                                                                   \
    ssize_t call(int fd, pointer data, size_t n)                                                           \
    {                                                                                                      \
        REAL(call);                                                                                        \
        bool now = n == 8 && is_it(point);                                                                 \
        if (now && how == BEFORE)                                                                          \
            die();                                                                                         \
        ssize_t done = real(fd, data, n);                                                                  \
        if (now)                                                                                           \
            die();                                                                                         \
        return done;                                                                                       \
    }
ON_EVENTFD(write, const void *, RING)
ON_EVENTFD(read, void *, WAKE)
