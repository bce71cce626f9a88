/* tools/runtime_folder.h - the folder in which flmrun keeps its instances: $XDG_RUNTIME_DIR/flame where
 * that is really ours, else /tmp/flame-UID.
 */
#ifndef FLM_TOOLS_RUNTIME_FOLDER_H
#define FLM_TOOLS_RUNTIME_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

enum { RUNTIME_FOLDER_MAX = 60 }; /* bytes of its path: leaves room for the names of sockets */

/* A folder, not a link to one, that belongs to us and that nobody else may enter. */
bool folder_is_ours_alone(const char *path);

enum runtime_choice {
    RUNTIME_XDG,
    RUNTIME_UNSET, /* the others: why $XDG_RUNTIME_DIR is not used */
    RUNTIME_RELATIVE,
    RUNTIME_TOO_LONG,
    RUNTIME_FOREIGN,
};

/* Writes the path of the folder, which is made and verified by the caller. */
enum runtime_choice runtime_folder_choose(char path[RUNTIME_FOLDER_MAX]);

#endif
