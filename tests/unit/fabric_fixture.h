/* What the tests of links over libfabric share: records with known content, endpoints, children. */
#ifndef FLM_TESTS_FABRIC_FIXTURE_H
#define FLM_TESTS_FABRIC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/time.h"
#include "net/fabric.h"
#include "wire/record.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct flm__fabric_ops *ops;
extern const struct flm__fabric_options tcp; /* tcp;ofi_rxm on the loopback interface */

/* A wait that should end at once gives up after this: the test fails instead of hanging. */
enum { PATIENCE_S = 60 };
int64_t patience(void);

int fabric_setup(void **state);

/* Records whose content follows from their number. */
void write_record(void *at, uint64_t number, uint32_t size);
bool send_record(struct flm__link *l, uint64_t number, uint32_t size);
/* Takes what has come and checks it; size_of(number) gives the expected sizes. Returns the next number. */
uint64_t take_records(struct flm__link *l, uint64_t number, uint32_t (*size_of)(uint64_t));
uint32_t size_64(uint64_t number);
/* Takes what has come, whatever it is. */
void swallow(struct flm__link *l);

/* Endpoints in this process. */
struct side {
    struct flm__fabric *fabric;
    struct flm__link *link;
};
struct flm__fabric *open_fabric(const struct flm__fabric_options *o);
struct flm__link *join(struct flm__fabric *from, struct flm__fabric *to, uint64_t key_in, uint64_t key_out);
/* a and b with a link between them: keys 11 to a and 22 to b. */
void open_pair(struct side *a, struct side *b, const struct flm__fabric_options *o);
void close_side(struct side *s);
void pump(struct side *a, struct side *b);

/* Endpoints in another process, which writes its address to `out` and reads ours from `in`. */
struct child {
    pid_t pid;
    int to, from;
};
struct child start_child(void (*run)(int in, int out));
void join_child(struct side *s, const struct child *c);
void end_child(struct child *c);

#endif
