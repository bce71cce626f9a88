/* matmul.c - flm-matmul: C = A B by tiles.
 *
 * prepare.c gets A and B -> run.c submits struct tile -> service.c, source.c and
 * tile.c compute it in an executor -> run.c puts it into C and its file ->
 * inputs.c compares C with one dgemm.
 */
#include "block.h"
#include "inputs.h"
#include "matrix_writer.h"
#include "run.h"
#include "tile.h"
#include "save.h"
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "flm-matmul"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_INTERRUPTED = 130 };

/* What is printed at the end. */
struct outcome {
    const struct options *options;
    const struct run *run;
    int checked; /* 0: not; 1: passed; -1: not passed */
    struct inputs_check check;
    double dgemm_seconds;
    double commit_seconds; /* until C was on its disk */
};

/* Seconds with all reading and writing of files, and without. */
static double with_files(const struct outcome *x)
{
    return x->run->seconds + x->run->prepared->reading + x->commit_seconds;
}

static double without_files(const struct outcome *x)
{
    const struct run *r = x->run;

    return r->seconds - r->times.reading / r->launch.executors - r->writing;
}

static volatile int interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int complain(const char *text, int status)
{
    fprintf(stderr, PROGRAM ": %s\n", text);
    return status;
}

/* GFLOP/s of the whole product in so many seconds. */
static double speed(const struct matmul_common *h, double seconds)
{
    return 2e-9 * (double)h->m * (double)h->n * (double)h->k / seconds;
}

static void print_json(const struct outcome *x)
{
    const struct run *r = x->run;
    const struct matmul_common *h = &r->prepared->head;

    printf("{\"m\": %llu, \"n\": %llu, \"k\": %llu, \"block\": %llu, \"tasks\": %llu, \"executors\": %u, "
           "\"data\": \"%s\", \"seconds\": ",
           (unsigned long long)h->m, (unsigned long long)h->n, (unsigned long long)h->k,
           (unsigned long long)r->side, (unsigned long long)r->tiles, r->launch.executors,
           h->data == MATMUL_HDF5 ? "hdf5" : "common");
    json_number(stdout, r->seconds);
    printf(", \"gflops\": ");
    json_number(stdout, speed(h, r->seconds));
    printf(", \"dgemm_gflops\": ");
    json_number(stdout, speed(h, x->checked ? x->dgemm_seconds : 0));
    printf(", \"of_dgemm\": ");
    json_number(stdout, x->checked ? x->dgemm_seconds / with_files(x) : 1 / 0.0);
    printf(", \"of_dgemm_without_files\": ");
    json_number(stdout, x->checked ? x->dgemm_seconds / without_files(x) : 1 / 0.0);
    printf(", \"read_seconds\": ");
    json_number(stdout, r->prepared->reading + r->times.reading / r->launch.executors);
    printf(", \"multiply_seconds\": ");
    json_number(stdout, r->times.multiplying / r->launch.executors);
    printf(", \"write_seconds\": ");
    json_number(stdout, r->writing + x->commit_seconds);
    printf(", \"check\": %s", x->checked ? x->checked > 0 ? "\"passed\"" : "\"failed\"" : "null");
    printf(", \"largest_difference\": ");
    json_number(stdout, x->checked ? x->check.difference : 1 / 0.0);
    printf(", \"part_of_bound\": ");
    json_number(stdout, x->checked ? x->check.of_bound : 1 / 0.0);
    printf(", \"output\": ");
    if (x->options->output)
        json_text(stdout, x->options->output);
    else
        printf("null");
    printf("}\n");
}

static void print_check(const struct outcome *x)
{
    if (!x->checked) {
        printf("  check        none (--check compares with one dgemm)\n");
        return;
    }
    printf(
        "  one dgemm    %.1f GFLOP/s with %u thread%s: %.0f %% of it reached, %.0f %% without the files\n",
        speed(&x->run->prepared->head, x->dgemm_seconds), x->run->launch.executors,
        x->run->launch.executors == 1 ? "" : "s", 100 * x->dgemm_seconds / with_files(x),
        100 * x->dgemm_seconds / without_files(x));
    printf("  check        %s: differs from it by at most %.2g, %.2g of the error bound\n",
           x->checked > 0 ? "passed" : "FAILED", x->check.difference, x->check.of_bound);
}

static void print_outcome(const struct outcome *x)
{
    char m[REPORT_TEXT], n[REPORT_TEXT], k[REPORT_TEXT], tiles[REPORT_TEXT], rate[REPORT_TEXT],
        t[REPORT_TEXT];
    const struct run *r = x->run;
    const struct matmul_common *h = &r->prepared->head;

    printf("C = A B, (%s %s %s) by (%s %s %s)\n", report_count(m, h->m), report_times(),
           report_count(k, h->k), k, report_times(), report_count(n, h->n));
    printf("  tiles        %s of %llu %s %llu on %u executor%s\n", report_count(tiles, r->tiles),
           (unsigned long long)r->side, report_times(), (unsigned long long)r->side, r->launch.executors,
           r->launch.executors == 1 ? "" : "s");
    printf("  A and B      %s%s\n",
           h->data == MATMUL_COMMON ? "common data of the session" : "read by the executors from ",
           h->data == MATMUL_COMMON      ? ""
           : r->prepared->inputs_written ? x->options->inputs
                                         : "their files");
    printf("  throughput   %.1f GFLOP/s, %s tiles/s, %s\n", speed(h, r->seconds),
           report_rate(rate, (double)r->tiles / r->seconds), report_time(t, r->seconds));
    printf("  of it        %.0f %% multiplying",
           100 * r->times.multiplying / r->launch.executors / r->seconds);
    if (r->file || h->data == MATMUL_HDF5 || r->prepared->reading > 0)
        printf("; reading %.2f s, writing %.2f s",
               r->prepared->reading + r->times.reading / r->launch.executors,
               r->writing + x->commit_seconds);
    printf("\n");
    print_check(x);
    if (x->options->output) {
        printf("  C            %s:/C\n", x->options->output);
        printf("  look at it   h5ls -v %s; h5dump -d /C -c 3,3 %s\n", x->options->output,
               x->options->output);
    }
}

/* One dgemm with as many threads as there are executors. Its time is taken from
 * the second of two, since the first one starts the threads. */
static int check(struct outcome *x)
{
    const struct run *r = x->run;
    const struct prepared *p = r->prepared;
    const struct matmul_common *h = &p->head;
    double *reference = calloc(h->m * h->n, sizeof(*reference)), started;
    double warm[64] = {0};

    if (!reference)
        return complain("no memory for the check; --no-check does without", STATUS_FAILED);
    tile_set_threads((int)r->launch.executors);
    tile_multiply(4, 4, 4, warm, warm + 16, warm + 32);
    memset(reference, 0xff, h->m * h->n * sizeof(*reference)); /* touch the pages */
    started = report_clock();
    tile_multiply(h->m, h->n, h->k, p->a, p->b, reference);
    x->dgemm_seconds = report_clock() - started;
    if (inputs_compare(h->m, h->n, h->k, p->a, p->b, r->c, reference, &x->check)) {
        free(reference);
        return complain("no memory for the check; --no-check does without", STATUS_FAILED);
    }
    free(reference);
    x->checked = x->check.of_bound <= 1 ? 1 : -1;
    if (x->checked < 0)
        fprintf(stderr,
                PROGRAM ": C[%llu,%llu] is %.17g, but one dgemm gives %.17g: %.3g times the error bound\n",
                (unsigned long long)x->check.row, (unsigned long long)x->check.column, x->check.value,
                x->check.reference, x->check.of_bound);
    return x->checked > 0 ? STATUS_OK : STATUS_FAILED;
}

static int create_output(struct run *r, const struct options *o, flm_error *error)
{
    const struct matmul_common *h = &r->prepared->head;
    const struct matrix_set set = {"/C", h->m, h->n};
    const struct matrix_note notes[] = {{"k", (double)h->k}, {"block", (double)r->side}, {0}};

    if (r->prepared->check && !(r->c = malloc(h->m * h->n * sizeof(double)))) {
        *error = (flm_error){FLM_ENOMEM, "no memory for C; --no-check does without"};
        return FLM_ENOMEM;
    }
    if (!o->output)
        return 0;
    r->file = matrix_writer_create(o->output, &set, 1, notes, error);
    return r->file ? 0 : FLM_EIO;
}

/* The matrices are there and so are the executors: multiply, write, check, print. */
static int multiply(struct run *r, const struct options *o, const struct launch_options *launch)
{
    struct outcome outcome = {.options = o, .run = r};
    const struct matmul_common *h = &r->prepared->head;
    flm_error error;
    int status = STATUS_OK;

    r->side = o->block ? o->block : block_side(block_cache_bytes(), h->m, h->n, r->launch.executors);
    if (create_output(r, o, &error))
        return complain(error.text, STATUS_FAILED);
    if (run_all(r, launch, &interrupted))
        return complain(r->failed.text, interrupted ? STATUS_INTERRUPTED : STATUS_FAILED);
    outcome.commit_seconds = report_clock();
    if (r->file && matrix_writer_commit(r->file, &error))
        return complain(error.text, STATUS_FAILED);
    outcome.commit_seconds = report_clock() - outcome.commit_seconds;
    if (r->prepared->check)
        status = check(&outcome);
    if (o->json)
        print_json(&outcome);
    else if (!o->quiet)
        print_outcome(&outcome);
    if (fflush(stdout) || ferror(stdout))
        return complain("cannot write to standard output", STATUS_FAILED);
    return status;
}

static int check_files(const struct options *o, flm_error *error)
{
    if (o->output && save_check(o->output, error))
        return STATUS_USAGE;
    if (o->data == MATMUL_HDF5 && !(o->a.file && o->b.file) && save_check(o->inputs, error))
        return STATUS_USAGE;
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct options options;
    struct prepared prepared = {0};
    struct run run = {.prepared = &prepared};
    struct launch_options launch = {
        .program = PROGRAM, .module = "matmul.so", .description = "matrix multiplication by tiles"};
    flm_error error;
    int status;

    setlocale(LC_CTYPE, "");
    options_parse(&options, argc, argv);
    catch_signals();
    launch.service = options.service;
    launch.inproc = options.inproc;
    progress_init(&run.progress, options.progress && !options.quiet);
    if (check_files(&options, &error))
        status = complain(error.text, STATUS_USAGE);
    else if (launch_connect(&run.launch, &launch, &error))
        status = complain(error.text, STATUS_FAILED);
    else if (prepare(&prepared, &options, &error))
        status = complain(error.text, STATUS_FAILED);
    else
        status = multiply(&run, &options, &launch);
    launch_end(&run.launch);
    matrix_writer_close(run.file);
    free(run.c);
    prepare_free(&prepared);
    options_free(&options);
    return status;
}
