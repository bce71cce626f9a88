/* run.c - see run.h */
#include "run.h"
#include "block.h"
#include "matrix_writer.h"
#include "tile.h"
#include "fail.h"
#include <string.h>

#define POLL_MS        100
#define TILES_UNDERWAY 4 /* per executor */

static void give_up(struct run *r, int code, const char *why)
{
    if (!r->failed.code)
        fail(&r->failed, code, "%s", why);
    r->over = 1;
}

static void show_progress(struct run *r)
{
    const struct matmul_common *h = &r->prepared->head;
    char done[REPORT_TEXT], total[REPORT_TEXT], tiles[REPORT_TEXT], left[REPORT_TEXT];
    double now = report_clock(), elapsed = now - r->started;
    double fraction = (double)r->done / (double)r->tiles;

    if (!progress_due(&r->progress, now))
        return;
    if (!r->done)
        progress_draw(&r->progress, "waiting for the first tile");
    else
        progress_draw(&r->progress, "matmul %3.0f %%  %s/%s tiles  %.1f GFLOP/s  %s tiles/s  %s left",
                      100 * fraction, report_count(done, r->done), report_count(total, r->tiles),
                      2e-9 * (double)h->m * (double)h->n * (double)h->k * fraction / elapsed,
                      report_rate(tiles, (double)r->done / elapsed),
                      report_time(left, elapsed * (1 / fraction - 1)));
}

static void keep(struct run *r, const struct tile *t, const double *from)
{
    uint64_t n = r->prepared->head.n;
    struct tile_times times;
    double started;
    flm_error error;

    for (uint64_t i = 0; r->c && i < t->rows; i++)
        memcpy(r->c + (t->row + i) * n + t->column, from + i * t->columns, t->columns * sizeof(double));
    memcpy(&times, from + t->rows * t->columns, sizeof(times));
    r->times.reading += times.reading;
    r->times.multiplying += times.multiplying;
    started = report_clock();
    if (r->file &&
        matrix_writer_write(r->file, 0, t->row, t->column, t->rows, t->columns, from, t->columns, &error))
        give_up(r, error.code, error.text);
    r->writing += report_clock() - started;
}

/* Tasks are numbered 1, 2, 3, ... in the order of submission, tiles 0, 1, 2, ... */
static void on_result(const struct flm_result *result, void *arg)
{
    struct run *r = arg;
    struct tile tile;
    flm_error why;

    if (r->over)
        return;
    if (result->state != FLM_TASK_SUCCEED) {
        launch_explain(result, &why);
        give_up(r, why.code, why.text);
        return;
    }
    tile = block_tile(r->prepared->head.m, r->prepared->head.n, r->side, result->task - 1);
    if (result->task < 1 || result->task > r->tiles || result->size != tile_output_bytes(&tile)) {
        give_up(r, FLM_EPROTO,
                "a task sent something that is not its tile: program and module are of "
                "different versions");
        return;
    }
    keep(r, &tile, result->output);
    r->done++;
    r->over = r->over || r->done == r->tiles;
    show_progress(r);
}

static void submit_some(struct run *r)
{
    const struct matmul_common *h = &r->prepared->head;
    uint64_t window = (uint64_t)r->launch.executors * TILES_UNDERWAY + TILES_UNDERWAY;

    while (!r->over && r->submitted < r->tiles && r->submitted - r->done < window) {
        struct tile tile = block_tile(h->m, h->n, r->side, r->submitted);
        int64_t rc;
        r->submitted++; /* callbacks may run inside the call */
        rc = flm_run_task(r->launch.session, &tile, sizeof(tile), on_result, r);
        if (rc < 0)
            give_up(r, (int)rc, flm_strerror((int)rc));
    }
}

int run_all(struct run *r, const struct launch_options *launch, const volatile int *interrupted)
{
    const struct prepared *p = r->prepared;

    r->started = report_clock();
    r->tiles = block_count(p->head.m, p->head.n, r->side);
    if (launch_session(&r->launch, launch, p->common, p->common_size, &r->failed))
        return r->failed.code;
    while (!r->over && !*interrupted) {
        int rc;
        submit_some(r);
        rc = r->over ? 0 : flm_poll(r->launch.client, POLL_MS);
        if (rc < 0)
            give_up(r, rc, flm_strerror(rc));
        show_progress(r);
    }
    r->seconds = report_clock() - r->started;
    progress_clear(&r->progress);
    if (*interrupted && r->done < r->tiles)
        r->failed = (flm_error){FLM_ECANCELLED, "interrupted; nothing was written"};
    r->over = 1;
    return r->failed.code;
}
