/* pbs/environment.h - what the processes on other nodes get of our environment.
 *
 * PBS starts a task with the variables that the job was submitted with, and runs a command without a login
 * shell: PATH is /bin:/usr/bin, and what the script has loaded or set is missing. So our variables, working
 * directory and umask go by a file that only the user can read, one for each process, which removes it when
 * it has read it. A command line would show them to everybody.
 */
#ifndef PLUGIN_PBS_ENVIRONMENT_H
#define PLUGIN_PBS_ENVIRONMENT_H

#include "../parts/words.h"

/* The folder for such files: the one of the secret, which all nodes must see anyway. NULL: no memory. */
char *environment_folder(void);

/* Writes one; returns its path, which the caller frees. NULL: it could not, errno says why. threads:
 * somebody has chosen OMP_NUM_THREADS; PBS alone takes all CPUs of a chunk, however many ranks it has. */
char *environment_write(const char *folder, bool threads);

/* The same in two steps, for a file with something more in it. */
char *environment_create(const char *folder, FILE **f);
void environment_print(FILE *f, bool threads);

/* The beginning of a command line that reads the file and becomes what follows; file is borrowed. NULL:
 * there is none to read. */
void environment_add(struct words *w, const char *file);

#endif
