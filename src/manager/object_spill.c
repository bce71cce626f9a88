#include "manager/object_spill.h"

#include "base/error.h"
#include "manager/spill_file.h"
#include "manager/spill_inside.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum { READS_MAX = 2 };
static const int64_t trouble_max_ns = 1000000000; /* then it is tried again */
static const int64_t asked_max_ns = 1000000000;   /* an output that waits is asked about each tick */

/* ---- the directory ------------------------------------------------------------------------------- */

int spill_open(struct manager *m, flm_error *error)
{
    const char *directory = m->options.object_spill;
    char path[PATH_MAX];
    if (!directory)
        return 0;
    if (!realpath(directory, path))
        return flm__error_errno(error, FLM_EINVAL, errno,
                                "the directory %s of --object-spill cannot be used", directory);
    int rc = spill_file_try(path, error);
    if (rc < 0)
        return rc;
    m->spill = calloc(1, sizeof(*m->spill));
    if (!m->spill)
        return flm__error_set(error, FLM_ENOMEM, "no memory");
    snprintf(m->spill->directory, sizeof(m->spill->directory), "%s", path);
    m->spill->trouble_ns = m->now - trouble_max_ns;
    return 0;
}

void spill_stop(struct manager *m)
{
    struct object *o, *next;
    if (m->spill)
        HASH_ITER(hh, m->objects, o, next)
    spill_job_leave(o);
}

void spill_free(struct manager *m)
{
    if (m->spill)
        spill_output_sweep(m, INT64_MAX);
    free(m->spill);
    m->spill = NULL;
}

uint64_t spill_bytes(const struct manager *m)
{
    return m->spill ? m->spill->bytes : 0;
}

bool spill_has(const struct object *o)
{
    return !o->blob;
}

void spill_failed(struct manager *m, const flm_error *why)
{
    m->spill->trouble = *why;
    m->spill->trouble_ns = m->now;
    m->spill->failed = true; /* m->now may be from before a long sleep */
    say_limited(&m->spill->said, m->now, "%s", why->text);
}

/* ---- what is in memory --------------------------------------------------------------------------- */

void spill_keep(struct manager *m, struct object *o)
{
    if (!m->spill)
        return;
    DL_PREPEND2(m->spill->recent, o, spill.prev, spill.next);
    m->spilling = true;
}

void spill_touch(struct manager *m, struct object *o)
{
    if (!m->spill || !o->blob || m->spill->recent == o)
        return;
    DL_DELETE2(m->spill->recent, o, spill.prev, spill.next);
    DL_PREPEND2(m->spill->recent, o, spill.prev, spill.next);
}

/* Who reads it keeps its memory, so that going costs work and gains nothing. */
static bool is_read(const struct object *o, const struct object *writing)
{
    return o->blob->refs > (o == writing ? 2 : 1);
}

struct object *spill_victim(struct object *recent, const struct object *writing, bool dry)
{
    struct object *o = recent ? recent->spill.prev : NULL, *last = NULL;
    for (; o; o = o == recent ? NULL : o->spill.prev) {
        if (dry && o->spill.file < 0)
            continue;
        if (!is_read(o, writing))
            return o;
        if (!last)
            last = o;
    }
    return last;
}

static void evict(struct manager *m, struct object *o)
{
    object_nodes_let_go(m, o);
    DL_DELETE2(m->spill->recent, o, spill.prev, spill.next);
    m->object_bytes -= o->size;
    blob_release(o->blob);
    o->blob = NULL;
}

/* ---- room ---------------------------------------------------------------------------------------- */

static bool fits(const struct manager *m, uint64_t more)
{
    return m->object_bytes + (m->spill ? m->spill->promised : 0) + more <= objects_limit(m);
}

static bool may_write(struct manager *m, const struct object *o)
{
    uint64_t limit = (uint64_t)m->options.object_spill_mib << 20;
    flm_error full;
    if (!limit || m->spill->bytes + o->size <= limit)
        return true;
    flm__error_set(&full, FLM_EFULL,
                   "objects have %llu MiB in %s, and may have %llu, which is too little for %llu KiB more: "
                   "delete some, or start flmd with another --object-spill-limit",
                   (unsigned long long)m->spill->bytes >> 20, m->spill->directory,
                   (unsigned long long)limit >> 20, (unsigned long long)(o->size + 1023) >> 10);
    spill_failed(m, &full);
    return false;
}

static bool begin_write(struct manager *m, struct object *o)
{
    if (!may_write(m, o))
        return false;
    if (spill_job_write(m, o))
        return true;
    flm_error why = m->spill->trouble;
    spill_failed(m, &why);
    return false;
}

/* LATER: when what is under way is over. NEVER: nothing more can be written, spill->trouble says why. */
enum found { FOUND, LATER, NEVER };

static enum found make_room(struct manager *m, uint64_t bytes)
{
    struct spill *s = m->spill;
    while (!fits(m, bytes)) {
        bool dry = m->now - s->trouble_ns < trouble_max_ns;
        struct object *o = spill_victim(s->recent, s->writing, dry);
        if (!o)
            return s->promised || s->writes || s->closes ? LATER : NEVER;
        if (o->spill.file >= 0)
            evict(m, o);
        else if (s->writes || s->closes || begin_write(m, o))
            return LATER;
    }
    return FOUND;
}

int spill_check(const struct manager *m, uint64_t more)
{
    const struct spill *s = m->spill;
    if (fits(m, more) && (!s || s->serving || !s->queue))
        return 0;
    return s && more <= objects_limit(m) ? FLM_EAGAIN : FLM_EFULL;
}

void spill_join(struct manager *m, struct room_wait *w)
{
    DL_APPEND(m->spill->queue, w);
    m->spilling = true;
}

int spill_await(struct manager *m, struct room_wait *w, bool only, flm_error *error)
{
    struct spill *s = m->spill;
    if (!only && s->put_bytes + w->held > objects_limit(m))
        return flm__error_set(error, FLM_EAGAIN,
                              "%llu MiB of objects wait already while others are written to %s: try again",
                              (unsigned long long)s->put_bytes >> 20, s->directory);
    s->put_bytes += w->held;
    spill_join(m, w);
    return 0;
}

void spill_await_not(struct manager *m, struct room_wait *w)
{
    DL_DELETE(m->spill->queue, w);
    m->spill->put_bytes -= w->held;
    m->spilling = true;
}

/* ---- objects that are to be read ------------------------------------------------------------------ */

struct object_wait *spill_forget(struct manager *m, struct object *o)
{
    struct object_wait *waits = o->spill.waits;
    if (!m->spill)
        return NULL;
    if (o->blob)
        DL_DELETE2(m->spill->recent, o, spill.prev, spill.next);
    if (o->spill.queued)
        DL_DELETE(m->spill->queue, &o->spill.room);
    spill_job_leave(o);
    spill_file_drop(m, o);
    o->spill.queued = false;
    o->spill.waits = NULL;
    m->spill->trouble_ns = m->now - trouble_max_ns; /* there may be room now */
    m->spill->failed = false;
    m->spilling = true;
    return waits;
}

static void end_waits(struct object_wait *waits, const flm_error *error)
{
    struct object_wait *w;
    while ((w = waits)) {
        DL_DELETE(waits, w);
        w->go(w, error);
    }
}

void spill_wake(struct object_wait *waits)
{
    end_waits(waits, NULL);
}

static void not_read(struct object *o, const flm_error *why)
{
    struct object_wait *waits = o->spill.waits;
    flm_error error;
    flm__error_set(&error, FLM_EIO, "object %s: %s", o->name, why->text);
    o->spill.waits = NULL;
    end_waits(waits, &error);
}

void spill_read(struct manager *m, struct object *o, struct object_wait *w)
{
    DL_APPEND(o->spill.waits, w);
    if (o->spill.queued || o->spill.job)
        return;
    o->spill.room = (struct room_wait){.bytes = o->size, .what = ROOM_FOR_READ};
    o->spill.queued = true;
    spill_join(m, &o->spill.room);
}

void spill_read_not(struct object *o, struct object_wait *w)
{
    DL_DELETE(o->spill.waits, w);
}

void spill_came(struct manager *m, struct object *o, int fd, const flm_error *error)
{
    flm_error why = *error;
    struct blob *blob = fd < 0 ? NULL : blob_take(m, fd, o->size, false, &why);
    if (!blob) {
        say_limited(&m->spill->said, m->now, "object %s: %s", o->name, why.text);
        not_read(o, &why);
        return;
    }
    struct object_wait *waits = o->spill.waits;
    o->spill.waits = NULL;
    o->blob = blob;
    m->object_bytes += o->size;
    spill_keep(m, o);
    spill_wake(waits);
}

/* ---- whose turn it is ---------------------------------------------------------------------------- */

static struct object *object_of(struct room_wait *w)
{
    return (struct object *)((char *)w - offsetof(struct object, spill.room));
}

static bool serve_read(struct manager *m, struct room_wait *w)
{
    struct spill *s = m->spill;
    struct object *o = object_of(w);
    if (s->reads == READS_MAX)
        return false;
    enum found found = make_room(m, w->bytes);
    if (found == LATER || (found == NEVER && s->reads))
        return false;
    DL_DELETE(s->queue, w);
    o->spill.queued = false;
    if (!spill_job_read(m, o))
        not_read(o, &(flm_error){FLM_ENOMEM, "no memory to read it back"});
    return true;
}

/* False: it has to wait. */
static bool serve(struct manager *m, struct room_wait *w)
{
    struct spill *s = m->spill;
    if (w->what == ROOM_FOR_READ)
        return serve_read(m, w);
    enum found found = make_room(m, w->bytes);
    if (found == LATER)
        return false;
    flm_error why = s->trouble;
    DL_DELETE(s->queue, w);
    if (w->what == ROOM_FOR_OUTPUT) {
        spill_output_ready(s, w, found == NEVER ? &why : NULL);
        return true;
    }
    s->put_bytes -= w->held;
    s->serving = true;
    w->go(w, found == NEVER ? &why : NULL);
    s->serving = false;
    return true;
}

void spill_turn(struct manager *m)
{
    while (m->spilling) {
        m->spilling = false;
        if (!m->spill || m->stopping)
            return;
        if (m->spill->failed)
            m->spill->trouble_ns = m->now;
        m->spill->failed = false;
        spill_output_sweep(m, m->now - asked_max_ns);
        make_room(m, 0);
        while (m->spill->queue && serve(m, m->spill->queue))
            ;
    }
}
