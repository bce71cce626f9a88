/* Linked with the objects of flmd to one that is broken on purpose, as FLM_BROKEN says:
 *
 *     dropped   now and then a result is said to be sent, and is not
 *     doubled   now and then a result is sent twice
 *     torn      a torn frame at the end of the journal is believed
 *
 * The linker's --wrap puts these functions in the place of the true ones. A fault campaign that finds
 * nothing wrong with it is worth nothing: tests/faults/broken.sh.
 */
#define _GNU_SOURCE
#include "manager/outbox.h"
#include "store/reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__real_outbox_next(struct outbox *o, uint32_t *bytes, uint64_t durable);
void *__wrap_outbox_next(struct outbox *o, uint32_t *bytes, uint64_t durable);
void __real_outbox_sent(struct outbox *o);
void __wrap_outbox_sent(struct outbox *o);
enum flm__read __real_flm__reader_next(struct flm__reader *r, struct flm__frame *frame, flm_error *error);
enum flm__read __wrap_flm__reader_next(struct flm__reader *r, struct flm__frame *frame, flm_error *error);

enum { NOW_AND_THEN = 997 };

static bool is(const char *what)
{
    const char *broken = getenv("FLM_BROKEN");
    return broken && strcmp(broken, what) == 0;
}

static bool now(const char *what)
{
    static unsigned calls;
    return ++calls % NOW_AND_THEN == 0 && is(what);
}

void *__wrap_outbox_next(struct outbox *o, uint32_t *bytes, uint64_t durable)
{
    void *record = __real_outbox_next(o, bytes, durable);
    if (!record || !now("dropped"))
        return record;
    __real_outbox_sent(o);
    return __real_outbox_next(o, bytes, durable);
}

void __wrap_outbox_sent(struct outbox *o)
{
    if (!now("doubled"))
        __real_outbox_sent(o);
}

/* What is there as records, as far as there are any. */
static enum flm__read believe(struct flm__reader *r, struct flm__frame *frame)
{
    static char *kept;
    const struct flm__journal_record *record;
    uint64_t at = 0, left = r->size - r->offset - sizeof(frame->header);
    free(kept);
    kept = malloc(left + 1);
    if (!kept || pread(r->fd, kept, left, (off_t)(r->offset + sizeof(frame->header))) != (ssize_t)left)
        return FLM__READ_TORN;
    while (left - at >= sizeof(*record)) {
        record = (const void *)(kept + at);
        if (record->type == 0 || record->size > left - at - sizeof(*record))
            break;
        at += flm__journal_bytes(record->size);
        if (at > left)
            return FLM__READ_TORN;
    }
    if (at == 0)
        return FLM__READ_TORN;
    frame->header = (struct flm__frame_header){.position = r->position, .bytes = at};
    frame->offset = r->offset;
    frame->records = kept;
    frame->count = 0;
    r->position += at;
    r->offset = r->size;
    return FLM__READ_GOOD;
}

enum flm__read __wrap_flm__reader_next(struct flm__reader *r, struct flm__frame *frame, flm_error *error)
{
    enum flm__read status = __real_flm__reader_next(r, frame, error);
    bool may_be = status == FLM__READ_TORN && r->size - r->offset > sizeof(frame->header) && is("torn");
    return may_be ? believe(r, frame) : status;
}
