/* checkpoint.h - how far a run has come, in its result file.
 *
 * A run in a session that outlives this program (flmrun --state-dir) writes its result file every two
 * seconds, with all that is needed to go on, and only then acknowledges the results in it. So after any end
 * the session gives exactly those again that the file lacks, and sums are added in the same order: the
 * digits are those of a run in one piece.
 *
 *     /state    table of one row: struct checkpoint
 *     /waiting  table: sums that came before their turn
 *     /         attribute run: what is computed, in words; another run is refused
 */
#ifndef MONTECARLO_CHECKPOINT_H
#define MONTECARLO_CHECKPOINT_H

#include "history.h"

#define CHECKPOINT_S    2.0 /* seconds between two */
#define CHECKPOINT_TEXT 200

struct checkpoint {
    uint64_t complete;
    uint64_t session; /* when it was created, ns since the epoch: tells it from others of its name */
    uint64_t first;   /* number of its first task */
    uint64_t next, samples, due, executors;
    double sum_high, sum_low, sum2_high, sum2_low, seconds;
    double useful_s, wasted_s; /* core-seconds of executors: see <flm/admin.h> */
    double centre;             /* of the model: exp() of another node may give another last digit */
};

/* The whole, as it is written and read. */
struct progress_file {
    char run[CHECKPOINT_TEXT]; /* what is computed */
    struct checkpoint state;
    struct reduce *reduce;
    struct history *history;
};

/* Reads a file that checkpoints were written to into *p, whose reduce is initialised. 0; FLM_ENOTFOUND:
 * there is no such file, or none of a run that can go on; another error: it is damaged, or p->run is not
 * what it computes. */
int checkpoint_read(const char *path, struct progress_file *p, flm_error *error);

#endif
