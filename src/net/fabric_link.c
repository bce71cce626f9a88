/* Links: batches out and in, and the credits between the two ends. See fabric_parts.h for the rules.
 *
 * A send buffer is in one of three places: filling, in the provider's hands (in_flight), or spare. A
 * receive buffer with a batch is in the inbox of its link; without one the provider has it.
 */
#include "net/fabric_parts.h"

#include "base/error.h"
#include "wire/record.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = sizeof(struct flm__batch_header), LINE = 64 };
_Static_assert(sizeof(struct flm__batch_header) == 16, "as it is on the line");

static struct fabric_link *link_of(struct flm__link *link)
{
    return (struct fabric_link *)link;
}

void fabric_link_add_work(struct fabric_link *l)
{
    if (l->has_work)
        return;
    l->has_work = true;
    l->work_next = l->fabric->work;
    l->fabric->work = l;
}

static void remove_work(struct fabric_link *l)
{
    for (struct fabric_link **at = &l->fabric->work; *at; at = &(*at)->work_next)
        if (*at == l) {
            *at = l->work_next;
            break;
        }
    l->has_work = false;
}

/* ---- Send buffers ---- */

static void free_buffer(struct fabric_buffer *b)
{
    if (b->mr)
        fi_close(&b->mr->fid);
    free(b->data);
    free(b);
}

static struct fabric_buffer *make_buffer(struct fabric_link *l, size_t bytes)
{
    struct flm__fabric *f = l->fabric;
    struct fabric_buffer *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->op.kind = FABRIC_SEND;
    b->op.link = l;
    b->data = aligned_alloc(LINE, (bytes + LINE - 1) & ~(size_t)(LINE - 1));
    if (!b->data || ((f->info->domain_attr->mr_mode & FI_MR_LOCAL) &&
                     fabric_register(f, b->data, bytes, FI_SEND, &b->mr))) {
        free_buffer(b);
        return NULL;
    }
    b->desc = b->mr ? fi_mr_desc(b->mr) : NULL;
    l->made[l->made_count++] = b;
    return b;
}

/* The batch being filled has what was committed. */
static void settle(struct fabric_link *l)
{
    if (l->filling)
        l->filling->end = (uint32_t)(l->link.at - l->filling->data);
}

/* Begins a new batch; false: all buffers are under way, or there is no memory. */
static bool begin_batch(struct fabric_link *l)
{
    struct fabric_buffer *b = l->spare;
    if (b)
        LL_DELETE(l->spare, b);
    else if (l->made_count <= FABRIC_SENDS)
        b = make_buffer(l, l->fabric->batch_bytes);
    if (!b)
        return false;
    b->end = HEADER;
    l->filling = b;
    l->link.at = b->data + HEADER;
    l->link.room = l->fabric->batch_bytes - HEADER;
    return true;
}

/* ---- Sending ---- */

/* Gives b to the provider with all credits that we owe. 0, -FI_EAGAIN, or the link has failed. */
static int send_buffer(struct fabric_link *l, struct fabric_buffer *b, uint8_t flags)
{
    struct flm__batch_header h = {
        .key = l->key_out,
        .bytes = b->end - HEADER,
        .version = FLM__BATCH_VERSION,
        .flags = flags,
        .taken = l->number_in,
        .sequence = l->number_out,
    };
    memcpy(b->data, &h, HEADER);
    ssize_t rc = fi_send(l->fabric->ep, b->data, b->end, b->desc, l->peer, &b->op.context);
    l->stuck = rc == -FI_EAGAIN;
    if (rc == 0) {
        l->owed = 0;
        l->in_flight++;
    }
    return (int)rc;
}

/* Sends the batch being filled; false: not now. */
static bool post_batch(struct fabric_link *l)
{
    int rc = send_buffer(l, l->filling, 0);
    if (rc == 0) {
        l->filling = NULL;
        l->link.room = 0;
        l->flush = l->full = false;
        l->outstanding++;
        l->number_out++;
        return true;
    }
    if (rc == -FI_EAGAIN) {
        l->flush = true;
        fabric_link_add_work(l);
    } else {
        fabric_link_fail(l);
    }
    return false;
}

static bool post_if_allowed(struct fabric_link *l)
{
    if (l->failed || l->outstanding >= (l->full ? FABRIC_WINDOW : FABRIC_EAGER))
        return false;
    return post_batch(l);
}

static bool has_records(const struct fabric_link *l)
{
    return l->filling && l->filling->end > HEADER;
}

static void pay_credits(struct fabric_link *l)
{
    struct fabric_buffer *b = l->credit;
    if (!b || l->failed)
        return;
    b->end = HEADER;
    int rc = send_buffer(l, b, l->probe ? FLM__BATCH_PROBE : 0);
    if (rc == 0) {
        l->credit = NULL;
        l->probe = l->asked = false;
    } else if (rc != -FI_EAGAIN) {
        fabric_link_fail(l);
    }
}

void fabric_link_sent(struct fabric_link *l, struct fabric_buffer *b, int status)
{
    if (b->end == HEADER)
        l->credit = b;
    else
        LL_PREPEND(l->spare, b);
    if (status)
        fabric_link_fail(l);
    fabric_link_release(l);
}

bool fabric_link_work(struct fabric_link *l, bool sleeping)
{
    bool again = false;
    if (l->failed)
        return false;
    settle(l);
    if (l->flush && has_records(l))
        post_if_allowed(l);
    if (l->owed >= FABRIC_EAGER || l->probe || l->asked) {
        /* Wait one turn: most often a batch of records is about to take them along. */
        if (sleeping || l->fabric->turn > l->owed_since + 1)
            pay_credits(l);
        again = l->owed >= FABRIC_EAGER || l->probe || l->asked;
    }
    if (l->reads)
        again |= fabric_read_work(l);
    return !l->failed && (again || l->stuck);
}

bool fabric_link_tick(struct fabric_link *l, int64_t now_ns)
{
    enum { QUIET_NS = 1000000000 };
    if (l->failed || !l->outstanding) {
        l->quiet_since = 0;
        return false;
    }
    uint8_t at[2] = {l->number_out, (uint8_t)l->outstanding};
    bool moved = !l->quiet_since || memcmp(at, l->quiet_at, sizeof(at)) != 0;
    if (!moved && now_ns - l->quiet_since < QUIET_NS)
        return true;
    memcpy(l->quiet_at, at, sizeof(at));
    l->quiet_since = now_ns;
    if (!moved) {
        l->probe = true;
        fabric_link_add_work(l);
    }
    return true;
}

static bool has_room(const struct fabric_link *l, uint32_t bytes)
{
    if (l->failed)
        return false;
    if (l->filling && l->filling->end + bytes <= l->fabric->batch_bytes)
        return true;
    bool buffer = l->spare || l->made_count <= FABRIC_SENDS;
    return buffer && !l->stuck && (!l->filling || l->outstanding < FABRIC_WINDOW);
}

/* The batch being filled is full, or there is none. */
static void *reserve_in_next(struct fabric_link *l, uint32_t bytes)
{
    l->starved = bytes;
    if (l->failed || HEADER + bytes > l->fabric->batch_bytes)
        return NULL;
    if (l->filling) {
        l->full = l->flush = true;
        if (!post_if_allowed(l))
            return NULL;
    }
    if (!begin_batch(l))
        return NULL;
    l->starved = 0;
    return l->link.at;
}

static void *reserve(struct flm__link *link, uint32_t bytes)
{
    struct fabric_link *l = link_of(link);
    settle(l);
    return reserve_in_next(l, bytes);
}

static void flush(struct flm__link *link)
{
    struct fabric_link *l = link_of(link);
    settle(l);
    if (!has_records(l))
        return;
    l->flush = true;
    l->full |= link->room < FLM__RECORD_HEADER;
    post_if_allowed(l);
}

/* Only what finds the line empty leaves at once; more is gathered until flush. */
static void nudge(struct flm__link *link)
{
    if (link_of(link)->outstanding == 0)
        flush(link);
}

/* ---- Receiving ---- */

/* What the header says is true, as far as it can be checked; false: drop it. */
static bool sound(const struct flm__batch_header *h, size_t bytes)
{
    return h->version == FLM__BATCH_VERSION && h->bytes == bytes - HEADER && h->bytes % 8 == 0;
}

/* `taken` of all our batches are consumed. What was overtaken says less than we know. */
static bool take_credits(struct fabric_link *l, uint8_t taken)
{
    uint8_t outstanding = (uint8_t)(l->number_out - taken);
    if (outstanding > INT8_MAX)
        return false; /* more than we sent */
    if (outstanding >= l->outstanding)
        return true;
    l->outstanding = outstanding;
    if (l->flush)
        fabric_link_add_work(l);
    return true;
}

/* The peer has sent `sent` batches: whether all have come. False: one of them never will. */
static bool take_probe(struct fabric_link *l, uint8_t sent)
{
    uint8_t n = l->number_in;
    if ((uint8_t)(sent - n) > FABRIC_WINDOW)
        return true; /* it was overtaken by what it speaks of */
    while (n != sent && l->inbox[n % FABRIC_WINDOW])
        n++;
    if (n == sent)
        l->missed = 0;
    else
        l->missed = l->missed && l->missing == n ? l->missed + 1 : 1;
    l->missing = n;
    l->asked = true;
    fabric_link_add_work(l);
    return l->missed < FABRIC_MISSED;
}

/* Puts a batch in its place; false: there is none, the peer sent more than it may. */
static bool keep(struct fabric_link *l, struct fabric_buffer *b, const struct flm__batch_header *h)
{
    struct fabric_buffer **place = &l->inbox[h->sequence % FABRIC_WINDOW];
    if ((uint8_t)(h->sequence - l->number_in) >= FABRIC_WINDOW || *place)
        return false;
    b->begin = HEADER;
    b->end = HEADER + h->bytes;
    *place = b;
    return true;
}

/* false: it is not from a peer that follows the rules; b is free. */
static bool deliver(struct flm__fabric *f, struct fabric_buffer *b, size_t bytes)
{
    struct flm__batch_header h;
    struct fabric_link *l;
    if (bytes < HEADER)
        return false;
    memcpy(&h, b->data, HEADER);
    if (!sound(&h, bytes))
        return false;
    HASH_FIND(hh, f->links, &h.key, sizeof(h.key), l);
    if (!l || l->failed)
        return false;
    if (!take_credits(l, h.taken) || (h.flags & FLM__BATCH_PROBE && !take_probe(l, h.sequence)) ||
        (h.bytes && !keep(l, b, &h))) {
        fabric_link_fail(l);
        return false;
    }
    if (!h.bytes)
        fabric_post_receive(f, b);
    return true;
}

void fabric_receive(struct flm__fabric *f, struct fabric_buffer *b, size_t bytes)
{
    if (!deliver(f, b, bytes)) {
        f->strangers++;
        fabric_post_receive(f, b);
    }
}

static struct fabric_buffer **first(struct fabric_link *l)
{
    return &l->inbox[l->number_in % FABRIC_WINDOW];
}

static size_t peek(struct flm__link *link, const void **data)
{
    const struct fabric_buffer *b = *first(link_of(link));
    if (!b)
        return 0;
    *data = b->data + b->begin;
    return b->end - b->begin;
}

static void consume(struct flm__link *link, size_t bytes)
{
    struct fabric_link *l = link_of(link);
    struct fabric_buffer *b = *first(l);
    if (!b)
        return;
    b->begin += (uint32_t)bytes;
    if (b->begin < b->end)
        return;
    *first(l) = NULL;
    l->number_in++;
    fabric_post_receive(l->fabric, b);
    if (++l->owed == FABRIC_EAGER)
        l->owed_since = l->fabric->turn;
    if (l->owed >= FABRIC_EAGER)
        fabric_link_add_work(l);
}

static bool arm(struct flm__link *link, bool want_room)
{
    struct fabric_link *l = link_of(link);
    settle(l);
    return !*first(l) && !(want_room && has_room(l, l->starved));
}

static void disarm(struct flm__link *link)
{
    (void)link;
}

/* ---- Life ---- */

void fabric_link_fail(struct fabric_link *l)
{
    if (l->failed)
        return;
    l->failed = true;
    l->flush = l->full = l->stuck = false;
    l->link.room = 0;
    fabric_read_fail(l, FLM_EDISCONNECTED);
}

void fabric_link_free(struct fabric_link *l)
{
    if (l->destroyed)
        DL_DELETE(l->fabric->zombies, l);
    remove_work(l);
    for (unsigned i = 0; i < l->made_count; i++)
        free_buffer(l->made[i]);
    if (l->peer != FI_ADDR_UNSPEC)
        fi_av_remove(l->fabric->av, &l->peer, 1, 0);
    free(l);
}

void fabric_link_release(struct fabric_link *l)
{
    if (--l->in_flight == 0 && l->destroyed)
        fabric_link_free(l);
}

static void destroy(struct flm__link *link)
{
    struct fabric_link *l = link_of(link);
    struct flm__fabric *f = l->fabric;
    HASH_DEL(f->links, l);
    f->link_count--;
    for (int i = 0; i < FABRIC_WINDOW; i++)
        if (l->inbox[i])
            fabric_post_receive(f, l->inbox[i]);
    fabric_link_fail(l);
    remove_work(l);
    DL_APPEND(f->zombies, l);
    l->destroyed = true;
    l->in_flight++; /* keeps it while callbacks run */
    fabric_run_finished(f, l);
    fabric_link_release(l);
}

const struct flm__link_ops fabric_link_ops = {
    .reserve = reserve,
    .flush = flush,
    .nudge = nudge,
    .peek = peek,
    .consume = consume,
    .arm = arm,
    .disarm = disarm,
    .destroy = destroy,
};

static struct fabric_link *make_link(struct flm__fabric *f, uint64_t key_in, uint64_t key_out)
{
    struct fabric_link *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->link.ops = &f->ops;
    l->fabric = f;
    l->key_in = key_in;
    l->key_out = key_out;
    l->peer = FI_ADDR_UNSPEC;
    for (int i = 0; i < FABRIC_CHUNKS; i++) {
        l->chunks[i].op.kind = FABRIC_CHUNK_READ;
        l->chunks[i].op.link = l;
    }
    l->credit = make_buffer(l, HEADER);
    if (l->credit)
        return l;
    fabric_link_free(l);
    return NULL;
}

int fabric_connect(struct flm__fabric *f, const void *address, size_t size, uint64_t key_in,
                   uint64_t key_out, struct flm__link **out, flm_error *error)
{
    struct fabric_link *l;
    char whole[FLM__FABRIC_ADDRESS_MAX + 1] = ""; /* terminated, whatever the peer sent: some are strings */
    if (size == 0 || size > FLM__FABRIC_ADDRESS_MAX)
        return flm__error_set(error, FLM_EINVAL, "a fabric address of %zu bytes", size);
    memcpy(whole, address, size);
    HASH_FIND(hh, f->links, &key_in, sizeof(key_in), l);
    if (l)
        return flm__error_set(error, FLM_EEXIST, "there is already a peer with that key");
    int rc = fabric_grow_receives(f, f->link_count + 1, error);
    if (rc)
        return rc;
    l = make_link(f, key_in, key_out);
    if (!l)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a link");
    if (fi_av_insert(f->av, whole, 1, &l->peer, 0, NULL) != 1) {
        l->peer = FI_ADDR_UNSPEC;
        fabric_link_free(l);
        return flm__error_set(error, FLM_ECONNECT, "%s does not understand the address of the peer",
                              f->ops.name);
    }
    HASH_ADD(hh, f->links, key_in, sizeof(l->key_in), l);
    if (!flm__hash_added(&l->hh)) {
        fabric_link_free(l);
        return flm__error_set(error, FLM_ENOMEM, "no memory for a link");
    }
    f->link_count++;
    *out = &l->link;
    return FLM_OK;
}
