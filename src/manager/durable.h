/* manager/durable.h - what durable sessions leave in the journal of --state-dir, so that a session manager
 * that is started there again goes on with them (restore.c). The records: doc/journal.md.
 *
 * What is recorded when: a task before it enters the queue, a result before it enters the outbox (from
 * where it is sent once it is durable), what the client is done with once per turn. No room in the journal
 * is no error: the task stays on the line, the result with its executor, until there is some.
 */
#ifndef MANAGER_DURABLE_H
#define MANAGER_DURABLE_H

#include "manager/application.h"
#include "manager/losses.h"
#include "manager/session.h"
#include "store/journal.h"
#include "store/records.h"

struct durable {
    struct manager *manager;
    struct flm__journal *journal;
    struct session *dirty;   /* by next_dirty: what is to be written at the end of this turn */
    struct session *syncing; /* by next_syncing: see durable_watch */
    struct fetch *parked;    /* inbound.c: inputs that have been read and wait for room */
    struct flm__journal_record *reserved;
    uint64_t written, synced; /* as they were last seen */
    uint32_t next_serial;
    bool urgent;             /* what is recorded may take the room that is kept for what cannot wait */
    bool sync;               /* what was appended in this turn is to be synced */
    int64_t clock_ns;        /* manager->now at the last DURABLE_CLOCK */
    struct results *results; /* all that are not done, by next */
    uint64_t drop_first, drop_complete; /* of the last compaction: what results still hold stays */
    enum flm__journal_state state;
    int bell;
    uv_poll_t poll;
    struct {
        bool on;
        bool begun;           /* applications are written */
        uint64_t first;       /* what comes before is to go: sessions that need nothing of it are done */
        uint32_t last_serial; /* there was when it began */
        uint32_t serial;      /* of the session at hand; 0: none yet */
        uint64_t from;        /* where that began to be written again */
        uint64_t task, last_task; /* of it: the next to be written, and the last */
        uint64_t result, last_result;
    } compaction;
};

/* --state-dir: takes up what is in the journal there, and opens it for more. */
int durable_open(struct manager *m, flm_error *error);
/* Writes what is left; an error is told on standard error. Nothing is recorded after that. */
void durable_stop(struct manager *m);
void durable_free(struct manager *m);

/* A new session. False: no room. */
bool durable_begin(struct session *s);

/* Once per turn of the loop. Returns whether something came of it. */
unsigned durable_turn(struct durable *d);
/* Before sleeping: whether the journal's bell will ring for what comes; and after it. */
bool durable_arm(struct durable *d);
void durable_disarm(struct durable *d);

/* Whether data may enter the journal now: `bytes` of payload. What ends single tasks has some room beyond.
 */
bool durable_room(struct durable *d, uint64_t bytes);
/* Whether half of the journal's ring, and more than the above, is free. */
bool durable_half_free(struct durable *d);
/* Why tasks cannot be taken at all, for people; NULL: they can. */
const char *durable_trouble(struct durable *d);
/* The same, where it will never be otherwise; NULL: it may. */
const char *durable_failure(struct durable *d);

/* A task that is about to enter the queue. large: what its reference stands for. False: no room now. */
bool durable_task(struct session *s, const struct flm__record *r, const void *payload, struct blob *large);
/* The same for one that is in the queue. */
bool durable_stored_task(struct session *s, const struct flm__record *stored, struct blob *large);
/* Bytes of such a payload: of a record with `size` bytes, at whose end stands a reference to `large` bytes
 * if that is not 0. */
uint64_t durable_bytes(uint32_t size, uint64_t large);

/* The bytes of a large payload (NULL: there is none) can be copied; before either of the next two. */
bool durable_readable(struct blob *large);

/* Room for the next result, and then the result itself, as it lies in the outbox. 0: no room now; else the
 * position at which it will be durable. */
uint64_t durable_reserve_result(struct session *s, uint32_t bytes, uint64_t large);
void durable_result(struct session *s, const struct flm__record *r, uint32_t duration);
/* A result that is recorded already. False: no room now. */
bool durable_result_again(struct session *s, const struct flm__record *r, uint64_t number);

/* Position of all that was recorded up to now, which will be durable then: what others have recorded since
 * the last sync of the disk may lie before it, too, so it is to be synced itself. */
uint64_t durable_mark(const struct session *s);
/* client_answer_syncs in each turn, while somebody waits for something of it to be durable. */
void durable_watch(struct session *s);

/* The session's state, or how far its client has come, has changed. */
enum { DURABLE_STATE_CHANGED = 1, DURABLE_TAKEN_CHANGED = 2 };
void durable_touch(struct session *s, unsigned what);
/* The session as it is now, its common data; false: no room. */
bool durable_session(struct session *s);
bool durable_common(struct session *s);
void durable_forget(struct session *s);
/* Numbers of sessions go on behind the highest that the journal has: keeps that there, when its session is
 * no more. False: not now. */
bool durable_last_serial(struct durable *d, uint32_t serial);
/* Where the session's executors are, for its file of results. */
void durable_place(struct session *s, unsigned executor, const char *node);
/* Lets the segments go that neither we nor a file of results needs. */
void durable_drop(struct durable *d);
/* A task was lost with its executor and is charged with that; a session that is not durable forgets it. */
bool durable_lost(struct session *s, const struct loss *loss);
/* What its executors have spent time on; false: no room, which is no harm. */
bool durable_core_time(struct session *s, const struct core_time *t);
bool durable_application(struct manager *m, const struct application *a, bool registered);

/* Position up to which everything is durable in the sense of the session. */
static inline uint64_t durable_position(const struct session *s)
{
    const struct durable *d = s->manager->durable;
    if (!d || s->durability == FLM_DURABILITY_NONE)
        return UINT64_MAX;
    return s->durability == FLM_DURABILITY_SYNC ? d->synced : d->written;
}

/* restore.c */
int restore(struct durable *d, flm_error *error);

/* compact.c: a segment begins; whether that is the time to write what is alive once more behind its
 * beginning, some in each turn, and then to let older segments go. */
void compact_consider(struct durable *d, uint64_t first);
unsigned compact_some(struct durable *d);

#endif
