/* montecarlo.c - flm-montecarlo: pi, or the price of a European option, by tasks.
 *
 * The path of a number: run.c submits struct mc_task -> service.c and kernel.c
 * compute sums in an executor -> reduce.c adds them in order -> history.c notes
 * the convergence -> print.c, results.c and plot.c show it.
 */
#include "print.h"
#include "plot.h"
#include "run.h"
#include "save.h"
#include <locale.h>
#include <signal.h>
#include <stdlib.h>

#define PROGRAM "flm-montecarlo"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_INTERRUPTED = 130 };

static volatile int interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* The first Ctrl-C ends the run and shows what there is; the second one kills. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int complain(const flm_error *error, int status)
{
    fprintf(stderr, PROGRAM ": %s\n", error->text);
    return status;
}

static int check_files(const struct options *o)
{
    flm_error error;

    if ((o->output && save_check(o->output, &error)) || (o->plot && plot_check(o->plot, &error)))
        return complain(&error, STATUS_USAGE);
    return STATUS_OK;
}

/* Writes the files, and forgets the names of those that could not be written. */
static int write_files(struct options *o, const struct outcome *outcome, const struct history *history)
{
    flm_error error;
    int status = STATUS_OK;

    if (o->output && results_write(o->output, outcome, history, &error)) {
        status = complain(&error, STATUS_FAILED);
        o->output = NULL;
    }
    if (o->plot && plot_write(o->plot, outcome, history, &error)) {
        status = complain(&error, STATUS_FAILED);
        o->plot = NULL;
    }
    return status;
}

static int show(struct options *o, const struct run *run)
{
    struct outcome outcome = run_outcome(run, interrupted);
    int status;

    if (!outcome.estimate.samples)
        return complain(&(flm_error){.text = "interrupted before the first result"}, STATUS_INTERRUPTED);
    if (o->quiet && !o->json)
        printf("%.15g\n", outcome.estimate.value);
    else if (!o->json)
        print_estimate(&outcome);
    fflush(stdout);
    status = write_files(o, &outcome, &run->history);
    if (o->json)
        print_json(&outcome, o->output, o->plot);
    else if (!o->quiet)
        print_files(o->output, o->plot);
    if (o->error > 0 && !(outcome.estimate.error < o->error) && !interrupted && status == STATUS_OK)
        fprintf(stderr, PROGRAM ": the standard error is not yet below %g: give more --samples\n",
                o->error);
    if (fflush(stdout) || ferror(stdout))
        status = complain(&(flm_error){.text = "cannot write to standard output"}, STATUS_FAILED);
    return interrupted ? STATUS_INTERRUPTED : status;
}

int main(int argc, char **argv)
{
    static struct run run; /* large, and all zero */
    struct options options;
    struct launch_options launch = {.program = PROGRAM,
                                    .module = "montecarlo.so",
                                    .description = "Monte Carlo: pi and European options"};
    int status;

    setlocale(LC_CTYPE, "");
    options_parse(&options, argc, argv);
    status = check_files(&options);
    if (status)
        return status;
    catch_signals();
    launch.service = options.service;
    launch.inproc = options.inproc;
    run.options = &options;
    progress_init(&run.progress, options.progress && !options.quiet);
    if (run_all(&run, &launch, &interrupted))
        status = complain(&run.failed, STATUS_FAILED);
    else
        status = show(&options, &run);
    run_fini(&run);
    return status;
}
