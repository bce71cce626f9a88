/* node/launcher.h - what the launcher of this process says about its place: which node, of which job.
 *
 * Slurm's variables of a task in a step (srun(1), "OUTPUT ENVIRONMENT VARIABLES"). They count only where
 * SLURM_STEP_ID and SLURM_PROCID are there too: a shell may have inherited the rest from its job.
 */
#ifndef FLM_NODE_LAUNCHER_H
#define FLM_NODE_LAUNCHER_H

#include <stdbool.h>

struct launcher {
    const char *node; /* its name as the batch system knows it; NULL: no launcher */
    const char *job;  /* its id */
    unsigned index;   /* of the node in the step, from 0 */
};

/* The texts are those of the environment. */
void launcher_read(struct launcher *out);

/* The value of entry `index` in a list like Slurm's "4(x2),2": 4, 4, 2. The last value holds for all that
 * come behind it. false: that is no such list. */
bool launcher_count(const char *list, unsigned index, unsigned *value);

#endif
