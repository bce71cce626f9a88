#define _GNU_SOURCE
#include "net/sources.h"

#include "base/error.h"
#include "base/time.h"
#include "net/handshake.h"
#include "wire/record.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

enum { SLOWEST = 4 << 20 }; /* bytes/s: a peer that is slower than this and */
#define SILENT_NS 10e9      /* this is not to be read from */

struct flm__source {
    struct flm__source *next;
    uint64_t number;
    struct flm__link *link; /* NULL: not yet, or it was cut */
    uint64_t reading;       /* bytes that are asked for, one after the other */
    int64_t done_ns;        /* when some of it had come last */
    size_t size;            /* of its */
    unsigned char address[];
};

static struct flm__source *find(const struct flm__sources *sources, uint64_t number)
{
    struct flm__source *s;
    LL_FOREACH(sources->list, s)
    {
        if (s->number == number)
            return s;
    }
    return NULL;
}

static void cut(struct flm__source *source)
{
    struct flm__link *link = source->link;
    source->link = NULL;
    flm__link_destroy(link);
}

static void forget(struct flm__sources *sources, struct flm__source *source)
{
    LL_DELETE(sources->list, source);
    cut(source);
    free(source);
}

void flm__sources_told(struct flm__sources *sources, const Flm__FabricPeer *peer)
{
    struct flm__source *s = find(sources, peer->number);
    if (s)
        forget(sources, s);
    if (peer->address.len == 0 || peer->address.len > FLM__FABRIC_ADDRESS_MAX)
        return;
    s = calloc(1, sizeof(*s) + peer->address.len);
    if (!s)
        return; /* what refers to it cannot be read */
    s->number = peer->number;
    s->size = peer->address.len;
    memcpy(s->address, peer->address.data, s->size);
    LL_PREPEND(sources->list, s);
}

bool flm__source_known(const struct flm__sources *sources, uint64_t number)
{
    return find(sources, number) != NULL;
}

int flm__connect_to_read(const struct flm__fabric_ops *ops, struct flm__fabric *fabric, const void *address,
                         size_t size, struct flm__link **out, flm_error *error)
{
    uint64_t keys[2];
    if (flm__random(keys, sizeof(keys)) < 0)
        return flm__error_set(error, FLM_EINTERNAL, "no random numbers");
    return ops->connect(fabric, address, size, keys[0], keys[1], out, error);
}

static int connect_to(const struct flm__sources *sources, struct flm__source *source, flm_error *error)
{
    if (source->link && !sources->ops->failed(source->link))
        return 0;
    cut(source);
    return flm__connect_to_read(sources->ops, sources->fabric, source->address, source->size, &source->link,
                                error);
}

int flm__source_read(struct flm__sources *sources, uint64_t number, void *dst,
                     const struct flm__blob_ref *from, flm__fabric_done_fn *done, void *arg,
                     flm_error *error)
{
    struct flm__source *s = find(sources, number);
    if (!s)
        return flm__error_set(error, FLM_ENOTFOUND, "a payload is with a peer that nobody knows");
    int rc = connect_to(sources, s, error);
    if (rc < 0)
        return rc;
    rc = sources->ops->read(s->link, dst, (size_t)from->size, from->address, from->key, done, arg);
    if (rc < 0)
        return flm__error_set(error, rc, "a payload cannot be read from a peer: %s", flm_strerror(rc));
    s->reading += from->size;
    return 0;
}

void flm__source_done(struct flm__sources *sources, uint64_t number, uint64_t bytes)
{
    struct flm__source *s = find(sources, number);
    if (!s)
        return;
    s->reading -= bytes < s->reading ? bytes : s->reading;
    s->done_ns = flm__now_ns();
}

void flm__source_cut(struct flm__sources *sources, uint64_t number)
{
    struct flm__source *s = find(sources, number);
    if (s)
        cut(s);
}

bool flm__source_silent(const struct flm__sources *sources, uint64_t number, int64_t since_ns,
                        int64_t now_ns)
{
    const struct flm__source *s = find(sources, number);
    int64_t since = s && s->done_ns > since_ns ? s->done_ns : since_ns;
    double bytes = s ? (double)s->reading : 0;
    return (double)(now_ns - since) > SILENT_NS + 1e9 * bytes / SLOWEST;
}

void flm__sources_forgive(struct flm__sources *sources, int64_t ns)
{
    struct flm__source *s;
    LL_FOREACH(sources->list, s)
    s->done_ns += ns;
}

void flm__sources_clear(struct flm__sources *sources)
{
    while (sources->list)
        forget(sources, sources->list);
}
