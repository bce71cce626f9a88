/* resume.c - see resume.h */
#include "resume.h"
#include "fail.h"
#include <flm/admin.h>
#include <stdio.h>

/* What is computed, so that another run is not mistaken for this one. */
static void describe(const struct options *o, char text[CHECKPOINT_TEXT])
{
    const struct model *m = &o->model;
    int n = snprintf(text, CHECKPOINT_TEXT, "%s, seed %llu, %llu samples in %llu tasks",
                     model_payoff_name(m->payoff), (unsigned long long)m->seed,
                     (unsigned long long)o->samples, (unsigned long long)o->tasks);

    if (m->payoff != PAYOFF_PI)
        n += snprintf(text + n, CHECKPOINT_TEXT - (size_t)n, ", %.10g %.10g %.10g %.10g %.10g", m->spot,
                      m->strike, m->rate, m->volatility, m->maturity);
    if (o->error > 0)
        snprintf(text + n, CHECKPOINT_TEXT - (size_t)n, ", error %.10g", o->error);
}

int resume_read(struct run *r)
{
    struct progress_file *p = &r->progress_file;
    const char *file = r->options->output;
    int rc;

    p->reduce = &r->reduce;
    p->history = &r->history;
    describe(r->options, p->run);
    if (!r->options->resume)
        return 0;
    rc = checkpoint_read(file, p, &r->failed);
    if (rc)
        return rc == FLM_ENOTFOUND ? 0 : rc;
    r->seconds = p->state.seconds;
    r->executors = (unsigned)p->state.executors;
    r->over = p->state.complete != 0;
    return 0;
}

static uint64_t created(struct run *r)
{
    struct flm_session_view *view = NULL;
    uint64_t ns = 0;

    if (flm_get_session(r->launch.client, r->options->session, &view, &r->failed) == 0)
        ns = (uint64_t)view->created_ns;
    flm_free_sessions(view, 1);
    return ns;
}

static void note_core_time(struct run *r)
{
    struct checkpoint *c = &r->progress_file.state;
    struct flm_session_view *view = NULL;

    if (flm_submitted(r->launch.session) == 0 || /* one that is complete is read again */
        flm_get_session(r->launch.client, r->options->session, &view, NULL))
        return;
    c->useful_s = view->useful_s;
    c->wasted_s = view->wasted_s;
    flm_free_sessions(view, 1);
}

static void note_state(struct run *r, int complete)
{
    struct checkpoint *c = &r->progress_file.state;
    const struct reduce *sums = &r->reduce;

    *c = (struct checkpoint){.complete = (uint64_t)complete,
                             .session = c->session,
                             .first = c->first,
                             .next = sums->next,
                             .samples = sums->samples,
                             .due = r->history.due,
                             .executors = r->executors,
                             .sum_high = sums->sum.high,
                             .sum_low = sums->sum.low,
                             .sum2_high = sums->sum2.high,
                             .sum2_low = sums->sum2.low,
                             .seconds = r->seconds,
                             .centre = sums->model.centre,
                             .useful_s = c->useful_s,
                             .wasted_s = c->wasted_s};
    note_core_time(r);
}

static void save(struct run *r)
{
    struct outcome outcome;
    flm_error error = {0};

    note_state(r, 0);
    outcome = run_outcome(r, 0);
    if (results_write(r->options->output, &outcome, &r->history, &error)) {
        if (!r->failed.code)
            r->failed = error;
        r->over = 1;
        return;
    }
    r->saved_at = report_clock();
    r->saved_done = r->done;
    flm_acknowledge(r->launch.session);
}

int resume_open(struct run *r, const struct launch_options *launch, flm_task_fn *callback)
{
    struct checkpoint *c = &r->progress_file.state;
    const struct model *model = &r->reduce.model;
    uint64_t has, session;
    int rc = launch_open(&r->launch, launch, r->options->session, model, sizeof(*model), callback, r,
                         &r->failed);

    if (rc)
        return rc;
    has = flm_submitted(r->launch.session);
    session = created(r);
    if (r->failed.code)
        return r->failed.code;
    if (has && (!r->options->resume || session != c->session))
        return fail(&r->failed, FLM_EEXIST, "session %s is of %s: %s", r->options->session,
                    r->options->resume ? "another run than the one in --output" : "an earlier run",
                    r->options->resume ? "give the --output of that run, or another --session"
                                       : "--resume goes on with it; a new run needs another --session");
    if (!has) { /* a new one */
        c->first = r->reduce.next;
        c->session = session;
    }
    r->submitted = c->first + has;
    if (!has && !r->over)
        save(r); /* before it has the first task */
    return r->failed.code;
}

void resume_save_if_due(struct run *r)
{
    double seconds = r->seconds;

    if (r->done == r->saved_done || report_clock() - r->saved_at < CHECKPOINT_S)
        return;
    r->seconds += report_clock() - r->started;
    save(r);
    r->seconds = seconds;
}

/* A complete one is written by main, as any other. */
void resume_end(struct run *r)
{
    if (r->over && !r->failed.code)
        note_state(r, 1);
    else if (r->launch.session)
        save(r);
}
