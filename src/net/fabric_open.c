/* Choosing a provider by what it can do, opening an endpoint, its receive buffers, and closing. */
#define _GNU_SOURCE
#include "net/fabric_parts.h"

#include "base/error.h"
#include "base/signals.h"
#include "base/time.h"
#include "net/address.h"
#include "wire/record.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    API = FI_VERSION(1, 17),
    LINE = 64,
    QUEUE = 8192,    /* entries of the completion queue; the provider may make it larger */
    LINGER_MS = 100, /* how long close waits for what was sent to leave */
    MESSAGE_MIN = FLM__RECORD_MAX + (int)sizeof(struct flm__batch_header),
};

/* For ofi_rxm, read when libfabric starts; whoever set them otherwise knows why.
 *
 * A batch above the eager limit, header included, costs half the rate. Its default is 16 KiB. Both ends
 * must have the same limit, or they refuse each other. Over tcp the limit stands alone; over verbs it is
 * the size of the bounce buffers, of which there are thousands for each endpoint unless told otherwise: so
 * they are small where there is no such device. (170 MiB less for a process that opens an endpoint.) */
static void prepare_environment(const char *provider)
{
    bool no_verbs = provider ? !strncmp(provider, "tcp", 3) : access("/sys/class/infiniband", F_OK) != 0;
    setenv("FI_OFI_RXM_EAGER_LIMIT", "65536", 0);
    setenv("FI_OFI_RXM_BUFFER_SIZE", no_verbs ? "4096" : "65536", 0);
    setenv("FI_OFI_RXM_MSG_RX_SIZE", "128", 0);
}

static bool is_address(const char *text)
{
    unsigned char a[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, a) == 1 || inet_pton(AF_INET6, text, a) == 1;
}

static struct fi_info *make_hints(const char *provider)
{
    struct fi_info *h = fi_allocinfo();
    if (!h)
        return NULL;
    h->caps = FI_MSG | FI_RMA | FI_SEND | FI_RECV | FI_READ | FI_REMOTE_READ;
    if (!provider)
        h->caps |= FI_REMOTE_COMM; /* shm has not: it never is right between nodes */
    h->mode = FI_CONTEXT | FI_CONTEXT2;
    h->ep_attr->type = FI_EP_RDM;
    h->domain_attr->mr_mode =
        FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
    h->domain_attr->threading = FI_THREAD_DOMAIN;
    h->domain_attr->control_progress = FI_PROGRESS_MANUAL;
    h->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    h->domain_attr->resource_mgmt = FI_RM_ENABLED;
    h->tx_attr->msg_order = FI_ORDER_SAS;
    h->rx_attr->msg_order = FI_ORDER_SAS;
    if (provider)
        h->fabric_attr->prov_name = strdup(provider);
    return h;
}

/* A provider over sockets, which takes any address that the machine has when it is not told which. */
static bool is_over_sockets(const struct fi_info *info)
{
    const char *name = info->fabric_attr->prov_name;
    return !strncmp(name, "tcp", 3) || !strncmp(name, "net", 3) || !strncmp(name, "udp", 3) ||
           !strncmp(name, "sockets", 7);
}

static struct fi_info *offers_at(const struct fi_info *hints, const char *address)
{
    struct fi_info *found = NULL;
    uint64_t flags = address ? FI_SOURCE | FI_NUMERICHOST : 0;
    return fi_getinfo(API, address, NULL, flags, hints, &found) ? NULL : found;
}

/* Of the interface that was named: one with an Internet address, an address, or a device. */
static struct fi_info *offers_of_interface(struct fi_info *hints, const char *interface)
{
    char address[FLM__ADDRESS_TEXT];
    bool known = flm__interface_address(interface, address, sizeof(address));
    const char *source = known ? address : is_address(interface) ? interface : NULL;
    struct fi_info *found = source ? offers_at(hints, source) : NULL;
    if (found)
        return found;
    hints->domain_attr->name = strdup(interface);
    return offers_at(hints, NULL);
}

/* What libfabric offers for these options, best first; NULL: nothing. */
static struct fi_info *offers(const struct flm__fabric_options *o)
{
    struct fi_info *hints = make_hints(o->provider), *found;
    if (!hints)
        return NULL;
    if (o->interface) {
        found = offers_of_interface(hints, o->interface);
    } else {
        found = offers_at(hints, NULL);
        struct fi_info *better =
            found && o->address && is_over_sockets(found) ? offers_at(hints, o->address) : NULL;
        if (better) {
            fi_freeinfo(found);
            found = better;
        }
    }
    fi_freeinfo(hints);
    return found;
}

/* Others cannot reach an IPv6 address that means something on this link only. */
static bool reachable(const struct fi_info *info)
{
    if (info->addr_format != FI_SOCKADDR_IN6 || !info->src_addr)
        return true;
    return !IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)info->src_addr)->sin6_addr);
}

static int open_queue(struct flm__fabric *f)
{
    struct fi_cq_attr attr = {.size = QUEUE, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD};
    f->fd = -1;
    if (fi_cq_open(f->domain, &attr, &f->cq, NULL) == 0) {
        if (fi_control(&f->cq->fid, FI_GETWAIT, &f->fd))
            f->fd = -1;
        return 0;
    }
    attr.wait_obj = FI_WAIT_NONE;
    return fi_cq_open(f->domain, &attr, &f->cq, NULL);
}

static int open_endpoint(struct flm__fabric *f, struct fi_info *info)
{
    struct fi_av_attr av = {
        .type = info->domain_attr->av_type == FI_AV_UNSPEC ? FI_AV_TABLE : info->domain_attr->av_type};
    int rc = fi_fabric(info->fabric_attr, &f->net, NULL);
    if (!rc)
        rc = fi_domain(f->net, info, &f->domain, NULL);
    if (!rc)
        rc = open_queue(f);
    if (!rc)
        rc = fi_av_open(f->domain, &av, &f->av, NULL);
    if (!rc)
        rc = fi_endpoint(f->domain, info, &f->ep, NULL);
    if (!rc)
        rc = fi_ep_bind(f->ep, &f->cq->fid, FI_TRANSMIT | FI_RECV);
    if (!rc)
        rc = fi_ep_bind(f->ep, &f->av->fid, 0);
    if (!rc)
        rc = fi_enable(f->ep);
    return rc;
}

static void shut(struct fid *fid)
{
    if (fid)
        fi_close(fid);
}

/* Closes the endpoint first: after that the provider touches no buffer. */
static void close_endpoint(struct flm__fabric *f)
{
    shut(f->ep ? &f->ep->fid : NULL);
    f->ep = NULL;
}

static void close_rest(struct flm__fabric *f)
{
    shut(f->av ? &f->av->fid : NULL);
    shut(f->cq ? &f->cq->fid : NULL);
    shut(f->domain ? &f->domain->fid : NULL);
    shut(f->net ? &f->net->fid : NULL);
    f->av = NULL;
    f->cq = NULL;
    f->domain = NULL;
    f->net = NULL;
}

/* Nothing is offered: because there is no such provider, or it cannot do what we need. */
static int refuse(const struct flm__fabric_options *o, flm_error *error)
{
    struct fi_info *hints = o->provider ? fi_allocinfo() : NULL, *found = NULL;
    if (hints) {
        hints->mode = ~UINT64_C(0);
        hints->domain_attr->mr_mode = ~(FI_MR_BASIC | FI_MR_SCALABLE);
        hints->fabric_attr->prov_name = strdup(o->provider);
        if (fi_getinfo(API, NULL, NULL, 0, hints, &found))
            found = NULL;
    }
    fi_freeinfo(hints);
    bool is_there = found != NULL;
    fi_freeinfo(found);
    if (is_there && !o->interface)
        return flm__error_set(
            error, FLM_ENOTSUP,
            "libfabric's provider %s has no reliable messages (FI_EP_RDM) with RMA (FI_RMA), by which "
            "nodes read "
            "payloads: choose another, or none (fi_info -t FI_EP_RDM -c FI_RMA lists them)",
            o->provider);
    return flm__error_set(
        error, FLM_ENOTSUP,
        "libfabric has no %s provider%s%s on this machine (fi_info -t FI_EP_RDM lists them)",
        o->provider ? o->provider : "suitable", o->interface ? " for interface " : "",
        o->interface ? o->interface : "");
}

/* Opens the first of what is offered that works. */
static int open_offer(struct flm__fabric *f, const struct flm__fabric_options *o, flm_error *error)
{
    struct fi_info *all = offers(o);
    int rc = 0;
    for (struct fi_info *i = all; i; i = i->next) {
        if (!reachable(i) || i->ep_attr->max_msg_size < f->batch_bytes)
            continue;
        rc = open_endpoint(f, i);
        if (!rc) {
            f->info = fi_dupinfo(i);
            break;
        }
        close_endpoint(f);
        close_rest(f);
    }
    fi_freeinfo(all);
    if (f->info)
        return FLM_OK;
    if (rc)
        return flm__error_set(error, FLM_EIO, "libfabric offers %s but cannot open it: %s",
                              o->provider ? o->provider : "a suitable provider", fi_strerror(-rc));
    return refuse(o, error);
}

void fabric_post_receive(struct flm__fabric *f, struct fabric_buffer *b)
{
    if (fi_recv(f->ep, b->data, f->batch_bytes, b->desc, FI_ADDR_UNSPEC, &b->op.context))
        LL_PREPEND(f->unposted, b);
}

static void free_block(struct fabric_block *b)
{
    shut(b->mr ? &b->mr->fid : NULL);
    if (b->memory != MAP_FAILED)
        munmap(b->memory, b->size);
    free(b);
}

static int add_receives(struct flm__fabric *f, unsigned count, flm_error *error)
{
    size_t stride = (f->batch_bytes + LINE - 1u) & ~(size_t)(LINE - 1);
    struct fabric_block *b = calloc(1, sizeof(*b) + count * sizeof(b->buffers[0]));
    if (!b)
        return flm__error_set(error, FLM_ENOMEM, "no memory for %u receive buffers", count);
    b->size = stride * count;
    b->count = count;
    b->memory = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc = b->memory == MAP_FAILED ? -FI_ENOMEM : 0;
    if (!rc && (f->info->domain_attr->mr_mode & FI_MR_LOCAL))
        rc = fabric_register(f, b->memory, b->size, FI_RECV, &b->mr);
    if (rc) {
        free_block(b);
        return flm__error_set(error, FLM_ENOMEM, "no memory for %u receive buffers: %s (ulimit -l?)", count,
                              fi_strerror(-rc));
    }
    LL_PREPEND(f->blocks, b);
    f->receives_made += count;
    for (unsigned i = 0; i < count; i++) {
        struct fabric_buffer *r = &b->buffers[i];
        r->op.kind = FABRIC_RECEIVE;
        r->data = (char *)b->memory + i * stride;
        r->desc = b->mr ? fi_mr_desc(b->mr) : NULL;
        fabric_post_receive(f, r);
    }
    return FLM_OK;
}

int fabric_grow_receives(struct flm__fabric *f, unsigned links, flm_error *error)
{
    unsigned wanted = f->receives_base + links * FABRIC_LINK_BUFFERS;
    return wanted > f->receives_made ? add_receives(f, wanted - f->receives_made, error) : FLM_OK;
}

int fabric_open(const struct flm__fabric_options *options, struct flm__fabric **out, flm_error *error)
{
    static const struct flm__fabric_options none;
    const struct flm__fabric_options *o = options ? options : &none;
    struct flm__fabric *f = calloc(1, sizeof(*f));
    if (!f)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a fabric");
    f->batch_bytes = o->batch_bytes > MESSAGE_MIN ? o->batch_bytes : MESSAGE_MIN;
    f->receives_base = o->buffers ? o->buffers : FABRIC_BUFFERS;
    prepare_environment(o->provider);
    struct flm__signals kept;
    flm__signals_keep(&kept);
    int rc = open_offer(f, o, error);
    flm__signals_put_back(&kept);
    if (!rc) {
        f->ops = fabric_link_ops;
        f->ops.name = f->info->fabric_attr->prov_name;
        rc = add_receives(f, f->receives_base, error);
    }
    if (rc) {
        fabric_close(f);
        return rc;
    }
    *out = f;
    return FLM_OK;
}

/* What links that are gone have sent shall leave; a peer that does not read shall not keep us. */
static void linger(struct flm__fabric *f)
{
    int64_t end = flm__now_ns() + LINGER_MS * INT64_C(1000000);
    while (f->zombies && flm__now_ns() < end)
        fabric_progress(f);
}

/* Reads that the provider has not let go of: their peer is stopped, or very slow. */
static bool has_reads(const struct flm__fabric *f)
{
    const struct fabric_link *l;
    DL_FOREACH(f->zombies, l)
    if (l->reads)
        return true;
    return false;
}

static void end_reads(struct flm__fabric *f)
{
    struct fabric_link *l;
    DL_FOREACH(f->zombies, l)
    for (int i = 0; i < FABRIC_CHUNKS; i++)
        if (l->chunks[i].read)
            fabric_chunk_let_go(&l->chunks[i]);
    fabric_run_finished(f, NULL);
}

/* libfabric 1.17 (tcp under ofi_rxm) crashes when an endpoint is closed that has received a part of what it
 * reads. Such an endpoint stays as it is until the process ends; as nobody makes progress on it, it writes
 * nowhere any more. */
static bool must_abandon(const struct flm__fabric *f)
{
    return has_reads(f) && f->info->ep_attr->protocol == FI_PROTO_RXM &&
           (!strncmp(f->ops.name, "tcp", 3) || !strncmp(f->ops.name, "net", 3));
}

static struct flm__fabric *abandoned;
static pthread_mutex_t abandoned_lock = PTHREAD_MUTEX_INITIALIZER;

static void abandon(struct flm__fabric *f)
{
    end_reads(f);
    pthread_mutex_lock(&abandoned_lock);
    f->next_abandoned = abandoned;
    abandoned = f;
    pthread_mutex_unlock(&abandoned_lock);
}

static void free_fabric(struct flm__fabric *f)
{
    close_endpoint(f);
    end_reads(f);
    struct fabric_link *l, *next;
    DL_FOREACH_SAFE(f->zombies, l, next)
    fabric_link_free(l);
    while (f->blocks) {
        struct fabric_block *b = f->blocks;
        f->blocks = b->next;
        free_block(b);
    }
    close_rest(f);
    fi_freeinfo(f->info);
    free(f);
}

void fabric_close(struct flm__fabric *f)
{
    if (!f)
        return;
    if (f->ep)
        linger(f);
    if (f->ep && must_abandon(f))
        abandon(f);
    else
        free_fabric(f);
}
