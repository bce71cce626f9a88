/* base/file.h - files without a name, and all of a piece of a file at once. */
#ifndef FLM_BASE_FILE_H
#define FLM_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

/* A new file in the directory, for reading and writing, which is gone once it is closed; where the file
 * system makes none without a name, it has one for a moment. -1: errno says why. */
int flm__unnamed_file(const char *directory);

/* 0, or what errno was; ENOSPC, EIO: no byte more could be written, is there to read. */
int flm__write_at(int fd, const void *data, size_t size, uint64_t offset);
int flm__read_at(int fd, void *data, size_t size, uint64_t offset);

#endif
