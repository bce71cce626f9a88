/* executor_fixture.h - a scripted agent and manager in one, with one executor process. */
#ifndef FLM_TESTS_EXECUTOR_FIXTURE_H
#define FLM_TESTS_EXECUTOR_FIXTURE_H

#include "executor/status.h"
#include "net/conn.h"
#include "net/link.h"
#include "wire/record.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { LANE = 5, LIFE = 19, WIRE_LANE = 5 | 3 << 12, SESSION = 77, EXECUTOR = 4 };

struct manager {
    char directory[64];
    char endpoint[128];
    int listener;
    pid_t pid;
    struct flm__conn *conn;
    struct flm__link *link;
    int bell, executor_bell, memfd;
    struct flm__status_page *status;
    uint64_t sent; /* tasks */
};

/* One result, its parts copied. */
struct answer {
    struct flm__record record;
    struct flm__outcome outcome;
    char text[FLM__MESSAGE_MAX + 1];
    unsigned char *output; /* malloc */
    size_t size;
};

struct binding_spec {
    const char *file; /* command[0]; NULL: the test service */
    int shim;         /* 0: so */
    const char *const *environment;
    const char *directory;
    const char *const *arguments; /* command[1...] */
    unsigned deadline_ms, ranks;
    const void *common;
    size_t common_size;
};

/* Starts the executor (argv NULL: bin/flm-executor), greets it, gives it a ring of ring_bytes. */
void manager_start(struct manager *m, char *const *argv, const char *const *environment,
                   uint32_t ring_bytes);
/* The same in steps: the process alone, its hello, the answer and the ring. */
void manager_spawn(struct manager *m, char *const *argv, const char *const *environment);
void manager_hear_hello(struct manager *m); /* sees it connect */
void manager_greet(struct manager *m, uint32_t ring_bytes);

/* Tells it to end in good order, and checks that it does. */
void manager_stop(struct manager *m);
/* Waits for its end; its status as from wait(2). Then frees all. */
int manager_reap(struct manager *m);

void manager_say(struct manager *m, Flm__Message *message, const int *fds, unsigned n_fds);
/* The next message, which must be of this kind. Freed by the caller. */
Flm__Message *manager_hear(struct manager *m, int body_case, int *fds, unsigned *n_fds);
/* The next message if there is one by now. */
Flm__Message *manager_hear_now(struct manager *m);

void manager_send_bind(struct manager *m, const struct binding_spec *spec);
void manager_bind(struct manager *m, const struct binding_spec *spec); /* and sees it bound */
/* Sees it fail; *text gets the text (malloc). Returns the code. */
int manager_bind_fails(struct manager *m, const struct binding_spec *spec, char **text);
void manager_unbind(struct manager *m);
/* Gives the session new common data (fd: of these; -1: they do not come along), returns the answer's code.
 */
int manager_update(struct manager *m, int fd, size_t size, uint64_t version);

/* Sends a task, waiting for room; its id is 1000 + its number. */
uint64_t manager_task(struct manager *m, const void *input, size_t size, uint64_t deadline_ms);
void manager_record(struct manager *m, const struct flm__record *r, const void *payload);
void manager_large_task(struct manager *m, const void *input, size_t size, uint64_t blob);
void manager_cancel(struct manager *m, uint64_t number);
void manager_recall(struct manager *m, uint64_t upto);

/* The next result; waits for it. Large outputs are fetched. */
void manager_answer(struct manager *m, struct answer *a);
bool manager_answer_now(struct manager *m, struct answer *a); /* false: there is none */
void answer_free(struct answer *a);

#endif
