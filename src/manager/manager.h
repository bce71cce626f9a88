/* manager/manager.h - the session manager as a whole: what its parts share.
 *
 * One thread owns everything here. How a task travels:
 *   inbound.c   a client's link -> its session's queue
 *   dispatch.c  the queue -> the link of an executor bound to the session
 *   outbound.c  the executor's result -> the client's link, or the session's outbox when that is full;
 *               a large output comes through output.c
 * Who is bound to which session is scheduler.c's; nodes and executors come in node.c and executor.c, what
 * becomes of the tasks of those that go is executor_loss.c's; everything a person can ask is in verbs.c
 * and verbs_session.c.
 */
#ifndef MANAGER_MANAGER_H
#define MANAGER_MANAGER_H

#include "base/hash.h"
#include "manager/options.h"
#include "manager/say.h"
#include "net/address.h"
#include "net/conn.h"
#include "net/blob_pool.h"
#include "net/fabric.h"
#include "net/handshake.h"
#include "net/link.h"

#include <uv.h>

struct session;
struct executor;
struct node;
struct peer;
struct application;
struct backend;
struct block;
struct log_question;
struct durable;
struct rejoin;

enum { MANAGER_EXECUTORS_MAX = 65536 };

struct manager {
    struct options options;
    uv_loop_t uv;
    bool uv_is_made;
    uv_poll_t bell_poll, fabric_poll;
    uv_timer_t tick, heartbeat, second_look, hopeless_timer;
    bool tick_on, fabric_polled;
    unsigned tick_ms;
    int bell; /* eventfd: every ring peer rings this one */

    char instance[40];
    char endpoints[1024]; /* as clients reach it, separated by commas */
    char own_address[FLM__ADDRESS_TEXT];
    bool own_address_asked;
    struct flm__secret secret;
    int64_t started_ns;
    uint64_t refused; /* strangers at the control ports */
    uint64_t tasks;   /* finished, of all sessions */
    uint64_t incarnation;
    uint64_t births; /* of executors */

    struct listener *listeners;
    struct peer *peers; /* all connections */
    struct application *applications;
    struct session *sessions; /* by id */
    struct session **session_by_number;
    uint32_t session_numbers; /* room */
    uint32_t next_session;
    unsigned sweeping; /* sessions, see session_sweep */
    struct node *nodes;
    struct unread *unread;       /* by id */
    struct peer *clients;        /* by number */
    uint64_t next_client;        /* so many there have been */
    struct executor **executors; /* by id, dense, NULL holes never: an executor is a lane */
    unsigned n_executors;
    struct backend *backend;
    struct tables *tables;   /* NULL: there are none */
    struct durable *durable; /* NULL: without --state-dir */
    struct rejoin *rejoin;   /* NULL: nothing outlives us */
    struct block *blocks;    /* of blocks.c */
    uint64_t block_numbers;  /* the last */
    struct {                 /* of block_jobs.c */
        bool can, can_comment;
        uv_timer_t look;
        unsigned slots;    /* of one, as the last one had */
        unsigned failures; /* in a row */
        int64_t not_before_ns;
        char trouble[300]; /* the last one's */
    } jobs;
    struct log_question *logs; /* waiting for answers of nodes */
    uint64_t log_questions;

    const struct flm__fabric_ops *fabric_ops;
    struct flm__fabric *fabric;
    struct flm__blob_pool blob_pool; /* what was read from peers, for the next */
    struct flm__blob_maps blob_maps; /* of memory that others use again */
    uint64_t next_blob;
    struct spread *spreads;              /* by their blob: spread.c */
    struct spread *spreading;            /* of these, those that nodes are to read: spread.c */
    struct object *objects;              /* by name: objects.c */
    uint64_t object_bytes, object_floor; /* versions up to this were those of deleted ones */
    uint64_t objects_moved;              /* counts: a node has got one, or has one no more */
    struct spill *spill;                 /* NULL: without --object-spill */
    unsigned object_waits;               /* of object_wait.c */
    unsigned nodes_come;                 /* so many agents, since the beginning */

    int64_t now;     /* monotonic ns, refreshed once per turn of the loop */
    bool reap;       /* some peers have ended, or are doomed */
    bool forget;     /* a session has closed: the oldest closed ones may go at the end of the turn */
    bool claims;     /* of group.h: there are some */
    bool spilling;   /* spill_turn has something to do */
    bool schedule;   /* the scheduler should run before the next sleep */
    bool stopping;   /* shutting down */
    bool hopeless;   /* a private instance that will have no executor ends soon */
    bool stop;       /* leave the loop */
    int64_t stop_at; /* leave it then at the latest */
    int exit_status;
    struct say_limit losses; /* lines about executors that ended */
};

/* Finds m->own_address, by which other nodes reach this one, the first time: that may ask the DNS, so it is
 * done before the loop where it will be needed. False: there is none. */
bool manager_own_address(struct manager *m);

/* Opens the fabric if it is not open; NULL: error says why. */
struct flm__fabric *manager_fabric(struct manager *m, flm_error *error);

/* Clients can connect and the backend is there: tells whoever started flmd. */
void manager_ready(struct manager *m);
/* Begins to end everything: sessions cancelled, agents told. */
void manager_stop(struct manager *m, const char *why);

/* Tells the loop that time matters now: the scheduler runs each tick while there is work. */
void manager_want_tick(struct manager *m);

#endif
