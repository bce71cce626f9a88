/* Outputs that become objects, and wait for room in the link of their executor: who looks at them again
 * asks again. */
#include "base/error.h"
#include "manager/spill_inside.h"

#include <stdlib.h>
#include <utlist.h>

static struct output_room *output_of(struct room_wait *w)
{
    return (struct output_room *)w; /* the first member */
}

static void free_output(struct spill *s, struct output_room *out)
{
    if (!out->ready)
        DL_DELETE(s->queue, &out->wait);
    else
        DL_DELETE(s->ready, out);
    if (out->ready && !out->error.code)
        s->promised -= out->wait.bytes;
    free(out);
}

static bool is_of(const struct output_room *out, const struct executor *e)
{
    return out->executor == e->id && out->birth == e->birth;
}

static struct output_room *find(struct spill *s, const struct executor *e)
{
    struct output_room *out;
    struct room_wait *w;
    DL_FOREACH(s->ready, out)
    if (is_of(out, e))
        return out;
    DL_FOREACH(s->queue, w)
    if (w->what == ROOM_FOR_OUTPUT && is_of(output_of(w), e))
        return output_of(w);
    return NULL;
}

static int add(struct executor *e, uint64_t bytes, flm_error *error)
{
    struct manager *m = e->session->manager;
    struct output_room *out = calloc(1, sizeof(*out));
    if (!out)
        return flm__error_set(error, FLM_ENOMEM, "no memory for an object");
    *out = (struct output_room){.wait = {.bytes = bytes, .what = ROOM_FOR_OUTPUT},
                                .executor = e->id,
                                .birth = e->birth,
                                .asked_ns = m->now};
    spill_join(m, &out->wait);
    return FLM_EAGAIN;
}

int spill_output_room(struct executor *e, const struct object *o, uint64_t size, flm_error *error)
{
    struct manager *m = e->session->manager;
    struct output_room *out = m->spill ? find(m->spill, e) : NULL;
    if (!out) {
        int rc = object_check_room(m, o, size, error);
        return rc == FLM_EAGAIN ? add(e, object_more(o, size), error) : rc;
    }
    out->asked_ns = m->now;
    if (!out->ready)
        return FLM_EAGAIN;
    int rc = out->error.code;
    if (rc < 0)
        *error = out->error;
    free_output(m->spill, out);
    m->spilling = true;
    return rc;
}

void spill_output_ready(struct spill *s, struct room_wait *w, const flm_error *error)
{
    struct output_room *out = output_of(w);
    out->ready = true;
    DL_APPEND(s->ready, out);
    if (error)
        out->error = *error;
    else
        s->promised += w->bytes;
}

static bool is_left(const struct manager *m, const struct output_room *out, int64_t before_ns)
{
    return out->asked_ns < before_ns || out->executor >= m->n_executors ||
           !is_of(out, m->executors[out->executor]);
}

void spill_output_sweep(struct manager *m, int64_t before_ns)
{
    struct spill *s = m->spill;
    struct output_room *out, *after;
    struct room_wait *w, *next;
    DL_FOREACH_SAFE(s->ready, out, after)
    if (is_left(m, out, before_ns))
        free_output(s, out);
    DL_FOREACH_SAFE(s->queue, w, next)
    if (w->what == ROOM_FOR_OUTPUT && is_left(m, output_of(w), before_ns))
        free_output(s, output_of(w));
}
