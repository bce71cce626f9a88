/* wire/record.h - the records of the data plane.
 *
 * A batch is a sequence of records, each a header of 24 bytes and a payload
 * padded with zeros to 8 bytes. Rings and fabric messages carry the same bytes;
 * a record never crosses the end of a batch. All numbers little endian; the
 * project supports little-endian machines only (configure checks).
 *
 *   offset size
 *        0    4  size     payload bytes, without padding
 *        4    1  type     enum flm__record_type
 *        5    1  flags    enum flm__record_flags
 *        6    2  lane     which executor behind the peer
 *        8    4  session  the manager's number of the session
 *       12    4  cookie   of the client, comes back with the result
 *       16    8  task     id of the task in the session
 *
 * A payload larger than FLM__INLINE_MAX travels as a blob: the payload is then a
 * struct flm__blob_ref and FLM__RECORD_BLOB is set.
 */
#ifndef FLM_WIRE_RECORD_H
#define FLM_WIRE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flm__record_type {
    FLM__TASK = 1,   /* client -> manager -> executor */
    FLM__RESULT = 2, /* and back */
    FLM__CREDIT = 3, /* manager -> client: payload uint64_t, bytes of the session that may have been
                        sent since it was opened */
    FLM__ACK = 4, /* client -> manager: it is done with so many results of the session (task; counted since
                     the session began) and need not see them again. No payload. */
    FLM__SETTLED = 5, /* executor -> manager, after the loss of an earlier one: whatever it had begun is
                         answered before this. task: the round. No payload. */
};

enum flm__record_flags {
    FLM__RECORD_BLOB = 1,     /* payload is a struct flm__blob_ref */
    FLM__RECORD_DEADLINE = 2, /* TASK: the payload begins with uint64_t, deadline in ms */
    FLM__RECORD_OUTCOME = 4,  /* RESULT that did not plainly succeed: the payload begins with a
                                 struct flm__outcome */
    FLM__RECORD_USAGE =
        16, /* RESULT of an executor, with an outcome: behind that comes a struct flm__usage */
    FLM__RECORD_UNCOUNTED = 8, /* RESULT of a task that was never taken; an ACK does not count it */
    FLM__RECORD_OBJECTS = 32,  /* TASK: before the input, behind the deadline, stands a struct
                                  flm__task_objects, and behind that the objects that the input names */
    FLM__RECORD_OUTPUT = 64,   /* TASK: before the input, behind all these, stands a struct flm__object_ref:
                                  the object whose newest version the output becomes. RESULT of such a task,
                                  from an executor: the output is to become that; to a client: it has, and
                                  in its place stands the version, uint64_t */
    FLM__RECORD_HELD = 128, /* RESULT to a client whose input was read where it lies: somebody may still do
                               so, until BlobDone */
};

struct flm__record {
    uint32_t size;
    uint8_t type;
    uint8_t flags;
    uint16_t lane;
    uint32_t session;
    uint32_t cookie;
    uint64_t task;
};

/* A result with anything to say beside its output; then `text` bytes of message
 * padded to 8, then the output (or its blob reference). */
struct flm__outcome {
    uint8_t state;  /* enum flm_task_state */
    uint8_t reason; /* enum flm_reason */
    uint16_t text;  /* at most FLM__MESSAGE_MAX */
    int32_t code;
    uint32_t attempts;
    uint32_t executor;
};

/* A session that asks for it (Bind) hears from its executors how long each task took: RESULT has that in
 * place of the cookie, which the manager knows itself. Seconds as a float; 0: not known. */
static inline uint32_t flm__duration_to_cookie(int64_t ns)
{
    float seconds = (float)(ns > 0 ? ns : 1) * 1e-9f;
    uint32_t cookie;
    __builtin_memcpy(&cookie, &seconds, sizeof(cookie));
    return cookie;
}

/* What the process of a failed task has used. */
struct flm__usage {
    uint64_t user_us, system_us, max_rss_kib;
};

/* Where a large payload lies. On a node the bytes are in a memfd announced on
 * the control connection under the same id; between nodes they are read by RMA. */
struct flm__blob_ref {
    uint64_t id;
    uint64_t size;
    uint64_t address; /* for RMA; 0 on a node */
    uint64_t key;
    uint64_t source; /* of whom they are read, see FabricPeer; 0: of the sender of the record */
};

/* Objects that the input of a task names: so many of struct flm__object_ref, each with its name. */
struct flm__task_objects {
    uint32_t bytes; /* of all that, this included: a multiple of 8, at most FLM__OBJECTS_MAX */
    uint32_t count; /* 1 .. FLM__OBJECTS */
};
struct flm__object_ref {
    uint64_t version; /* that the task wants (output: that is to be there before); 0: the newest */
    uint64_t least;   /* to an executor: it is at least this one */
    uint32_t bytes;   /* of this and the name, with which it ends, and at least one zero: a multiple of 8 */
    uint32_t _pad;
    char name[];
};

enum {
    FLM__OBJECTS = 16, /* of one task */
    FLM__OBJECT_REF_MAX = 24 + 128,
    FLM__OBJECTS_MAX = 8 + FLM__OBJECTS * FLM__OBJECT_REF_MAX,
    FLM__RECORD_HEADER = 24,
    FLM__INLINE_MAX = 32 * 1024, /* larger payloads are blobs, with the objects that a task names counted */
    FLM__MESSAGE_MAX = 400,
    /* The largest record there is: an outcome with usage, a message and an inline output. */
    FLM__RECORD_MAX = FLM__RECORD_HEADER + 16 + 24 + FLM__MESSAGE_MAX + FLM__INLINE_MAX + 8,
};

static inline uint32_t flm__record_padded(uint32_t payload)
{
    return (payload + 7u) & ~7u;
}

/* Bytes of a record on the wire. */
static inline uint32_t flm__record_bytes(uint32_t payload)
{
    return FLM__RECORD_HEADER + flm__record_padded(payload);
}

/* Checks the record at data, of which n bytes are there, and copies its header
 * (the peer may write while we read). Returns its bytes on the wire, or 0 when
 * it is not a whole, sound record. */
static inline uint32_t flm__record_read(const void *data, size_t n, struct flm__record *out)
{
    if (n < FLM__RECORD_HEADER)
        return 0;
    __builtin_memcpy(out, data, FLM__RECORD_HEADER);
    if (out->size > FLM__RECORD_MAX - FLM__RECORD_HEADER)
        return 0;
    uint32_t bytes = flm__record_bytes(out->size);
    return bytes <= n ? bytes : 0;
}

/* Copies the payload of a record, padding and all (so a multiple of 8). Most are short: calls of memcpy
 * were 6 % of what a task of 64 bytes costs the manager. */
static inline void flm__record_copy_payload(void *to, const void *from, uint32_t padded)
{
    enum { SHORT = 256, STEP = 32 };
    char *t = (char *)to;
    const char *f = (const char *)from;
    if (padded > SHORT) {
        __builtin_memcpy(t, f, padded);
        return;
    }
    for (; padded >= STEP; padded -= STEP, t += STEP, f += STEP)
        __builtin_memcpy(t, f, STEP);
    for (; padded; padded -= 8, t += 8, f += 8)
        __builtin_memcpy(t, f, 8);
}

static inline const void *flm__record_payload(const void *record)
{
    return (const char *)record + FLM__RECORD_HEADER;
}

/* The parts of a RESULT's payload. outcome is filled as a plain success where
 * the record has none. Returns false when the parts do not fit. */
struct flm__result_parts {
    struct flm__outcome outcome;
    struct flm__usage usage; /* all 0: not known */
    const char *text;        /* outcome.text bytes, not terminated */
    const void *output;      /* inline bytes or a struct flm__blob_ref */
    uint32_t size;
    bool blob;
};
bool flm__result_split(const struct flm__record *r, const void *payload, struct flm__result_parts *out);

/* The parts of a TASK's payload: deadline (0: none), objects and the one that the output becomes (NULL:
 * none), which were checked, and input. */
struct flm__task_parts {
    uint64_t deadline_ms;
    const struct flm__task_objects *objects;
    const struct flm__object_ref *becomes;
    const void *input;
    uint32_t size;
    bool blob;
};
/* Walks over the objects of a task: at NULL the first, else the one behind it; NULL: that was the last. */
static inline const struct flm__object_ref *flm__task_object(const struct flm__task_objects *objects,
                                                             const struct flm__object_ref *at)
{
    const char *next = at ? (const char *)at + at->bytes : (const char *)(objects + 1);
    return next < (const char *)objects + objects->bytes ? (const struct flm__object_ref *)next : NULL;
}
bool flm__task_split(const struct flm__record *r, const void *payload, struct flm__task_parts *out);

#endif
