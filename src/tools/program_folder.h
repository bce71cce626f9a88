/* tools/program_folder.h - what lies beside this program, in the build tree and
 * installed. */
#ifndef FLM_TOOLS_PROGRAM_FOLDER_H
#define FLM_TOOLS_PROGRAM_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* The full path of this program. */
bool program_path(char *path, size_t size);

/* A program: beside this one, else in `installed`, else in PATH. False: nowhere,
 * and path is where it was looked for first. */
bool program_find(char *path, size_t size, const char *name, const char *installed);

/* The same for a module or a daemon in ../lib/flame (or its .libs) or `installed`. */
bool program_module(char *path, size_t size, const char *name, const char *installed);

#endif
