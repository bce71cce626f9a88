/* manager/client.h - what clients ask: requests on their sessions here, the rest in verbs.c. */
#ifndef MANAGER_CLIENT_H
#define MANAGER_CLIENT_H

#include "manager/session.h"

/* What a request waits for that opens a session. */
enum opening { OPENS_NOTHING, OPENS, RESUMES };

/* A request that waits: for tasks that are still on the line, or for a session to close. */
struct deferred {
    struct deferred *next;
    Flm__Message *message;
    struct peer *peer;
    uint64_t id;
    uint64_t position, task; /* of a sync: in the journal, and what is durable with that */
    bool closing;            /* the session, until that is durable */
    enum opening opening;    /* the session, once all of it is durable */
};

/* A message of a greeted client. fds are taken or closed. Takes the message. */
void client_message(struct peer *p, Flm__Message *message, int *fds, unsigned n_fds);

/* Looks again at requests that waited for tasks on the line. */
void client_retry(struct peer *p);

/* The connection is gone. */
void client_gone(struct peer *p);

/* The session is closed: answers who asked for that. */
void client_answer_closers(struct session *s);

/* Something has become durable: answers who waits for that. */
void client_answer_syncs(struct session *s);
void client_drop_syncs(struct session *s);

/* Nothing more comes of the session: tells its client, and who waits for an answer. */
void client_lose_session(struct session *s, const char *why);

/* Answers the request when all that has come of the session is durable. False: no memory, it is answered.
 */
bool client_await_durable(struct peer *p, struct session *s, uint64_t id);

/* What can never become durable is of no use; true: so it is, and the client is told. */
bool client_is_doomed(struct peer *p, uint64_t id, const struct session *s);

/* The session of a request, if it is attached to this client; else NULL, and the request is answered. */
struct session *client_attached(struct peer *p, uint32_t number, uint64_t id);

/* Answers a request. */
void client_reply(struct peer *p, uint64_t id, int code, const char *text);
void client_send_reply(struct peer *p, Flm__Reply *reply);

/* verbs.c: everything that is not about an attached session. May take the message: true. */
bool verbs_answer(struct peer *p, Flm__Message *message);

#endif
