/* pbs/programs.h - where the programs of PBS are: by PATH, else as PBS is installed (PBS_EXEC, pbs.conf),
 * since a job need not have them in PATH. */
#ifndef PLUGIN_PBS_PROGRAMS_H
#define PLUGIN_PBS_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

/* false: it is not there; out is the name then. */
bool program_find(const char *name, char *out, size_t n);

#endif
