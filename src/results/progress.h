/* results/progress.h - how far a file of results is: STATE/results/SERIAL and SERIAL.now.
 *
 * The first is written now and then, when all that it tells of is on the disk (fsync): it is true whatever
 * happens. The second is written each time that the file has been closed, and is true unless power was lost
 * since. The file may have more rows than they tell: those are cut off after a crash, and come again from
 * the journal. The lock SERIAL.lock keeps two writers of one file apart. */
#ifndef RESULTS_PROGRESS_H
#define RESULTS_PROGRESS_H

#include <flm/error.h>

#include <stdbool.h>
#include <stdint.h>

enum { PROGRESS_EXECUTORS_MAX = 65536 };

enum progress_state {
    PROGRESS_OPEN,
    PROGRESS_CLOSED, /* the session is; all is there */
    PROGRESS_ANEW,   /* the file is being written anew: whatever is in it, it begins again */
};

enum progress_kind { PROGRESS_NOW, PROGRESS_SYNCED };

struct progress {
    uint64_t journal;     /* its number */
    uint64_t position;    /* what the journal has before it is in the file */
    uint64_t rows, bytes; /* of the file, and of the outputs in it */
    uint64_t next;        /* number of the result that comes next: rows + 1, but where some were lost */
    int64_t clock_ns;     /* as the journal told last */
    uint32_t state;       /* enum progress_state */
    uint32_t n_places;    /* node of each executor, plus 1; 0: not known */
};

struct progress_file {
    char path[4096];
    int lock;
};

/* Waits for the lock: a writer before us may be about to end. */
int progress_open(struct progress_file *f, const char *state_dir, const char *serial, flm_error *error);
void progress_close(struct progress_file *f);

/* False: there is none that makes sense. places has room for PROGRESS_EXECUTORS_MAX. */
bool progress_read(const struct progress_file *f, enum progress_kind kind, struct progress *p,
                   uint16_t *places);
int progress_write(const struct progress_file *f, enum progress_kind kind, const struct progress *p,
                   const uint16_t *places, flm_error *error);

#endif
