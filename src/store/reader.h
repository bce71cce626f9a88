/* store/reader.h - the frames of a segment, and what is wrong with those that are none.
 *
 * Nothing of a file is believed before its checksum: sizes are compared with the file's first. */
#ifndef FLM_STORE_READER_H
#define FLM_STORE_READER_H

#include "store/folder.h"
#include "store/format.h"
#include "store/journal.h"

struct flm__reader {
    const struct flm__folder *folder;
    struct flm__segment_name name;
    struct flm__segment_header header;
    int fd;
    uint64_t size;     /* of the file */
    uint64_t offset;   /* of the next frame */
    uint64_t position; /* that it must have */
    uint64_t synced;   /* the largest that a frame told */
    char *buffer;      /* bytes [base, base + have) of the file */
    uint64_t base, have, capacity;
};

enum flm__read {
    FLM__READ_GOOD = 0,
    FLM__READ_END,     /* nothing but zeros from `offset` on */
    FLM__READ_TORN,    /* something from `offset` on, and no frame in it */
    FLM__READ_DAMAGED, /* no frame at `offset`, and a whole one after it */
    FLM__READ_VERSION, /* only flm__reader_open: of another version */
    FLM__READ_ERROR,   /* *error says it */
};

struct flm__frame {
    struct flm__frame_header header;
    const char *records;
    uint64_t offset, count;
};

/* Opens the segment that begins at `first`. GOOD; TORN: no whole header; DAMAGED, VERSION (header.version),
 * ERROR. Close it in any case. A reader may be opened again after it was closed. */
enum flm__read flm__reader_open(struct flm__reader *r, const struct flm__folder *folder, uint64_t first,
                                flm_error *error);
void flm__reader_close(struct flm__reader *r);

/* The next frame; not DAMAGED, but TORN, where flm__reader_search was not asked. */
enum flm__read flm__reader_next(struct flm__reader *r, struct flm__frame *frame, flm_error *error);

struct flm__found {
    uint64_t offset, position; /* of the first whole frame */
    uint64_t synced;           /* the largest that one of them tells */
};

/* After TORN: looks for whole frames from `offset` on. DAMAGED: there are; TORN: there are none; ERROR. The
 * reader stays where it is. */
enum flm__read flm__reader_search(struct flm__reader *r, struct flm__found *found, flm_error *error);

/* Calls fn for each record of a frame; `true` in *malformed if they do not fill it (checked before fn gets
 * any). fn may be NULL. Counts in frame->count. Returns what fn returned. */
int flm__frame_records(struct flm__frame *frame, flm__journal_fn fn, void *arg, bool *malformed);

#endif
