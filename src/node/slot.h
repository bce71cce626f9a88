/* node/slot.h - one lane of the node: the processes that follow each other in it, one life after another.
 *
 * The states and their edges are drawn in slot.dot; a test compares the drawing with slot_may.
 */
#ifndef FLM_NODE_SLOT_H
#define FLM_NODE_SLOT_H

#include "executor/status.h"
#include "net/watch.h"
#include "node/log.h"
#include "node/placement.h"

#include <sys/resource.h>

struct agent;
struct shared;
struct held_blob;

enum slot_state {
    SLOT_EMPTY,     /* no process; after a failure it waits for the next try */
    SLOT_STARTING,  /* the process has not connected yet */
    SLOT_UP,        /* it has, flmd knows it, it has no ring yet */
    SLOT_IDLE,      /* ready for a session */
    SLOT_BINDING,   /* has been told to enter one */
    SLOT_BOUND,     /* runs tasks */
    SLOT_UNBINDING, /* has been told to leave */
    SLOT_LEAVING,   /* told to end, or has closed its connection */
    SLOT_GONE,      /* the process has ended; what it had sent is being moved on */
    SLOT_STATES
};

/* What kind of process a lane holds, or is to hold. */
struct slot_kind {
    uint32_t ranks;  /* > 0: of MPI, so many, */
    bool world;      /* the process is a world of them; else it starts such a program per task (shim mpi) */
    const char *mpi; /* of a world: that of its service; NULL: not known */
    uint32_t *lanes; /* in these slots, this one first; */
    size_t n_lanes;  /* 0: it was not said */
    char *nodes, *cpus; /* of each rank, where they are on several nodes; else NULL */
    bool self;          /* the application's own program */
    void *application;  /* packed, for self: what it was started with */
    size_t application_size;
};

struct slot {
    struct agent *agent;
    const struct placement_slot *place;
    unsigned lane;
    enum slot_state state;

    /* this life */
    uint32_t life;  /* counts from 1 */
    uint64_t token; /* that only this process was given */
    pid_t pid;      /* of the process that we started; 0: none */
    struct flm__watch *watch;
    int page_fd;
    const struct flm__status_page *page;
    struct slot_kind kind;
    bool was_bound;
    bool replaced;      /* it ends to make room for another kind: not a loss */
    bool expected;      /* it was told to end */
    bool asked;         /* it has had its SIGTERM */
    uint32_t world_job; /* Open MPI's number of a world, 0: none */
    int kill_reason;    /* enum flm_reason to be told, 0: by the way it ended */
    char kill_text[400];
    int status; /* as from wait(2), once GONE */
    struct rusage usage;
    bool joined;         /* it has connected */
    char last_line[160]; /* that it wrote to stderr: until it has joined, then in this session */
    int line_weight;     /* enum line_weight in slot_failure.c */
    long inherited_kib;  /* of memory, that usage counts though they were the agent's */
    int64_t heard_ns;
    int ring_fd, ring_bell; /* of its ring with flmd, for the next one; -1: none */
    uint32_t ring_bytes;
    struct { /* after a loss of flmd, what the executor says */
        uint64_t round, began, task;
    } stock;
    struct held_blob *blobs; /* large outputs that wait for the next flmd */

    /* from life to life */
    uint32_t announced; /* life that flmd knows and was not told the end of; 0: none */
    uint32_t restarts;
    uint32_t session; /* flmd's number; 0: none */
    uint32_t serial;  /* of it in flmd's journal; 0: not durable */
    unsigned backoff_ms;
    unsigned failures;       /* lives in a row that never connected */
    Flm__Bind *bind;         /* to be given as soon as the right process is there; owned */
    int bind_fd;             /* its common data, -1: none */
    struct shared *common;   /* relay: held for the session */
    uint64_t common_version; /* that the executor was sent last; 0: none */
    Flm__Common *update;     /* relay: to be given once `coming` is there; owned */
    struct shared *coming;
    uv_timer_t timer; /* EMPTY: next try; STARTING: too slow; LEAVING: SIGKILL */
    struct log log;
    struct log_stream *out, *err;
};

bool slot_may(enum slot_state from, enum slot_state to);
const char *slot_state_name(enum slot_state state); /* "empty", ... as in slot.dot */

void slot_init(struct slot *slot, struct agent *agent, unsigned lane);
void slot_fini(struct slot *slot);

/* Starts the process that the slot should hold. */
void slot_start(struct slot *slot);

/* The executor of this life has connected and said who it is. Takes the watch. */
void slot_attached(struct slot *slot, struct flm__watch *watch, int32_t pid);

/* A message of flmd for this lane, of this life. fds as flm__watch_message_fn. */
void slot_from_manager(struct slot *slot, Flm__Message *message, int *fds, unsigned n_fds);

/* An object is past, or gone from the memory of this node: executors let go of it. */
void slots_object_gone(struct agent *agent, const char *name, uint64_t version);

/* Common data for a waiting Bind, or the newer ones of a waiting Common, have come (fd borrowed), or have
 * not (fd < 0). */
void slot_common_ready(struct slot *slot, int fd, const char *text);

/* Ends the process: reason 0 keeps what its status will tell. SIGTERM, SIGKILL after grace_ms; 0: SIGKILL
 * at once. */
void slot_end(struct slot *slot, int reason, const char *text, unsigned grace_ms);

/* Kills a process that has gone wrong; its end counts as a loss. */
void slot_fail(struct slot *slot, const char *text);

/* The process has been reaped. */
void slot_exited(struct slot *slot, int status, const struct rusage *usage);

/* The agent was told to end: so was a process that has just ended. */
void slot_end_of_job(struct slot *slot);

/* slot_back.c: flmd is lost, and the next one is there: it is told of those that survive. */
void slot_manager_lost(struct slot *slot);
bool slot_survives(const struct slot *slot);
void slot_tell_back(struct slot *slot);

/* GONE: moves on once nothing of it is left in the relay. */
void slot_drained(struct slot *slot);

/* Every ping interval: pings it if it is bound, kills it if it has been silent for the loss time. */
void slot_ping(struct slot *slot, uint64_t number, int64_t now_ns, int64_t interval_ns);

/* It runs under --executor-wrapper. */
bool slot_is_wrapped(const struct slot *slot);

/* world.c: the world's number, from a rank of it; a place for the shared memory of programs that the slot's
 * process is to start ("": there is none); and what killed ones have left in /dev/shm. */
void slot_world_learn(struct slot *slot, pid_t rank);
void slot_world_memory(const struct slot *slot, char *path, size_t size);
void slot_world_sweep(struct slot *slot);

/* slot_failure.c: what processes last wrote; lives that end before they have connected. The first is said,
 * then flmd is told. Returns after how many ms to try again; 0: as after any failure. */
unsigned slot_count_failure(struct slot *slot, const char *text);
void slot_describe_failure(const struct slot *slot, char *text, size_t size);
void slot_heed_line(struct slot *slot, const char *text, size_t n); /* of stderr */
void slot_forget_line(struct slot *slot);
/* "; its last line was: ...", or nothing. */
void slot_last_words(const struct slot *slot, char *text, size_t size);
void slot_has_joined(struct slot *slot);
void slot_try_now(struct slot *slot); /* if it waits for long */

/* slot_start.c: the process of the next life; fills what belongs to it. */
int slot_launch(struct slot *slot, flm_error *error);
int slot_kind_set(struct slot_kind *kind, const Flm__Bind *bind); /* bind NULL: flm-executor */
bool slot_kind_fits(const struct slot_kind *kind, const Flm__Bind *bind);
void slot_kind_clear(struct slot_kind *kind);

#endif
