/* node/world_command.h - the words that start the ranks of a world, from those that the agent was given for
 * it ("mpirun -n {n}"): {n} are the ranks, {node} is this node, {nodes} that of each rank, {mpi} the MPI
 * that the service is compiled with, and {mpirun} its launcher. */
#ifndef FLM_NODE_WORLD_COMMAND_H
#define FLM_NODE_WORLD_COMMAND_H

#include "node/slot.h"
#include "node/texts.h"

/* "openmpi" or "mpich", which the service of a world is compiled with; NULL: it is no world, or not known.
 * Reads the file. */
const char *world_mpi(const Flm__Bind *bind);

/* Adds the words; mpirun, mpi: what {mpirun} and {mpi} become. */
int world_words(const struct slot *slot, const char *mpirun, const char *mpi, struct texts *command);

/* The same for the slot's kind. The error says why there cannot be such a world here. */
int world_command(const struct slot *slot, struct texts *command, flm_error *error);

#endif
