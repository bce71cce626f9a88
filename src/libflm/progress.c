/* One turn of the client: what came is delivered, what can go goes. */
#include "base/time.h"
#include "libflm/handle.h"
#include "libflm/reconnect.h"
#include "net/ring.h"

enum {
    /* The room of read records is given back in pieces, so that the peer can go on early. */
    PIECE_BYTES = 16 << 10,
    /* Turns between two looks at the control connection, which cost a system call each. */
    LOOK_TURNS = 1024,
    EMPTY_TURN = 16, /* a turn without results counts as so many */
};

static void give_back(flm_client *c, size_t bytes)
{
    flm__link_consume(c->link, bytes);
    flm__progress_let_out(c);
}

/* Another thread waits for the answer that a session is open: what has come for that is left until it knows
 * the session. */
static size_t before_unknown(flm_client *c, const char *data, size_t n)
{
    struct flm__record r;
    uint32_t bytes;
    size_t at = 0;
    while (at < n && (bytes = flm__record_read(data + at, n - at, &r)) != 0) {
        if (!flm__session_by_number(c, r.session))
            return at;
        at += bytes;
    }
    return n;
}

static unsigned drain(flm_client *c)
{
    const void *data;
    size_t n = c->garbled ? 0 : flm__link_peek(c->link, &data);
    size_t at = 0, given = 0;
    unsigned records = 0;
    if (__builtin_expect(c->opening && !c->lost, 0))
        n = before_unknown(c, data, n);
    if (n == 0)
        return 0;
    c->in_callback = true; /* once for all of them */
    while (at < n) {
        const char *record = (const char *)data + at;
        struct flm__record r;
        uint32_t bytes = flm__record_read(record, n - at, &r);
        if (__builtin_expect(bytes == 0, 0))
            flm__client_lost(c, FLM_EPROTO, "what the session manager sent is no record");
        else
            flm__deliver_record(c, &r, flm__record_payload(record));
        if (__builtin_expect(c->garbled, 0))
            break;
        at += bytes;
        records++;
        if (at - given >= PIECE_BYTES) {
            give_back(c, at - given);
            given = at;
        }
    }
    c->in_callback = false;
    if (at > given)
        give_back(c, at - given);
    return records;
}

unsigned flm__progress_drain(flm_client *c)
{
    unsigned n = 0, more;
    do {
        flm__progress_fabric(c);
        more = drain(c) + flm__blob_deliver_reads(c);
        n += more;
    } while (more);
    return n + flm__overflow_deliver(c);
}

/* The manager is gone: what it had sent is real, all else is told that it is gone, unless it may come
 * again. */
static unsigned gone(flm_client *c)
{
    unsigned n = 0;
    if (c->lost && !flm__reconnect_depart(c, true, &n)) {
        n += flm__progress_drain(c);
        c->buried = true;
        n += flm__deliver_lost(c);
    }
    if (c->untold)
        n += flm__reconnect_tell(c);
    if (c->away && !n)
        n += flm__reconnect_try(c);
    return n;
}

static void link_failed(flm_client *c)
{
    if (c->conn)
        flm__control_read(c); /* it may have said why */
    if (!c->lost)
        flm__client_lost(c, FLM_EDISCONNECTED, "the link to the session manager has failed");
}

unsigned flm__progress_fabric(flm_client *c)
{
    if (!c->fabric)
        return 0;
    int n = c->fabric_ops->progress(c->fabric);
    if (c->link && __builtin_expect(c->fabric_ops->failed(c->link), 0) && !c->lost)
        link_failed(c);
    return n > 0 ? (unsigned)n : 0;
}

static void look(flm_client *c)
{
    c->until_look = LOOK_TURNS;
    if (c->conn)
        flm__control_read(c);
    if (c->reads && c->fabric)
        flm__blob_give_up_silent(c, flm__now_ns());
    if (flm__ring_is(c->link) && flm__ring_broken(c->link))
        flm__client_lost(c, FLM_EPROTO, "the session manager wrote nonsense into the ring");
}

unsigned flm__progress(flm_client *c)
{
    if (c->in_callback || c->buried)
        return 0;
    unsigned n = flm__progress_fabric(c) + drain(c);
    if (__builtin_expect(c->reads_done || c->n_held, 0))
        n += flm__blob_deliver_reads(c);
    if (__builtin_expect(c->cancelled_first != NULL, 0))
        n += flm__overflow_deliver(c);
    if (__builtin_expect(c->queued_sessions != NULL, 0))
        n += flm__overflow_pump(c);
    if (__builtin_expect(c->n_acknowledging != 0, 0))
        flm__acknowledge(c);
    flm__progress_let_out(c);
    unsigned turns = n ? 1 : EMPTY_TURN;
    if (c->until_look <= turns || c->n_held)
        look(c);
    else
        c->until_look -= turns;
    if (__builtin_expect(c->reads_done || c->n_held, 0)) /* an input was held, and is not any more */
        n += flm__blob_deliver_reads(c);
    if (__builtin_expect(c->lost || c->away || c->untold, 0))
        n += gone(c);
    return n;
}
