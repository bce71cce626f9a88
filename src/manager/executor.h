/* manager/executor.h - an executor as flmd sees it: a lane of a node, the process that lives in it now,
 * the session it is bound to, and the tasks it was sent and has not answered. State machine:
 * executor.dot; messages: doc/protocol.md.
 */
#ifndef MANAGER_EXECUTOR_H
#define MANAGER_EXECUTOR_H

#include "manager/node.h"
#include "manager/queue.h"
#include "manager/session.h"

enum executor_state {
    EXECUTOR_VOID,      /* a slot without a process */
    EXECUTOR_IDLE,      /* attached, no session */
    EXECUTOR_BINDING,   /* told to enter a session */
    EXECUTOR_BOUND,     /* runs tasks of it */
    EXECUTOR_UNBINDING, /* told to leave it, or about to be */
    EXECUTOR_RELEASED,  /* its node is gone */
};

/* A task that was sent and not answered. */
struct inflight {
    struct task_ref ref;
    uint64_t number; /* in the life of the executor */
};

enum { EXECUTOR_INFLIGHT_MAX = 4096 };

struct executor {
    unsigned id;
    enum executor_state state;
    struct node *node;
    uint32_t lane, life;
    int pid;
    char cpus[128];
    unsigned cores, restarts;
    struct flm__link *link;  /* own ring; NULL where the node relays */
    bool stalled;            /* a result waits for its blob on the control connection */
    bool starved;            /* a result waits for memory */
    struct blob *claimed;    /* the blob of that result */
    uint64_t common_version; /* of its session's common data, that it has or was told of */
    bool updating;           /* it was told of newer ones, and is sent no task until it has answered */
    /* It comes from an earlier session manager, and until it has said that all that it had begun there is
     * answered (SETTLED) it is sent nothing. RESTS: until the others have come. */
    enum { BACK_NO, BACK_RUNS, BACK_RESTS } back;
    uint64_t back_round;
    uint64_t birth; /* of this process, among all that there have been */
    /* group.h */
    unsigned ranks;               /* of the world that lives in its slot; 0: none */
    bool spread;                  /* these are on as many nodes as can be */
    struct executor *lent_to;     /* its slot is part of that one's world; NULL: it is not */
    struct executor *lent_before; /* the last one; to be compared only */
    bool earmarked;               /* by group_claim, in this run of the scheduler */
    bool torn;                    /* a node of its world is lost, and it was killed for that */
    struct session *session;
    unsigned bound_index; /* in session->bound */
    int place;            /* in session->places; -1: not known */
    uint64_t done_before; /* the session */
    int64_t busy_ns;      /* on tasks of the session that it has answered */

    struct inflight *inflight; /* ring of what is not answered; room is a power of two and grows */
    uint32_t first, n, room;
    uint64_t sent;     /* number of the last task sent in this life */
    uint64_t received; /* results received in this life */
    uint32_t bytes;    /* of records not answered */
    uint32_t limit_bytes;
    unsigned depth;            /* how many may be unanswered: adapts to the duration of tasks */
    double task_ns;            /* duration of a task, smoothed; 0: not known */
    int64_t since_ns;          /* when the last result came, or the first task was sent */
    int64_t bound_ns, idle_ns; /* bound since; without a task since (0: it has one) */
    int64_t served_ns;         /* its time is charged to the session up to here */
    bool recalling;            /* waits for Returned */
    bool leaving;              /* Unbinding, and Unbind is not yet sent */
    int64_t kill_ns;           /* killed then if it still has a task; 0: never */
    int kill_reason;
    /* what is known of its death while results of it are still on the way */
    bool dying;
    struct {
        uint64_t began, relayed;
        int reason, code;
        bool expected;
        struct flm__usage usage;
        char text[400];
    } death;
    char *trouble; /* why none could be started, some times in a row; NULL: nothing of the kind */
    uint64_t done;
    struct arrived_blob *blobs; /* announced outputs */
    struct events events;
    uint64_t told_events; /* of tables.c */
};

struct executor *executor_new(struct manager *m, struct node *node, const Flm__Slot *slot);

/* The one with this id, if it still is the process of that birth, and its agent is there; else NULL. */
struct executor *executor_of(const struct manager *m, unsigned id, uint64_t birth);

/* Messages of its agent. */
void executor_up(struct executor *e, const Flm__ExecutorUp *up);
void executor_lost(struct executor *e, const Flm__ExecutorLost *lost);
void executor_bound(struct executor *e, const Flm__Bound *bound);
void executor_bind_failed(struct executor *e, const Flm__BindFailed *failed);
void executor_unbound(struct executor *e);
void executor_returned(struct executor *e, const Flm__Returned *returned);
void executor_common_taken(struct executor *e, const Flm__CommonTaken *taken); /* common.c */

/* survivor.c: executors that come from an earlier session manager. */
void executor_back(struct executor *e, const Flm__ExecutorBack *back, const int *fds, unsigned n_fds);
/* One of them sends something that is not the answer to what we sent. CLAIMED: now it is. */
enum survivor { SURVIVOR_LIES, SURVIVOR_CLAIMED, SURVIVOR_PASSED, SURVIVOR_WAITS };
enum survivor survivor_sent(struct executor *e, const struct flm__record *r, const char *record);
/* All have come that will. */
void survivors_go_on(struct manager *m);

/* failed_start.c */
void executor_failed(struct executor *e, const Flm__ExecutorFailed *failed);
void executor_forget_trouble(struct executor *e);
const char *node_trouble(const struct node *n); /* none of its executors can be started; NULL: not so */

/* The scheduler's. */
int executor_bind(struct executor *e, struct session *s);
void executor_unbind(struct executor *e); /* takes back what has not begun, then leaves */
void executor_recall(struct executor *e);
/* The same, but a task whose input is being read there counts as begun. */
void executor_unbind_later(struct executor *e);
void executor_recall_rest(struct executor *e);
void executor_kill(struct executor *e, int reason, const char *text);
/* Asked to end when its task is done; nobody is to blame. */
void executor_send_home(struct executor *e, const char *text);
/* The task with this number in its life is to stop. */
void executor_cancel(struct executor *e, uint64_t number);
/* It does not keep to the protocol: killed. */
void executor_lies(struct executor *e, const char *what);

/* The node is gone: everything that it had goes back. */
void executor_node_gone(struct executor *e, int reason, const char *text);

/* Called when something was answered: finishes what waited for that. */
void executor_settle(struct executor *e);

/* It may be sent tasks of its session. */
static inline bool executor_takes_tasks(const struct executor *e)
{
    return e->state == EXECUTOR_BOUND && !e->dying && !e->updating && !e->recalling && !e->node->drained;
}

/* The link that its records take, and the lane in them. */
static inline struct flm__link *executor_link(const struct executor *e)
{
    return e->link ? e->link : e->node->peer->link;
}
static inline uint16_t executor_wire_lane(const struct executor *e)
{
    return (uint16_t)((e->lane & 0xfff) | (e->life & 15) << 12);
}
static inline struct inflight *executor_inflight(struct executor *e, uint32_t i)
{
    return &e->inflight[(e->first + i) & (e->room - 1)];
}
/* Makes room for more, up to EXECUTOR_INFLIGHT_MAX. False: no memory. */
bool executor_grow_inflight(struct executor *e);

const char *executor_state_name(const struct executor *e);
void executor_free(struct executor *e);

#endif
