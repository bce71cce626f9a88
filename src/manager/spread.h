/* manager/spread.h - common data and objects on their way to the nodes that relay: a tree that grows as
 * nodes have them.
 *
 * Each version of a session's common data and of an object is a blob. A node that is shown it has a place
 * in its spread:
 *
 *   WAITING  no source is free for it
 *   READING  it was told to read it from flmd or from another node
 *   HAS      it is in its memory, where at most two others at a time may read it
 *
 * flmd itself gives only while fewer than two others have it or are about to: so it sends two copies, and
 * more only after losses. The nodes decide nothing: they read where they are told to, say when they have
 * it, and when they need it no more (SharedGone), and keep it until nobody reads it there (SharedFree).
 *
 * References that nodes are shown are numbered. SharedGone names the last one that the node has seen: if
 * flmd has sent another meanwhile the node is about to use it again, or to say SharedGone of that one too.
 *
 * A place that is WAITING or READING holds the blob, one that HAS does not. So a spread lives as long as
 * its blob, and when that is no more nobody reads from any place.
 */
#ifndef MANAGER_SPREAD_H
#define MANAGER_SPREAD_H

#include "manager/blob_store.h"
#include "manager/node.h"

enum spread_state { SPREAD_WAITING, SPREAD_READING, SPREAD_HAS };

struct spread;

struct spread_place {
    struct spread_place *prev, *next;
    struct node *node;
    enum spread_state state;
    struct spread_place *source; /* READING: NULL: flmd */
    char from[128];              /* its name, once it has read; "": flmd */
    uint64_t shown;              /* number of the last reference */
    uint64_t attempt;            /* at reading it, what the last source was given as */
    int64_t since;               /* it reads */
    unsigned failures;           /* of reads from other nodes */
    unsigned avoid;              /* number + 1 of the node from which it could not read; 0: none */
    unsigned readers;
    bool open;    /* HAS: others can read it there */
    bool leaving; /* it needs it no more */
    uint64_t address, key;
    uint64_t bytes; /* that it has read */
};

/* What a message for an executor of the node says of the blob: fills ref but for its version. When that is
 * sent, spread_shown. */
void spread_show(struct blob *b, struct node *n, Flm__BlobRef *ref);
void spread_shown(struct blob *b, struct node *n);

/* The node has made it: it is as if it were reading it from flmd, nothing of it, until it says whether
 * others can read it there. Returns the number for the message that says so; 0: no memory. */
uint64_t spread_keep(struct blob *b, struct node *n);

/* Messages of a node. */
void spread_read(struct node *n, const Flm__SharedAt *at);
void spread_unused(struct node *n, const Flm__SharedGone *gone);

void spread_node_gone(struct manager *m, const struct node *n);
/* Every now and then: a node that has read from another for too long is told to read elsewhere. */
void spread_look(struct manager *m);

/* Where the blob is, for people: fills all of *v but its version, and returns what is to be freed then.
 * NULL: no memory. */
Flm__CommonPlace *spread_view(const struct blob *b, Flm__CommonView *v);

/* Whether the node has read it all, or made it, and keeps it. */
bool spread_has(const struct blob *b, const struct node *n);
/* Bytes that flmd has sent of it to nodes. */
uint64_t spread_sent(const struct blob *b);

/* The blob is no more. */
void spread_end(struct blob *b);

#endif
