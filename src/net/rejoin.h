/* net/rejoin.h - finding the session manager that follows one that was lost.
 *
 * Who is to outlive its session manager is told in Ready: of which state directory it is, how long to look
 * for the next one there, and the file in it that says where that listens. Only our user can write there,
 * and who answers must prove itself as always and be of the same state.
 */
#ifndef FLM_NET_REJOIN_H
#define FLM_NET_REJOIN_H

#include "net/conn.h"

#include <stdbool.h>
#include <stdint.h>

enum { FLM__REJOIN_EVERY_MS = 100 };

struct flm__rejoin {
    uint64_t state;
    unsigned ms; /* 0: not at all */
    char file[1024];
    char instance[64]; /* the session manager that told us */
};

/* What Ready says. */
void flm__rejoin_learn(struct flm__rejoin *rejoin, const Flm__Ready *ready);

/* Dials the session manager that the file names; it may be the old one, and dead. A socket or an error;
 * FLM_ECLOSED: there is no such file any more, so nobody will come. */
int flm__rejoin_dial(const struct flm__rejoin *rejoin, int64_t deadline_ns, flm_error *error);

/* Fills came, for a Hello; it borrows from rejoin. */
void flm__rejoin_introduce(const struct flm__rejoin *rejoin, Flm__Came *came);

/* Whether this is the answer of one that goes on with the same state. FLM_EAUTH: it does not. */
int flm__rejoin_check(const struct flm__rejoin *rejoin, const Flm__Ready *ready, flm_error *error);

/* The file's text, which is valid until the next call. FLM_ECLOSED: there is no such file. */
int flm__rejoin_read(const char *file, char **text, flm_error *error);
/* The value in a line "NAME VALUE" of the file; false: there is none. */
bool flm__rejoin_line(const char *text, const char *name, char *value, size_t size);

#endif
