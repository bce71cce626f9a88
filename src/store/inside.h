/* store/inside.h - a journal as the files of this folder see it.
 *
 * Three parts. `front` and `owner`: the owner's thread alone. `thread`: before flm__journal_start the
 * owner's, then the journal's thread alone. `shared`: atomics, each written by one side, and the row of
 * specials, a queue from the owner to the thread. Positions only grow.
 *
 * The ring holds the stream of records but for those too large for it, which are specials, as is the mark
 * where a new segment begins. A special that begins at position p is in the queue before anything behind p
 * is published: the thread, which looks at `published` first, sees it in time. */
#ifndef FLM_STORE_INSIDE_H
#define FLM_STORE_INSIDE_H

#include "store/reader.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    FLM__LINE = 64,
    FLM__SPECIALS = 64,
};

enum flm__phase {
    FLM__PHASE_OPEN,
    FLM__PHASE_REFUSED, /* the replay failed */
    FLM__PHASE_REPLAYED,
    FLM__PHASE_RUNNING,
    FLM__PHASE_STOPPED,
};

struct flm__special {
    uint64_t position;                  /* before it */
    struct flm__journal_record *record; /* the thread frees it; NULL: a new segment begins here */
    uint64_t bytes;                     /* of record */
};

struct flm__known_segment {
    uint64_t first, bytes; /* bytes of the file; kept at the end of its time as the last */
    bool synced;           /* and its name */
};

struct flm__journal_shared {
    _Alignas(FLM__LINE) _Atomic uint64_t published; /* the owner writes these */
    _Atomic uint64_t sync_wanted, drop_first, drop_complete;
    _Atomic uint64_t specials_tail;
    _Atomic bool stop;
    _Alignas(FLM__LINE) _Atomic uint64_t head; /* the thread writes these; of the ring */
    _Atomic uint64_t written, synced, specials_head, specials_freed;
    _Atomic uint64_t frames, syncs, bytes, segments, live, room;
    _Atomic int state;
    _Alignas(FLM__LINE) _Atomic bool sleeps; /* the thread; the owner rings and takes it back */
    _Atomic bool waits;                      /* the owner; the thread rings and takes it back */
    struct flm__special specials[FLM__SPECIALS];
};

struct flm__journal_inside {
    struct flm__journal front;
    struct flm__journal_shared shared;
    struct {
        uint64_t seen_written, seen_synced, specials, specials_bytes;
        uint64_t published, sync_wanted, segment_first;
        int seen_state;
        bool rolled;
        struct flm__journal_record *large; /* reserved */
    } owner;
    struct {
        uint64_t position, beyond, special; /* written; not through the ring; specials taken */
        uint64_t offset, ahead; /* of the segment's file: the next frame; zeros are there up to */
        uint64_t look_at;       /* the room on the disk once offset is there */
        struct flm__segment_header segment;
        struct flm__known_segment *known; /* the last is the current one */
        size_t n, room;
        int fd;
        uint64_t dropped, drop_first, drop_complete; /* done; to be done, once the last is written */
        uint64_t want;                               /* the sync that is served now */
        bool syncs;                                  /* it was ever told to */
        bool lost;                                   /* a sync failed: nothing may be believed any more */
    } thread;
    pthread_mutex_t error_lock;
    flm_error error; /* under error_lock */

    struct flm__folder folder;
    enum flm__phase phase;
    uint64_t segment_bytes, ring_bytes;
    int event_fd, bell; /* the owner's, the thread's */
    struct flm__journal_io io;
    pthread_t id_of_thread;
    uint64_t id, number, end, was_synced; /* what the replay found; id 0: a new journal */
};

static inline struct flm__journal_inside *flm__journal_inside(struct flm__journal *j)
{
    return (struct flm__journal_inside *)j;
}

/* Rings an eventfd; -1: none. */
void flm__journal_ring(int fd);

/* The thread, until it is told to stop. */
void *flm__journal_thread(void *journal);

/* ---- Segments of the journal that is written (segment.c) ---- */

/* Makes the list of known segments so long; false: no memory. */
bool flm__journal_room_for_segments(struct flm__journal_inside *j, size_t n);
void flm__journal_know_segment(struct flm__journal_inside *j, uint64_t first, uint64_t bytes);

/* These return 0 or an errno, with *doing the words for a message. What failed may be tried again, unless
 * thread.lost is set. */
int flm__segment_begin(struct flm__journal_inside *j, const char **doing);
int flm__segment_frame(struct flm__journal_inside *j, const void *records, uint64_t bytes,
                       const char **doing);
int flm__segment_sync(struct flm__journal_inside *j, const char **doing);
int flm__segment_end(struct flm__journal_inside *j, const char **doing);

/* Deletes the segments that end at or before `first`. */
void flm__segments_drop(struct flm__journal_inside *j, uint64_t first);

#endif
