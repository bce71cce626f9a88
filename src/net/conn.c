/* Reading: bytes collect in `in` until a whole frame is there; descriptors collect in a queue of their
 * own, since a frame says how many it brought. Writing: whole frames wait in `out`; the descriptors of a
 * waiting frame are duplicates in a queue that says at which byte they leave. */
#define _GNU_SOURCE
#include "net/conn.h"

#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, FDS_WAITING_MAX = 4096 };

struct bytes {
    char *data;
    size_t start, end, room; /* what is there: data[start .. end) */
};

struct waiting_fds {
    uint64_t at; /* they leave with this byte of the stream */
    int fds[FLM__FRAME_FDS];
    unsigned n;
};

struct flm__conn {
    int fd;
    bool is_unix, eof;
    bool lost_fds; /* descriptors came and there was no room for them: the stream is spoilt */
    struct bytes in, out;
    int in_fds[FDS_WAITING_MAX];
    unsigned in_fds_start, in_fds_n;
    struct waiting_fds *out_fds;
    unsigned out_fds_start, out_fds_n, out_fds_room;
    uint64_t sent, queued; /* bytes of the stream */
    uint32_t sent_frames, taken_frames;
};

void flm__close_fds(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

/* Room for n more bytes behind what is there. */
static int bytes_room(struct bytes *b, size_t n, size_t max)
{
    if (b->room - b->end >= n)
        return 0;
    size_t there = b->end - b->start;
    if (there + n > max)
        return FLM_EFULL;
    if (b->start) {
        memmove(b->data, b->data + b->start, there);
        b->start = 0;
        b->end = there;
        if (b->room - b->end >= n)
            return 0;
    }
    size_t room = b->room ? b->room : 4096;
    while (room < there + n)
        room *= 2;
    char *data = realloc(b->data, room);
    if (!data)
        return FLM_ENOMEM;
    b->data = data;
    b->room = room;
    return 0;
}

struct flm__conn *flm__conn_new(int fd)
{
    struct flm__conn *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->fd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    c->is_unix = getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.ss_family == AF_UNIX;
    return c;
}

struct flm__conn *flm__conn_new_take(int fd)
{
    struct flm__conn *c = flm__conn_new(fd);
    if (!c)
        close(fd);
    return c;
}

void flm__conn_free(struct flm__conn *c)
{
    if (!c)
        return;
    close(c->fd);
    flm__close_fds(c->in_fds + c->in_fds_start, c->in_fds_n);
    for (unsigned i = 0; i < c->out_fds_n; i++)
        flm__close_fds(c->out_fds[c->out_fds_start + i].fds, c->out_fds[c->out_fds_start + i].n);
    free(c->out_fds);
    free(c->in.data);
    free(c->out.data);
    free(c);
}

struct flm__conn *flm__conn_move(struct flm__conn *c)
{
    struct flm__conn *moved = malloc(sizeof(*moved));
    int old = c->fd, fd = moved ? fcntl(old, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd < 0) {
        free(moved);
        return NULL;
    }
    *moved = *c;
    moved->fd = fd;
    *c = (struct flm__conn){.fd = old, .eof = true};
    return moved;
}

int flm__conn_fd(const struct flm__conn *c)
{
    return c->fd;
}

bool flm__conn_is_unix(const struct flm__conn *c)
{
    return c->is_unix;
}

bool flm__conn_pending(const struct flm__conn *c)
{
    return c->out.end > c->out.start;
}

/* Keeps duplicates of fds until the byte they belong to leaves. */
static int keep_fds(struct flm__conn *c, const int *fds, unsigned n)
{
    if (c->out_fds_start && c->out_fds_start + c->out_fds_n == c->out_fds_room) {
        memmove(c->out_fds, c->out_fds + c->out_fds_start, c->out_fds_n * sizeof(*c->out_fds));
        c->out_fds_start = 0;
    }
    if (c->out_fds_start + c->out_fds_n == c->out_fds_room) {
        if (c->out_fds_n >= FDS_WAITING_MAX)
            return FLM_EFULL;
        unsigned room = c->out_fds_room ? 2 * c->out_fds_room : 8;
        struct waiting_fds *more = realloc(c->out_fds, room * sizeof(*more));
        if (!more)
            return FLM_ENOMEM;
        c->out_fds = more;
        c->out_fds_room = room;
    }
    struct waiting_fds *w = &c->out_fds[c->out_fds_start + c->out_fds_n];
    w->at = c->queued;
    for (w->n = 0; w->n < n; w->n++) {
        w->fds[w->n] = fcntl(fds[w->n], F_DUPFD_CLOEXEC, 3);
        if (w->fds[w->n] < 0) {
            flm__close_fds(w->fds, w->n);
            return FLM_ENOMEM;
        }
    }
    c->out_fds_n++;
    return 0;
}

int flm__conn_send(struct flm__conn *c, const Flm__Message *message, const int *fds, unsigned n_fds)
{
    size_t size = flm__message__get_packed_size(message);
    if (size > FLM__FRAME_MAX || n_fds > FLM__FRAME_FDS)
        return FLM_ETOOBIG;
    if (n_fds && !c->is_unix)
        return FLM_ENOTSUP;
    int rc = bytes_room(&c->out, FLM__FRAME_HEADER + size, FLM__CONN_OUT_MAX);
    if (rc == 0 && n_fds)
        rc = keep_fds(c, fds, n_fds);
    if (rc < 0)
        return rc;
    struct flm__frame header = {FLM__FRAME_MAGIC, (uint32_t)size, n_fds, ++c->sent_frames};
    memcpy(c->out.data + c->out.end, &header, sizeof(header));
    flm__message__pack(message, (uint8_t *)c->out.data + c->out.end + FLM__FRAME_HEADER);
    c->out.end += FLM__FRAME_HEADER + size;
    c->queued += FLM__FRAME_HEADER + size;
    return flm__conn_flush(c);
}

void flm__conn_last_words(int fd, int code, const char *text)
{
    uint8_t frame[FLM__FRAME_HEADER + 512];
    Flm__Refused r = FLM__REFUSED__INIT;
    r.code = code;
    r.text = (char *)(uintptr_t)text;
    FLM__MESSAGE(m, refused, REFUSED, &r);
    size_t size = flm__message__get_packed_size(&m);
    if (size > sizeof(frame) - FLM__FRAME_HEADER)
        return;
    struct flm__frame header = {FLM__FRAME_MAGIC, (uint32_t)size, 0, 1};
    memcpy(frame, &header, sizeof(header));
    flm__message__pack(&m, frame + FLM__FRAME_HEADER);
    ssize_t n = send(fd, frame, FLM__FRAME_HEADER + size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
}

/* Room for the descriptors of one call. CMSG_SPACE rounds up, so one more may come than a frame has. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FLM__FRAME_FDS)];
};

/* One sendmsg: up to the byte with which the next descriptors leave, or from there with them. */
static ssize_t send_some(struct flm__conn *c)
{
    struct iovec iov = {c->out.data + c->out.start, c->out.end - c->out.start};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    struct waiting_fds *w = c->out_fds_n ? &c->out_fds[c->out_fds_start] : NULL;
    if (w && w->at == c->sent) {
        memset(&control, 0, sizeof(control));
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * w->n);
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int) * w->n);
        memcpy(CMSG_DATA(h), w->fds, sizeof(int) * w->n);
        if (c->out_fds_n > 1 && w[1].at - c->sent < iov.iov_len)
            iov.iov_len = (size_t)(w[1].at - c->sent);
    } else if (w && w->at - c->sent < iov.iov_len) {
        iov.iov_len = (size_t)(w->at - c->sent);
        w = NULL;
    } else {
        w = NULL;
    }
    ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0 && w) {
        flm__close_fds(w->fds, w->n);
        c->out_fds_start++;
        c->out_fds_n--;
    }
    return n;
}

int flm__conn_flush(struct flm__conn *c)
{
    while (flm__conn_pending(c)) {
        ssize_t n = send_some(c);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS))
            return 0;
        if (n < 0)
            return FLM_EDISCONNECTED;
        c->out.start += (size_t)n;
        c->sent += (uint64_t)n;
    }
    c->out.start = c->out.end = 0;
    if (c->out_fds_n == 0)
        c->out_fds_start = 0;
    return 0;
}

/* Takes the descriptors of one recvmsg; what does not fit is closed. FLM_EFULL: some were lost. */
static int take_fds(struct flm__conn *c, struct msghdr *m)
{
    int rc = m->msg_flags & MSG_CTRUNC ? FLM_EFULL : 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        int fds[sizeof(union control) / sizeof(int)];
        unsigned n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(h), n * sizeof(int));
        if (c->in_fds_start) {
            memmove(c->in_fds, c->in_fds + c->in_fds_start, c->in_fds_n * sizeof(int));
            c->in_fds_start = 0;
        }
        if (c->in_fds_n + n > FDS_WAITING_MAX) {
            flm__close_fds(fds, n);
            rc = FLM_EFULL;
            continue;
        }
        memcpy(c->in_fds + c->in_fds_n, fds, n * sizeof(int));
        c->in_fds_n += n;
    }
    return rc;
}

int flm__conn_fill(struct flm__conn *c)
{
    while (!c->eof) {
        /* A whole frame is bounded, so is what is read ahead of it. */
        int rc = bytes_room(&c->in, READ_BYTES, 2 * (size_t)FLM__FRAME_MAX + READ_BYTES);
        if (rc < 0)
            return rc == FLM_EFULL ? 0 : rc;
        struct iovec iov = {c->in.data + c->in.end, c->in.room - c->in.end};
        union control control;
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0) {
            c->eof = true;
            break;
        }
        c->in.end += (size_t)n;
        if (take_fds(c, &m) < 0) {
            c->eof = true;
            c->lost_fds = true;
            break;
        }
        if ((size_t)n < iov.iov_len && m.msg_controllen == 0)
            return 0;
    }
    return c->lost_fds ? FLM_EFULL : FLM_EDISCONNECTED;
}

/* A whole frame that is there: 1 with its header, 0, or an error. */
static int whole_frame(const struct flm__conn *c, struct flm__frame *header)
{
    size_t there = c->in.end - c->in.start;
    if (there < FLM__FRAME_HEADER)
        return 0;
    memcpy(header, c->in.data + c->in.start, sizeof(*header));
    int rc = flm__frame_check(header);
    if (rc < 0)
        return rc;
    return there >= FLM__FRAME_HEADER + (size_t)header->bytes;
}

static void leave_frame(struct flm__conn *c, const struct flm__frame *header)
{
    c->in.start += FLM__FRAME_HEADER + (size_t)header->bytes;
    if (c->in.start == c->in.end)
        c->in.start = c->in.end = 0;
}

int flm__conn_take(struct flm__conn *c, Flm__Message **message, int *fds, unsigned *n_fds)
{
    struct flm__frame header;
    int rc;
    *n_fds = 0;
    while ((rc = whole_frame(c, &header)) > 0 && (int32_t)(header.number - c->taken_frames) <= 0) {
        if (header.fds)
            return FLM_EPROTO; /* did they come again, too? */
        leave_frame(c, &header);
    }
    if (rc <= 0)
        return rc;
    if (header.number != c->taken_frames + 1 || header.fds > c->in_fds_n)
        return FLM_EPROTO;
    *message = flm__message_read(c->in.data + c->in.start + FLM__FRAME_HEADER, header.bytes);
    if (!*message)
        return FLM_EPROTO;
    memcpy(fds, c->in_fds + c->in_fds_start, header.fds * sizeof(int));
    c->in_fds_start += header.fds;
    c->in_fds_n -= header.fds;
    *n_fds = header.fds;
    c->taken_frames = header.number;
    leave_frame(c, &header);
    return 1;
}

/* Waits for what poll says of the socket; also sends what waits. */
static int wait_socket(struct flm__conn *c, short events, int64_t deadline_ns)
{
    int timeout = -1;
    if (deadline_ns >= 0) {
        int64_t left = deadline_ns - flm__now_ns();
        if (left <= 0)
            return FLM_ETIMEDOUT;
        timeout = (int)(left / 1000000) + 1;
    }
    struct pollfd p = {c->fd, (short)(events | (flm__conn_pending(c) ? POLLOUT : 0)), 0};
    if (poll(&p, 1, timeout) < 0 && errno != EINTR)
        return FLM_EDISCONNECTED;
    return flm__conn_flush(c);
}

int flm__conn_wait_message(struct flm__conn *c, int64_t deadline_ns, Flm__Message **message, int *fds,
                           unsigned *n_fds)
{
    for (;;) {
        int rc = flm__conn_take(c, message, fds, n_fds);
        if (rc != 0)
            return rc;
        int lost = flm__conn_fill(c);
        rc = flm__conn_take(c, message, fds, n_fds);
        if (rc != 0)
            return rc;
        if (lost < 0)
            return lost;
        rc = wait_socket(c, POLLIN, deadline_ns);
        if (rc == FLM_EDISCONNECTED) {
            /* It may have said why before it went. */
            flm__conn_fill(c);
            int got = flm__conn_take(c, message, fds, n_fds);
            return got > 0 ? got : rc;
        }
        if (rc < 0)
            return rc;
    }
}

int flm__conn_wait_sent(struct flm__conn *c, int64_t deadline_ns)
{
    int rc = flm__conn_flush(c);
    while (rc == 0 && flm__conn_pending(c))
        rc = wait_socket(c, 0, deadline_ns);
    return rc;
}
