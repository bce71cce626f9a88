/* A scripted session manager for tests of the client library: a thread of the test that greets one client
 * after the other, keeps what it sends, and answers as it is told.
 *
 * By default every task is answered with its own input and every request with success. What shall go
 * otherwise is set in `script` before the client connects, or done inside fake_do, which runs a function in
 * the manager's thread. Mistakes of the client are noted in `mistake`, which fake_stop returns.
 */
#ifndef FAKE_MANAGER_H
#define FAKE_MANAGER_H

#include "net/conn.h"
#include "net/link.h"
#include "wire/record.h"

#include <flm/admin.h>
#include <pthread.h>
#include <stdbool.h>

/* A task as it came. */
struct fake_task {
    struct flm__record record; /* size: of the input */
    uint64_t deadline_ms;
    char *input;
    size_t size;
};

struct fake_manager;

/* What greeting goes wrong, if any. */
enum fake_greeting {
    FAKE_GREETS,
    FAKE_REFUSES,        /* with refuse_code and a text */
    FAKE_OTHER_VERSION,  /* Ready of version 99 */
    FAKE_NO_RING,        /* Ready without ring and fabric */
    FAKE_NO_DESCRIPTORS, /* Ready with a ring whose descriptors are missing */
    FAKE_OPEN_MEMORY,    /* a ring whose memory is not sealed */
    FAKE_GARBAGE,        /* bytes that are no frame */
    FAKE_HANGS_UP,
    FAKE_SILENT,
};

struct fake_script {
    enum fake_greeting greeting;
    int refuse_code;
    uint32_t ring_bytes; /* 0: FLM__RING_BYTES */
    uint64_t credit;     /* 0: plenty; more is given as tasks are answered */
    bool hold_tasks;     /* they are kept and not answered */
    bool deaf;           /* the ring is not read */
    bool hold_requests;  /* requests are kept and not answered */
    /* Instead of the default. */
    void (*on_task)(struct fake_manager *m, struct fake_task *task);
    bool (*on_request)(struct fake_manager *m, const Flm__Request *request); /* true: answered */
    void *arg;
};

struct fake_manager {
    struct fake_script script;
    char endpoint[128];

    /* The manager's thread owns what follows; tests read it within fake_do or after fake_stop. */
    char directory[64];
    int listener, commands[2];
    pthread_t thread;
    bool stop;
    struct flm__conn *conn;
    struct flm__link *link;
    int bell, peer_bell;
    struct fake_task *tasks; /* held */
    size_t n_tasks, tasks_room;
    uint64_t n_received, n_answered, n_requests;
    _Atomic uint64_t acknowledged; /* by a record of this connection */
    uint64_t last_id[4096];        /* of a task, by session */
    uint64_t returned_bytes;       /* of tasks that were answered: what credit is made of */
    uint32_t n_sessions;
    char session_id[FLM_MAX_NAME + 1], application[FLM_MAX_NAME + 1];
    char *common;
    size_t common_size;
    Flm__Request *held; /* the last request that was held, or NULL */
    Flm__Message *held_message;
    uint64_t next_blob;
    struct fake_blob {
        uint64_t id;
        const void *map;
        size_t size;
    } blobs[4096];
    size_t n_blobs;
    bool waits_for_blob; /* records are being read: only a blob is taken from the control connection */
    char mistake[200];   /* "": none */
};

struct fake_manager *fake_start(const struct fake_script *script);
/* Ends it; fails the test if the client made a mistake. */
void fake_stop(struct fake_manager *m);

/* Runs fn(m, arg) in the manager's thread and waits for it. */
void fake_do(struct fake_manager *m, void (*fn)(struct fake_manager *m, void *arg), void *arg);
/* Waits until n tasks have been received in all, or n requests. */
void fake_await_tasks(struct fake_manager *m, uint64_t n);
void fake_await_requests(struct fake_manager *m, uint64_t n);

/* ---- in the manager's thread ---- */

/* Answers a task with success; large outputs go as blobs. */
void fake_answer(struct fake_manager *m, const struct fake_task *task, const void *output, size_t size);
/* With an outcome. */
void fake_answer_outcome(struct fake_manager *m, const struct fake_task *task,
                         const struct flm__outcome *outcome, const char *text, const void *output,
                         size_t size);
/* Answers what is held and stops holding. */
void fake_release(struct fake_manager *m, void *unused);
/* Any record, sound or not: size is that of the header. */
void fake_put(struct fake_manager *m, const struct flm__record *r, const void *payload, size_t n);
void fake_credit(struct fake_manager *m, uint64_t credit);
/* A blob on the control connection; returns its id. */
uint64_t fake_announce(struct fake_manager *m, const void *data, size_t size);
void fake_reply(struct fake_manager *m, Flm__Reply *reply);
void fake_reply_code(struct fake_manager *m, uint64_t id, int code, const char *text);
/* Ends the connection with the client. */
void fake_hang_up(struct fake_manager *m, void *unused);
/* Sends these bytes on the control connection as they are. */
void fake_send_bytes(struct fake_manager *m, const void *data, size_t size);

#endif
