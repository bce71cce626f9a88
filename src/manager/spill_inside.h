/* manager/spill_inside.h - what object_spill.c, spill_output.c (outputs that wait for room) and spill_job.c
 * (an object on its way to its file, or back, on another thread) share. */
#ifndef MANAGER_SPILL_INSIDE_H
#define MANAGER_SPILL_INSIDE_H

#include "manager/objects_inside.h"
#include "manager/say.h"

/* An output that waits for room. */
struct output_room {
    struct room_wait wait;
    struct output_room *prev, *next; /* in spill->ready */
    unsigned executor;
    uint64_t birth;
    int64_t asked_ns;
    bool ready;
    flm_error error; /* code 0: the room is promised */
};

struct spill {
    char directory[4096];
    struct object *recent;     /* those in memory: the one that was used last first */
    struct room_wait *queue;   /* for room; the head is served */
    struct output_room *ready; /* granted or refused, until they are asked about */
    uint64_t promised;         /* bytes of these, and of what is being read */
    uint64_t put_bytes;        /* that puts in the queue hold */
    uint64_t bytes;            /* in files, and being written there */
    struct object *writing;    /* NULL: none, or its version is past */
    bool writes;
    unsigned reads, closes; /* that are under way */
    bool serving;           /* who is called now has waited for room */
    flm_error trouble;      /* why nothing could be written */
    int64_t trouble_ns;     /* when */
    bool failed;            /* since the last turn: that is when */
    struct say_limit said;
};

/* Begins; spill_turn is called when it is over. False: m->spill->trouble. */
bool spill_job_write(struct manager *m, struct object *o);
/* The room is promised already. */
bool spill_job_read(struct manager *m, struct object *o);
/* Nobody needs its result. */
void spill_job_leave(struct object *o);
/* Closes the file of an object, on another thread: freeing it on the disk takes its time. */
void spill_file_drop(struct manager *m, struct object *o);
/* Nothing can be written for now. */
void spill_failed(struct manager *m, const flm_error *why);

/* object_spill.c: o has been read, as a memfd (taken), or not: -1. Who comes to the end of the queue. */
void spill_came(struct manager *m, struct object *o, int fd, const flm_error *error);
void spill_join(struct manager *m, struct room_wait *w);

/* Its turn: there is room (NULL), or never. */
void spill_output_ready(struct spill *s, struct room_wait *w, const flm_error *error);
/* Those of executors that are gone, and those that nobody has asked about since then: of tasks that were
 * cancelled. */
void spill_output_sweep(struct manager *m, int64_t before_ns);

#endif
