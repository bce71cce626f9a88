/* results/follow.h - reads the journal of a flmd that is writing it: frame by frame from a position on, to
 * the end that it has now, and later on from there.
 *
 * flmd deletes no segment that we have not read (manager/results.h), so the only surprises are its end in
 * the middle of a frame, after which a new segment begins where the last whole frame ended, and a journal
 * that has been damaged. */
#ifndef RESULTS_FOLLOW_H
#define RESULTS_FOLLOW_H

#include "store/reader.h"

struct follow {
    struct flm__folder folder;
    struct flm__reader reader;
    bool open;
    uint64_t position; /* before the next frame */
    uint64_t skipped;  /* the journal did not reach back to where it was to begin, but only to here */
};

/* Begins at `position` (0: at its beginning). */
int follow_open(struct follow *f, const char *folder, uint64_t position, flm_error *error);
void follow_close(struct follow *f);

/* 1: a frame, valid until the next call; 0: there is none now; or an error. */
int follow_next(struct follow *f, struct flm__frame *frame, flm_error *error);

#endif
