/* pbs/hidden.h - the variables of the job that flm-pbs-world keeps from mpirun, which would look for nodes
 * by them, and that flm-pbs-rsh, which mpirun calls, needs: under names of our own meanwhile. */
#ifndef PLUGIN_PBS_HIDDEN_H
#define PLUGIN_PBS_HIDDEN_H

#include <stdbool.h>
#include <stdlib.h>

/* Gives them the names of our own, or back those of PBS. */
static inline void hide_job(bool hide)
{
    static const char *const names[][2] = {{"PBS_ENVIRONMENT", "FLM_PBS_ENVIRONMENT"},
                                           {"PBS_JOBID", "FLM_PBS_JOBID"},
                                           {"PBS_NODEFILE", "FLM_PBS_NODEFILE"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *value = getenv(names[i][!hide]);
        if (value)
            setenv(names[i][hide], value, 1);
        unsetenv(names[i][!hide]);
    }
}

#endif
