/* tools/flmping.h - one run of flmping: what is asked, and what came of it.
 *
 *     flmping_run  submits the tasks and checks the results  (flmping_run.c)
 *     flmping_print  says it                                 (flmping_print.c)
 */
#ifndef FLM_TOOLS_FLMPING_H
#define FLM_TOOLS_FLMPING_H

#include "tools/histogram.h"

#include <flm/client.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum { FLMPING_EXAMPLES = 5, FLMPING_TASKS_LOG2_MAX = 36 };

struct flmping_options {
    uint64_t tasks, input_size, output_size, duration_ns, window;
    uint64_t mix_tasks, mix_ns; /* so many of the tasks take mix_ns */
    uint64_t fail_every, deadline_ms, pause_ns;
    unsigned ranks;     /* of the MPI world that runs each task; 0: no MPI */
    unsigned executors; /* of a private instance; 0: as flmrun chooses */
    bool latency, sleep, json, quiet;
    const char *endpoint, *provider, *session_id;
    int durability;        /* enum flm_durability */
    const char *state_dir; /* of a private instance */
    const char *results;   /* file that gets them; NULL: none */
};

/* Counters are of tasks with a result, unless said otherwise. */
struct flmping_outcome {
    uint64_t submitted, done, succeeded, failed, cancelled, retried;
    uint64_t wrong;      /* output, or input as the service saw it, with wrong content */
    uint64_t duplicated; /* results for a task that already had one, or that never was */
    uint64_t sample;     /* every so manieth round trip was measured */
    uint64_t window;     /* as used */
    double seconds, start_seconds;
    unsigned executors;
    char provider[64]; /* between client and manager */
    char version[32];
    bool interrupted;
    char examples[FLMPING_EXAMPLES][300]; /* of failures, "" at the end */
    struct histogram round_trip;          /* ns */
};

/* Runs all. *stop: set by a signal, ends it early. 0, or an error that says why
 * the run could not begin or go on; the outcome is filled as far as it went. */
int flmping_run(const struct flmping_options *o, flm_client *client, const char *service,
                const volatile sig_atomic_t *stop, struct flmping_outcome *out, flm_error *error);

/* Every task succeeded, with the right content, exactly once. */
bool flmping_good(const struct flmping_options *o, const struct flmping_outcome *out);

/* Text or one JSON object to stdout. error: why the run did not begin or go on, or
 * NULL. 0, or -1 when stdout takes no more. */
int flmping_print(const struct flmping_options *o, const struct flmping_outcome *out,
                  const flm_error *error);

#endif
