#include "manager/spill_inside.h"

#include "base/error.h"
#include "manager/spill_file.h"

#include <stdlib.h>
#include <unistd.h>

struct spill_job {
    uv_work_t work;
    struct manager *manager;
    struct object *object; /* NULL: its version is past */
    struct blob *blob;     /* that is written; NULL: it is read */
    uint64_t size;
    int file; /* to be read, ours if the object is gone; or written: -1: it could not be */
    int fd;   /* of what was read; -1: it could not be */
    atomic_bool stop;
    flm_error error;
};

/* ---- files that nobody needs ------------------------------------------------------------------- */

static void closed(uv_fs_t *close)
{
    struct manager *m = close->data;
    uv_fs_req_cleanup(close);
    free(close);
    m->spill->closes--;
    m->spilling = true;
}

static void drop_file(struct manager *m, int fd, uint64_t size)
{
    uv_fs_t *request = m->stopping ? NULL : malloc(sizeof(*request));
    m->spill->bytes -= size;
    if (request)
        request->data = m;
    if (request && uv_fs_close(&m->uv, request, fd, closed) == 0) {
        m->spill->closes++;
        return;
    }
    free(request);
    close(fd);
}

void spill_file_drop(struct manager *m, struct object *o)
{
    if (o->spill.file >= 0)
        drop_file(m, o->spill.file, o->size);
    o->spill.file = -1;
}

/* ---- on another thread -------------------------------------------------------------------------- */

static void work(uv_work_t *work)
{
    struct spill_job *j = work->data;
    const char *directory = j->manager->spill->directory;
    if (j->blob)
        j->file = spill_file_write(directory, j->blob->map, j->size, &j->stop, &j->error);
    else
        j->fd = spill_file_read(directory, j->file, j->size, &j->stop, &j->error);
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static void written(struct spill_job *j)
{
    struct spill *s = j->manager->spill;
    s->writes = false;
    s->writing = NULL;
    if (j->file < 0)
        s->bytes -= j->size;
    if (j->object && j->file >= 0)
        j->object->spill.file = j->file;
    else if (j->file >= 0)
        drop_file(j->manager, j->file, j->size);
    else if (j->object)
        spill_failed(j->manager, &j->error);
    blob_release(j->blob);
}

static void was_read(struct spill_job *j)
{
    struct manager *m = j->manager;
    m->spill->reads--;
    m->spill->promised -= j->size;
    if (j->object) {
        spill_came(m, j->object, j->fd, &j->error);
        return;
    }
    if (j->fd >= 0)
        close(j->fd);
    drop_file(m, j->file, j->size);
}

static void over(uv_work_t *work, int status)
{
    struct spill_job *j = work->data;
    if (status < 0) /* it never ran */
        flm__error_set(&j->error, FLM_ECANCELLED, "the session manager is ending");
    if (j->object)
        j->object->spill.job = NULL;
    j->manager->spilling = true;
    if (j->blob)
        written(j);
    else
        was_read(j);
    free(j);
}

static struct spill_job *begin(struct manager *m, struct object *o, struct blob *blob)
{
    struct spill_job *j = calloc(1, sizeof(*j));
    if (!j)
        return NULL;
    *j = (struct spill_job){
        .manager = m, .object = o, .blob = blob, .size = o->size, .file = o->spill.file, .fd = -1};
    atomic_init(&j->stop, false);
    j->work.data = j;
    if (uv_queue_work(&m->uv, &j->work, work, over) == 0)
        return o->spill.job = j;
    free(j);
    return NULL;
}

bool spill_job_write(struct manager *m, struct object *o)
{
    struct spill *s = m->spill;
    if (!blob_map(o->blob, &s->trouble))
        return false;
    if (!begin(m, o, o->blob)) {
        flm__error_set(&s->trouble, FLM_ENOMEM, "no memory to write an object to %s", s->directory);
        return false;
    }
    blob_hold(o->blob);
    s->bytes += o->size;
    s->writing = o;
    s->writes = true;
    return true;
}

bool spill_job_read(struct manager *m, struct object *o)
{
    if (!begin(m, o, NULL))
        return false;
    m->spill->promised += o->size;
    m->spill->reads++;
    return true;
}

void spill_job_leave(struct object *o)
{
    struct spill_job *j = o->spill.job;
    if (!j)
        return;
    atomic_store(&j->stop, true);
    j->object = NULL;
    o->spill.job = NULL;
    if (!j->blob)
        o->spill.file = -1; /* the other thread reads it */
    else
        j->manager->spill->writing = NULL;
}
