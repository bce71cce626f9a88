#include "manager/spread.h"

#include "base/hash.h"
#include "manager/say.h"
#include "manager/verbs.h"

#include <flm/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    READERS = 2,       /* of one place at a time, and the copies that flmd sends */
    VIEWED = 1024,     /* places of one spread, in an answer for people */
    FAILURES = 2,      /* after so many reads from other nodes a place reads from flmd */
    SLOWEST = 4 << 20, /* bytes/s: a read from another node that is slower has failed */
};

struct spread {
    struct blob *blob;
    uint64_t id;
    uint64_t numbers; /* the last one of a reference or an attempt */
    uint64_t sent;    /* bytes, by flmd */
    struct spread_place *places;
    unsigned reading;           /* of these, that do not have it yet; 0: it is not in */
    struct spread *prev, *next; /* manager->spreading, which is looked at every now and then */
    UT_hash_handle hh;          /* in manager->spreads */
};

static struct spread *find(const struct manager *m, uint64_t id)
{
    struct spread *s;
    HASH_FIND(hh, m->spreads, &id, sizeof(id), s);
    return s;
}

static struct spread_place *place_of(const struct spread *s, const struct node *n)
{
    struct spread_place *p;
    DL_FOREACH(s->places, p)
    if (p->node == n)
        return p;
    return NULL;
}

/* ---- to nodes ---------------------------------------------------------------------------------- */

static void tell_free(struct node *n, uint64_t id)
{
    Flm__SharedFree f = FLM__SHARED_FREE__INIT;
    f.id = id;
    FLM__MESSAGE(m, shared_free, SHARED_FREE, &f);
    peer_send(n->peer, &m, NULL, 0);
}

static void tell_none(struct node *n, uint64_t id, int code)
{
    Flm__SharedSource source = FLM__SHARED_SOURCE__INIT;
    source.id = id;
    source.code = code;
    FLM__MESSAGE(m, shared_source, SHARED_SOURCE, &source);
    peer_send(n->peer, &m, NULL, 0);
}

/* from NULL: flmd, which has exposed it. */
static void tell_source(struct spread *s, struct spread_place *p, struct spread_place *from)
{
    Flm__SharedSource source = FLM__SHARED_SOURCE__INIT;
    source.id = s->id;
    source.attempt = p->attempt = ++s->numbers;
    source.address = from ? from->address : s->blob->address;
    source.key = from ? from->key : s->blob->key;
    if (s->blob->patched.base) {
        source.before = s->blob->patched.base;
        source.offset = s->blob->patched.offset;
        source.bytes = s->blob->patched.size;
    }
    if (from) {
        source.node.data = from->node->fabric_address;
        source.node.len = from->node->fabric_address_size;
    }
    FLM__MESSAGE(m, shared_source, SHARED_SOURCE, &source);
    p->state = SPREAD_READING;
    p->source = from;
    p->since = s->blob->manager->now;
    if (from)
        from->readers++;
    peer_send(p->node->peer, &m, NULL, 0);
}

/* ---- the rules --------------------------------------------------------------------------------- */

static bool gives(const struct spread_place *p)
{
    return p->state == SPREAD_HAS && p->open && !p->leaving;
}

static bool is_slow(const struct spread *s, const struct spread_place *p)
{
    const struct manager *m = s->blob->manager;
    double limit = 2e6 * m->options.loss_ms + 1e9 * (double)s->blob->size / SLOWEST;
    return p->state == SPREAD_READING && (double)(m->now - p->since) > limit;
}

/* Those from which others can read, now or soon. */
static unsigned givers(const struct spread *s)
{
    const struct spread_place *p;
    unsigned n = 0;
    DL_FOREACH(s->places, p)
    n += gives(p) || (p->state == SPREAD_READING && !p->leaving && !is_slow(s, p));
    return n;
}

/* The place that is least asked of those where p may read; NULL: none. */
static struct spread_place *least_asked(const struct spread *s, const struct spread_place *p)
{
    struct spread_place *at, *best = NULL;
    DL_FOREACH(s->places, at)
    if (gives(at) && at->readers < READERS && at->node->number + 1 != p->avoid &&
        (!best || at->readers < best->readers))
        best = at;
    return best;
}

static void reads_one_more(struct spread *s)
{
    blob_hold(s->blob);
    if (s->reading++ == 0)
        DL_APPEND(s->blob->manager->spreading, s);
}

/* The caller holds the blob, too. */
static void reads_one_less(struct spread *s)
{
    if (--s->reading == 0)
        DL_DELETE(s->blob->manager->spreading, s);
    blob_release(s->blob);
}

/* The caller holds the blob, if the place does. */
static void take_out(struct spread *s, struct spread_place *p)
{
    DL_DELETE(s->places, p);
    if (p->state != SPREAD_HAS)
        reads_one_less(s);
    free(p);
}

static void let_go(struct spread *s, struct spread_place *p)
{
    tell_free(p->node, s->id);
    take_out(s, p);
}

static void give_up(struct spread *s, struct spread_place *p, int code)
{
    tell_none(p->node, s->id, code);
    take_out(s, p);
}

/* p reads no more, whatever came of it. */
static void end_reading(struct spread *s, struct spread_place *p)
{
    struct spread_place *from = p->source;
    p->source = NULL;
    p->attempt = 0;
    if (from && --from->readers == 0 && from->leaving)
        let_go(s, from);
}

/* False: there is no source for it now. */
static bool give(struct spread *s, struct spread_place *p)
{
    struct spread_place *from = p->failures < FAILURES ? least_asked(s, p) : NULL;
    if (!from && p->failures < FAILURES && givers(s) >= READERS)
        return false;
    int rc = from ? 0 : blob_expose(s->blob, NULL);
    if (rc < 0)
        give_up(s, p, rc);
    else
        tell_source(s, p, from);
    return true;
}

/* What the first that may read anywhere does not get, no other such one gets. */
static void deal(struct spread *s)
{
    struct spread_place *p, *next;
    bool more = true;
    DL_FOREACH_SAFE(s->places, p, next)
    if (p->state == SPREAD_WAITING && (more || p->failures)) {
        bool plain = p->failures == 0;
        more = (give(s, p) || !plain) && more;
    }
}

/* It could not read from where it was told to. */
static void failed(struct spread *s, struct spread_place *p, int code)
{
    struct spread_place *from = p->source;
    unsigned number = from ? from->node->number + 1 : 0;
    struct manager *m = s->blob->manager;
    say_limited(&m->losses, m->now,
                "node %s could not read common data or an object of %llu bytes from %s%s: %s",
                p->node->name, (unsigned long long)s->blob->size, from ? "node " : "this one",
                from ? from->node->name : "", flm_strerror(code));
    end_reading(s, p);
    p->state = SPREAD_WAITING;
    if (p->leaving) {
        let_go(s, p);
    } else if (!from || code == FLM_ENOMEM || code == FLM_ENOTFOUND) {
        give_up(s, p, code); /* it would fare no better elsewhere */
    } else {
        p->failures++;
        p->avoid = number;
    }
}

/* ---- nodes are shown it ------------------------------------------------------------------------ */

static struct spread *make(struct blob *b)
{
    struct spread *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->blob = b;
    s->id = b->id;
    HASH_ADD(hh, b->manager->spreads, id, sizeof(s->id), s);
    if (!flm__hash_added(&s->hh)) {
        free(s);
        return NULL;
    }
    b->spread = s;
    return s;
}

static struct spread_place *add(struct blob *b, struct node *n)
{
    struct spread *s = b->spread;
    if (!s && !(s = make(b)))
        return NULL;
    struct spread_place *p = place_of(s, n);
    if (!p && (p = calloc(1, sizeof(*p)))) {
        p->node = n;
        DL_APPEND(s->places, p);
        reads_one_more(s);
    }
    if (p) {
        p->shown = ++s->numbers;
        p->leaving = false;
    }
    return p;
}

void spread_show(struct blob *b, struct node *n, Flm__BlobRef *ref)
{
    const struct spread_place *p = add(b, n);
    ref->id = b->id;
    ref->size = b->size;
    ref->number = p ? p->shown : 0;
}

void spread_shown(struct blob *b, struct node *n)
{
    struct spread *s = b->spread;
    if (!s || !place_of(s, n))
        tell_none(n, b->id, FLM_ENOMEM);
    else
        deal(s);
}

uint64_t spread_keep(struct blob *b, struct node *n)
{
    struct spread_place *p = add(b, n);
    if (!p)
        return 0;
    if (p->state == SPREAD_HAS) /* it was shown it before, and was quick */
        return p->shown;
    end_reading(b->spread, p);
    p->state = SPREAD_READING;
    p->attempt = p->shown;
    p->since = b->manager->now;
    return p->shown;
}

/* ---- nodes speak ------------------------------------------------------------------------------- */

static void has_read(struct spread *s, struct spread_place *p, const Flm__SharedAt *at)
{
    snprintf(p->from, sizeof(p->from), "%s", p->source ? p->source->node->name : "");
    p->bytes = at->bytes;
    if (!p->source)
        s->sent += at->bytes;
    end_reading(s, p);
    p->state = SPREAD_HAS;
    p->open = at->open;
    p->address = at->address;
    p->key = at->key;
    if (p->leaving)
        let_go(s, p);
    reads_one_less(s); /* as it HAS */
}

void spread_read(struct node *n, const Flm__SharedAt *at)
{
    struct spread *s = find(n->peer->manager, at->id);
    struct spread_place *p = s ? place_of(s, n) : NULL;
    if (!p || p->state != SPREAD_READING || p->attempt != at->attempt)
        return; /* it was told to read elsewhere meanwhile */
    struct blob *b = blob_hold(s->blob);
    if (at->code < 0)
        failed(s, p, at->code);
    else
        has_read(s, p, at);
    deal(s);
    blob_release(b);
}

void spread_unused(struct node *n, const Flm__SharedGone *gone)
{
    struct spread *s = find(n->peer->manager, gone->id);
    struct spread_place *p = s ? place_of(s, n) : NULL;
    if (!p) {
        tell_free(n, gone->id);
        return;
    }
    if (p->shown != gone->number)
        return;        /* it is about to use it again, or to say so of the next one */
    p->leaving = true; /* what it reads it reads to the end: nobody takes the memory from under it */
    if (p->state == SPREAD_READING || p->readers)
        return;
    struct blob *b = blob_hold(s->blob);
    let_go(s, p);
    deal(s);
    blob_release(b);
}

/* ---- losses ------------------------------------------------------------------------------------ */

static void lose(struct spread *s, struct spread_place *p)
{
    struct spread_place *at, *next;
    DL_FOREACH_SAFE(s->places, at, next)
    {
        if (at->state != SPREAD_READING || at->source != p)
            continue;
        at->source = NULL;
        at->attempt = 0;
        at->state = SPREAD_WAITING;
        if (at->leaving)
            let_go(s, at);
    }
    p->readers = 0;
    end_reading(s, p);
    take_out(s, p);
}

void spread_node_gone(struct manager *m, const struct node *n)
{
    struct spread *s, *next;
    HASH_ITER(hh, m->spreads, s, next)
    {
        struct spread_place *p = place_of(s, n);
        if (!p)
            continue;
        struct blob *b = blob_hold(s->blob);
        lose(s, p);
        deal(s);
        blob_release(b);
    }
}

/* One that could read elsewhere. */
static struct spread_place *slow_one(const struct spread *s)
{
    struct spread_place *p;
    DL_FOREACH(s->places, p)
    if (p->source && is_slow(s, p))
        return p;
    return NULL;
}

void spread_look(struct manager *m)
{
    struct spread *s, *next;
    DL_FOREACH_SAFE(m->spreading, s, next)
    {
        struct spread_place *p;
        struct blob *b = blob_hold(s->blob);
        while ((p = slow_one(s)))
            failed(s, p, FLM_ETIMEDOUT);
        deal(s);
        blob_release(b);
    }
}

/* ---- for people, and the end ------------------------------------------------------------------- */

static void view(Flm__CommonPlace *v, struct spread_place *p)
{
    static char *const names[] = {
        [SPREAD_WAITING] = "waits", [SPREAD_READING] = "reads", [SPREAD_HAS] = "has"};
    flm__common_place__init(v);
    v->node = p->node->name;
    v->state = names[p->state];
    v->from = p->source ? p->source->node->name : p->from;
    v->bytes = p->bytes;
}

bool spread_has(const struct blob *b, const struct node *n)
{
    const struct spread_place *p = b->spread ? place_of(b->spread, n) : NULL;
    return p && p->state == SPREAD_HAS && !p->leaving;
}

uint64_t spread_sent(const struct blob *b)
{
    return b->spread ? b->spread->sent : 0;
}

Flm__CommonPlace *spread_view(const struct blob *b, Flm__CommonView *v)
{
    const struct spread *s = b->spread;
    struct spread_place *first = s ? s->places : NULL, *p;
    void **pointers;
    size_t n;
    DL_COUNT(first, p, n);
    Flm__CommonPlace *list = verbs_list(n, sizeof(*list), &pointers);
    if (!list)
        return NULL;
    n = 0;
    DL_FOREACH(first, p)
    if (n < VIEWED)
        view(&list[n++], p);
    v->size = b->size;
    v->sent = spread_sent(b);
    v->n_places = n;
    v->places = (Flm__CommonPlace **)pointers;
    return list;
}

void spread_end(struct blob *b)
{
    struct spread *s = b->spread;
    if (!s)
        return;
    b->spread = NULL;
    HASH_DEL(b->manager->spreads, s);
    while (s->places)
        take_out(s, s->places);
    free(s);
}
