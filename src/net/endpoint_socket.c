/* Dialling and listening: the socket part of net/conn.h. */
#define _GNU_SOURCE
#include "base/error.h"
#include "base/time.h"
#include "net/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A peer that is powered off sends no FIN: give it up after this. */
enum { TCP_SILENCE_MS = 10000 };

static int unix_address(const char *path, struct sockaddr_un *address, flm_error *error)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(address->sun_path))
        return flm__error_set(error, FLM_EINVAL,
                              "the socket path %s is longer than %zu bytes; choose a shorter "
                              "directory",
                              path, sizeof(address->sun_path) - 1);
    memcpy(address->sun_path, path, strlen(path));
    return 0;
}

/* Splits HOST:PORT, also [::1]:PORT. */
static int tcp_resolve(const char *text, bool passive, struct addrinfo **out, flm_error *error)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (!colon || n >= sizeof(host) || !colon[1])
        return flm__error_set(error, FLM_EINVAL, "'tcp:%s' is no endpoint: it reads tcp:HOST:PORT", text);
    memcpy(host, text, n);
    host[n] = 0;
    char *name = host;
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    int rc = getaddrinfo(*name && strcmp(name, "*") ? name : NULL, colon + 1, &hints, out);
    if (rc != 0)
        return flm__error_set(error, FLM_ECONNECT, "tcp:%s: %s", text, gai_strerror(rc));
    return 0;
}

static void tcp_options(int fd)
{
    int one = 1, idle = 2, interval = 2, count = 3;
    unsigned silence = TCP_SILENCE_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof(silence));
}

/* connect(2), waiting until the deadline. 0 or an errno value. */
static int connect_within(int fd, const struct sockaddr *address, socklen_t size, int64_t deadline_ns)
{
    if (connect(fd, address, size) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    for (;;) {
        int64_t left = deadline_ns < 0 ? 1000 * 1000000LL : deadline_ns - flm__now_ns();
        if (left <= 0)
            return ETIMEDOUT;
        struct pollfd p = {fd, POLLOUT, 0};
        int n = poll(&p, 1, (int)(left / 1000000) + 1);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            int e = 0;
            socklen_t e_size = sizeof(e);
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &e_size);
            return e;
        }
    }
}

static int dial_unix(const char *endpoint, int64_t deadline_ns, flm_error *error)
{
    struct sockaddr_un address;
    int rc = unix_address(endpoint + 5, &address, error);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return flm__error_errno(error, FLM_ECONNECT, errno, "%s", endpoint);
    int e = connect_within(fd, (struct sockaddr *)&address, sizeof(address), deadline_ns);
    if (e == 0)
        return fd;
    close(fd);
    return flm__error_errno(error, FLM_ECONNECT, e, "no session manager answers at %s", endpoint);
}

static int dial_tcp(const char *endpoint, int64_t deadline_ns, flm_error *error)
{
    struct addrinfo *list, *a;
    int rc = tcp_resolve(endpoint + 4, false, &list, error);
    if (rc < 0)
        return rc;
    int fd = -1, e = ECONNREFUSED;
    for (a = list; a; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            continue;
        e = connect_within(fd, a->ai_addr, a->ai_addrlen, deadline_ns);
        if (e == 0)
            break;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0)
        return flm__error_errno(error, FLM_ECONNECT, e, "no session manager answers at %s", endpoint);
    tcp_options(fd);
    return fd;
}

int flm__dial(const char *endpoint, int64_t deadline_ns, flm_error *error)
{
    if (strncmp(endpoint, "unix:", 5) == 0)
        return dial_unix(endpoint, deadline_ns, error);
    if (strncmp(endpoint, "tcp:", 4) == 0)
        return dial_tcp(endpoint, deadline_ns, error);
    return flm__error_set(error, FLM_EINVAL, "'%s' is no endpoint: it reads unix:PATH or tcp:HOST:PORT",
                          endpoint);
}

int flm__dial_any(const char *endpoints, int64_t deadline_ns, flm_error *error)
{
    char *list = strdup(endpoints), *rest = NULL;
    if (!list)
        return flm__error_set(error, FLM_ENOMEM, "no memory");
    int fd = flm__error_set(error, FLM_EINVAL, "'%s' names no endpoint", endpoints);
    for (char *one = strtok_r(list, ",", &rest); one && fd < 0; one = strtok_r(NULL, ",", &rest))
        fd = flm__dial(one, deadline_ns, error);
    free(list);
    return fd;
}

/* A session manager that was killed while it started a helper has left a copy of its socket with that, for
 * a moment: what counts is whether the process lives that listens. */
static bool somebody_listens(const char *endpoint)
{
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    int fd = dial_unix(endpoint, flm__now_ns() + 1000000000, NULL);
    if (fd < 0)
        return false;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.pid > 0;
    close(fd);
    return !known || kill(who.pid, 0) == 0 || errno != ESRCH;
}

static int listen_unix(const char *endpoint, char *bound, size_t n, flm_error *error)
{
    struct sockaddr_un address;
    int rc = unix_address(endpoint + 5, &address, error);
    if (rc < 0)
        return rc;
    struct stat st;
    if (lstat(address.sun_path, &st) == 0) {
        if (somebody_listens(endpoint))
            return flm__error_set(error, FLM_EBUSY, "a session manager is already running at %s", endpoint);
        if (!S_ISSOCK(st.st_mode))
            return flm__error_set(error, FLM_EBUSY, "%s exists and is not a socket", address.sun_path);
        unlink(address.sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return flm__error_errno(error, FLM_EIO, errno, "%s", endpoint);
    mode_t old = umask(0177);
    rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    int e = errno;
    umask(old);
    if (rc < 0 || listen(fd, 512) < 0) {
        e = rc < 0 ? e : errno;
        close(fd);
        if (rc == 0)
            unlink(address.sun_path);
        return flm__error_errno(error, FLM_EIO, e, "cannot listen at %s", endpoint);
    }
    snprintf(bound, n, "%s", endpoint);
    return fd;
}

static int listen_tcp(const char *endpoint, char *bound, size_t n, flm_error *error)
{
    struct addrinfo *list;
    int rc = tcp_resolve(endpoint + 4, true, &list, error);
    if (rc < 0)
        return rc;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, 512) < 0) {
        int e = errno;
        freeaddrinfo(list);
        if (fd >= 0)
            close(fd);
        return flm__error_errno(error, FLM_EIO, e, "cannot listen at %s", endpoint);
    }
    freeaddrinfo(list);
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char port[16] = "";
    getsockname(fd, (struct sockaddr *)&address, &size);
    getnameinfo((struct sockaddr *)&address, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
    const char *colon = strrchr(endpoint, ':');
    snprintf(bound, n, "%.*s:%s", (int)(colon - endpoint), endpoint, port);
    return fd;
}

/* A socket that whoever started us has made; his descriptor is not for those that we start. */
static int listen_given(const char *endpoint, char *bound, size_t n, flm_error *error)
{
    char *end, port[16] = "";
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address), one = sizeof(int);
    int listens = 0, fd = (int)strtol(endpoint + 3, &end, 10);
    if (end == endpoint + 3 || *end || fd < 3)
        return flm__error_set(error, FLM_EINVAL, "'%s' is no endpoint: it reads fd:NUMBER, 3 or more",
                              endpoint);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &one) < 0 || !listens ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
        (address.ss_family != AF_INET && address.ss_family != AF_INET6))
        return flm__error_set(error, FLM_EINVAL, "%s: descriptor %d is not a TCP socket that listens",
                              endpoint, fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    getnameinfo((struct sockaddr *)&address, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
    snprintf(bound, n, "tcp:*:%s", port);
    return fd;
}

int flm__listen(const char *endpoint, char *bound, size_t n, flm_error *error)
{
    if (strncmp(endpoint, "unix:", 5) == 0)
        return listen_unix(endpoint, bound, n, error);
    if (strncmp(endpoint, "tcp:", 4) == 0)
        return listen_tcp(endpoint, bound, n, error);
    if (strncmp(endpoint, "fd:", 3) == 0)
        return listen_given(endpoint, bound, n, error);
    return flm__error_set(error, FLM_EINVAL, "'%s' is no endpoint: it reads unix:PATH or tcp:HOST:PORT",
                          endpoint);
}
