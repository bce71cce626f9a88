/* flm_connect: the list of endpoints, the greeting, the data plane. flm_disconnect: the way back. */
#define _GNU_SOURCE
#include "libflm/handle.h"
#include "libflm/options.h"
#include "libflm/reconnect.h"
#include "libflm/transport.h"
#include "base/endpoint.h"
#include "base/error.h"
#include "base/time.h"
#include "net/handshake.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    TIMEOUT_MS = 10000,
    WAIT_MAX_S = 3600,
    AGAIN_MS = 20, /* between two looks whether an instance has started */
    RECONNECT_MS = 30000,
    RECONNECT_MAX_S = 1000000,
};

/* ---- the end of a manager ---------------------------------------------- */

int flm__client_lost(flm_client *c, int code, const char *format, ...)
{
    if (c->lost)
        return FLM_EDISCONNECTED;
    va_list args;
    va_start(args, format);
    vsnprintf(c->lost_error.text, sizeof(c->lost_error.text), format, args);
    va_end(args);
    c->lost_error.code = FLM_EDISCONNECTED;
    c->lost = true;
    c->garbled = code == FLM_EPROTO;
    /* What we cannot cope with would only happen again. */
    bool may = c->reconnect && code != FLM_EPROTO && code != FLM_EFULL && code != FLM_ENOMEM;
    c->recoverable = false;
    for (flm_session *s = c->sessions; s; s = s->next) {
        c->recoverable |= may && s->resume && !(s->special & FLM__SPECIAL_LOST);
        s->special |= FLM__SPECIAL_LOST;
    }
    if (c->shared)
        flm__wait_notify(c); /* somebody may sleep and not see it */
    return FLM_EDISCONNECTED;
}

int flm__client_lost_error(const flm_client *c, flm_error *error)
{
    return flm__error_set(error, FLM_EDISCONNECTED, "%s", c->lost_error.text);
}

void flm__session_lost(flm_session *s, int code, const char *text)
{
    flm_client *c = s->client;
    flm__error_set(&s->lost_error, code, "%s", text);
    s->special |= FLM__SPECIAL_LOST;
    s->resume = 0;
    if (s->number)
        HASH_DEL(c->by_number, s);
    s->number = 0; /* no session of the manager has that */
    c->untold = true;
    if (c->shared)
        flm__wait_notify(c);
}

int flm__session_lost_error(const flm_session *s, flm_error *error)
{
    if (!s->lost_error.code)
        return flm__client_lost_error(s->client, error);
    return flm__error_set(error, FLM_EDISCONNECTED, "%s", s->lost_error.text);
}

int flm__client_check_outside(const flm_client *c, flm_error *error)
{
    if (!c->in_callback)
        return 0;
    return flm__error_set(error, FLM_EINVAL, "this call waits, so it must not be made inside a callback");
}

/* ---- one endpoint --------------------------------------------------------- */

/* What Ready says is possible with what we know. */
static int check_ready(const Flm__Ready *ready, unsigned n_fds, flm_error *error)
{
    if (ready->version != FLM__PROTOCOL_VERSION)
        return flm__error_set(error, FLM_EVERSION,
                              "the session manager speaks version %u of the protocol, this "
                              "library version %d",
                              ready->version, FLM__PROTOCOL_VERSION);
    if (ready->ring ? n_fds != 3 : !ready->provider[0] || !ready->address.len)
        return flm__error_set(error, FLM_EPROTO, "the session manager offers neither a ring nor a fabric");
    return 0;
}

static int greet(flm_client *c, const struct flm_connect_options *o, int64_t deadline, flm_error *error)
{
    Flm__Hello hello = FLM__HELLO__INIT;
    Flm__Message *ready = NULL;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds = 0;
    hello.role = FLM__ROLE__ROLE_CLIENT;
    hello.pid = (int32_t)getpid();
    hello.name = (char *)(uintptr_t)o->name;
    hello.incarnation = flm__transport_incarnation();
    if (o->provider)
        hello.provider = (char *)(uintptr_t)o->provider;
    int rc = flm__handshake(c->conn, &hello, o->secret_file, deadline, &ready, fds, &n_fds, error);
    if (rc < 0)
        return rc;
    rc = check_ready(ready->ready, n_fds, error);
    if (rc == 0 && ready->ready->ring)
        rc = flm__transport_ring(c, ready->ready, fds, error);
    else if (rc == 0)
        rc = flm__transport_fabric(c, ready->ready, deadline, error);
    flm__close_fds(fds, n_fds);
    flm__message__free_unpacked(ready, NULL);
    return rc;
}

static int connect_one(flm_client *c, const char *endpoint, const struct flm_connect_options *o,
                       flm_error *error)
{
    int64_t deadline = flm__client_deadline(o->timeout_ms);
    if (strcmp(endpoint, "inproc:") == 0 && c->connections)
        return flm__error_set(error, FLM_ENOTSUP, "a session cannot go on in this process");
    if (strcmp(endpoint, "inproc:") == 0)
        return flm__inproc_open(c, error);
    int fd = flm__dial(endpoint, deadline, error);
    if (fd < 0)
        return fd;
    c->conn = flm__conn_new_take(fd);
    if (!c->conn)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a connection");
    int rc = greet(c, o, deadline, error);
    if (rc < 0)
        flm__transport_close(c);
    return rc;
}

/* ---- the list of endpoints --------------------------------------------------- */

/* Tries them in order. The error is that of the only one, or a list of them all. */
static int connect_any(flm_client *c, char *list, const struct flm_connect_options *o, flm_error *error)
{
    flm_error all = {0}, one;
    unsigned n = 0;
    int code = FLM_ECONNECT;
    char *save = NULL;
    for (char *e = strtok_r(list, ",", &save); e; e = strtok_r(NULL, ",", &save)) {
        while (isspace((unsigned char)*e))
            e++;
        for (size_t k = strlen(e); k && isspace((unsigned char)e[k - 1]); k--)
            e[k - 1] = 0;
        if (!*e)
            continue;
        memset(&one, 0, sizeof(one));
        if (connect_one(c, e, o, &one) == 0)
            return 0;
        /* What went wrong with one that answers says more than that others do not. */
        if (n == 0 || one.code != FLM_ECONNECT)
            code = one.code;
        size_t used = strlen(all.text);
        int most = (int)(sizeof(all.text) - used) - 3;
        if (most > 0)
            snprintf(all.text + used, sizeof(all.text) - used, "%s%.*s", n ? "; " : "", most, one.text);
        n++;
    }
    if (n == 0)
        return flm__error_set(error, FLM_EINVAL, "the list of endpoints is empty");
    return flm__error_set(error, code, "%s%s", all.text,
                          code == FLM_ECONNECT ? " (start one with flmd, or run this under flmrun)" : "");
}

int flm__connect_list(flm_client *c, const char *endpoints, const struct flm_connect_options *o,
                      flm_error *error)
{
    char *list = strdup(endpoints);
    if (!list)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a client");
    int rc = connect_any(c, list, o, error);
    free(list);
    return rc;
}

/* $FLM_ENDPOINT_WAIT: whoever set FLM_ENDPOINT has only begun to start what will listen there. Waits until
 * its Unix socket, when that is the first of the list, is there; what then answers, or not, is another
 * matter. */
static void await_start(const char *list)
{
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};
    const char *wait = getenv("FLM_ENDPOINT_WAIT");
    char path[FLM__ENDPOINT_MAX], *end = NULL;
    double s = wait ? strtod(wait, &end) : 0;
    size_t n = strcspn(list, ",");
    if (!(s > 0) || *end || strncmp(list, "unix:", 5) != 0 || n - 5 >= sizeof(path))
        return;
    memcpy(path, list + 5, n - 5);
    path[n - 5] = 0;
    int64_t until = flm__now_ns() + (int64_t)((s < WAIT_MAX_S ? s : WAIT_MAX_S) * 1e9);
    while (access(path, F_OK) < 0 && errno == ENOENT && flm__now_ns() < until)
        nanosleep(&pause, NULL);
}

/* The text that names the endpoints: the argument, the environment, the default. */
static char *choose_endpoints(const char *endpoint, flm_error *error)
{
    char standard[FLM__ENDPOINT_MAX];
    if (!endpoint)
        endpoint = getenv("FLM_ENDPOINT");
    if (!endpoint || !*endpoint) {
        int rc = flm__default_endpoint(standard, sizeof(standard));
        if (rc < 0) {
            flm__error_set(error, rc,
                           "the default endpoint cannot be used (its directory must be yours, mode 0700): "
                           "set FLM_ENDPOINT");
            return NULL;
        }
        endpoint = standard;
    }
    char *copy = strdup(endpoint);
    if (!copy)
        flm__error_set(error, FLM_ENOMEM, "no memory for a client");
    return copy;
}

/* How long to try to connect again: what the caller wants, $FLM_RECONNECT (seconds), the default. */
static int choose_reconnect(int ms)
{
    const char *text = getenv("FLM_RECONNECT");
    char *end = NULL;
    double s = text && *text ? strtod(text, &end) : 0;
    if (ms)
        return ms;
    if (!end || *end || !(s >= 0))
        return RECONNECT_MS;
    return s == 0 ? -1 : (int)((s < RECONNECT_MAX_S ? s : RECONNECT_MAX_S) * 1000);
}

/* ---- flm_connect ------------------------------------------------------------------ */

static int check_options(const struct flm_connect_options *from, struct flm_connect_options *o,
                         flm_error *error)
{
    memset(o, 0, sizeof(*o));
    if (from && flm__options_copy(o, sizeof(*o), from) < 0)
        return flm__error_set(error, FLM_EINVAL,
                              "the size of the connect options is not set, or they use what this "
                              "library does not know");
    if (o->progress != FLM_PROGRESS_CALLER && o->progress != FLM_PROGRESS_THREAD)
        return flm__error_set(error, FLM_EINVAL, "%d is no way of progress", o->progress);
    if (o->flags & ~(unsigned)FLM_SHARED)
        return flm__error_set(error, FLM_EINVAL, "unknown connect flags 0x%x", o->flags);
    if (!o->timeout_ms)
        o->timeout_ms = TIMEOUT_MS;
    if (!o->name)
        o->name = program_invocation_short_name;
    if (!o->provider)
        o->provider = getenv("FLM_PROVIDER");
    o->reconnect_ms = choose_reconnect(o->reconnect_ms);
    return 0;
}

static flm_client *new_client(const struct flm_connect_options *o, flm_error *error)
{
    flm_client *c = calloc(1, sizeof(*c));
    if (!c) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a client");
        return NULL;
    }
    c->bell = c->wake = c->epoll = c->timer = -1;
    c->free_slot = FLM__NO_SLOT;
    c->cancelled_last = &c->cancelled_first;
    c->timeout_ms = o->timeout_ms;
    const char *checks = getenv("FLM_CHECK_BUFFERS");
    c->checks_buffers = checks && *checks && strcmp(checks, "0") != 0;
    if (flm__random(&c->key, sizeof(c->key)) < 0)
        c->key = (uint64_t)flm__wall_ns() ^ (uintptr_t)c;
    c->shared = o->progress == FLM_PROGRESS_THREAD || (o->flags & FLM_SHARED);
    if (flm__wait_init(c, error) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

static void free_client(flm_client *c)
{
    while (c->sessions)
        flm__session_free(c->sessions);
    flm__invoke_free(c);
    flm__transport_close(c);
    flm__buffers_free(c);
    flm__pool_clear(&c->pool);
    flm__maps_clear(&c->maps);
    flm__reconnect_free(c->reconnect);
    if (c->epoll >= 0)
        close(c->epoll);
    if (c->timer >= 0)
        close(c->timer);
    flm__wait_fini(c);
    free(c->slots);
    free(c);
}

flm_client *flm_connect(const char *endpoint, const struct flm_connect_options *options, flm_error *error)
{
    struct flm_connect_options o;
    if (check_options(options, &o, error) < 0)
        return NULL;
    char *list = choose_endpoints(endpoint, error);
    flm_client *c = list ? new_client(&o, error) : NULL;
    if (c && (!endpoint || !*endpoint) && getenv("FLM_ENDPOINT"))
        await_start(list);
    int rc = c ? flm__connect_list(c, list, &o, error) : FLM_ENOMEM;
    if (rc == 0 && !c->inproc && o.reconnect_ms > 0) {
        c->reconnect = flm__reconnect_new(list, &o);
        rc = c->reconnect ? 0 : flm__error_set(error, FLM_ENOMEM, "no memory for a client");
    }
    if (rc == 0 && o.progress == FLM_PROGRESS_THREAD)
        rc = flm__thread_start(c, error);
    if (rc < 0 && c) {
        free_client(c);
        c = NULL;
    }
    free(list);
    return c;
}

/* ---- flm_disconnect --------------------------------------------------------------- */

static void ignore(const struct flm_result *result, void *arg)
{
    (void)result;
    (void)arg;
}

/* From now on no callback of the user runs. */
static void silence(flm_client *c)
{
    for (flm_session *s = c->sessions; s; s = s->next) {
        s->done_before_silence = flm__done_with(s);
        s->uncollected -= s->on_inherited ? 0 : s->owed;
        s->on_inherited = ignore;
    }
    c->silent = true;
    for (uint32_t i = 0; i < c->n_slots; i++) {
        struct flm__outstanding *o = &c->slots[i];
        if (!o->session)
            continue;
        flm__invoke_forget(o->callback, o->arg);
        if (!o->callback)
            o->session->uncollected--;
        o->callback = ignore;
    }
}

/* Inputs of sessions that end with us: nobody waits for their tasks. */
static void conceal_ours(flm_client *c)
{
    for (uint32_t i = 0; i < c->n_slots; i++) {
        const flm_session *s = c->slots[i].session;
        if (s && !s->acknowledges && !(s->flags & FLM_DETACHED))
            flm__blob_conceal(c, i);
    }
}

static bool nothing_exposed(struct flm__wait *wait)
{
    return ((const flm_client *)wait->arg)->n_exposed == 0;
}

/* Tasks of sessions that go on without us, so the manager must have them, inputs included; and it must hear
 * which results we are done with, of which word may still be on the line. */
static void hand_over(flm_client *c)
{
    bool any = false;
    for (flm_session *s = c->sessions; s; s = s->next) {
        if (flm__session_is_lost(s))
            continue;
        bool to_say = s->acknowledges && flm__done_with(s) != 0;
        if (!to_say && !((s->acknowledges || s->flags & FLM_DETACHED) && s->outstanding))
            continue;
        if (!any)
            silence(c);
        any = true;
        flm_sync(s, NULL, NULL);
    }
    struct flm__wait wait = {FLM__WAIT_DATA, nothing_exposed, c, flm__client_deadline(c->timeout_ms)};
    if (any && c->n_exposed)
        conceal_ours(c);
    if (any && c->n_exposed)
        flm__wait_until(c, &wait);
}

void flm_disconnect(flm_client *c)
{
    if (!c || c->in_callback)
        return;
    flm__thread_stop(c);
    flm__client_lock(c);
    if (!c->inproc)
        hand_over(c);
    flm__client_unlock(c);
    free_client(c);
}
