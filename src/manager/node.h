/* manager/node.h - a node agent: its slots, its connection, whether it relays. */
#ifndef MANAGER_NODE_H
#define MANAGER_NODE_H

#include "manager/peer.h"
#include "net/fabric.h"

enum { JOB_ID_SIZE = 288 }; /* PBS: a number and the name of its server */

struct node {
    struct node *prev, *next;
    unsigned number; /* of this agent, among all that have come */
    char name[128], block[JOB_ID_SIZE];
    char own_name[128]; /* as the agent says, where two jobs share a machine */
    uint64_t block_number;
    struct peer *peer; /* NULL: gone */
    bool relay, drained;
    int64_t began_ns; /* when it came */
    int64_t end_ns;   /* of its block, of our clock; 0: none known */
    unsigned n_slots;
    unsigned undealt;                                      /* slots, in this run of the scheduler */
    struct executor **lanes;                               /* by lane */
    int64_t end_time_s;                                    /* the same since the epoch */
    unsigned char fabric_address[FLM__FABRIC_ADDRESS_MAX]; /* of a relay */
    size_t fabric_address_size;
    int64_t heard_ns; /* last sign of life of a relay */
    uint64_t ping;
    uint64_t unread_bytes; /* of outputs that clients have not read there yet, see unread.h */
    bool coming_back; /* with executors that outlived an earlier session manager: more will be said of them
                       */
};

/* For sets of nodes, where two may have the same bit: such a set says where it is best to look. */
static inline uint64_t node_bit(const struct node *n)
{
    return 1ull << (n->number % 64);
}

/* A greeted agent becomes a node. Returns an error to refuse it with. */
int node_join(struct peer *p, const Flm__Node *description, flm_error *error);

/* A message of the agent. Takes the message and its descriptors. */
void node_message(struct peer *p, Flm__Message *message, int *fds, unsigned n_fds);

/* Its fabric is reached there. */
void node_set_fabric_address(struct node *n, const Flm__Request *r);

/* The connection is gone. */
void node_gone(struct node *n, const char *why);

/* Every two seconds: ping relays, give up silent ones. */
void node_heartbeat(struct manager *m);

/* Stops giving tasks to a node, or begins again. */
void node_drain(struct node *n, bool drain);

struct node *node_by_name(struct manager *m, const char *name);
void node_free_all(struct manager *m);

#endif
