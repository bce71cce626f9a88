/* parts/world.h - the command of a world of MPI ranks, for plugins whose users may say what it is. */
#ifndef PLUGIN_PARTS_WORLD_H
#define PLUGIN_PARTS_WORLD_H

#include <flm/backend.h>

/* As world_command in <flm/backend.h>; command: words with "{n}" for the ranks. *kept holds the words in
 * argv until the next call; the caller frees it in the end. */
int world_words(const char *command, char **kept, unsigned ranks, const char *const *program,
                const char **argv, size_t n, flm_error *error);

/* Makes *command, which the caller frees, a program that is where flm-backend is, whose process this is,
 * with these arguments. */
int world_program(char **command, const char *name, const char *arguments, flm_error *error);

#endif
