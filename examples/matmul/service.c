/* service.c - the service of flm-matmul: one tile of C a task. */
#include "tile.h"
#include <flm/service.h>
#include <stdlib.h>
#include <string.h>

struct state {
    struct source source;
    flm_error refused; /* code not 0: every task fails with this sentence */
};

static int enter(const struct flm_session_info *info, void **state)
{
    struct state *s = calloc(1, sizeof(*s));

    if (!s)
        return FLM_ENOMEM;
    tile_set_threads(info->cores ? (int)info->cores : 1);
    if (source_open(&s->source, info->common, info->common_size, &s->refused) && !s->refused.code)
        s->refused.code = FLM_EINVAL;
    *state = s;
    return 0;
}

static int invoke(struct flm_task_context *task, void *state)
{
    struct state *s = state;
    struct tile_times times;
    struct tile tile;
    flm_error error;
    size_t size;
    const void *input = flm_task_input(task, &size);
    double *c;

    if (s->refused.code)
        return flm_task_fail(task, s->refused.code, "%s", s->refused.text);
    if (size != sizeof(tile))
        return flm_task_fail(task, FLM_EINVAL, "the input has %zu bytes, a tile has %zu", size,
                             sizeof(tile));
    memcpy(&tile, input, sizeof(tile));
    if (!tile_valid(&s->source.head, &tile))
        return flm_task_fail(task, FLM_EINVAL, "the tile lies outside of C");
    c = flm_task_output(task, tile_output_bytes(&tile));
    if (!c)
        return flm_task_fail(task, FLM_ENOMEM, "no memory for a tile of %llu x %llu",
                             (unsigned long long)tile.rows, (unsigned long long)tile.columns);
    if (tile_compute(&s->source, &tile, c, &times, &error))
        return flm_task_fail(task, error.code, "%s", error.text);
    memcpy(c + tile.rows * tile.columns, &times, sizeof(times));
    return 0;
}

static void leave(void *state)
{
    struct state *s = state;

    source_close(&s->source);
    free(s);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .name = "matmul",
               .on_session_enter = enter,
               .on_task_invoke = invoke,
               .on_session_leave = leave};
