/* net/sources.h - peers of the fabric from which payloads are read where they lie, besides the session
 * manager. It tells their numbers and addresses (FabricPeer) before it refers to them
 * (flm__blob_ref.source), on another connection though, so a reference may come first.
 *
 * One link to each that has been read from, and another one after that has failed. Only reads go over it.
 * One thread.
 */
#ifndef FLM_NET_SOURCES_H
#define FLM_NET_SOURCES_H

#include "net/fabric.h"
#include "wire/frame.h"
#include "wire/record.h"

/* A link on which we only read, so its keys are nobody's. */
int flm__connect_to_read(const struct flm__fabric_ops *ops, struct flm__fabric *fabric, const void *address,
                         size_t size, struct flm__link **out, flm_error *error);

struct flm__source;

struct flm__sources {
    const struct flm__fabric_ops *ops;
    struct flm__fabric *fabric;
    struct flm__source *list;
};

/* A peer that may be referred to, or that is gone: what is being read there fails. */
void flm__sources_told(struct flm__sources *sources, const Flm__FabricPeer *peer);

/* Whether we were told of it. */
bool flm__source_known(const struct flm__sources *sources, uint64_t number);

/* Reads, as flm__fabric_ops.read does; *done of it, flm__source_done. FLM_ENOTFOUND: nobody has that
 * number. */
int flm__source_read(struct flm__sources *sources, uint64_t number, void *dst,
                     const struct flm__blob_ref *from, flm__fabric_done_fn *done, void *arg,
                     flm_error *error);
/* So many bytes were read, or so it was meant. */
void flm__source_done(struct flm__sources *sources, uint64_t number, uint64_t bytes);

/* Whether nothing has come from it for so long since then that nothing will: it cannot be reached, or does
 * not move. */
bool flm__source_silent(const struct flm__sources *sources, uint64_t number, int64_t since_ns,
                        int64_t now_ns);
/* Nobody has looked for so long, which is not their fault. */
void flm__sources_forgive(struct flm__sources *sources, int64_t ns);
/* What is being read there fails, now or when the provider lets go of it. */
void flm__source_cut(struct flm__sources *sources, uint64_t number);

/* All of them; the fabric is about to be closed. */
void flm__sources_clear(struct flm__sources *sources);

#endif
