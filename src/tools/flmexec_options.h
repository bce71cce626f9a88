/* tools/flmexec_options.h - the command line of flmexec, understood and checked. */
#ifndef FLM_TOOLS_FLMEXEC_OPTIONS_H
#define FLM_TOOLS_FLMEXEC_OPTIONS_H

#include "flmexec_source.h"
#include "flmexec_template.h"
#include "progress.h"

#include <stdbool.h>
#include <stdint.h>

enum flmexec_halt_when { HALT_NEVER, HALT_SOON, HALT_NOW };
enum flmexec_halt_why { HALT_FAIL, HALT_SUCCESS, HALT_DONE };

/* In the environment of the flmexec inside flmrun: it notices when that gives no endpoint, and does not
 * warn of what the one outside has warned of. */
#define FLMEXEC_INNER "FLMEXEC_INNER"

struct flmexec_options {
    struct flmexec_template command;
    struct flmexec_inputs inputs;
    unsigned jobs;  /* executors; 0: all */
    unsigned ranks; /* of the MPI program that each job is; 0: none is */
    bool unordered, tag, dry_run;
    bool inner; /* flmexec has started itself again */
    bool resume, resume_failed;
    const char *joblog, *results;
    const char *state_dir, *session; /* state_dir NULL: the run ends with us */
    char *const *words;              /* the command as it was given */
    int n_words;
    enum flmexec_halt_when halt;
    enum flmexec_halt_why halt_why;
    uint64_t halt_count;
    uint64_t timeout_ms; /* of one try; 0: none */
    unsigned tries;      /* at least 1 */
    enum progress_mode progress;
};

/* Gives up with a message and FLMEXEC_USAGE when something does not fit. */
void flmexec_options_parse(struct flmexec_options *o, int argc, char **argv);
void flmexec_options_free(struct flmexec_options *o);

#endif
