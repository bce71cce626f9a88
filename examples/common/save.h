/* save.h - writes a whole file, or leaves what was there before. */
#ifndef EXAMPLES_SAVE_H
#define EXAMPLES_SAVE_H

#include <flm/error.h>

/* Writes beside path, makes it durable, then renames: a full disk or a crash
 * leaves no half a file. A path that is no regular file (/dev/stdout) is
 * written directly. 0 or FLM_EIO. */
int save_file(const char *path, const void *data, size_t size, flm_error *error);

/* Whether save_file could write there, before hours are spent on the result. */
int save_check(const char *path, flm_error *error);

/* Whether path ends with suffix (".svg"). */
int save_has_suffix(const char *path, const char *suffix);

#endif
