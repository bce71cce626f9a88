/* base/endpoint.h - where the session manager of this user listens when nobody says otherwise.
 *
 * $XDG_RUNTIME_DIR/flame/flmd.sock, when that directory is really ours; else /tmp/flame-UID/flmd.sock,
 * in a directory that is ours alone. Both sides verify the directory: in /tmp anybody could have made it.
 */
#ifndef FLM_BASE_ENDPOINT_H
#define FLM_BASE_ENDPOINT_H

#include <flm/error.h>
#include <stddef.h>

/* Room for any path or endpoint made here, terminated; the path of a Unix socket is shorter. */
enum { FLM__ENDPOINT_MAX = 256 };

/* Writes the default endpoint, "unix:PATH". Makes nothing. 0, FLM_EPERM (the directory is there and is
 * not ours alone) or FLM_ETOOBIG. */
int flm__default_endpoint(char *out, size_t n);

/* Makes the directory of the default endpoint (mode 0700) where it is missing, verifies it and writes
 * its path. 0, FLM_EPERM, FLM_EIO, FLM_ETOOBIG. */
int flm__runtime_directory(char *out, size_t n, flm_error *error);

#endif
