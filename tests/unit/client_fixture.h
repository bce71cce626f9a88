/* What tests of the client library share. Include after fake_manager.h. */
#ifndef CLIENT_FIXTURE_H
#define CLIENT_FIXTURE_H

#include "fake_manager.h"

/* A manager, a client of it, one session. */
struct fixture {
    struct fake_manager *m;
    flm_client *c;
    flm_session *s;
};

/* options: of the connection, or NULL; flags: of the session. */
void fixture_open(struct fixture *f, const struct fake_script *script,
                  const struct flm_connect_options *options, unsigned flags);
/* Closes the session too, if it still is there. */
void fixture_close(struct fixture *f);

/* What callbacks have seen. */
struct seen {
    uint64_t n, succeed, failed, cancelled, sum, bytes;
    uint64_t wrong; /* results that are not what was expected */
    struct flm_result last;
    char message[500];
};
/* A callback; arg: struct seen. */
void seen_result(const struct flm_result *result, void *arg);

/* Bytes that depend on seed and place. */
void pattern_fill(void *data, size_t size, uint64_t seed);
bool pattern_is(const void *data, size_t size, uint64_t seed);

#endif
