/* manager/object_spill.h - objects beyond --object-memory: those that were used least recently go to files
 * of --object-spill, and are read back when somebody asks for them.
 *
 * An object is in memory (blob), in a file, or both: one that was read back keeps its file, so that it
 * needs not be written again. Versions never change, so another thread writes or reads one while all else
 * goes on, and what comes of it is thrown away if the object has got another version, or is gone. One is
 * written at a time, and READS_MAX are read.
 *
 * Whoever needs memory for one waits in one queue, in which everybody is served in turn: puts and updates,
 * outputs that become objects, and objects that are to be read back. The head of it has the least recently
 * used objects written, until there is room. If they cannot be written, puts and outputs fail; an object is
 * read back all the same, one at a time. So objects have in memory what they may have, one that was read
 * back beyond that, and what was put and waits: one put of each client, and others that make as much again
 * (FLM_EAGAIN).
 *
 * Executors on this node let go of what goes to a file. Nobody else is given the files: a disk that fails
 * is an error for those who ask for that object, not a fault where somebody looks at it.
 */
#ifndef MANAGER_OBJECT_SPILL_H
#define MANAGER_OBJECT_SPILL_H

#include "manager/executor.h"

struct object;

/* Waits for an object to be in memory. */
struct object_wait {
    struct object_wait *prev, *next;
    /* Once. error: it cannot be read back; NULL: it is there, or has changed: look again. */
    void (*go)(struct object_wait *w, const flm_error *error);
};

/* Waits for room. */
struct room_wait {
    struct room_wait *prev, *next;
    uint64_t bytes;
    uint64_t held; /* PUT: of data that wait with it */
    enum { ROOM_FOR_PUT, ROOM_FOR_OUTPUT, ROOM_FOR_READ } what;
    /* PUT: once; error: there will be none. */
    void (*go)(struct room_wait *w, const flm_error *error);
};

/* What an object has of this. */
struct object_spilled {
    struct object *prev, *next; /* those in memory: the one that was used last first */
    int file;                   /* -1: none */
    struct spill_job *job;      /* that writes or reads it */
    struct object_wait *waits;  /* for it to be read */
    struct room_wait room;      /* is in the queue if it needs that */
    bool queued;
};

/* Tries the directory. Without --object-spill all of these do nothing. */
int spill_open(struct manager *m, flm_error *error);
/* What is being written or read gives up, before the loop ends; after it. */
void spill_stop(struct manager *m);
void spill_free(struct manager *m);

/* Bytes in files. */
uint64_t spill_bytes(const struct manager *m);
/* Whether it is in a file alone. */
bool spill_has(const struct object *o);

/* It has a blob now; it was used. */
void spill_keep(struct manager *m, struct object *o);
void spill_touch(struct manager *m, struct object *o);
/* Its version is past: what there is of it goes, but for the blob. Those who waited for that version are to
 * look again, by spill_wake, once there is another one, or none. */
struct object_wait *spill_forget(struct manager *m, struct object *o);
void spill_wake(struct object_wait *waits);

/* The wait ends when it is in memory, which it is not now. */
void spill_read(struct manager *m, struct object *o, struct object_wait *w);
void spill_read_not(struct object *o, struct object_wait *w);

/* Room for so many bytes more, now. FLM_EAGAIN: not yet; FLM_EFULL: never. */
int spill_check(const struct manager *m, uint64_t more);
/* The wait ends when there is room for w->bytes. FLM_EAGAIN: too many wait, and this is not the only one of
 * its client. */
int spill_await(struct manager *m, struct room_wait *w, bool only, flm_error *error);
void spill_await_not(struct manager *m, struct room_wait *w);
/* The same (object_check_room) for an output, which is asked about again until the answer is not
 * FLM_EAGAIN. */
int spill_output_room(struct executor *e, const struct object *o, uint64_t size, flm_error *error);

/* m->spilling: something has changed. Called once per turn of the loop. */
void spill_turn(struct manager *m);

/* Which object of the list goes next; NULL: none. dry: without writing. */
struct object *spill_victim(struct object *recent, const struct object *writing, bool dry);

#endif
