#define _GNU_SOURCE
#include "manager/peer.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/auth.h"
#include "manager/blob_store.h"
#include "manager/client.h"
#include "manager/direct.h"
#include "manager/backend.h"
#include "manager/node.h"
#include "manager/rejoin.h"
#include "manager/unread.h"
#include "net/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum {
    BLOBS_WAITING_MAX = 4096, /* announced and not yet claimed, of one peer */
    GREETING_MS = 10000,      /* whoever has not greeted by then is sent away */
};

static const char no_memory[] = "the session manager has no memory for another connection";

static void on_event(uv_poll_t *poll, int status, int events);

/* Watches for what is needed now. */
static void watch(struct peer *p)
{
    int events = UV_READABLE | (flm__conn_pending(p->conn) ? UV_WRITABLE : 0);
    if (p->state == PEER_GONE || events == p->watched)
        return;
    p->watched = events;
    uv_poll_start(&p->poll, events, on_event);
}

/* The process at the other end of a Unix socket must be ours. */
static bool same_user(int fd, int *pid)
{
    struct ucred c;
    socklen_t size = sizeof(c);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &size) < 0)
        return false;
    *pid = c.pid;
    return c.uid == geteuid();
}

void peer_accept(struct manager *m, int fd)
{
    struct peer *p = calloc(1, sizeof(*p));
    struct flm__conn *conn = p ? flm__conn_new(fd) : NULL;
    if (!conn || uv_poll_init(&m->uv, &p->poll, fd) < 0) {
        flm__conn_last_words(fd, FLM_ENOMEM, no_memory);
        if (conn)
            flm__conn_free(conn);
        else
            close(fd);
        free(p);
        return;
    }
    p->manager = m;
    p->since = flm__now_ns();
    p->conn = conn;
    p->poll.data = p;
    DL_APPEND(m->peers, p);
    if (flm__conn_is_unix(p->conn) && !same_user(fd, &p->pid)) {
        m->refused++;
        peer_refuse(p, FLM_EAUTH, "this session manager belongs to another user");
        return;
    }
    watch(p);
}

void peer_doom(struct peer *p, const char *why)
{
    if (p->state == PEER_GONE || p->doomed)
        return;
    p->doomed = why;
    p->manager->reap = true;
}

int peer_try_send(struct peer *p, const Flm__Message *message, const int *fds, unsigned n_fds)
{
    if (p->state == PEER_GONE || p->doomed)
        return FLM_EDISCONNECTED;
    int rc = flm__conn_send(p->conn, message, fds, n_fds);
    if (rc == FLM_EDISCONNECTED)
        peer_doom(p, "the connection was closed");
    else
        watch(p);
    return rc;
}

int peer_send(struct peer *p, const Flm__Message *message, const int *fds, unsigned n_fds)
{
    int rc = peer_try_send(p, message, fds, n_fds);
    if (rc < 0 && rc != FLM_ETOOBIG)
        peer_doom(p, "it does not take messages");
    return rc;
}

static void drop_blobs(struct peer *p)
{
    struct arrived_blob *a, *next;
    HASH_ITER(hh, p->blobs, a, next)
    {
        arrived_blob_drop(&p->blobs, a);
    }
    struct kept_blob *k, *k_next;
    HASH_ITER(hh, p->kept, k, k_next)
    {
        HASH_DEL(p->kept, k);
        blob_give_up(k->blob);
        blob_release(k->blob);
        free(k);
    }
}

void peer_end(struct peer *p, const char *why)
{
    if (p->state == PEER_GONE)
        return;
    enum peer_state was = p->state;
    if (p->manager->options.verbose)
        fprintf(stderr, "flmd: %s %s (process %d) is gone: %s\n", was == PEER_NODE ? "node agent" : "peer",
                p->name, p->pid, why);
    p->state = PEER_GONE;
    p->manager->reap = true;
    uv_poll_stop(&p->poll);
    if (was == PEER_CLIENT) {
        HASH_DEL(p->manager->clients, p);
        direct_peer_gone(p);
        client_gone(p);
        unread_client_gone(p);
    }
    if (was == PEER_NODE && p->node)
        node_gone(p->node, why);
}

void peer_refuse(struct peer *p, int code, const char *text)
{
    Flm__Refused r = FLM__REFUSED__INIT;
    r.code = code;
    r.text = (char *)(uintptr_t)text;
    FLM__MESSAGE(m, refused, REFUSED, &r);
    if (p->state != PEER_GONE && flm__conn_send(p->conn, &m, NULL, 0) == FLM_ENOMEM &&
        !flm__conn_pending(p->conn))
        flm__conn_last_words(flm__conn_fd(p->conn), code, text);
    peer_end(p, text);
}

static void freed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    auth_forget(p);
    drop_blobs(p);
    flm__link_destroy(p->link);
    flm__conn_free(p->conn);
    if (p->hello_message)
        flm__message__free_unpacked(p->hello_message, NULL);
    free(p);
}

void peer_reap(struct manager *m)
{
    struct peer *p, *next;
    m->reap = false; /* ending one may doom another: in the next turn then */
    DL_FOREACH_SAFE(m->peers, p, next)
    {
        if (p->doomed)
            peer_refuse(p, FLM_EDISCONNECTED, p->doomed);
        if (p->state != PEER_GONE)
            continue;
        DL_DELETE(m->peers, p);
        uv_close((uv_handle_t *)&p->poll, freed);
    }
}

void peer_check_links(struct manager *m)
{
    struct peer *p, *next;
    DL_FOREACH_SAFE(m->peers, p, next)
    if (p->state != PEER_GONE && p->link && !flm__ring_is(p->link) && m->fabric_ops->failed(p->link))
        peer_refuse(p, FLM_EDISCONNECTED, "its fabric link has failed");
    else if ((p->state == PEER_NEW || p->state == PEER_CHALLENGED) &&
             m->now - p->since > GREETING_MS * 1000000LL) {
        m->refused++;
        peer_refuse(p, FLM_ETIMEDOUT, "no greeting came in time");
    }
}

bool arrived_blob_add(struct arrived_blob **table, const struct arrived_blob *blob)
{
    struct arrived_blob *a = malloc(sizeof(*a));
    if (!a)
        return false;
    *a = *blob;
    HASH_ADD(hh, *table, id, sizeof(a->id), a);
    if (flm__hash_added(&a->hh))
        return true;
    free(a);
    return false;
}

void arrived_blob_drop(struct arrived_blob **table, struct arrived_blob *blob)
{
    HASH_DEL(*table, blob);
    if (blob->fd >= 0)
        close(blob->fd);
    blob_release(blob->blob);
    free(blob);
}

bool peer_has_blob(const struct peer *p, uint64_t id)
{
    struct arrived_blob *a;
    HASH_FIND(hh, p->blobs, &id, sizeof(id), a);
    return a != NULL;
}

struct blob *peer_take_blob(struct peer *p, uint64_t id, uint64_t size, flm_error *error)
{
    struct arrived_blob *a;
    HASH_FIND(hh, p->blobs, &id, sizeof(id), a);
    if (!a) {
        flm__error_set(error, FLM_EPROTO, "a payload was not announced");
        return NULL;
    }
    struct blob *blob = blob_take(p->manager, a->fd, size, a->reused, error);
    if (blob && a->lent)
        blob_lent_by(blob, p, id);
    HASH_DEL(p->blobs, a);
    free(a);
    return blob;
}

static void blob_arrived(struct peer *p, const Flm__Blob *b, int *fds, unsigned n_fds)
{
    bool sound = n_fds == 1 && HASH_COUNT(p->blobs) < BLOBS_WAITING_MAX;
    if (sound && arrived_blob_add(&p->blobs, &(struct arrived_blob){.id = b->id,
                                                                    .size = b->size,
                                                                    .fd = fds[0],
                                                                    .reused = b->reused,
                                                                    .lent = b->reused && !b->untold}))
        return;
    flm__close_fds(fds, n_fds);
    /* The record that refers to it could never be taken. */
    peer_doom(p, sound ? "the session manager has no memory for a large payload"
                       : "it announced large payloads in a way that cannot be");
}

bool peer_keep_blob(struct peer *p, struct blob *blob)
{
    struct kept_blob *k = calloc(1, sizeof(*k));
    if (!k)
        return false;
    k->id = blob->id;
    k->blob = blob;
    HASH_ADD(hh, p->kept, id, sizeof(k->id), k);
    if (flm__hash_added(&k->hh))
        return true;
    free(k);
    return false;
}

struct peer *peer_client(const struct manager *m, uint64_t number)
{
    struct peer *p;
    HASH_FIND(hh, m->clients, &number, sizeof(number), p);
    return p;
}

static int add_client(struct peer *p, flm_error *error)
{
    struct manager *m = p->manager;
    p->number = m->next_client + 1;
    HASH_ADD(hh, m->clients, number, sizeof(p->number), p);
    if (!flm__hash_added(&p->hh))
        return flm__error_set(error, FLM_ENOMEM, "the session manager has no memory for another client");
    m->next_client++;
    p->state = PEER_CLIENT;
    return 0;
}

void peer_input_done(struct peer *p, uint64_t id, bool in_use)
{
    if (!p || p->state != PEER_CLIENT)
        return;
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = id;
    done.in_use = in_use;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    peer_send(p, &m, NULL, 0);
}

static void blob_done(struct peer *p, const Flm__BlobDone *done)
{
    struct kept_blob *k;
    HASH_FIND(hh, p->kept, &done->id, sizeof(done->id), k);
    if (!k && p->state == PEER_CLIENT)
        unread_done(p, done);
    if (!k)
        return;
    if (done->code < 0 && p->state == PEER_NODE && p->node)
        direct_failed(p->node, done->lane, k->blob);
    if (done->in_use) /* it is said once more */
        return;
    HASH_DEL(p->kept, k);
    blob_release(k->blob);
    free(k);
}

/* ---- greeting -------------------------------------------------------------------- */

/* A ring for a client on this node: the descriptors go with Ready. */
static int make_ring(struct peer *p, Flm__Ready *ready, int fds[3], flm_error *error)
{
    struct manager *m = p->manager;
    int rc = flm__ring_create(m->options.ring_bytes, &fds[0], error);
    if (rc < 0)
        return rc;
    fds[1] = m->bell;
    fds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->link = flm__ring_open(fds[0], m->options.ring_bytes, true, fds[2], error);
    ready->ring = true;
    ready->ring_bytes = m->options.ring_bytes;
    return p->link ? 0 : FLM_ENOMEM;
}

static int offer_fabric(struct peer *p, Flm__Ready *ready, unsigned char *address, size_t *size,
                        flm_error *error)
{
    struct manager *m = p->manager;
    if (!manager_fabric(m, error))
        return FLM_ENOTSUP;
    int rc = m->fabric_ops->address(m->fabric, address, size, error);
    if (rc < 0)
        return rc;
    if (flm__random(&p->key_in, sizeof(p->key_in)) < 0 || flm__random(&p->key_out, sizeof(p->key_out)) < 0)
        return flm__error_set(error, FLM_EINTERNAL, "no random numbers");
    ready->provider = (char *)(uintptr_t)m->fabric_ops->provider(m->fabric);
    ready->address.data = address;
    ready->address.len = *size;
    ready->key_to_server = p->key_in;
    ready->key_to_peer = p->key_out;
    return 0;
}

void peer_welcome(struct peer *p)
{
    struct manager *m = p->manager;
    Flm__Ready ready = FLM__READY__INIT;
    unsigned char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    int fds[3] = {-1, -1, -1}, rc = 0;
    flm_error error = {0};
    Flm__Hello *h = p->hello;
    bool wants_fabric = h->provider[0] || m->options.provider || !flm__conn_is_unix(p->conn);

    ready.version = FLM__PROTOCOL_VERSION;
    ready.instance = m->instance;
    ready.lease_ms = m->options.loss_ms / 2;
    Flm__Rejoin rejoin = FLM__REJOIN__INIT;
    if (m->rejoin)
        rejoin_describe(m, &rejoin);
    ready.rejoin = &rejoin;
    rc = h->came ? rejoin_admit(p, &error) : 0;
    snprintf(p->name, sizeof(p->name), "%s", h->name);
    p->incarnation = h->incarnation;
    if (!flm__conn_is_unix(p->conn))
        p->pid = h->pid; /* on its own node; for people */
    if (rc < 0) {
        /* not ours, or ours no more */
    } else if (h->role == FLM__ROLE__ROLE_CLIENT) {
        rc = add_client(p, &error);
        if (rc == 0)
            rc = wants_fabric ? offer_fabric(p, &ready, address, &size, &error)
                              : make_ring(p, &ready, fds, &error);
    } else if (h->role == FLM__ROLE__ROLE_AGENT && m->stopping) {
        rc = flm__error_set(&error, FLM_ECLOSED, "the session manager is ending");
    } else if (h->role == FLM__ROLE__ROLE_AGENT) {
        rc = node_join(p, h->node, &error);
        p->state = PEER_NODE;
        if (rc == 0 && p->node->relay)
            rc = offer_fabric(p, &ready, address, &size, &error);
    } else if (h->role == FLM__ROLE__ROLE_BACKEND && h->came) {
        FLM__MESSAGE(welcome, ready, READY, &ready);
        if (peer_send(p, &welcome, NULL, 0) == 0)
            backend_adopt(m, p);
        peer_end(p, "its connection is the backend's now");
        return;
    } else {
        rc = flm__error_set(&error, FLM_EPROTO, "only clients and node agents are greeted here");
    }
    if (rc < 0) {
        if (fds[0] >= 0)
            flm__close_fds((int[]){fds[0], fds[2]}, 2);
        peer_refuse(p, rc, error.text);
        return;
    }
    FLM__MESSAGE(message, ready, READY, &ready);
    peer_send(p, &message, fds, ready.ring ? 3 : 0);
    if (ready.ring)
        flm__close_fds((int[]){fds[0], fds[2]}, 2);
}

/* Takes the message. */
static void greet(struct peer *p, Flm__Message *m)
{
    if (p->state == PEER_NEW && m->body_case == FLM__MESSAGE__BODY_HELLO && !p->hello) {
        char text[160];
        p->hello_message = m;
        p->hello = m->hello;
        if (m->hello->version_min > FLM__PROTOCOL_VERSION ||
            m->hello->version_max < FLM__PROTOCOL_VERSION) {
            snprintf(text, sizeof(text),
                     "this session manager speaks version %d of the protocol, you speak %u to %u: "
                     "use programs of the same release",
                     FLM__PROTOCOL_VERSION, m->hello->version_min, m->hello->version_max);
            peer_refuse(p, FLM_EVERSION, text);
        } else if (flm__conn_is_unix(p->conn)) {
            peer_welcome(p);
        } else {
            auth_challenge(p);
        }
        return;
    }
    if (p->state == PEER_CHALLENGED && m->body_case == FLM__MESSAGE__BODY_PROOF && !p->auth_work) {
        auth_answer(p, m->proof);
    } else {
        p->manager->refused++;
        peer_refuse(p, FLM_EPROTO, "expected a greeting");
    }
    flm__message__free_unpacked(m, NULL);
}

/* ---- messages ------------------------------------------------------------------------ */

/* Takes message and descriptors. */
static void handle(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    if (p->state == PEER_NEW || p->state == PEER_CHALLENGED) {
        flm__close_fds(fds, n_fds);
        greet(p, m);
        return;
    }
    if (m->body_case == FLM__MESSAGE__BODY_BLOB && p->state == PEER_CLIENT) {
        blob_arrived(p, m->blob, fds, n_fds);
    } else if (m->body_case == FLM__MESSAGE__BODY_BLOB_DONE) {
        flm__close_fds(fds, n_fds);
        blob_done(p, m->blob_done);
    } else if (m->body_case == FLM__MESSAGE__BODY_REQUEST &&
               m->request->verb_case == FLM__REQUEST__VERB_FABRIC_ADDRESS) {
        flm__close_fds(fds, n_fds);
        peer_connect_fabric(p, m->request);
    } else if (p->state == PEER_CLIENT) {
        client_message(p, m, fds, n_fds);
        return;
    } else if (p->state == PEER_NODE) {
        node_message(p, m, fds, n_fds);
        return;
    } else {
        flm__close_fds(fds, n_fds);
    }
    flm__message__free_unpacked(m, NULL);
}

void peer_connect_fabric(struct peer *p, const Flm__Request *r)
{
    struct manager *m = p->manager;
    flm_error error = {0};
    int rc = FLM_EPROTO;
    if (!p->link && p->key_in)
        rc = m->fabric_ops->connect(m->fabric, r->fabric_address.data, r->fabric_address.len, p->key_in,
                                    p->key_out, &p->link, &error);
    if (p->node)
        node_set_fabric_address(p->node, r);
    m->schedule = true;
    client_reply(p, r->id, rc, error.text);
    if (rc == 0)
        direct_peer_came(p, r); /* an agent listens to nothing else before that reply */
    else
        peer_refuse(p, rc, error.text);
}

void peer_read(struct peer *p)
{
    int lost = flm__conn_fill(p->conn);
    while (p->state != PEER_GONE) {
        Flm__Message *m;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds;
        int rc = flm__conn_take(p->conn, &m, fds, &n_fds);
        if (rc == 0)
            break;
        if (rc < 0 && lost == FLM_EFULL)
            break; /* it is, but not all of it could be had */
        if (rc < 0) {
            p->manager->refused++;
            peer_refuse(p, rc, "that is not a control frame of Flame");
            return;
        }
        handle(p, m, fds, n_fds);
    }
    if (lost == FLM_EFULL && p->state != PEER_GONE)
        peer_refuse(p, FLM_EFULL,
                    "the session manager has too many files open, each large payload that waits is one: "
                    "allow it more (ulimit -n), or submit less at once");
    if (lost == FLM_ENOMEM && (p->state == PEER_NEW || p->state == PEER_CHALLENGED)) {
        flm__conn_last_words(flm__conn_fd(p->conn), FLM_ENOMEM, no_memory);
        peer_end(p, no_memory);
    }
    if (lost == FLM_EDISCONNECTED && p->state == PEER_CHALLENGED && !p->auth_work)
        p->manager->refused++; /* it could not prove itself, or did not believe us */
    if (lost == FLM_EDISCONNECTED && p->state != PEER_GONE)
        peer_end(p, "the connection was closed");
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct peer *p = poll->data;
    p->manager->now = flm__now_ns();
    if (p->state == PEER_GONE)
        return;
    if (status < 0 || ((events & UV_WRITABLE) && flm__conn_flush(p->conn) < 0)) {
        peer_end(p, "the connection was closed");
        return;
    }
    if (events & UV_READABLE)
        peer_read(p);
    if (p->state != PEER_GONE)
        watch(p);
}
