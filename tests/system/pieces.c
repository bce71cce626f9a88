/* Inputs that lie in pieces, and outputs into memory of the client, through a session manager.
 *
 *     pieces
 *
 * Client and service (shim self), which answers with its input, each byte one larger. Prints "right", or
 * what is wrong. A block of columns of a matrix goes there and back, small enough to be copied and too
 * large for that.
 */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 300, COLUMNS = 5000, FROM = 1234, GUARD = 64, UNTOUCHED = 0x5a };

static const size_t widths[] = {1,   100,  109,
                                110, 1000, 3700}; /* 32 KiB, which is copied, lie between 109 and 110 */

static unsigned char matrix[ROWS][COLUMNS];
static unsigned char room[ROWS * COLUMNS + GUARD];

/* ---- service ----------------------------------------------------------------------------------- */

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const unsigned char *in = flm_task_input(task, &size);
    unsigned char *out = flm_task_output(task, size);
    (void)state;
    for (size_t i = 0; out && i < size; i++)
        out[i] = (unsigned char)(in[i] + 1);
    return out ? 0 : FLM_ENOMEM;
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "pieces", .on_task_invoke = invoke};

/* ---- client ------------------------------------------------------------------------------------ */

static int wrong(const char *what, size_t width)
{
    printf("%zu columns: %s\n", width, what);
    return 1;
}

static bool is_untouched(const unsigned char *from, const unsigned char *to)
{
    while (from < to && *from == UNTOUCHED)
        from++;
    return from == to;
}

/* A task of so many columns, in two pieces: the rows but the last, and that one. */
static int run(flm_session *s, size_t width, void *output, size_t output_size, struct flm_result *r)
{
    const struct flm_iov iov[] = {{&matrix[0][FROM], width, ROWS - 1, COLUMNS},
                                  {&matrix[ROWS - 1][FROM], width, 0, 0}};
    struct flm_task task = {
        .size = sizeof(task), .iov = iov, .iov_count = 2, .output = output, .output_size = output_size};
    memset(room, UNTOUCHED, sizeof(room));
    return flm_submit_task(s, &task) > 0 && flm_take_results(s, r, 1, -1) == 1;
}

static bool is_right(const unsigned char *got, size_t width)
{
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < width; j++)
            if (got[i * width + j] != (unsigned char)(matrix[i][FROM + j] + 1))
                return false;
    return true;
}

static int one_width(flm_session *s, size_t width)
{
    size_t bytes = ROWS * width;
    struct flm_result r;
    if (!run(s, width, NULL, 0, &r) || r.size != bytes || !is_right(r.output, width))
        return wrong("pieces", width);
    if (!run(s, width, room, bytes, &r) || r.output != room || r.size != bytes)
        return wrong("the output is not where it was to be", width);
    if (!is_right(room, width))
        return wrong("the output in the client's memory", width);
    if (!is_untouched(room + bytes, room + sizeof(room)))
        return wrong("memory beyond the output was written", width);
    if (!run(s, width, room, bytes - 1, &r) || r.state != FLM_TASK_FAILED ||
        r.reason != FLM_REASON_OUT_OF_MEMORY || r.code != FLM_ETOOBIG)
        return wrong("an output without enough room has not failed", width);
    if (!is_untouched(room, room + sizeof(room)))
        return wrong("an output without enough room was written all the same", width);
    return 0;
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    if (getenv("FLM_AGENT"))
        return flm_service_run(&service, argc, argv);
    char *self = realpath("/proc/self/exe", NULL);
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "pieces", .shim = FLM_SHIM_SELF, .command = command};
    struct flm_session_options o = {.size = sizeof(o), .application = app.name};
    flm_client *client = flm_connect(NULL, NULL, &e);
    flm_session *s = client && flm_register_application(client, &app, 1, &e) == 0
                         ? flm_create_session(client, &o, &e)
                         : NULL;
    int rc = s ? 0 : 1;
    for (size_t i = 0; i < sizeof(matrix); i++)
        ((unsigned char *)matrix)[i] = (unsigned char)(i * 2654435761u >> 24);
    for (size_t i = 0; s && rc == 0 && i < sizeof(widths) / sizeof(widths[0]); i++)
        rc = one_width(s, widths[i]);
    puts(s ? rc ? "" : "right" : e.text);
    flm_disconnect(client);
    free(self);
    return rc;
}
