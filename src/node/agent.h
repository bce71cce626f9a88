/* node/agent.h - the node agent: one connection to flmd, one slot per lane, one thread.
 *
 * agent.c has the loop and the end; manager_side.c what flmd says, rejoin.c what happens when it is lost;
 * attach.c how executors come in; slot.c the life of a lane; relay.c moves records where there is no ring
 * between flmd and executors.
 */
#ifndef FLM_NODE_AGENT_H
#define FLM_NODE_AGENT_H

#include "net/watch.h"
#include "base/oom.h"
#include "net/rejoin.h"
#include "node/options.h"
#include "node/slot.h"

#include <uv.h>

struct relay;
struct attach;

struct agent {
    const struct node_options *options;
    uv_loop_t loop;
    struct placement placement;
    struct slot *slots; /* one per lane */
    unsigned n_slots;
    char directory[108];        /* of our socket */
    bool own_directory;         /* we made it */
    int directory_lock;         /* open and locked while it is ours */
    char socket[128];           /* "unix:PATH", for executors */
    char executor[4096];        /* the program */
    struct flm__watch *manager; /* NULL: lost, and perhaps there will be another (rejoin.c) */
    struct flm__rejoin rejoin;
    int64_t lost_ns; /* then it was; 0: it is there */
    uint64_t losses;
    uv_timer_t rejoining;
    struct relay *relay; /* NULL: flmd has rings with our executors */
    struct attach *attach;
    struct flm__oom oom;
    uint64_t log_lines; /* number of the last */
    uv_timer_t pings, ending, finishing;
    uv_signal_t on_child, on_term, on_int, on_hup;
    uint64_t ping;
    bool stopping, killed, stopped;
    int64_t finish_ns; /* until then what runs may be finished; 0: nobody has asked to end */
    unsigned failures; /* executors in a row, of all slots, that never joined */
    unsigned signals;  /* to end, that we got */
    int status;        /* of the process */
    char why[256];     /* it ends */
};

/* FLM_ECLOSED: flmd is ending already. */
int agent_init(struct agent *agent, const struct node_options *options, flm_error *error);
/* Runs until the end; returns the exit status. */
int agent_run(struct agent *agent);
void agent_fini(struct agent *agent);

/* Begins the end: executors get SIGTERM, after two seconds SIGKILL. */
void agent_stop(struct agent *agent, int status, const char *format, ...) FLM_PRINTF(3, 4);

/* Sends to flmd; it does not matter when flmd is gone. */
void agent_tell(struct agent *agent, const Flm__Message *message, const int *fds, unsigned n_fds);

/* "flm-node NAME: ..." on stderr. */
void agent_say(const struct agent *agent, const char *format, ...) FLM_PRINTF(2, 3);

/* Kills what descends from executors that are gone. */
void agent_kill_strays(struct agent *agent);

/* The end of all of them, in the middle of a step of the loop: looks whether the agent may end. */
void agent_slot_empty(struct agent *agent);

/* manager_side.c: connects, says hello, opens the relay if there is to be one. */
int manager_connect(struct agent *agent, flm_error *error);
/* The same with the next session manager, after a loss. FLM_ECLOSED: it will not have us. */
int manager_reconnect(struct agent *agent, flm_error *error);

/* rejoin.c: flmd is lost. Executors in durable sessions finish what they run and hold the results, until
 * there is another session manager or the time for that is over. */
void rejoin_begin(struct agent *agent, const char *why);

/* attach.c: the socket that executors connect to. */
int attach_open(struct agent *agent, flm_error *error);
void attach_close(struct agent *agent);
/* Before a process is started that is to come in: if its way in was removed there is another, elsewhere. */
int attach_renew(struct agent *agent, flm_error *error);

#endif
