/* executor/which_mpi.h - which MPI a program or service is compiled with, and the launcher that starts its
 * ranks.
 *
 * Ranks that another MPI's launcher starts know nothing of each other: each is a world of one. So where
 * several MPIs are installed the launcher follows the program: "{mpirun}" among the words of a launcher
 * stands for the one that fits, "{mpi}" for the name of the MPI. What a file does not tell, FLM_MPI does.
 * For agents, and for executors of shim mpi.
 */
#ifndef FLM_EXECUTOR_WHICH_MPI_H
#define FLM_EXECUTOR_WHICH_MPI_H

#include <flm/error.h>
#include <stddef.h>

#define FLM__MPIRUN   "{mpirun}"
#define FLM__MPI_MARK "{mpi}"

/* The MPI whose library the file itself needs, "openmpi" or "mpich". NULL: none, or it cannot be told (a
 * script, a library that needs it for the program). */
const char *flm__mpi_of_file(const char *path);

/* The same, or what FLM_MPI is in the environment. command as the user gave it, directory may be NULL. */
const char *flm__mpi_of_command(const char *command, const char *directory, char *const *environment);

/* The only MPI that this Flame was built with; NULL: it was with both, or none. */
const char *flm__mpi_only(void);

/* What "{mpi}" stands for: openmpi, mpich, unknown. */
const char *flm__mpi_name(const char *mpi);

/* What "{mpirun}" stands for; mpi NULL: any. "mpirun" if there is none in the environment's PATH. */
const char *flm__mpi_launcher(const char *mpi, char *const *environment);

/* FLM_ENOTSUP, and the error says so: the launcher, these words, starts ranks of another MPI than the
 * program's. */
int flm__mpi_check(const char *mpi, const char *program, char *const *words, size_t n,
                   char *const *environment, flm_error *error);

#endif
