#define _GNU_SOURCE
#include "libflm/transport.h"
#include "base/error.h"
#include "base/time.h"
#include "net/handshake.h"
#include "net/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static uint64_t incarnation;

static void choose_incarnation(void)
{
    if (flm__random(&incarnation, sizeof(incarnation)) < 0)
        incarnation = (uint64_t)flm__wall_ns() ^ (uint64_t)getpid() << 48;
}

uint64_t flm__transport_incarnation(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose_incarnation);
    return incarnation;
}

int flm__transport_ring(flm_client *c, const Flm__Ready *ready, const int *fds, flm_error *error)
{
    c->link = flm__ring_open(fds[0], ready->ring_bytes, false, fds[1], error);
    if (!c->link)
        return FLM_EPROTO;
    c->bell = fcntl(fds[2], F_DUPFD_CLOEXEC, 3);
    if (c->bell < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot duplicate a descriptor");
    fcntl(c->bell, F_SETFL, fcntl(c->bell, F_GETFL) | O_NONBLOCK);
    return 0;
}

static int tell_address(flm_client *c, int64_t deadline, flm_error *error)
{
    unsigned char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    Flm__Request request = FLM__REQUEST__INIT;
    int rc = c->fabric_ops->address(c->fabric, address, &size, error);
    if (rc < 0)
        return rc;
    int64_t left = deadline == FLM__FOR_EVER ? -1 : (deadline - flm__now_ns()) / 1000000;
    request.verb_case = FLM__REQUEST__VERB_FABRIC_ADDRESS;
    request.fabric_address.data = address;
    request.fabric_address.len = size;
    return flm__request(c, &request, NULL, 0, FLM__REQUEST_ALONE,
                        left < 0 && deadline != FLM__FOR_EVER ? 1 : (int)left, NULL, error);
}

int flm__transport_fabric(flm_client *c, const Flm__Ready *ready, int64_t deadline, flm_error *error)
{
    struct flm__fabric_options options = {.provider = ready->provider};
    c->fabric_ops = flm__fabric_load(error);
    if (!c->fabric_ops)
        return FLM_ENOTSUP;
    int rc = c->fabric_ops->open(&options, &c->fabric, error);
    c->sources = (struct flm__sources){.ops = c->fabric_ops, .fabric = c->fabric};
    if (rc == 0)
        rc = c->fabric_ops->connect(c->fabric, ready->address.data, ready->address.len, ready->key_to_peer,
                                    ready->key_to_server, &c->link, error);
    return rc < 0 ? rc : tell_address(c, deadline, error);
}

void flm__transport_close(flm_client *c)
{
    flm__blob_conceal_all(c);
    if (c->inproc)
        flm__inproc_close(c);
    else
        flm__link_destroy(c->link);
    flm__sources_clear(&c->sources);
    if (c->fabric)
        c->fabric_ops->close(c->fabric);
    flm__blob_free_reads(c);
    flm__blob_free_arrived(c);
    flm__inputs_lost(c);
    flm__conn_free(c->conn);
    if (c->bell >= 0)
        close(c->bell);
    c->bell = -1;
    c->link = NULL;
    c->fabric = NULL;
    c->conn = NULL;
    /* Another endpoint may follow: a clean start. */
    c->lost = c->buried = c->garbled = false;
}
