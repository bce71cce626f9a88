/* attach.c - how executors come in: a Unix socket in a directory of ours alone. Who connects must be of
 * our user, and must know the token that only the process of that lane and life was given. */
#define _GNU_SOURCE
#include "base/endpoint.h"
#include "base/error.h"
#include "base/time.h"
#include "node/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HELLO_MS = 10000, STRANGERS_MAX = 64, DIRECTORY_TRIES = 10 };

/* Connected, and has not said who it is. */
struct stranger {
    struct stranger *next;
    struct attach *attach;
    struct flm__watch *watch;
    int32_t pid;
    int64_t since_ns;
};

struct attach {
    struct agent *agent;
    int fd;
    uv_poll_t poll;
    struct stranger *strangers;
    unsigned n_strangers;
};

/* Takes it out of the list; the watch stays. */
static void forget(struct stranger *s)
{
    for (struct stranger **p = &s->attach->strangers; *p; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            s->attach->n_strangers--;
            break;
        }
    }
    free(s);
}

static void turn_away(struct stranger *s)
{
    flm__watch_close(s->watch);
    forget(s);
}

static void refuse(struct stranger *s, int code, const char *text)
{
    Flm__Refused refused = FLM__REFUSED__INIT;
    refused.code = code;
    refused.text = (char *)(uintptr_t)text;
    FLM__MESSAGE(m, refused, REFUSED, &refused);
    flm__watch_send(s->watch, &m, NULL, 0);
    if (!s->attach->agent->stopping)
        agent_say(s->attach->agent, "process %d was refused: %s", s->pid, text);
    turn_away(s);
}

/* The lane that it belongs to; NULL: it is none of ours. */
static struct slot *find_slot(struct agent *agent, const Flm__Slot *claim)
{
    if (!claim || claim->lane >= agent->n_slots)
        return NULL;
    struct slot *slot = &agent->slots[claim->lane];
    bool fits = slot->state == SLOT_STARTING && slot->token == claim->token && slot->life == claim->life;
    return fits ? slot : NULL;
}

static void on_hello(void *arg, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct stranger *s = arg;
    const Flm__Hello *hello = m->body_case == FLM__MESSAGE__BODY_HELLO ? m->hello : NULL;
    (void)fds;
    (void)n_fds;
    if (!hello || hello->role != FLM__ROLE__ROLE_EXECUTOR) {
        refuse(s, FLM_EPROTO, "only executors connect to a node agent");
        return;
    }
    if (hello->version_min > FLM__PROTOCOL_VERSION || hello->version_max < FLM__PROTOCOL_VERSION) {
        refuse(s, FLM_EVERSION, "the executor speaks another version of the protocol");
        return;
    }
    struct slot *slot = find_slot(s->attach->agent, hello->slot);
    if (!slot) {
        refuse(s, FLM_EAUTH, "it is not an executor that this agent has started and waits for");
        return;
    }
    Flm__Ready ready = FLM__READY__INIT;
    ready.version = FLM__PROTOCOL_VERSION;
    FLM__MESSAGE(answer, ready, READY, &ready);
    struct flm__watch *watch = s->watch;
    int32_t pid = s->pid;
    forget(s);
    flm__watch_send(watch, &answer, NULL, 0);
    slot_attached(slot, watch, pid);
}

static void on_end(void *arg, int code)
{
    (void)code;
    turn_away(arg);
}

static void turn_away_silent(struct attach *a)
{
    int64_t now = flm__now_ns();
    struct stranger *next;
    for (struct stranger *s = a->strangers; s; s = next) {
        next = s->next;
        if (now - s->since_ns > (int64_t)HELLO_MS * 1000000)
            turn_away(s);
    }
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct attach *a = poll->data;
    (void)status;
    (void)events;
    turn_away_silent(a);
    int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.uid != geteuid() ||
        a->n_strangers >= STRANGERS_MAX + a->agent->n_slots) {
        close(fd);
        return;
    }
    struct flm__conn *conn = flm__conn_new_take(fd);
    struct stranger *s = conn ? calloc(1, sizeof(*s)) : NULL;
    if (!s) {
        flm__conn_free(conn);
        return;
    }
    *s = (struct stranger){.next = a->strangers, .attach = a, .pid = who.pid, .since_ns = flm__now_ns()};
    s->watch = flm__watch_new_take(&a->agent->loop, conn, on_hello, on_end, s);
    if (!s->watch) {
        free(s);
        return;
    }
    a->strangers = s;
    a->n_strangers++;
}

/* An agent holds a lock on its directory as long as it lives: process numbers mean nothing where several
 * machines or containers share a file system. -1: somebody else has it. without_locks: where the file
 * system has no locks take it all the same. */
static int lock_directory(int at, const char *name, bool without_locks)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && (errno == EWOULDBLOCK || !without_locks)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Removes the directories that killed agents have left. */
static void sweep(const char *base)
{
    DIR *dir = opendir(base);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        int fd =
            strncmp(entry->d_name, "node-", 5) == 0 ? lock_directory(dirfd(dir), entry->d_name, false) : -1;
        if (fd < 0)
            continue;
        struct stat st;
        if (fstat(fd, &st) == 0 && st.st_uid == geteuid()) {
            unlinkat(fd, "s", 0);
            unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
        }
        close(fd);
    }
    if (dir)
        closedir(dir);
}

/* In the directory that flmd named, if it is there (it may be on flmd's node alone), else in the runtime
 * directory. */
static int choose_base(const struct agent *agent, char *base, size_t n, flm_error *error)
{
    const char *given = agent->options->directory;
    if (!given || access(given, F_OK) < 0)
        return flm__runtime_directory(base, n, error);
    return snprintf(base, n, "%s", given) < (int)n
               ? 0
               : flm__error_set(error, FLM_ETOOBIG, "the directory %s is too long a path", given);
}

/* FLM_EBUSY: an agent that was just sweeping took ours for a left-over. */
static int make_directory(struct agent *agent, const char *base, flm_error *error)
{
    int n = snprintf(agent->directory, sizeof(agent->directory), "%s/node-XXXXXX", base);
    /* sun_path has 108 bytes, and the socket's name comes behind. */
    if (n >= (int)sizeof(agent->directory) - 8) {
        agent->directory[0] = 0;
        return flm__error_set(error, FLM_ETOOBIG, "the directory %s is too long a path for a socket", base);
    }
    if (!mkdtemp(agent->directory)) {
        agent->directory[0] = 0;
        return flm__error_errno(error, FLM_EIO, errno, "cannot make a directory in %s", base);
    }
    agent->directory_lock = lock_directory(AT_FDCWD, agent->directory, true);
    return agent->directory_lock >= 0
               ? 0
               : flm__error_set(error, FLM_EBUSY, "other agents sweep the directory %s again and again",
                                base);
}

static int choose_directory(struct agent *agent, flm_error *error)
{
    char base[FLM__ENDPOINT_MAX];
    int rc = choose_base(agent, base, sizeof(base), error);
    if (rc < 0)
        return rc;
    sweep(base);
    for (int tries = 0; tries < DIRECTORY_TRIES; tries++) {
        rc = make_directory(agent, base, error);
        if (rc != FLM_EBUSY)
            break;
    }
    agent->own_directory = rc == 0;
    return rc;
}

int attach_open(struct agent *agent, flm_error *error)
{
    char endpoint[128];
    int rc = choose_directory(agent, error);
    if (rc < 0)
        return rc;
    snprintf(endpoint, sizeof(endpoint), "unix:%s/s", agent->directory);
    struct attach *a = calloc(1, sizeof(*a));
    if (!a)
        return flm__error_set(error, FLM_ENOMEM, "no memory");
    a->agent = agent;
    a->fd = flm__listen(endpoint, agent->socket, sizeof(agent->socket), error);
    if (a->fd < 0) {
        rc = a->fd;
        free(a);
        return rc;
    }
    uv_poll_init(&agent->loop, &a->poll, a->fd);
    a->poll.data = a;
    uv_poll_start(&a->poll, UV_READABLE, on_connection);
    agent->attach = a;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void attach_close(struct agent *agent)
{
    struct attach *a = agent->attach;
    if (a) {
        while (a->strangers)
            turn_away(a->strangers);
        uv_close((uv_handle_t *)&a->poll, on_closed);
        close(a->fd);
        unlink(agent->socket + strlen("unix:"));
        agent->attach = NULL;
    }
    if (agent->own_directory) {
        rmdir(agent->directory);
        if (agent->directory_lock >= 0)
            close(agent->directory_lock);
    }
    agent->own_directory = false;
}

/* Cleaners of /tmp remove what nobody has touched for days. Who is attached needs neither file nor folder.
 */
int attach_renew(struct agent *agent, flm_error *error)
{
    const char *path = agent->socket + strlen("unix:");
    if (agent->attach && (access(path, F_OK) == 0 || errno != ENOENT))
        return 0;
    if (agent->attach)
        agent_say(agent, "%s was removed, perhaps by a cleaner of old files; it is made again", path);
    attach_close(agent);
    return attach_open(agent, error);
}
