/* manager/spill_file.h - files that hold an object each and have no name: they go with flmd, however that
 * ends. All of this may block, and is called on other threads. */
#ifndef MANAGER_SPILL_FILE_H
#define MANAGER_SPILL_FILE_H

#include <flm/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether such files can be made there: a directory that one can write to. */
int spill_file_try(const char *directory, flm_error *error);

/* One with these bytes; a descriptor, or -1: error says why. It gives up when *stop is set. */
int spill_file_write(const char *directory, const void *data, uint64_t size, const atomic_bool *stop,
                     flm_error *error);

/* The bytes of one, as a blob; a descriptor, or -1: error says why. */
int spill_file_read(const char *directory, int file, uint64_t size, const atomic_bool *stop,
                    flm_error *error);

#endif
