/* manager/peer.h - one connection to flmd: a client or an agent, or somebody who has not said yet.
 *
 * peer.c greets (server side of net/handshake.h) and reads messages; client.c and node.c answer them.
 */
#ifndef MANAGER_PEER_H
#define MANAGER_PEER_H

#include "manager/manager.h"

enum peer_state { PEER_NEW, PEER_CHALLENGED, PEER_CLIENT, PEER_NODE, PEER_GONE };

/* A large payload that the peer has announced and no record has claimed. */
struct arrived_blob {
    uint64_t id;
    uint64_t size;
    int fd;
    bool reused;
    bool lent;         /* by a client that has to hear when it is not read any more */
    struct blob *blob; /* fd is -1: what it is already */
    UT_hash_handle hh;
};

/* Adds one to a table, with fd or blob (which is held); false: no memory. */
bool arrived_blob_add(struct arrived_blob **table, const struct arrived_blob *blob);
void arrived_blob_drop(struct arrived_blob **table, struct arrived_blob *blob);

/* A large payload exposed to the peer until it says that it has read it. */
struct kept_blob {
    uint64_t id;
    struct blob *blob;
    UT_hash_handle hh;
};

/* Where a peer of the fabric is reached. */
struct peer_address {
    size_t size;
    unsigned char bytes[];
};

struct peer {
    struct peer *prev, *next;
    struct manager *manager;
    enum peer_state state;
    const char *doomed; /* why it ends at the end of this turn; NULL: it does not */
    struct flm__conn *conn;
    uv_poll_t poll;
    int watched; /* events the poll is set to */
    int64_t since;
    char name[64];
    int pid;
    uint64_t incarnation;
    unsigned char peer_nonce[FLM__NONCE], my_nonce[FLM__NONCE];
    Flm__Hello *hello; /* until it is greeted; points into hello_message */
    Flm__Message *hello_message;
    struct auth_work *auth_work; /* its challenge or proof is being worked on, see auth.c */
    uint64_t key_in, key_out;

    struct flm__link *link; /* data plane of a client, or of a relay */
    bool link_needs_flush;
    bool draining; /* its link is being read, which must not begin again inside of that */
    bool stalled;  /* the next record has to wait: for its payload, or until results are taken */
    struct arrived_blob *blobs;
    struct kept_blob *kept;

    /* of a client */
    uint64_t number;              /* of all clients that there have been; key of the hash */
    UT_hash_handle hh;            /* in manager->clients */
    struct peer_address *address; /* NULL: it has no fabric link, or nobody can read there */
    bool not_direct;              /* some node could not */
    uint64_t unreadable;          /* number of a node on which it could not read, either, and 1; 0: none */
    int unreadable_code;          /* why, until that is said, */
    int64_t unreadable_ns;        /* and since when */
    struct session *attached;     /* list by session->next_attached */
    struct session *blocked;      /* sessions with results in their outbox, list by next_blocked */
    bool wants_room;              /* the link has no room for some of these */
    struct deferred *deferred;    /* requests that wait for tasks still on the line */
    unsigned n_deferred;
    struct object_patch *patches;        /* that are being made, see object_patch.c */
    struct client_wait *object_waits;    /* requests about objects that wait, see object_wait.c */
    struct common_read *common_reads;    /* requests whose common data are being read */
    struct common_patch *common_patches; /* patches of common data, and what waits behind them */
    /* of an agent */
    struct node *node;
};

/* Accepts a connection. */
void peer_accept(struct manager *m, int fd);

/* Who it is is known: answers its greeting. */
void peer_welcome(struct peer *p);

/* Reads what the peer has sent and acts on it; used when data-plane records refer to something that
 * comes on the control connection. May end the peer: look at state afterwards. */
void peer_read(struct peer *p);

/* Sends a message. A peer that cannot be told what it must know is doomed: nothing is ended inside of
 * this call, so it can be made anywhere. */
int peer_send(struct peer *p, const Flm__Message *message, const int *fds, unsigned n_fds);
/* The same where the message can be sent again later: only a closed connection dooms the peer. */
int peer_try_send(struct peer *p, const Flm__Message *message, const int *fds, unsigned n_fds);

/* Ends the connection at the end of this turn of the loop; why lives as long as the peer. */
void peer_doom(struct peer *p, const char *why);

/* Ends the connection now, with all that hangs on it: callers hold no session, executor or node whose
 * state they rely on. The peer is freed in the next turn of the loop. */
void peer_end(struct peer *p, const char *why);

/* Tells the peer why and ends the connection now. */
void peer_refuse(struct peer *p, int code, const char *text);

/* Frees those that ended. */
void peer_reap(struct manager *m);
/* Ends those whose fabric link has failed. */
void peer_check_links(struct manager *m);

/* Whether the blob has been announced. */
bool peer_has_blob(const struct peer *p, uint64_t id);
/* Takes an announced blob, which has size bytes. NULL: it has not come, or is not as announced; error
 * filled. */
struct blob *peer_take_blob(struct peer *p, uint64_t id, uint64_t size, flm_error *error);

/* Keeps a blob until the peer says BlobDone. Takes the reference. False: there is no memory, so it stays
 * exposed, and the reference the caller's, who may leave it until the instance ends. */
struct blob;
bool peer_keep_blob(struct peer *p, struct blob *blob);

/* The client with this number; NULL: it is gone. */
struct peer *peer_client(const struct manager *m, uint64_t number);
/* A client (NULL: it is gone) hears that its input is not read any more; in_use: some executor may do so.
 */
void peer_input_done(struct peer *p, uint64_t id, bool in_use);

/* The peer's fabric address has come: makes its link. */
void peer_connect_fabric(struct peer *p, const Flm__Request *r);

#endif
