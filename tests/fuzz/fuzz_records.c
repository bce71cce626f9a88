/* Whatever a peer puts into a ring or a fabric message: split as the daemons split it. */
#include "wire/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char seen;

/* Reads every byte, so that a range outside the record is noticed. */
static void look(const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        seen ^= ((const unsigned char *)from)[i];
}

static void one_record(const struct flm__record *r, const void *payload)
{
    struct flm__result_parts result;
    struct flm__task_parts task;
    if (r->type == FLM__TASK && flm__task_split(r, payload, &task)) {
        const struct flm__object_ref *at = NULL;
        while (task.objects && (at = flm__task_object(task.objects, at)))
            look(at->name, strlen(at->name));
        look(task.input, task.blob ? sizeof(struct flm__blob_ref) : task.size);
    }
    if (r->type == FLM__RESULT && flm__result_split(r, payload, &result)) {
        look(result.text, result.outcome.text);
        look(result.output, result.blob ? sizeof(struct flm__blob_ref) : result.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct flm__record r;
        uint32_t bytes = flm__record_read(data + at, size - at, &r);
        if (!bytes)
            break;
        if (bytes > size - at || bytes < FLM__RECORD_HEADER)
            abort();
        void *copy = malloc(bytes); /* of its own, so that its ends are guarded */
        if (!copy)
            break;
        memcpy(copy, data + at, bytes);
        one_record(&r, flm__record_payload(copy));
        free(copy);
        at += bytes;
    }
    return 0;
}
