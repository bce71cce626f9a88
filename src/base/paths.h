/* base/paths.h - where the other parts of this installation are.
 *
 * Nothing here needs a prefix fixed at compile time: an installation that was
 * moved, and a build tree, find their parts relative to the running program or,
 * in a user's program, relative to libflm.so. Any thread.
 */
#ifndef FLM_BASE_PATHS_H
#define FLM_BASE_PATHS_H

#include <stddef.h>

/* The full path of a module ("flm-fabric.so") in path[n]. Looked for in
 * $FLM_MODULE_DIR, relative to the program, relative to libflm.so, and where
 * it was configured to be installed. 0, FLM_ENOTFOUND or FLM_ETOOBIG. */
int flm__find_module(const char *file, char *path, size_t n);

/* The full path of one of our programs ("flm-node") in path[n]: $FLM_BINDIR,
 * beside the running program and libflm.so, and where it was configured to be
 * installed; $PATH is not used. 0, FLM_ENOTFOUND or FLM_ETOOBIG. */
int flm__find_program(const char *name, char *path, size_t n);

#endif
