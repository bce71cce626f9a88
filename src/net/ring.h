/* net/ring.h - a link over shared memory: two lock-free single-producer single-consumer byte rings in
 * one sealed memfd, and an eventfd doorbell for each side.
 *
 * Each ring is mapped twice in a row, so a record never wraps. `tail` belongs to the producer, `head` to
 * the consumer; each lies in its own cache line. Nobody ever waits for the other inside a call: a peer
 * that is killed or stopped at any instruction blocks nobody. The consumer believes nothing it reads
 * without checking: offsets are checked against the size, records with flm__record_read.
 *
 * Sleeping: the consumer sets `sleeps`, then looks again; the producer commits, then looks at `sleeps`
 * and rings. The same for a producer that waits for room (`starves`).
 */
#ifndef FLM_NET_RING_H
#define FLM_NET_RING_H

#include "net/link.h"
#include <flm/error.h>

enum { FLM__RING_BYTES = 1 << 20 }; /* default size of each direction; a power of two of pages */

/* Makes the memory for a pair: *memfd (sealed against resizing). */
int flm__ring_create(uint32_t bytes, int *memfd, flm_error *error);

/* Maps one side. server: true for the side that made it. my_bell: eventfd that the peer rings for us
 * (only kept by the caller, not used here). peer_bell: eventfd to ring; duplicated. memfd is borrowed. */
struct flm__link *flm__ring_open(int memfd, uint32_t bytes, bool server, int peer_bell, flm_error *error);

/* The server's side of a ring whose server is dead: goes on where that was. */
struct flm__link *flm__ring_take_over(int memfd, uint32_t bytes, int peer_bell, flm_error *error);

/* How far the peer has written, and how far we have read: positions count bytes for ever. The first may be
 * called by any thread. */
uint64_t flm__ring_written(const struct flm__link *link);
uint64_t flm__ring_read(const struct flm__link *link);

/* Another bell in place of the peer's (borrowed); it is rung at once. Any thread. FLM_EFULL. */
int flm__ring_change_bell(struct flm__link *link, int peer_bell);

/* True when the link is a ring. */
bool flm__ring_is(const struct flm__link *link);

/* The peer wrote what cannot be: nothing more will ever be read. */
bool flm__ring_broken(const struct flm__link *link);

/* Nothing committed by the peer is left unread (used after its death). */
bool flm__ring_empty(struct flm__link *link);

#endif
