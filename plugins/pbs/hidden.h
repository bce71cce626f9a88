/* pbs/hidden.h - the variables of the job that flm-pbs-world keeps from mpirun, which would look for nodes
 * by them, and that flm-pbs-rsh, which mpirun calls, needs: under names of our own meanwhile. */
#ifndef PLUGIN_PBS_HIDDEN_H
#define PLUGIN_PBS_HIDDEN_H

#define HIDDEN_PREFIX "FLM_"

static const char *const hidden_variables[] = {"PBS_ENVIRONMENT", "PBS_JOBID", "PBS_NODEFILE"};

#endif
