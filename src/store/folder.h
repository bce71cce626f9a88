/* store/folder.h - the folder of a journal: its lock and the names of its segments. */
#ifndef FLM_STORE_FOLDER_H
#define FLM_STORE_FOLDER_H

#include <flm/error.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flm__folder {
    char *path;
    int fd, lock;     /* -1: none */
    uint64_t *firsts; /* of the segments, in order: their names are made of these */
    size_t n;
};

struct flm__segment_name {
    char text[24];
};

/* make: makes the folder and the lock file where they are missing; without it a missing folder is
 * FLM_ENOTFOUND, and a missing lock file no error. FLM_EBUSY: another process has it. *f is to be closed in
 * any case. */
int flm__folder_open(struct flm__folder *f, const char *path, bool make, flm_error *error);
/* For who only looks while another process writes: takes no lock. */
int flm__folder_look(struct flm__folder *f, const char *path, flm_error *error);
/* What is there now. */
int flm__folder_list(struct flm__folder *f, flm_error *error);
void flm__folder_close(struct flm__folder *f);

struct flm__segment_name flm__segment_name(uint64_t first);

#endif
