/* store/format.h - the bytes of a segment; doc/journal.md tells them to people. All little endian, all a
 * multiple of 8 bytes. */
#ifndef FLM_STORE_FORMAT_H
#define FLM_STORE_FORMAT_H

#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define FLM__SEGMENT_MAGIC   "FLMJRNL" /* with the zero: 8 bytes */
#define FLM__SEGMENT_VERSION 2u
#define FLM__FRAME_MAGIC     0x664d4c46u /* "FLMf" */

struct flm__segment_header { /* the first 64 bytes of a file */
    char magic[8];
    uint32_t version;
    uint32_t bytes;    /* of this header: 64 */
    uint64_t journal;  /* random, the same in all segments of a journal */
    uint64_t number;   /* of the segment, from 1; the next has a greater one */
    uint64_t first;    /* position before its first record; the file's name, too */
    int64_t created;   /* ns since the epoch, for people */
    uint64_t reserved; /* 0 */
    uint64_t checksum; /* XXH3-64 of the 56 bytes before, seed 0 */
};
_Static_assert(sizeof(struct flm__segment_header) == 64, "no holes");

struct flm__frame_header { /* before the records of a frame */
    uint32_t magic;
    uint32_t check;    /* low half of the XXH3-64 of the 32 bytes that follow */
    uint64_t position; /* before its first record */
    uint64_t synced;   /* position up to which the journal was on the disk when this was written */
    uint64_t bytes;    /* of its records, which follow */
    uint64_t checksum; /* XXH3-64 of these */
};
_Static_assert(sizeof(struct flm__frame_header) == 40, "no holes");

/* Of both checksums of a frame: a frame in the wrong file or at the wrong position is none. */
static inline uint64_t flm__frame_seed(const struct flm__segment_header *s, uint64_t position)
{
    return (s->journal ^ s->number * 0x9e3779b97f4a7c15u) + position;
}

static inline uint32_t flm__frame_check(const struct flm__segment_header *s,
                                        const struct flm__frame_header *f)
{
    return (uint32_t)XXH3_64bits_withSeed(&f->position, 32, flm__frame_seed(s, f->position));
}

static inline uint64_t flm__segment_check(const struct flm__segment_header *s)
{
    return XXH3_64bits(s, 56);
}

#endif
