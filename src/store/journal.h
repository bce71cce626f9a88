/* store/journal.h - an append-only journal of typed records in a folder.
 *
 * A record is opaque here but for its header. Its position is the number of bytes of records that the
 * journal has had when it ends, from the journal's very beginning: never 0, growing, the same after each
 * restart. One thread, the owner, appends; a thread of the journal's own writes what was committed, as one
 * frame with a checksum for all that was committed meanwhile (so groups form by load, without a timer), and
 * tells two positions: up to which the kernel has it (`written`: survives SIGKILL of everything) and up to
 * which the disk has it (`synced`: survives a loss of power). Files and bytes: doc/journal.md.
 *
 * The life of a journal: open, replay, start, then append / commit, stop, close. All but flm__journal_check
 * is for the owner's thread alone.
 *
 * Segments. The journal is a row of files. At flm__journal_start, and in a flm__journal_commit after
 * segment_bytes of records, a new one begins, and flm__journal_rolled says so, once: what the owner appends
 * next are that segment's first records. Where the disk has little room left they are shorter. An owner
 * that then appends all that it knows (a checkpoint; as slowly as it likes, other records may stand
 * between) and calls flm__journal_drop_before(first position of the segment, position of the checkpoint's
 * last record) keeps the journal as short as what is alive. Records of older segments come first in a
 * replay as long as these are there.
 *
 * A full disk: nothing is lost; `written` stands still, the ring fills, appends return 0, the state is
 * FLM__JOURNAL_FULL; the thread tries again each second and at flm__journal_retry, until it works or the
 * journal is stopped. Any other error of the disk is for ever: FLM__JOURNAL_FAILED. What it said to be
 * synced is; nothing later is promised. */
#ifndef FLM_STORE_JOURNAL_H
#define FLM_STORE_JOURNAL_H

#include <flm/error.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FLM__JOURNAL_FOLDER "journal" /* of the journal in flmd's state directory */

struct flm__journal_record { /* little endian, 16 bytes; the payload follows, then zeros to a multiple of 8
                              */
    uint32_t size;           /* bytes of the payload; filled in by flm__journal_append */
    uint16_t type;           /* these are the owner's; the journal reads none of them */
    uint16_t flags;
    uint32_t session;
    uint32_t value;
};
#define FLM__JOURNAL_LARGEST ((size_t)0xf0000000) /* payload of a record */

enum flm__journal_state {
    FLM__JOURNAL_GOOD = 0,
    FLM__JOURNAL_FULL = 1,   /* no room on the disk: tries again */
    FLM__JOURNAL_FAILED = 2, /* for ever */
};

/* The system calls that can fail in many ways, so that tests can let them. */
struct flm__journal_io {
    ssize_t (*write)(int fd, const struct iovec *parts, int n, off_t offset); /* pwritev(2) */
    int (*sync)(int fd);                                                      /* fdatasync(2) */
};

struct flm__journal_options {
    size_t ring_bytes;                /* a power of two, at least 64 KiB; 0: 4 MiB */
    uint64_t segment_bytes;           /* of records, before the next segment begins; 0: 64 MiB */
    int event_fd;                     /* an eventfd that is the owner's, see flm__journal_arm; -1: none */
    const struct flm__journal_io *io; /* NULL: the system's */
};

struct flm__journal_stats {
    uint64_t records, frames, syncs;
    uint64_t bytes;    /* written to files, with headers */
    uint64_t segments; /* files that are there now */
    uint64_t live;     /* bytes of these files */
    uint64_t room;     /* bytes that the disk had left, at most some MiB ago; UINT64_MAX: nobody knows */
};

/* What the inline functions below need; the rest is behind it. */
struct flm__journal {
    char *ring;       /* mapped twice in a row */
    uint64_t mask;    /* size of the ring - 1 */
    uint64_t tail;    /* bytes ever put into the ring; an index modulo its size */
    uint64_t limit;   /* tail may become this; 0 before flm__journal_start */
    uint64_t beyond;  /* position - tail: what did not go through the ring */
    uint64_t records; /* appended */
};

/* ---- Opening and replaying ---- */

/* Opens the journal in `folder`, which is made if there is none (mode 0700; not its parents), and locks it.
 * NULL with FLM_EBUSY (another process has it: which), FLM_EVERSION, FLM_EIO, FLM_ENOMEM, FLM_EINVAL. */
struct flm__journal *flm__journal_open(const char *folder, const struct flm__journal_options *options,
                                       flm_error *error);

/* One record; `payload` is aligned to 8 and valid during the call. Not 0: stop. */
typedef int (*flm__journal_fn)(void *arg, const struct flm__journal_record *record, const void *payload,
                               uint64_t position);

struct flm__journal_replayed {
    uint64_t records, frames, segments;
    uint64_t end; /* position of the last record */
    uint64_t cut; /* bytes at the end of the last segment that were no whole frame, and were cut off */
    char cut_where[300]; /* file and offset of these, for people; "" if there are none */
};

/* Calls fn (NULL: only verify) for each record of all segments, in order. A torn tail of the last segment
 * is cut off. 0; what fn returned; FLM_EIO where the journal is damaged anywhere else (which file, where,
 * what, what to do; fn has had the records before it); FLM_EVERSION. Once, before flm__journal_start.
 * `replayed` may be NULL. */
int flm__journal_replay(struct flm__journal *j, flm__journal_fn fn, void *arg,
                        struct flm__journal_replayed *replayed, flm_error *error);

/* Starts the thread and a new segment; replays with NULL if that was not done. */
int flm__journal_start(struct flm__journal *j, flm_error *error);

/* ---- Appending ---- */

/* The slow path of the two below: more room was found, or a record too large for the ring. */
struct flm__journal_record *flm__journal_reserve_slow(struct flm__journal *j, size_t size);
uint64_t flm__journal_put_slow(struct flm__journal *j, struct flm__journal_record *record);

static inline uint64_t flm__journal_bytes(size_t size)
{
    return sizeof(struct flm__journal_record) + ((size + 7) & ~(uint64_t)7);
}

/* Room for a record with a payload of `size` bytes, to be filled in (payload at [1]) before
 * flm__journal_put. NULL: there is none now (stop reading from clients until flm__journal_arm's bell). No
 * system call, lock or allocation, unless the record is larger than a quarter of the ring. */
static inline struct flm__journal_record *flm__journal_reserve(struct flm__journal *j, size_t size)
{
    uint64_t bytes = flm__journal_bytes(size);
    if (__builtin_expect(j->tail + bytes > j->limit || bytes > j->mask / 4, 0))
        return flm__journal_reserve_slow(j, size);
    struct flm__journal_record *record = (void *)(j->ring + (j->tail & j->mask));
    if (size & 7)
        memset((char *)(record + 1) + (size & ~(size_t)7), 0, 8);
    record->size = (uint32_t)size;
    return record;
}

/* The record that was reserved is complete. Returns its position. */
static inline uint64_t flm__journal_put(struct flm__journal *j, struct flm__journal_record *record)
{
    if (__builtin_expect((char *)record != j->ring + (j->tail & j->mask), 0))
        return flm__journal_put_slow(j, record);
    j->tail += flm__journal_bytes(record->size);
    j->records++;
    return j->tail + j->beyond;
}

/* Both in one: the payload is `head` and then `body`. Returns the position, or 0: there is no room now. */
static inline uint64_t flm__journal_append(struct flm__journal *j, const struct flm__journal_record *header,
                                           const void *head, size_t head_size, const void *body,
                                           size_t body_size)
{
    struct flm__journal_record *record = flm__journal_reserve(j, head_size + body_size);
    if (!record)
        return 0;
    record->type = header->type;
    record->flags = header->flags;
    record->session = header->session;
    record->value = header->value;
    if (head_size)
        memcpy(record + 1, head, head_size);
    if (body_size)
        memcpy((char *)(record + 1) + head_size, body, body_size);
    return flm__journal_put(j, record);
}

/* Position of what was appended last. */
static inline uint64_t flm__journal_position(const struct flm__journal *j)
{
    return j->tail + j->beyond;
}

/* Gives what was appended to the thread. sync: and let it come to the disk. Once per turn of the owner's
 * loop, after its appends, also after none. */
void flm__journal_commit(struct flm__journal *j, bool sync);

/* ---- What has come of it ---- */

uint64_t flm__journal_written(struct flm__journal *j);
uint64_t flm__journal_synced(struct flm__journal *j);
enum flm__journal_state flm__journal_state(struct flm__journal *j);

/* What is wrong and what to do, for people; `*error` is left alone in a good state. */
void flm__journal_error(struct flm__journal *j, flm_error *error);

/* Bytes that the ring has room for. */
uint64_t flm__journal_room(struct flm__journal *j);

/* Before the owner sleeps: from now on event_fd rings once when written, synced or the state is not what
 * the functions above said last (room comes with written). false: it is so already, do not sleep. */
bool flm__journal_arm(struct flm__journal *j);
void flm__journal_disarm(struct flm__journal *j);

/* A full disk may have room again. */
void flm__journal_retry(struct flm__journal *j);

/* ---- Segments ---- */

/* true, once: a new segment begins with the next record; *first is the position before it. */
bool flm__journal_rolled(struct flm__journal *j, uint64_t *first);

/* Lets the thread delete the segments that end at or before `first`, once all up to `complete` (what
 * replaces them) is written and, in a journal that was ever told to sync, synced. */
void flm__journal_drop_before(struct flm__journal *j, uint64_t first, uint64_t complete);

void flm__journal_stats(struct flm__journal *j, struct flm__journal_stats *stats);

/* ---- The end ---- */

/* Commits, waits until all is written (and synced, if it was ever told to sync), ends the thread. An error
 * if that cannot be: the state was not good, after one more attempt. */
int flm__journal_stop(struct flm__journal *j, flm_error *error);

/* Unlocks and frees; stops first if that was not done. NULL is allowed. */
void flm__journal_close(struct flm__journal *j);

/* ---- Checking without an owner ---- */

struct flm__journal_damage {
    const char *file; /* valid during the call, as is `what` */
    uint64_t offset, bytes;
    const char *what; /* a sentence */
    bool repaired;
};
typedef void (*flm__journal_damage_fn)(void *arg, const struct flm__journal_damage *damage);

struct flm__journal_checked {
    uint64_t segments, frames, records, bytes; /* what is whole */
    uint64_t damages, repaired;
};

/* Verifies every byte of the journal in `folder`, and calls fn (may be NULL) for each damage. repair: cuts
 * off the end of the last segment from a damage on, where nothing that was ever synced is behind it.
 * 0, also with damages (see *checked); FLM_ENOTFOUND (no journal there), FLM_EBUSY, FLM_EIO, ... */
int flm__journal_check(const char *folder, bool repair, flm__journal_damage_fn fn, void *arg,
                       struct flm__journal_checked *checked, flm_error *error);

#endif
