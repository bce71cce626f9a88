/* net/blob.h - memory for large payloads that is handed between processes of a node: a memfd, sealed
 * against resizing, so that no peer can make a reader fault.
 */
#ifndef FLM_NET_BLOB_H
#define FLM_NET_BLOB_H

#include <flm/error.h>
#include <stddef.h>
#include <stdint.h>

/* Makes a blob of size bytes (1 .. FLM_MAX_PAYLOAD) and maps it writable at *map. Returns the
 * descriptor or FLM_ENOMEM / FLM_EIO. */
int flm__blob_create(size_t size, void **map, flm_error *error);

/* Makes a blob that holds a copy of data. */
int flm__blob_copy(const void *data, size_t size, flm_error *error);

/* Overwrites bytes of a blob of ours that nobody else has yet. FLM_ENOMEM. */
int flm__blob_write(int fd, const void *data, size_t size, uint64_t offset, flm_error *error);

/* Gives back what memory it has beyond these bytes; nobody looks there any more. */
void flm__blob_trim(int fd, size_t size);

/* Whether a received blob is sealed and large enough: 0 or FLM_EPROTO. */
int flm__blob_check(int fd, size_t size, flm_error *error);

/* Maps a received blob read-only, after checking that it is sealed and large enough. NULL: it is not. */
const void *flm__blob_map(int fd, size_t size, flm_error *error);

void flm__blob_unmap(const void *map, size_t size); /* NULL is allowed */

#endif
