/* The table of the module, the completion queue, and sleeping. See fabric_parts.h for the design. */
#include "net/fabric_parts.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

enum {
    READ_AT_ONCE = 32,     /* completions taken from the queue in one call */
    MOST_IN_A_TURN = 1024, /* progress returns after this many, whatever comes in */
};

static void finish(struct flm__fabric *f, struct fabric_op *op, size_t bytes, int status)
{
    switch (op->kind) {
    case FABRIC_RECEIVE:
        if (status == 0)
            fabric_receive(f, (struct fabric_buffer *)op, bytes);
        else /* at the end of this turn, so that a queue of errors does not run for ever */
            LL_PREPEND(f->unposted, (struct fabric_buffer *)op);
        break;
    case FABRIC_SEND:
        fabric_link_sent(op->link, (struct fabric_buffer *)op, status);
        break;
    case FABRIC_CHUNK_READ:
        fabric_chunk_done((struct fabric_chunk *)op, status);
        break;
    }
}

/* A number of libfabric as one of ours. */
static int status_of(int fi_error)
{
    switch (fi_error) {
    case FI_EACCES:
    case FI_EINVAL:
    case FI_ENOKEY:
    case FI_EKEYREJECTED:
    case FI_EMSGSIZE:
    case FI_ETRUNC:
        return FLM_EIO;
    default:
        return FLM_EDISCONNECTED;
    }
}

/* Takes one failed operation from the queue. */
static bool finish_failed(struct flm__fabric *f)
{
    struct fi_cq_err_entry e;
    memset(&e, 0, sizeof(e));
    if (fi_cq_readerr(f->cq, &e, 0) <= 0)
        return false;
    if (e.op_context)
        finish(f, e.op_context, 0, status_of(e.err));
    return true;
}

static int read_completions(struct flm__fabric *f)
{
    struct fi_cq_msg_entry entries[READ_AT_ONCE];
    int seen = 0;
    while (seen < MOST_IN_A_TURN) {
        ssize_t n = fi_cq_read(f->cq, entries, READ_AT_ONCE);
        if (n == -FI_EAVAIL) {
            if (!finish_failed(f))
                break;
            seen++;
            continue;
        }
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            finish(f, entries[i].op_context, entries[i].len, 0);
        seen += (int)n;
        if (n < READ_AT_ONCE)
            break;
    }
    return seen;
}

/* Links that have something to do; those that cannot finish it come again. */
static void do_work(struct flm__fabric *f, bool sleeping)
{
    struct fabric_link *list = f->work;
    f->work = NULL;
    while (list) {
        struct fabric_link *l = list;
        list = l->work_next;
        l->has_work = false;
        if (fabric_link_work(l, sleeping))
            fabric_link_add_work(l);
    }
}

static void post_again(struct flm__fabric *f)
{
    struct fabric_buffer *list = f->unposted;
    f->unposted = NULL;
    while (list) {
        struct fabric_buffer *b = list;
        list = b->next;
        fabric_post_receive(f, b);
    }
}

int fabric_progress(struct flm__fabric *f)
{
    f->turn++;
    int seen = read_completions(f);
    if (f->work)
        do_work(f, false);
    if (f->unposted)
        post_again(f);
    if (f->finished)
        fabric_run_finished(f, NULL);
    return seen;
}

static bool arm(struct flm__fabric *f)
{
    if (f->work)
        do_work(f, true);
    if (f->finished)
        return false;
    if (f->fd < 0)
        return true;
    struct fid *fid = &f->cq->fid;
    return fi_trywait(f->net, &fid, 1) == 0;
}

static const char *provider(const struct flm__fabric *f)
{
    return f->ops.name;
}

static int fd(struct flm__fabric *f)
{
    return f->fd;
}

static bool asks_kernel(const struct flm__fabric *f)
{
    static const char *const over_sockets[] = {"tcp", "udp", "sockets", "net"};
    for (size_t i = 0; i < sizeof(over_sockets) / sizeof(over_sockets[0]); i++)
        if (strncmp(f->ops.name, over_sockets[i], strlen(over_sockets[i])) == 0)
            return true;
    return false;
}

static bool failed(const struct flm__link *link)
{
    return ((const struct fabric_link *)link)->failed;
}

static bool tick(struct flm__fabric *f, int64_t now_ns)
{
    bool waits = false;
    for (struct fabric_link *l = f->links; l; l = l->hh.next)
        waits |= fabric_link_tick(l, now_ns);
    if (f->work)
        do_work(f, false);
    return waits;
}

static uint64_t strangers(const struct flm__fabric *f)
{
    return f->strangers;
}

static int address(struct flm__fabric *f, void *out, size_t *size, flm_error *error)
{
    int rc = fi_getname(&f->ep->fid, out, size);
    if (rc == -FI_ETOOSMALL)
        return flm__error_set(error, FLM_ETOOBIG, "the address of the %s endpoint has %zu bytes",
                              f->ops.name, *size);
    if (rc)
        return flm__error_set(error, FLM_EIO, "the %s endpoint does not tell its address: %s", f->ops.name,
                              fi_strerror(-rc));
    return FLM_OK;
}

FLM_API const struct flm__fabric_ops flm__fabric_module = {
    .abi = FLM__FABRIC_ABI,
    .open = fabric_open,
    .close = fabric_close,
    .provider = provider,
    .address = address,
    .connect = fabric_connect,
    .progress = fabric_progress,
    .fd = fd,
    .arm = arm,
    .expose = fabric_expose,
    .conceal = fabric_conceal,
    .read = fabric_start_read,
    .strangers = strangers,
    .asks_kernel = asks_kernel,
    .failed = failed,
    .tick = tick,
};
