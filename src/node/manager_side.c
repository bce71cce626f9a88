/* manager_side.c - the connection to flmd: how it begins, and where its messages go. */
#define _GNU_SOURCE
#include "base/error.h"
#include "base/time.h"
#include "net/fabric.h"
#include "net/handshake.h"
#include "node/agent.h"
#include "node/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNECT_MS = 10000, RECONNECT_MS = 5000 };

/* Who a message is about. */
struct about {
    uint32_t lane, life;
    bool lives; /* it has a life, which must be the one that flmd was told of */
};

static bool read_about(const Flm__Message *m, struct about *about)
{
    switch (m->body_case) {
#define ABOUT(CASE, field)                                                                                 \
    case FLM__MESSAGE__BODY_##CASE:                                                                        \
        *about = (struct about){m->field->lane, m->field->life, true};                                     \
        return true
        ABOUT(EXECUTOR_RING, executor_ring);
        ABOUT(BIND, bind);
        ABOUT(UNBIND, unbind);
        ABOUT(RECALL, recall);
        ABOUT(CANCEL, cancel);
        ABOUT(KILL, kill);
        ABOUT(BLOB, blob);
        ABOUT(COMMON, common);
        ABOUT(GOT_OBJECT, got_object);
#undef ABOUT
    case FLM__MESSAGE__BODY_BLOB_DONE:
        *about = (struct about){m->blob_done->lane, m->blob_done->life, true};
        return m->blob_done->life != 0;
    default:
        return false;
    }
}

static void answer_logs(struct agent *agent, const Flm__Request *request)
{
    Flm__Reply reply = FLM__REPLY__INIT;
    const struct log **logs = calloc(agent->n_slots, sizeof(*logs));
    reply.id = request->id;
    for (unsigned i = 0; logs && i < agent->n_slots; i++)
        logs[i] = &agent->slots[i].log;
    reply.code = logs ? log_answer(logs, agent->n_slots, request->read_logs, &reply) : FLM_ENOMEM;
    FLM__MESSAGE(m, reply, REPLY, &reply);
    agent_tell(agent, &m, NULL, 0);
    log_answer_free(&reply);
    free(logs);
}

static void answer_request(struct agent *agent, const Flm__Request *request)
{
    if (request->verb_case == FLM__REQUEST__VERB_READ_LOGS) {
        answer_logs(agent, request);
        return;
    }
    Flm__Reply reply = FLM__REPLY__INIT;
    reply.id = request->id;
    reply.code = FLM_ENOTSUP;
    reply.text = (char *)(uintptr_t) "a node agent does not know this request";
    FLM__MESSAGE(m, reply, REPLY, &reply);
    agent_tell(agent, &m, NULL, 0);
}

static void answer_ping(struct agent *agent, const Flm__Ping *ping)
{
    Flm__Pong pong = FLM__PONG__INIT;
    pong.number = ping->number;
    FLM__MESSAGE(m, pong, PONG, &pong);
    agent_tell(agent, &m, NULL, 0);
}

/* What no slot has taken: flmd hears that its common data are of no use. */
static void decline_common(struct agent *agent, const Flm__Message *m)
{
    if (agent->relay && m->body_case == FLM__MESSAGE__BODY_BIND)
        relay_shared_decline(agent->relay, m->bind->common);
    else if (agent->relay && m->body_case == FLM__MESSAGE__BODY_COMMON)
        relay_shared_decline(agent->relay, m->common->common);
}

static void on_message(void *arg, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct agent *agent = arg;
    struct about about;
    if (read_about(m, &about)) {
        struct slot *slot = about.lane < agent->n_slots ? &agent->slots[about.lane] : NULL;
        if (agent->relay && m->body_case == FLM__MESSAGE__BODY_GOT_OBJECT) {
            relay_object_got(agent->relay, slot, m->got_object);
            return;
        }
        if (agent->relay && slot && m->body_case == FLM__MESSAGE__BODY_RECALL && m->recall->spares)
            m->recall->spared = relay_lane_reads(agent->relay, about.lane);
        if (slot && slot->announced && about.life == slot->announced)
            slot_from_manager(slot, m, fds, n_fds);
        decline_common(agent, m);
        return;
    }
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_PING:
        answer_ping(agent, m->ping);
        break;
    case FLM__MESSAGE__BODY_REQUEST:
        answer_request(agent, m->request);
        break;
    case FLM__MESSAGE__BODY_BLOB_DONE: /* life 0 */
        if (agent->relay)
            relay_blob_done(agent->relay, m->blob_done);
        break;
    case FLM__MESSAGE__BODY_SHARED_SOURCE:
        if (agent->relay)
            relay_shared_source(agent->relay, m->shared_source);
        break;
    case FLM__MESSAGE__BODY_SHARED_FREE:
        if (agent->relay)
            relay_shared_free(agent->relay, m->shared_free->id);
        break;
    case FLM__MESSAGE__BODY_FABRIC_PEER:
        if (agent->relay)
            relay_fabric_peer(agent->relay, m->fabric_peer);
        break;
    case FLM__MESSAGE__BODY_OBJECT_GONE:
        if (agent->relay)
            relay_object_gone(agent->relay, m->object_gone);
        slots_object_gone(agent, m->object_gone->name, m->object_gone->version);
        break;
    case FLM__MESSAGE__BODY_NODE_DRAINED:
        for (unsigned i = 0; !m->node_drained->drain && i < agent->n_slots; i++)
            slot_try_now(&agent->slots[i]);
        break;
    case FLM__MESSAGE__BODY_SHUTDOWN:
        agent_stop(agent, 0, "flmd is ending: %s", m->shutdown->text);
        break;
    case FLM__MESSAGE__BODY_REFUSED:
        agent_stop(agent, 1, "flmd has given this node up: %s", m->refused->text);
        break;
    default: /* of a newer version */
        break;
    }
}

static void on_end(void *arg, int code)
{
    char why[100];
    snprintf(why, sizeof(why), "the connection to flmd: %s", flm_strerror(code));
    rejoin_begin(arg, why);
}

/* ---- the beginning ----------------------------------------------------------------------------- */

/* flmd may be another one by the time that a job starts. */
static int dial_latest(const char *file, int64_t deadline_ns)
{
    struct flm__rejoin latest = {0};
    snprintf(latest.file, sizeof(latest.file), "%s", file);
    return flm__rejoin_dial(&latest, deadline_ns, NULL);
}

static int dial(const struct agent *agent, int64_t deadline_ns, flm_error *error)
{
    int fd = agent->options->rejoin_file ? dial_latest(agent->options->rejoin_file, deadline_ns) : -1;
    if (fd >= 0)
        return fd;
    return flm__dial_any(agent->options->endpoint, deadline_ns, error);
}

/* What we are, with all slots. */
static int say_hello(struct agent *agent, struct flm__conn *conn, int64_t deadline_ns, Flm__Message **ready,
                     flm_error *error)
{
    const struct node_options *o = agent->options;
    Flm__Slot *slots = calloc(agent->n_slots, sizeof(*slots));
    Flm__Slot **list = calloc(agent->n_slots, sizeof(*list));
    Flm__Node node = FLM__NODE__INIT;
    Flm__Hello hello = FLM__HELLO__INIT;
    Flm__Came came = FLM__CAME__INIT;
    int fds[FLM__FRAME_FDS], rc = FLM_ENOMEM;
    unsigned n_fds = 0;
    for (unsigned i = 0; slots && list && i < agent->n_slots; i++) {
        const struct placement_slot *place = &agent->placement.slots[i];
        flm__slot__init(&slots[i]);
        slots[i].lane = i;
        slots[i].cpus = (char *)(uintptr_t)place->cpus;
        slots[i].cores = place->cores;
        slots[i].numa = place->numa;
        list[i] = &slots[i];
    }
    node.name = (char *)(uintptr_t)o->name;
    node.block = (char *)(uintptr_t)o->block;
    node.block_number = o->block_number;
    node.n_slots = agent->n_slots;
    node.slots = list;
    hello.role = FLM__ROLE__ROLE_AGENT;
    hello.pid = (int32_t)getpid();
    hello.name = (char *)(uintptr_t) "flm-node";
    hello.provider = (char *)(uintptr_t)(o->provider                ? o->provider
                                         : o->relay || agent->relay ? "auto"
                                                                    : "");
    hello.node = &node;
    if (agent->lost_ns) {
        flm__rejoin_introduce(&agent->rejoin, &came);
        for (unsigned i = 0; i < agent->n_slots; i++)
            came.executors += slot_survives(&agent->slots[i]);
        hello.came = &came;
    }
    if (slots && list && flm__random(&hello.incarnation, sizeof(hello.incarnation)) == 0)
        rc = flm__handshake(conn, &hello, o->secret_file, deadline_ns, ready, fds, &n_fds, error);
    else
        flm__error_set(error, rc, "no memory for %u slots", agent->n_slots);
    flm__close_fds(fds, n_fds); /* an agent has no ring of its own */
    free(slots);
    free(list);
    return rc;
}

/* Tells flmd our address, and waits until it has taken it: then data may flow. */
static int give_address(struct flm__conn *conn, void *address, size_t size, int64_t deadline_ns,
                        flm_error *error)
{
    Flm__Request request = FLM__REQUEST__INIT;
    request.id = 1;
    request.verb_case = FLM__REQUEST__VERB_FABRIC_ADDRESS;
    request.fabric_address.data = address;
    request.fabric_address.len = size;
    FLM__MESSAGE(m, request, REQUEST, &request);
    int rc = flm__conn_send(conn, &m, NULL, 0);
    for (bool done = false; rc >= 0 && !done;) {
        Flm__Message *got;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds;
        rc = flm__conn_wait_message(conn, deadline_ns, &got, fds, &n_fds);
        if (rc < 0)
            break;
        flm__close_fds(fds, n_fds);
        done = got->body_case == FLM__MESSAGE__BODY_REPLY && got->reply->id == request.id;
        if (done && got->reply->code < 0)
            rc = flm__error_set(error, got->reply->code, "flmd cannot reach this node over the fabric: %s",
                                got->reply->text);
        if (got->body_case == FLM__MESSAGE__BODY_SHUTDOWN) { /* it will not take the address any more */
            rc = flm__error_set(error, FLM_ECLOSED, "flmd is ending: %s", got->shutdown->text);
            done = true;
        }
        flm__message__free_unpacked(got, NULL);
        if (done)
            return rc < 0 ? rc : 0;
    }
    return flm__error_set(error, rc, "while telling flmd the fabric address: %s", flm_strerror(rc));
}

static int open_relay(struct agent *agent, struct flm__conn *conn, const Flm__Ready *ready,
                      int64_t deadline_ns, flm_error *error)
{
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    if (!*ready->provider && !agent->options->relay && !agent->options->provider && !agent->relay &&
        flm__conn_is_unix(conn))
        return 0; /* flmd is on this node, and has rings with our executors */
    if (!*ready->provider)
        return flm__error_set(error, FLM_ENOTSUP,
                              "flmd offers no fabric, which this node needs (is its module "
                              "flm-fabric.so installed where flmd runs?)");
    int rc = agent->relay
                 ? relay_reconnect(agent->relay, flm__conn_fd(conn), ready, address, &size, error)
                 : relay_open(agent, flm__conn_fd(conn), ready, address, &size, &agent->relay, error);
    return rc < 0 ? rc : give_address(conn, address, size, deadline_ns, error);
}

/* Over this socket. */
static int greet(struct agent *agent, int fd, int64_t deadline, flm_error *error)
{
    struct flm__conn *conn = flm__conn_new_take(fd);
    if (!conn)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the connection to flmd");
    if (agent->lost_ns && !agent->relay && !flm__conn_is_unix(conn)) {
        flm__conn_free(conn);
        return flm__error_set(error, FLM_ECLOSED, "it is on another node, and our executors have no relay");
    }
    Flm__Message *ready = NULL;
    int rc = say_hello(agent, conn, deadline, &ready, error);
    if (rc == 0 && agent->lost_ns)
        rc = flm__rejoin_check(&agent->rejoin, ready->ready, error);
    if (rc == 0)
        rc = open_relay(agent, conn, ready->ready, deadline, error);
    if (rc == 0)
        flm__rejoin_learn(&agent->rejoin, ready->ready);
    if (ready)
        flm__message__free_unpacked(ready, NULL);
    if (rc < 0) {
        flm__conn_free(conn);
        return rc;
    }
    agent->manager = flm__watch_new_take(&agent->loop, conn, on_message, on_end, agent);
    return agent->manager ? 0 : flm__error_set(error, FLM_ENOMEM, "no memory for the connection to flmd");
}

int manager_connect(struct agent *agent, flm_error *error)
{
    int64_t deadline = flm__now_ns() + (int64_t)CONNECT_MS * 1000000;
    int fd = dial(agent, deadline, error);
    int rc = fd < 0 ? fd : greet(agent, fd, deadline, error);
    if (rc == 0)
        flm__watch_read(agent->manager); /* what came behind the greeting */
    return rc;
}

int manager_reconnect(struct agent *agent, flm_error *error)
{
    int64_t deadline = flm__now_ns() + (int64_t)RECONNECT_MS * 1000000;
    int fd = flm__rejoin_dial(&agent->rejoin, deadline, error);
    return fd < 0 ? fd : greet(agent, fd, deadline, error);
}
