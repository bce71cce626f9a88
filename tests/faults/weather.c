/* For LD_PRELOAD, beside fault.c: a peer whose messages come late or twice, and a clock that is set.
 *
 *     FLM_FAULT_FRAMES=ONE_IN:MS   of the control messages that a process sends, one in ONE_IN leaves up
 *                                  to MS milliseconds late, and one in ONE_IN leaves twice
 *     FLM_FAULT_CLOCK=FILE         the time of day is off by the seconds (int64, native) in FILE, which
 *                                  may change at any moment; clocks that only go on are left alone
 *
 * Messages that bring file descriptors come once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_HEADER = 16, FRAME_MAGIC = 0x324d4c46 };

static unsigned one_in;
static long most_ms;
static const _Atomic int64_t *jump_s;

static __attribute__((constructor)) void read_orders(void)
{
    const char *frames = getenv("FLM_FAULT_FRAMES"), *clock = getenv("FLM_FAULT_CLOCK");
    if (frames && sscanf(frames, "%u:%ld", &one_in, &most_ms) != 2)
        one_in = 0;
    int fd = clock ? open(clock, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED)
        jump_s = page;
    close(fd);
}

/* Of its own, for one thread each: rand is the program's. */
static unsigned draw(unsigned below)
{
    static _Thread_local uint64_t state;
    if (!state)
        state = ((uint64_t)getpid() << 32) ^ (uint64_t)(uintptr_t)&state ^ 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 33) % below);
}

/* Whether these bytes are whole control messages without descriptors. */
static bool are_frames(const struct msghdr *message)
{
    if (message->msg_iovlen != 1 || message->msg_controllen)
        return false;
    const char *at = message->msg_iov[0].iov_base;
    size_t left = message->msg_iov[0].iov_len;
    while (left >= FRAME_HEADER) {
        uint32_t head[4];
        memcpy(head, at, sizeof(head));
        if (head[0] != FRAME_MAGIC || head[2] || head[1] > left - FRAME_HEADER)
            return false;
        at += FRAME_HEADER + head[1];
        left -= FRAME_HEADER + head[1];
    }
    return left == 0;
}

#pragma GCC visibility push(default)

#define REAL(name)                                                                                         \
    static __typeof__(name) *real;                                                                         \
    if (!real)                                                                                             \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    if (!one_in || !are_frames(message))
        return real(fd, message, flags);
    if (!draw(one_in))
        poll(NULL, 0, (int)draw((unsigned)most_ms + 1));
    bool twice = !draw(one_in);
    ssize_t done = real(fd, message, flags);
    if (!twice || done != (ssize_t)message->msg_iov[0].iov_len)
        return done;
    const char *again = message->msg_iov[0].iov_base;
    for (size_t left = (size_t)done; left > 0;) {
        ssize_t n = send(fd, again, left, MSG_NOSIGNAL); /* half of it would be a torn stream */
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (n < 0 && again == message->msg_iov[0].iov_base)
            break;
        if (n < 0 && poll(&room, 1, 5000) <= 0) {
            shutdown(fd, SHUT_RDWR);
            break;
        }
        if (n > 0) {
            again += n;
            left -= (size_t)n;
        }
    }
    return done;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    REAL(clock_gettime);
    int status = real(id, t);
    if (!status && jump_s && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += (time_t)atomic_load(jump_s);
    return status;
}

time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
