/* Journals in folders of their own, with records that can be told from each other. */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include "store/format.h"
#include "store/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { RING = 64 << 10 };

/* A folder that does not exist yet; store_folder_end removes it and frees the name. */
char *store_folder(void);
void store_folder_end(char *folder);
void store_folder_copy(const char *from, const char *to); /* `to` is made empty first */
unsigned store_segments(const char *folder);
/* Path of the i-th segment, -1: the last. Freed by the caller. */
char *store_segment(const char *folder, int i);
unsigned char *store_read(const char *file, size_t *size);
void store_write(const char *file, const void *bytes, size_t size);

/* Opens with these options and verifies the records of before: it is record *next, *next + 1, ... */
struct flm__journal *store_open(const char *folder, const struct flm__journal_options *options);
struct flm__journal *store_start(const char *folder, const struct flm__journal_options *options,
                                 uint64_t *next);

/* Record number i: its size is pseudo-random up to `most`. Returns its position, 0: no room. */
size_t store_size(uint64_t i, size_t most);
uint64_t store_append(struct flm__journal *j, uint64_t i, size_t most);
/* Waits for room or progress by arm, with a limit that only a lost wake-up reaches. */
void store_sleep(struct flm__journal *j, int event_fd);
/* Appends record i, and waits for room. */
uint64_t store_append_wait(struct flm__journal *j, int event_fd, uint64_t i, size_t most);
void store_wait_written(struct flm__journal *j, int event_fd, uint64_t position);
void store_wait_synced(struct flm__journal *j, int event_fd, uint64_t position);
void store_wait_state(struct flm__journal *j, int event_fd, enum flm__journal_state state);

/* Replay that expects records next, next + 1, ...; NULL for more is fine. */
struct store_log {
    uint64_t next;     /* the first if it is not yet known and any == true */
    bool any;          /* the first record may have any number */
    uint64_t position; /* of the last */
    uint64_t first;
};
int store_check_record(void *log, const struct flm__journal_record *record, const void *payload,
                       uint64_t position);

#endif
