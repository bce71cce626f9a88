/* net/fabric.h - links over libfabric, in a module that is loaded on demand.
 *
 * libfabric pulls in a dozen libraries; a process that talks over rings alone
 * must not pay for them. So net/fabric.c, the only file that calls fi_*, is
 * built as the module flm-fabric.so, and this table is all that others see.
 *
 * One endpoint (FI_EP_RDM, FI_MSG | FI_RMA) per process. A message on the line
 * is a struct flm__batch_header followed by records (wire/record.h). One thread
 * owns a fabric and all its links.
 */
#ifndef FLM_NET_FABRIC_H
#define FLM_NET_FABRIC_H

#include "net/link.h"
#include <flm/error.h>

#define FLM__FABRIC_ABI 2u

/* In front of each message. A batch whose key is not that of a known peer is
 * dropped and counted: what a stranger sends has no effect. */
struct flm__batch_header {
    uint64_t key;     /* given to the sender on its authenticated control connection */
    uint32_t bytes;   /* of records that follow */
    uint8_t version;  /* FLM__BATCH_VERSION */
    uint8_t flags;    /* FLM__BATCH_PROBE, or 0 */
    uint8_t taken;    /* batches with records that the sender has consumed, of all there were */
    uint8_t sequence; /* batches with records that it sent before this one: they may overtake each other */
};
#define FLM__BATCH_VERSION 2u
#define FLM__BATCH_PROBE   1u /* without records: answer with a header, whatever there is to say */

struct flm__fabric;
struct flm__region;

enum { FLM__FABRIC_ADDRESS_MAX = 256 };

struct flm__fabric_options {
    const char *provider;  /* "tcp;ofi_rxm", ...; NULL: the best by capability, never shm */
    const char *interface; /* name or address to use on multi-homed nodes; NULL: any */
    const char *address;   /* numeric, by which peers reach us: for providers over sockets, where no
                              interface is named; NULL: any */
    unsigned batch_bytes;  /* largest message, the same at all peers; 0: what suits the provider */
    unsigned buffers;      /* receive buffers; 0: default */
};

/* Called once, from progress, destroy or close: status 0 or a negative FLM_E*. */
typedef void flm__fabric_done_fn(void *arg, int status);

struct flm__fabric_ops {
    uint32_t abi;
    /* 0 or FLM_ENOTSUP (no such provider), FLM_ENOMEM, FLM_EIO. */
    int (*open)(const struct flm__fabric_options *options, struct flm__fabric **out, flm_error *error);
    /* All links must have been destroyed. NULL is allowed. */
    void (*close)(struct flm__fabric *fabric);
    /* Lives as long as the fabric. */
    const char *(*provider)(const struct flm__fabric *fabric);
    /* Our own address for the peer's connect; *size is in and out. */
    int (*address)(struct flm__fabric *fabric, void *address, size_t *size, flm_error *error);
    /* A link to the peer at address: batches that carry key_in are from it,
     * ours carry key_out. Nothing is sent. */
    int (*connect)(struct flm__fabric *fabric, const void *address, size_t size, uint64_t key_in,
                   uint64_t key_out, struct flm__link **out, flm_error *error);
    /* Makes progress without waiting; returns how many completions it saw. */
    int (*progress)(struct flm__fabric *fabric);
    /* Readable when there is progress to make, after arm said so; -1: the
     * provider has no such descriptor, poll at intervals. */
    int (*fd)(struct flm__fabric *fabric);
    /* true: it is safe to sleep on fd. Call it after flm__link_arm of the links; whoever writes to a
     * link after it must call it again. */
    bool (*arm)(struct flm__fabric *fabric);
    /* Makes memory readable to peers until concealed. */
    int (*expose)(struct flm__fabric *fabric, const void *memory, size_t size, struct flm__region **out,
                  uint64_t *address, uint64_t *key, flm_error *error);
    void (*conceal)(struct flm__fabric *fabric, struct flm__region *region);
    /* Reads size bytes that the link's peer exposed into dst, in chunks; done
     * runs from progress, never from here. When the link is destroyed first,
     * done gets FLM_EDISCONNECTED: at once, or, where the provider may still
     * write to dst, when it lets go of it, at the latest in close. dst and arg
     * belong to the read until then. */
    int (*read)(struct flm__link *link, void *dst, size_t size, uint64_t address, uint64_t key,
                flm__fabric_done_fn *done, void *arg);
    /* Batches dropped because their key was no peer's. */
    uint64_t (*strangers)(const struct flm__fabric *fabric);
    /* Progress asks the kernel each time (tcp, udp): while others could use the processor, it is better to
     * sleep than to spin. */
    bool (*asks_kernel)(const struct flm__fabric *fabric);
    /* The line is dead, or its peer broke the rules: nothing moves any more. */
    bool (*failed)(const struct flm__link *link);
    /* Asks peers that have been silent for a second with batches of ours whether they have them: a
     * connection that was cut under the provider may have taken some along. True: ask again in a second. */
    bool (*tick)(struct flm__fabric *fabric, int64_t now_ns);
};

/* The symbol in flm-fabric.so. */
extern const struct flm__fabric_ops flm__fabric_module;

/* Loads the module once per process; NULL: error says what is missing. */
const struct flm__fabric_ops *flm__fabric_load(flm_error *error);

#endif
