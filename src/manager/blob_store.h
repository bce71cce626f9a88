/* manager/blob_store.h - large payloads and common data that flmd holds: counted, in memfds. */
#ifndef MANAGER_BLOB_STORE_H
#define MANAGER_BLOB_STORE_H

#include "manager/manager.h"
#include "net/blob_pool.h"
#include "wire/record.h"

struct blob {
    uint64_t id; /* in this instance */
    uint64_t size;
    int fd;
    unsigned refs;
    bool reused;           /* who made it puts others there later: its mapping is kept */
    bool remote;           /* it is with a client: see direct.h. No fd; address and key are the client's */
    bool shown;            /* another process has its descriptor: it is not ours to use again */
    const void *map;       /* when it was needed here */
    struct flm__room room; /* read by us: its memory, which is used again; else fd is -1 */
    struct {
        unsigned executor;
        uint64_t birth, id;
        bool copied; /* what we have was read from there, and its agent hears it */
    } origin;        /* birth not 0: the executor that is to hear when it is done with */
    struct {
        uint64_t client, id;    /* numbers of the client, and its own of the blob */
        unsigned looking;       /* executors on our node that have it, and have not answered */
    } lender;                   /* client not 0: it is to hear when its input is done with */
    struct flm__region *region; /* exposed to relays and remote clients */
    uint64_t address, key;
    struct {
        uint64_t base, offset, size;
    } patched;             /* base not 0: it is like that blob but for these bytes */
    struct spread *spread; /* on which nodes it is shared, see spread.h; NULL: on none */
    struct manager *manager;
};

/* The input that a client shows there. NULL: no memory. */
struct blob *blob_remote(const struct peer *client, const struct flm__blob_ref *where);
/* Takes a received memfd after checking it; NULL: fd is closed, error filled. */
struct blob *blob_take(struct manager *m, int fd, uint64_t size, bool reused, flm_error *error);
/* One with these bytes; NULL: no memory. */
struct blob *blob_make(struct manager *m, const void *data, uint64_t size, flm_error *error);
/* Maps its bytes, at ->map. False: no memory. */
bool blob_map(struct blob *b, flm_error *error);
struct blob *blob_hold(struct blob *b);
void blob_release(struct blob *b); /* NULL is allowed */

/* Makes it readable for peers by RMA. */
int blob_expose(struct blob *b, flm_error *error);

/* Reads a blob from a peer by RMA. done gets the blob (to own), or NULL and the error. Returns 0 or an
 * error, then done is not called. */
typedef void blob_fetched_fn(void *arg, struct blob *blob, int status);
int blob_fetch(struct manager *m, struct flm__link *link, const struct flm__blob_ref *ref,
               blob_fetched_fn *done, void *arg);

/* The reference to be sent to a peer: as a memfd announced to it, or as exposed memory. */
int blob_offer(struct blob *b, struct peer *to, uint32_t lane, uint32_t life, struct flm__blob_ref *ref);
/* The same for an output, to a client, which says BlobDone where the memory is exposed or used again. */
int blob_lend(struct blob *b, struct peer *client, struct flm__blob_ref *ref);
/* The client is gone without a word: it may look at it as long as it likes. */
void blob_give_up(struct blob *b);

/* An input in memory that the client uses again. */
void blob_lent_by(struct blob *b, const struct peer *client, uint64_t id);
/* An executor that has its descriptor has answered the task, and so looks at it no more. */
static inline void blob_looked_at(struct blob *b)
{
    b->lender.looking -= b->lender.looking > 0; /* not, if an earlier session manager has sent it */
}

/* Whoever made this output hears that it is not read there any more, if we have a copy. */
void blob_leave_origin(struct blob *b);
/* The same, and that it is this version of an object now, so that its memory is not used again. Whether an
 * agent was told, which has it then in memory of its node. */
bool blob_adopt(struct blob *b, const char *object, uint64_t version);

/* What a message for an executor says of one: fills ref but for its version, and returns the descriptor
 * that goes along; -1: its node relays, and is told where to read it (spread.h). Once that message is sent,
 * blob_shown. */
int blob_show(struct blob *b, const struct executor *e, Flm__BlobRef *ref);
void blob_shown(struct blob *b, const struct executor *e);

#endif
