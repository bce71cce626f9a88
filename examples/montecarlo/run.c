/* run.c - see run.h.
 *
 * Tasks are numbered 0, 1, 2, ...; sums are added in that order (reduce.h), and
 * whether the error is small enough is asked after each in that order too. So
 * where a run ends does not depend on the executors either: what was computed
 * beyond is not used.
 */
#include "run.h"
#include "fail.h"
#include "resume.h"
#include <math.h>
#include <string.h>

#define SUBMIT_AT_ONCE 256 /* between two looks at results */
#define POLL_MS        100

/* Below so many samples the standard error itself is not to be trusted. */
#define LEAST_SAMPLES 10000

static void give_up(struct run *r, int code, const char *why)
{
    if (!r->failed.code)
        fail(&r->failed, code, "%s", why);
    r->over = 1;
}

static void show_progress(struct run *r)
{
    char samples[REPORT_TEXT], tasks[REPORT_TEXT], done[REPORT_TEXT], total[REPORT_TEXT], left[REPORT_TEXT];
    double now = report_clock(), elapsed = now - r->started;
    struct estimate e = reduce_estimate(&r->reduce);
    double rate = (double)r->reduce.next / elapsed, fraction;

    if (!progress_due(&r->progress, now))
        return;
    if (e.samples < 2) {
        progress_draw(&r->progress, "waiting for the first results");
        return;
    }
    fraction = (double)r->reduce.next / (double)r->options->tasks;
    if (r->options->error > 0 && e.error > 0) /* the error falls as one over the root of the samples */
        fraction = fmax(fraction, fmin(pow(r->options->error / e.error, 2), 1));
    progress_draw(&r->progress, "%s %.7g %s %.1g  %3.0f %%  %s/%s tasks  %s samples/s  %s tasks/s  %s left",
                  model_payoff_name(r->options->model.payoff), e.value, report_plus_minus(), e.error,
                  floor(100 * fraction), report_count(done, r->reduce.next),
                  r->options->error > 0 ? "?" : report_count(total, r->options->tasks),
                  report_rate(samples, (double)e.samples / elapsed), report_rate(tasks, rate),
                  report_time(left, elapsed * (1 / fraction - 1)));
}

static void advance(struct run *r)
{
    while (!r->over && reduce_step(&r->reduce)) {
        struct estimate e = reduce_estimate(&r->reduce);
        int precise = r->options->error > 0 && e.samples >= LEAST_SAMPLES && e.error > 0 &&
                      e.error < r->options->error;
        r->over = precise || r->reduce.next == r->options->tasks;
        history_add(&r->history, &e, r->over);
    }
}

static void on_result(const struct flm_result *result, void *arg)
{
    struct run *r = arg;
    struct mc_sums sums;
    flm_error why;

    r->done++;
    if (r->over)
        return;
    if (result->state != FLM_TASK_SUCCEED) {
        launch_explain(result, &why);
        give_up(r, why.code, why.text);
        return;
    }
    if (result->size == sizeof(sums))
        memcpy(&sums, result->output, sizeof(sums));
    if (r->lasting && result->size == sizeof(sums) && reduce_has(&r->reduce, sums.number))
        return; /* it came again */
    if (result->size != sizeof(sums) || sums.number >= r->options->tasks ||
        sums.samples != options_task_samples(r->options, sums.number) || reduce_put(&r->reduce, &sums)) {
        give_up(r, FLM_EPROTO,
                "a task sent sums that are not those of a Monte Carlo task: program and module "
                "are of different versions");
        return;
    }
    if (result->executor < RUN_EXECUTORS && !r->seen[result->executor]) {
        r->seen[result->executor] = 1;
        r->executors++;
    }
    advance(r);
    show_progress(r);
}

static int submit_some(struct run *r)
{
    const struct options *o = r->options;

    for (int i = 0; i < SUBMIT_AT_ONCE && !r->over; i++) {
        struct mc_task task = {.number = r->submitted, .samples = options_task_samples(o, r->submitted)};
        int64_t rc;
        if (r->submitted == o->tasks || r->submitted - r->reduce.next >= RUN_WINDOW)
            return POLL_MS;
        rc = flm_run_task(r->launch.session, &task, sizeof(task), on_result, r);
        if (rc < 0)
            give_up(r, (int)rc, flm_strerror((int)rc));
        else
            r->submitted++;
    }
    return 0;
}

static int run_tasks(struct run *r, const volatile int *interrupted)
{
    r->started = report_clock();
    while (!r->over && !*interrupted) {
        int wait_ms = submit_some(r);
        int rc = r->over ? 0 : flm_poll(r->launch.client, wait_ms);
        if (rc < 0 && !*interrupted)
            give_up(r, rc, flm_strerror(rc));
        show_progress(r);
        if (r->lasting && !r->over)
            resume_save_if_due(r);
    }
    r->seconds += report_clock() - r->started;
    if (r->lasting)
        resume_end(r);
    r->over = 1; /* what comes from here on is not used */
    if (*interrupted && r->reduce.samples && !r->lasting) {
        struct estimate e = reduce_estimate(&r->reduce);
        history_add(&r->history, &e, 1);
    }
    progress_clear(&r->progress);
    return r->failed.code;
}

int run_all(struct run *r, const struct launch_options *launch, const volatile int *interrupted)
{
    const struct model *model = &r->options->model;
    int rc = reduce_init(&r->reduce, model, RUN_WINDOW);

    r->lasting = r->options->session != NULL;
    if (rc)
        return fail(&r->failed, rc, "no memory for %u tasks", RUN_WINDOW);
    r->history.exact = model_exact(model);
    if (r->lasting)
        rc = resume_read(r);
    if (rc == 0)
        rc = launch_connect(&r->launch, launch, &r->failed);
    if (rc == 0 && r->lasting)
        rc = resume_open(r, launch, on_result);
    else if (rc == 0)
        rc = launch_session(&r->launch, launch, model, sizeof(*model), &r->failed);
    if (rc == 0)
        rc = run_tasks(r, interrupted);
    return rc;
}

struct outcome run_outcome(const struct run *r, int interrupted)
{
    return (struct outcome){.model = r->reduce.model,
                            .estimate = reduce_estimate(&r->reduce),
                            .exact = r->history.exact,
                            .target = r->options->error,
                            .tasks = r->reduce.next,
                            .executors = r->executors,
                            .seconds = r->seconds,
                            .useful_s = r->progress_file.state.useful_s,
                            .wasted_s = r->progress_file.state.wasted_s,
                            .interrupted = interrupted,
                            .version = flm_version(),
                            .progress = r->lasting ? &r->progress_file : NULL};
}

void run_fini(struct run *r)
{
    r->over = 1;
    if (r->lasting && !r->progress_file.state.complete)
        launch_leave(&r->launch);
    launch_end(&r->launch);
    reduce_fini(&r->reduce);
}
