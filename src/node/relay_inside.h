/* node/relay_inside.h - what relay.c, relay_tasks.c, relay_blob.c, relay_shared.c, relay_common.c and
 * relay_objects.c share. */
#ifndef FLM_NODE_RELAY_INSIDE_H
#define FLM_NODE_RELAY_INSIDE_H

#include "net/blob_pool.h"
#include "net/fabric.h"
#include "net/ring.h"
#include "node/agent.h"
#include "node/relay.h"
#include "wire/record.h"

struct pull;

enum { RELAY_LANE_BITS = 12 }; /* of a record's lane: the slot; the rest is the life */

/* A large output that its executor has announced and not yet sent the record of. */
struct announced {
    struct announced *next;
    uint64_t id, size;
    int fd;
    bool reused;
};

/* A large input that an executor may be reading. */
struct given {
    struct given *prev, *next;
    uint64_t task;
    uint32_t session;
    struct flm__room room;
};

struct lane {
    struct flm__link *ring; /* NULL: closed */
    uint32_t life;
    bool draining; /* the executor is dead, its last results are on their way */
    bool dirty;    /* something was put in the ring since the last flush */
    bool awaits;   /* a result waits for the announcement of its payload */
    bool broken;   /* the executor wrote nonsense */
    uint64_t relayed;
    uint64_t put;                          /* tasks of this life that are in the ring */
    uint64_t returned_from, returned_upto; /* tasks that will not be run: from + 1 .. upto */
    /* Records that wait: for a payload, or for room in the ring. */
    char *held;
    size_t held_start, held_end, held_room;
    struct pull *pull;   /* of the first record in held */
    int64_t waits_since; /* that has an input with its client, and waits for it since then; 0: it has not */
    bool unreadable;     /* it cannot be had there: flmd was told, and calls the task back */
    struct given *given; /* large inputs that the executor has, in the order of their tasks */
    struct announced *announced;
};

/* A large output that flmd may read. */
struct exposed {
    struct exposed *next;
    uint64_t id, size;
    unsigned lane;
    uint32_t life;     /* not 0: of the executor that uses this memory again */
    uint64_t original; /* its id there */
    const void *map;
    int fd; /* of one that is to become an object; else -1 */
    struct flm__region *region;
};

/* A client that has inputs of tasks. */
struct source {
    struct source *next;
    uint64_t number;        /* flmd's */
    struct flm__link *link; /* NULL: not yet, or it was cut */
    uint64_t reading;       /* bytes that are asked for, one after the other */
    int64_t done_ns;        /* when some of it had come last */
    size_t size;            /* of its */
    unsigned char address[];
};

struct relay {
    struct agent *agent;
    const struct flm__fabric_ops *ops;
    struct flm__fabric *fabric;
    struct flm__link *link; /* to flmd; NULL, and no fabric: it is lost */
    struct lane *lanes;
    unsigned n_lanes;
    unsigned first;                    /* lane that is looked at first in the next turn */
    int bell;                          /* executors ring it */
    uv_poll_t bell_poll, *fabric_poll; /* fabric_poll NULL: none */
    uv_timer_t fabric_timer;           /* for a provider without a descriptor */
    bool blocked;                      /* results wait for room on the link to flmd */
    uint64_t blob_ids;
    struct exposed *exposed;
    struct shared *shared; /* of relay_shared.c */
    struct pull *pulls;
    struct source *sources;
    struct flm__blob_pool pool; /* for inputs */
    struct flm__blob_maps maps; /* of outputs */
    struct object *objects;     /* of relay_objects.c */
    uint64_t object_bytes;
    unsigned n_objects;
    struct question *questions;
};

static inline unsigned relay_lane_index(const struct relay *r, const struct lane *l)
{
    return (unsigned)(l - r->lanes);
}

static inline uint16_t relay_lane_tag(const struct relay *r, const struct lane *l)
{
    return (uint16_t)(relay_lane_index(r, l) | (l->life & 15) << RELAY_LANE_BITS);
}

static inline void relay_fail_lane(struct relay *r, struct lane *l, const char *text)
{
    slot_fail(&r->agent->slots[relay_lane_index(r, l)], text);
}

/* ---- relay_tasks.c ----------------------------------------------------------------------------- */

static inline bool relay_holds(const struct lane *l)
{
    return l->held_start < l->held_end;
}

/* Takes what flmd has sent; true if there was anything. */
bool relay_move_tasks(struct relay *relay);
/* Goes on with what a lane holds; true if anything moved. */
bool relay_release_held(struct relay *relay, struct lane *lane);
/* Gives up an input that its client does not let us read. */
void relay_lane_look(struct relay *relay, struct lane *lane, int64_t now_ns);
/* The lane is closed. */
void relay_drop_held(struct relay *relay, struct lane *lane);

/* ---- relay_blob.c ------------------------------------------------------------------------------ */

/* A link on which we only read, so its keys are nobody's. */
int relay_connect(const struct relay *relay, const void *address, size_t size, struct flm__link **out,
                  flm_error *error);

/* Where a payload is read. */
struct pull_source {
    const void *node; /* fabric address of another node that has it; */
    size_t node_size; /* 0: flmd, or */
    uint64_t client;  /* the client with this number */
    uint64_t address, key;
    struct pull *base;    /* done, and like it but for these bytes, so only they are read; NULL: none */
    size_t offset, bytes; /* what is read */
};

/* Payloads come by RMA into a blob of ours. */
struct pull {
    struct pull *next;
    struct relay *relay;
    struct flm__room room;
    size_t size;
    bool done, orphaned; /* orphaned: nobody wants it any more, it frees itself when done */
    int status;
    void (*on_done)(struct pull *pull); /* NULL: somebody looks at `done` */
    void *owner;
    bool ours;              /* no executor has been told of it: an input, until it is passed on */
    bool tell;              /* flmd waits to hear that its memory has been read */
    bool given_up;          /* flmd was told that it could not be */
    struct flm__link *link; /* to another node, from which it comes, ours; NULL: from flmd */
    bool copying;           /* its base, on another thread; what is read comes after that */
    unsigned held;          /* so many are copying it */
    uv_work_t work;
    struct pull_source from; /* its node is that one here: */
    char node[FLM__FABRIC_ADDRESS_MAX];
    unsigned lane;
    uint64_t id;
};

/* NULL: no memory, or flmd's reference is nonsense; error filled. */
struct pull *relay_pull_start(struct relay *relay, uint64_t size, uint64_t address, uint64_t key,
                              flm_error *error);
struct pull *relay_pull_from(struct relay *relay, const struct pull_source *from, uint64_t size,
                             flm_error *error);
/* One of what is here already, mapped; takes fd. NULL: no memory. */
struct pull *relay_pull_done(struct relay *relay, int fd, size_t size);
void relay_pull_drop(struct pull *pull); /* NULL is allowed */
/* An input that its client does not let us read: as relay_pull_drop, and flmd hears it. */
void relay_pull_give_up(struct pull *pull, int code);
/* The fabric is about to be closed: so are the links to other nodes. */
void relay_pull_cut(struct relay *relay);
/* The executor has been told of the input in pull, which is dropped. */
void relay_pull_given(struct pull *pull, struct lane *lane, const struct flm__record *task);
/* The executor has answered a task: its input, if that was large, is used again. */
void relay_input_over(struct relay *relay, struct lane *lane, const struct flm__record *result);
void relay_forget_given(struct lane *lane);
/* flmd hears this once for each task with a large payload that it sent us, also if the payload was of no
 * use any more. code < 0: its client cannot be read, and the task waits. */
void relay_tell_done(struct relay *relay, unsigned lane, uint64_t id, int code);

/* Makes the announced output `ref` readable by flmd, and fills in what flmd needs. becomes_object: it may
 * be kept here. 1 done, 0 it has not been announced yet, or an error. */
int relay_expose(struct relay *relay, struct lane *lane, struct flm__blob_ref *ref, bool becomes_object,
                 flm_error *error);
void relay_forget_announced(struct lane *lane);
void relay_conceal_all(struct relay *relay);

/* ---- relay_sources.c --------------------------------------------------------------------------- */

/* Whether flmd has told us where the client with this number is. */
bool relay_source_known(const struct relay *relay, uint64_t number);
/* A link to it, over which so many bytes are to be read. FLM_ENOTFOUND: we have not been told. */
int relay_source_link(struct relay *relay, uint64_t number, size_t bytes, struct flm__link **out,
                      flm_error *error);
/* It was read from, or so it was meant. */
void relay_source_done(struct relay *relay, uint64_t number, size_t bytes);
/* It is silent: what is being read from it fails. */
void relay_source_cut(struct relay *relay, uint64_t number);
/* Whether nothing has come from it for so long since then that nothing will. */
bool relay_source_silent(const struct relay *relay, uint64_t number, int64_t since_ns, int64_t now_ns);
/* The fabric is about to be closed. */
void relay_sources_cut(struct relay *relay);

/* ---- relay_shared.c ---------------------------------------------------------------------------- */

/* Common data or an object: one version. */
struct shared {
    struct shared *prev, *next; /* in relay->shared */
    struct relay *relay;
    uint64_t id;                /* flmd's; 0: it knows nothing of it any more */
    uint64_t size, number;      /* number: of the last reference to it */
    uint64_t attempt;           /* at reading it */
    unsigned users;             /* slots that wait for it or have it, and objects */
    struct pull *pull;          /* NULL: there is no source yet */
    bool ready;                 /* it is here */
    struct flm__region *region; /* exposed */
    char why[200];              /* it could not be read: behind "the common data" */
};

/* One more uses it. NULL: no memory. */
struct shared *relay_shared_get(struct relay *relay, const Flm__BlobRef *ref);
/* The same of a payload that is here, and is an object from now on; takes fd (-1: it is not here any more).
 * NULL: no memory, flmd has been told. */
struct shared *relay_shared_keep(struct relay *relay, const Flm__BlobDone *done, int fd, uint64_t size);
/* The fabric is about to be closed: nobody can read it here any more. */
void relay_shared_conceal(struct relay *relay);
/* flmd is lost: its numbers mean nothing to the next one. */
void relay_shared_retire(struct relay *relay);

/* It is there (ready), or cannot be had: whoever of relay_common.c and relay_objects.c waits for it is
 * told, and leaves it where it cannot be had. */
void relay_common_arrived(struct shared *shared);
void relay_objects_arrived(struct shared *shared);

/* ---- relay_objects.c --------------------------------------------------------------------------- */

/* A payload is a version of an object from now on; takes fd (-1: it is not here any more). */
void relay_object_keep(struct relay *relay, const Flm__BlobDone *done, int fd, uint64_t size);
void relay_objects_close(struct relay *relay);

#endif
