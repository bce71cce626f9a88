/* What runs in the client: a task for each piece of a data set, and what became of them. */
#define _GNU_SOURCE
#include "hdf5/inside.h"

#include "base/error.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE_BYTES (UINT64_C(4) << 20) /* of doubles, where the caller leaves it to us */
#define PIECES_MAX  (UINT64_C(1) << 31)

/* What the callback of a task gets. */
struct part {
    flm_hdf5_map *map;
    uint64_t number;
};

struct flm_hdf5_map {
    pthread_mutex_t
        lock; /* callbacks may run in a thread of the library; of `left` to `why`, and the output */
    flm_session *session;
    struct flm_hdf5_options options; /* its names are not used after the beginning */
    struct set input;                /* open, so that nobody writes to it */
    uint64_t step[FLM_HDF5_MAX_RANK], steps[FLM_HDF5_MAX_RANK];
    char *file, *dataset;
    uint64_t file_bytes;
    int64_t file_time_ns;
    struct output *output; /* NULL: none */
    struct part *parts;
    uint64_t n, left, failed; /* tasks; those that were not delivered yet */
    bool is_over;             /* finished without them: the last one frees this */
    uint64_t first_failed;    /* the lowest of those that failed, which `why` is about */
    flm_error why;            /* code 0: all is well */
};

/* ---- pieces ---- */

static uint64_t row_elements(const struct set *s)
{
    uint64_t n = 1;
    for (unsigned i = 1; i < s->rank; i++)
        if (__builtin_mul_overflow(n, s->extent[i], &n))
            return UINT64_MAX;
    return n ? n : 1;
}

static void choose_step(flm_hdf5_map *m)
{
    const struct set *s = &m->input;
    uint64_t rows = m->options.rows, row = row_elements(s);
    for (unsigned i = 0; i < s->rank; i++)
        m->step[i] = m->options.by_chunk ? s->chunk[i] : s->extent[i];
    if (m->options.by_chunk)
        return;
    if (rows == 0)
        rows = PIECE_BYTES / sizeof(double) / row;
    if (rows == 0)
        rows = 1;
    if (s->chunk[0] && rows % s->chunk[0] && rows < UINT64_MAX - s->chunk[0])
        rows += s->chunk[0] - rows % s->chunk[0];
    m->step[0] = rows < s->extent[0] ? rows : s->extent[0];
}

static int count_pieces(flm_hdf5_map *m, flm_error *error)
{
    m->n = 1;
    for (unsigned i = 0; i < m->input.rank; i++) {
        uint64_t extent = m->input.extent[i], step = m->step[i] ? m->step[i] : 1;
        m->steps[i] = extent / step + (extent % step != 0);
        if (__builtin_mul_overflow(m->n, m->steps[i], &m->n) || m->n > PIECES_MAX)
            return flm__error_set(error, FLM_EINVAL,
                                  "%s:%s would give too many tasks: take more rows for each", m->file,
                                  m->dataset);
    }
    return 0;
}

static struct flm_hdf5_slab slab_of(const flm_hdf5_map *m, uint64_t number)
{
    struct flm_hdf5_slab slab = {.rank = m->input.rank};
    for (unsigned i = m->input.rank; i-- > 0;) {
        slab.extent[i] = m->input.extent[i];
        slab.start[i] = number % m->steps[i] * m->step[i];
        slab.count[i] = slab.extent[i] - slab.start[i];
        if (slab.count[i] > m->step[i])
            slab.count[i] = m->step[i];
        number /= m->steps[i];
    }
    return slab;
}

/* ---- results ---- */

/* They come in any order; what is told of them does not depend on it. */
static void note_failure(flm_hdf5_map *m, uint64_t number, int code, const char *why)
{
    if (m->failed++ && number > m->first_failed)
        return;
    m->first_failed = number;
    flm__error_set(&m->why, code, "from row %llu on: %s", (unsigned long long)slab_of(m, number).start[0],
                   why);
}

static void take_output(flm_hdf5_map *m, uint64_t number, const struct flm_hdf5_slab *slab,
                        const struct flm_result *r)
{
    flm_error error;
    if (r->size != output_bytes(m->output, slab)) {
        snprintf(error.text, sizeof(error.text), "its task gave %zu bytes, and not doubles of %llu bytes",
                 r->size, (unsigned long long)output_bytes(m->output, slab));
        note_failure(m, number, FLM_ESERVICE, error.text);
    } else if (output_write(m->output, slab, r->output, &error) < 0) {
        note_failure(m, number, error.code, error.text);
    }
}

static void release(flm_hdf5_map *m)
{
    output_close(m->output, NULL);
    set_close(&m->input);
    free(m->file);
    free(m->dataset);
    free(m->parts);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void deliver(flm_hdf5_map *m, uint64_t number, const struct flm_result *r)
{
    struct flm_hdf5_slab slab = slab_of(m, number);
    if (r->state != FLM_TASK_SUCCEED)
        note_failure(m, number, FLM_ESERVICE, r->message[0] ? r->message : flm_reason_name(r->reason));
    else if (m->output)
        take_output(m, number, &slab, r);
    if (m->options.on_slab)
        m->options.on_slab(&slab, r, m->options.arg);
}

static void on_result(const struct flm_result *r, void *arg)
{
    const struct part *part = arg;
    flm_hdf5_map *m = part->map;
    pthread_mutex_lock(&m->lock);
    if (!m->is_over)
        deliver(m, part->number, r);
    bool unused = --m->left == 0 && m->is_over;
    pthread_mutex_unlock(&m->lock);
    if (unused)
        release(m);
}

static void change_left(flm_hdf5_map *m, int by)
{
    pthread_mutex_lock(&m->lock);
    m->left += (uint64_t)by;
    pthread_mutex_unlock(&m->lock);
}

/* ---- beginning ---- */

static int check_options(const struct flm_hdf5_options *o, flm_error *error)
{
    if (!o || o->size != sizeof(*o))
        return flm__error_set(error, FLM_EINVAL, "options with their size are needed");
    if (!o->file || !*o->file || !o->dataset || !*o->dataset)
        return flm__error_set(error, FLM_EINVAL, "a file and a data set are needed");
    if ((o->output != NULL) != (o->output_dataset != NULL) ||
        (o->output && (!*o->output || !*o->output_dataset)))
        return flm__error_set(error, FLM_EINVAL, "an output is a file and a data set");
    if (o->by_chunk && (o->rows || o->output_columns))
        return flm__error_set(error, FLM_EINVAL, "rows and output_columns do not go with by_chunk");
    return 0;
}

/* The names as executors need them, and what tells the file from a later one. */
static int identify(flm_hdf5_map *m, const struct flm_hdf5_options *o, flm_error *error)
{
    struct stat st;
    m->dataset = strdup(o->dataset);
    m->file = realpath(o->file, NULL);
    if (!m->dataset || !m->file || stat(m->file, &st) < 0)
        return flm__error_set(error, m->dataset ? FLM_ENOTFOUND : FLM_ENOMEM, "cannot find %s", o->file);
    m->file_bytes = (uint64_t)st.st_size;
    m->file_time_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
    return 0;
}

static int look_at_input(flm_hdf5_map *m, const struct flm_hdf5_options *o, flm_error *error)
{
    int rc = set_open(&m->input, o->file, o->dataset, true, error);
    if (rc < 0)
        return rc;
    if (o->by_chunk && !m->input.chunk[0])
        return flm__error_set(error, FLM_EINVAL, "%s:%s is not stored in chunks: map its rows", o->file,
                              o->dataset);
    choose_step(m);
    rc = identify(m, o, error);
    return rc < 0 ? rc : count_pieces(m, error);
}

static int submit(flm_hdf5_map *m, uint64_t number)
{
    struct piece p = {.slab = slab_of(m, number),
                      .file_bytes = m->file_bytes,
                      .file_time_ns = m->file_time_ns,
                      .file = m->file,
                      .dataset = m->dataset};
    size_t bytes;
    void *input = piece_encode(&p, &bytes);
    if (!input)
        return FLM_ENOMEM;
    m->parts[number] = (struct part){m, number};
    change_left(m, 1); /* the callback may run inside */
    /* Small enough to be copied. */
    int64_t task = flm_run_task(m->session, input, bytes, on_result, &m->parts[number]);
    free(input);
    if (task < 0)
        change_left(m, -1);
    return task < 0 ? (int)task : 0;
}

flm_hdf5_map *flm_map_hdf5(flm_session *session, const struct flm_hdf5_options *options, flm_error *error)
{
    if (check_options(options, error) < 0)
        return NULL;
    flm_hdf5_map *m = calloc(1, sizeof(*m));
    if (!m || !session) {
        flm__error_set(error, m ? FLM_EINVAL : FLM_ENOMEM, m ? "a session is needed" : "no memory");
        free(m);
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    m->session = session;
    m->input.file = m->input.set = -1;
    m->options = *options;
    int rc = look_at_input(m, options, error);
    if (rc == 0 && m->n > 0 && !(m->parts = calloc(m->n, sizeof(*m->parts))))
        rc = flm__error_set(error, FLM_ENOMEM, "no memory for %llu tasks", (unsigned long long)m->n);
    if (rc == 0 && options->output && !(m->output = output_open(options, &m->input, m->step, error)))
        rc = FLM_EIO;
    if (rc < 0) {
        release(m);
        return NULL;
    }
    /* Once one is submitted its callback needs the map: flm_hdf5_finish tells then. */
    for (uint64_t i = 0; i < m->n; i++) {
        rc = submit(m, i);
        if (rc < 0) {
            pthread_mutex_lock(&m->lock);
            note_failure(m, i, rc, flm_strerror(rc));
            pthread_mutex_unlock(&m->lock);
            m->n = i;
        }
    }
    return m;
}

uint64_t flm_hdf5_slabs(const flm_hdf5_map *map)
{
    return map ? map->n : 0;
}

int flm_hdf5_finish(flm_hdf5_map *m, flm_error *error)
{
    flm_error closing = {0};
    if (!m)
        return 0;
    int rc = flm_wait(m->session, -1);
    if (rc == FLM_EINVAL)
        return flm__error_set(error, rc, "flm_hdf5_finish in a callback");
    if (rc < 0)
        flm__error_set(error, rc, "%s", flm_strerror(rc));
    pthread_mutex_lock(&m->lock);
    int closed = output_close(m->output, &closing);
    m->output = NULL;
    set_close(&m->input);
    if (rc == 0 && m->failed)
        rc = flm__error_set(error, m->why.code, "%llu of %llu pieces of %s:%s failed; the first, %s",
                            (unsigned long long)m->failed, (unsigned long long)m->n, m->file, m->dataset,
                            m->why.text);
    else if (rc == 0 && closed < 0)
        rc = flm__error_set(error, closed, "%s", closing.text);
    m->is_over = true;
    bool unused = m->left == 0;
    pthread_mutex_unlock(&m->lock);
    if (unused)
        release(m);
    return rc;
}
