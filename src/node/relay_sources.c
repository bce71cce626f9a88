/* relay_sources.c - clients whose inputs are read where they lie. flmd tells their numbers and addresses
 * before it refers to them, on another connection though, so a reference may come first: its task waits.
 *
 * One link to each client that has been read from, and another after that has failed. One that cannot be
 * reached, or is silent, must not hold up a lane: what waits for it is given up after a while, and flmd
 * hears that (BlobDone with a code), which then reads itself.
 */
#define _GNU_SOURCE
#include "base/error.h"
#include "base/time.h"
#include "node/relay_inside.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

enum { SLOWEST = 4 << 20 }; /* bytes/s: a client that is slower than this and */
#define SILENT_NS 10e9      /* this is not to be read from */

static struct source *find(const struct relay *relay, uint64_t number)
{
    struct source *s;
    LL_FOREACH(relay->sources, s)
    {
        if (s->number == number)
            return s;
    }
    return NULL;
}

/* What is being read over its link fails, now or when the provider lets go of it. */
static void cut(struct source *source)
{
    struct flm__link *link = source->link;
    source->link = NULL;
    flm__link_destroy(link);
}

static void forget(struct relay *relay, struct source *source)
{
    LL_DELETE(relay->sources, source);
    cut(source);
    free(source);
}

void relay_fabric_peer(struct relay *relay, const Flm__FabricPeer *peer)
{
    struct source *s = find(relay, peer->number);
    if (s)
        forget(relay, s);
    if (peer->address.len == 0 || peer->address.len > FLM__FABRIC_ADDRESS_MAX)
        return;
    s = calloc(1, sizeof(*s) + peer->address.len);
    if (!s)
        return; /* its tasks wait until they are given up */
    s->number = peer->number;
    s->size = peer->address.len;
    memcpy(s->address, peer->address.data, s->size);
    LL_PREPEND(relay->sources, s);
}

int relay_source_link(struct relay *relay, uint64_t number, size_t bytes, struct flm__link **out,
                      flm_error *error)
{
    struct source *s = find(relay, number);
    int rc = 0;
    if (!s)
        return flm__error_set(error, FLM_ENOTFOUND, "nobody knows the client that has an input");
    if (!s->link || relay->ops->failed(s->link)) {
        cut(s);
        rc = relay_connect(relay, s->address, s->size, &s->link, error);
    }
    *out = s->link;
    if (rc == 0)
        s->reading += bytes;
    return rc;
}

bool relay_source_known(const struct relay *relay, uint64_t number)
{
    return find(relay, number) != NULL;
}

void relay_source_done(struct relay *relay, uint64_t number, size_t bytes)
{
    struct source *s = find(relay, number);
    if (!s)
        return;
    s->reading -= bytes < s->reading ? bytes : s->reading;
    s->done_ns = flm__now_ns();
}

void relay_source_cut(struct relay *relay, uint64_t number)
{
    struct source *s = find(relay, number);
    if (s)
        cut(s);
}

bool relay_source_silent(const struct relay *relay, uint64_t number, int64_t since_ns, int64_t now_ns)
{
    const struct source *s = find(relay, number);
    int64_t since = s && s->done_ns > since_ns ? s->done_ns : since_ns;
    double bytes = s ? (double)s->reading : 0;
    return (double)(now_ns - since) > SILENT_NS + 1e9 * bytes / SLOWEST;
}

void relay_sources_cut(struct relay *relay)
{
    while (relay->sources)
        forget(relay, relay->sources);
}
