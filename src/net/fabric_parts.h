/* net/fabric_parts.h - what the files of the module flm-fabric.so share; nobody else includes this.
 *
 *   fabric.c       the table of functions, the completion queue, sleeping
 *   fabric_open.c  choosing a provider, opening and closing
 *   fabric_link.c  links: batches, credits between the two ends
 *   fabric_read.c  memory: registration, exposing, reading by RMA
 *
 * One thread owns a fabric and everything in it; nothing here locks.
 *
 * Flow control. A receive buffer that holds a batch is posted again only when the link's consumer has
 * consumed the batch, so a peer that sends without limit to a consumer that is busy would take them all.
 * Therefore each link may have at most FABRIC_WINDOW batches that the other end has not yet consumed; each
 * link brings that many receive buffers (and some for batches without records). The other end tells how
 * many it has consumed in all, in the header of its own batches, or alone in a batch without
 * records. A peer that sends more than it may is ignored from then on.
 *
 * Order. Where a batch is larger than what the provider sends eagerly, it may be complete later than a
 * smaller one sent after it. Batches with records are numbered, and the inbox has a place for each number
 * of the window.
 *
 * Loss. A provider may connect anew where its connection was cut (ofi_rxm over tcp does), and nobody hears
 * of the batches that were on the way. So whoever has batches outstanding while nothing moves asks once a
 * second, with a probe. Its answer repeats the count of batches consumed. A probe also says how many were
 * sent: who misses one of them at several probes in a row gives the link up.
 *
 * Batching. The same count tells whether the peer is busy: with fewer than FABRIC_EAGER batches
 * outstanding a flush sends at once, however little there is; above that only full batches go and the rest
 * waits for a credit. An end owes at most FABRIC_EAGER - 1 credits for batches that it has consumed, so a
 * flush never waits for a peer that has nothing to do.
 */
#ifndef FLM_NET_FABRIC_PARTS_H
#define FLM_NET_FABRIC_PARTS_H

#include "base/hash.h"
#include "net/fabric.h"

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include <utlist.h>

enum {
    FABRIC_WINDOW =
        8, /* a power of two, because numbers wrap; batches of a link that its peer has not consumed */
    FABRIC_EAGER = 2, /* below this many, a flush sends at once */
    /* Batches with credits alone that may come on top: one for each FABRIC_EAGER of the window. */
    FABRIC_LINK_BUFFERS = FABRIC_WINDOW + FABRIC_WINDOW / FABRIC_EAGER,
    FABRIC_BUFFERS = 16, /* receive buffers beside those of the links */
    FABRIC_SENDS = FABRIC_WINDOW + 1,
    FABRIC_CHUNK = 1 << 20, /* bytes of one RMA read */
    FABRIC_CHUNKS = 4,      /* reads in flight for each link */
    FABRIC_MISSED = 3,      /* probes in a row at which a batch is missing: it is lost */
};

struct fabric_link;
struct fabric_read;

enum fabric_op_kind { FABRIC_RECEIVE, FABRIC_SEND, FABRIC_CHUNK_READ };

/* What a completion points to. */
struct fabric_op {
    struct fi_context2 context; /* the provider's own; must be first */
    enum fabric_op_kind kind;
    struct fabric_link *link; /* NULL for FABRIC_RECEIVE */
};

/* A send or receive buffer. */
struct fabric_buffer {
    struct fabric_op op;
    struct fabric_buffer *next;
    struct fid_mr *mr; /* of this buffer alone, or NULL */
    void *desc;
    char *data;     /* a struct flm__batch_header and records */
    uint32_t begin; /* receiving: offset of the first record not consumed */
    uint32_t end;   /* offset behind the last record */
};

/* Receive buffers are made by the block. */
struct fabric_block {
    struct fabric_block *next;
    void *memory;
    size_t size;
    struct fid_mr *mr;
    unsigned count;
    struct fabric_buffer buffers[];
};

struct fabric_chunk {
    struct fabric_op op;
    struct fabric_read *read; /* NULL: free */
    size_t bytes;
};

struct fabric_read {
    struct fabric_link *link;
    struct fabric_read *prev, *next;
    char *dst;
    size_t size, posted, completed;
    uint64_t address, key;
    struct fid_mr *mr;
    void *desc;
    unsigned in_flight;
    int status;
    flm__fabric_done_fn *done;
    void *arg;
};

struct fabric_link {
    struct flm__link link;
    struct flm__fabric *fabric;
    uint64_t key_in, key_out;
    fi_addr_t peer;
    UT_hash_handle hh;               /* by key_in */
    struct fabric_link *prev, *next; /* in fabric->zombies */
    struct fabric_link *work_next;   /* in fabric->work */
    bool has_work;

    bool failed;        /* the line is dead, or the peer broke the rules: nothing more is sent */
    bool destroyed;     /* waits for in_flight to become 0 */
    unsigned in_flight; /* operations that the provider still holds */

    /* Sending. */
    struct fabric_buffer *filling;                /* or NULL */
    struct fabric_buffer *spare;                  /* free send buffers */
    struct fabric_buffer *credit;                 /* for batches with credits alone; NULL while in flight */
    struct fabric_buffer *made[FABRIC_SENDS + 1]; /* all that exist, the one for credits first */
    unsigned made_count;
    unsigned outstanding; /* batches sent and not yet credited */
    uint8_t number_out;   /* of the next batch */
    bool flush;           /* what is in `filling` shall leave as soon as it may */
    bool full;            /* no more fits in `filling` */
    bool stuck;           /* the provider would not take the last send; try again */
    uint32_t starved;     /* bytes of the last reserve that found no room, or 0 */
    int64_t quiet_since;  /* nothing has moved since; 0: nothing is outstanding */
    uint8_t quiet_at[2];  /* number_out and outstanding then */
    bool probe;           /* to be sent */

    /* Receiving. */
    struct fabric_buffer *inbox[FABRIC_WINDOW]; /* batch number n at n % FABRIC_WINDOW, or NULL */
    uint8_t number_in;                          /* of the batch to be consumed next */
    unsigned owed;                              /* batches consumed and not yet credited */
    uint64_t owed_since;                        /* turn of the fabric at which a credit became due */
    bool asked;                                 /* by a probe */
    uint8_t missing;                            /* number of the first batch that the last probe missed */
    unsigned missed;                            /* so many probes in a row */

    /* Reading. */
    struct fabric_read *reads;
    struct fabric_chunk chunks[FABRIC_CHUNKS];
};

struct flm__fabric {
    struct fi_info *info;
    struct fid_fabric *net;
    struct fid_domain *domain;
    struct fid_cq *cq;
    struct fid_av *av;
    struct fid_ep *ep;
    int fd;
    struct flm__link_ops ops; /* with the name of the provider */
    uint32_t batch_bytes;     /* of a message, header included */
    uint64_t turn;            /* calls of progress */
    uint64_t strangers;

    struct fabric_link *links; /* by key_in */
    unsigned link_count;
    struct fabric_link *zombies;
    struct fabric_link *work; /* links that have something to do in progress */

    struct fabric_block *blocks;
    unsigned receives_made;         /* receive buffers that exist */
    unsigned receives_base;         /* of these, not for links */
    struct fabric_buffer *unposted; /* could not be posted yet */

    struct fabric_read *finished; /* their done has to be called */

    struct flm__fabric *next_abandoned; /* see fabric_open.c */
};

/* fabric.c */
int fabric_progress(struct flm__fabric *f);

/* fabric_open.c */
int fabric_open(const struct flm__fabric_options *options, struct flm__fabric **out, flm_error *error);
void fabric_close(struct flm__fabric *f);
/* Makes sure that there are receive buffers for one more link. */
int fabric_grow_receives(struct flm__fabric *f, unsigned count, flm_error *error);
void fabric_post_receive(struct flm__fabric *f, struct fabric_buffer *b);

/* fabric_link.c */
int fabric_connect(struct flm__fabric *f, const void *address, size_t size, uint64_t key_in,
                   uint64_t key_out, struct flm__link **out, flm_error *error);
extern const struct flm__link_ops fabric_link_ops;
void fabric_link_add_work(struct fabric_link *l);
/* Does what is due; true: there is more to do later. sleeping: pay all credits now. */
bool fabric_link_work(struct fabric_link *l, bool sleeping);
/* True: batches are outstanding. */
bool fabric_link_tick(struct fabric_link *l, int64_t now_ns);
void fabric_link_sent(struct fabric_link *l, struct fabric_buffer *b, int status);
void fabric_link_fail(struct fabric_link *l);
/* One operation less in flight; may free the link. */
void fabric_link_release(struct fabric_link *l);
void fabric_link_free(struct fabric_link *l);
/* A message of `bytes` has come in b: checks it and keeps or posts the buffer. */
void fabric_receive(struct flm__fabric *f, struct fabric_buffer *b, size_t bytes);

/* fabric_read.c */
int fabric_register(struct flm__fabric *f, const void *memory, size_t size, uint64_t access,
                    struct fid_mr **out);
int fabric_expose(struct flm__fabric *f, const void *memory, size_t size, struct flm__region **out,
                  uint64_t *address, uint64_t *key, flm_error *error);
void fabric_conceal(struct flm__fabric *f, struct flm__region *region);
int fabric_start_read(struct flm__link *link, void *dst, size_t size, uint64_t address, uint64_t key,
                      flm__fabric_done_fn *done, void *arg);
/* Posts what can be posted; true: the provider would not take all. */
bool fabric_read_work(struct fabric_link *l);
void fabric_chunk_done(struct fabric_chunk *c, int status);
/* Ends the reads of a link; those that the provider holds end when it lets go. */
void fabric_read_fail(struct fabric_link *l, int status);
/* Calls done of what has finished, of one link or (NULL) of all. */
void fabric_run_finished(struct flm__fabric *f, const struct fabric_link *link);
/* The provider will not come back to this chunk: its endpoint is closed. */
void fabric_chunk_let_go(struct fabric_chunk *c);

#endif
