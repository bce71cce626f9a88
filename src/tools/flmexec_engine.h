/* tools/flmexec_engine.h - the part of flmexec that talks to Flame: one
 * application and one session for this run. */
#ifndef FLM_TOOLS_FLMEXEC_ENGINE_H
#define FLM_TOOLS_FLMEXEC_ENGINE_H

#include <flm/admin.h>
#include <flm/client.h>

#include <stdbool.h>
#include <stdint.h>

struct flmexec_engine {
    flm_client *client;
    flm_session *session;
    char application[64];
    unsigned ranks;
    bool registered;
    /* which node an executor is on, by its number */
    struct flm_executor_view *executors;
    int n_executors;
    int64_t asked_ns;
};

/* Connects to FLM_ENDPOINT and opens a session on at most `jobs` executors (0:
 * all), for jobs of `ranks` MPI ranks (0: no MPI); with a name one that outlives us, perhaps begun by an
 * earlier flmexec. 0 or an error. */
int flmexec_engine_open(struct flmexec_engine *e, unsigned jobs, unsigned ranks, const char *name,
                        flm_error *error);

/* Gives a job to Flame: its id, or FLM_EAGAIN, or another error. input stays as
 * it is until the result is taken. */
int64_t flmexec_engine_submit(struct flmexec_engine *e, const void *input, size_t size,
                              uint64_t timeout_ms);

/* How many jobs can run at once, at least 1; looks again at most once a second. */
unsigned flmexec_engine_slots(struct flmexec_engine *e, unsigned jobs);
/* The name of an executor's node; ":" when it is not known. */
const char *flmexec_engine_node(struct flmexec_engine *e, unsigned executor);

/* Core-seconds that the session's executors have spent on jobs that ended, and on attempts that were cut
 * off. False: not known. */
bool flmexec_engine_core_time(struct flmexec_engine *e, double *useful_s, double *wasted_s);

/* CLOSE: nothing is left to be done. CANCEL: ends what still runs. LEAVE: the
 * session goes on without us. */
enum flmexec_leave { ENGINE_CLOSE, ENGINE_CANCEL, ENGINE_LEAVE };
void flmexec_engine_close(struct flmexec_engine *e, enum flmexec_leave how);

#endif
