/* nbody.c - bodies that attract each other, step by step: a program that gives its session new common data
 * in each step.
 *
 * In a step each task computes the accelerations of a block of bodies, for which it needs the positions of
 * all; these are the session's common data. The client moves the bodies (leapfrog), and updates them.
 */
#include "bodies.h"
#include "fail.h"
#include "launch.h"
#include "parse.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "nbody"

struct run {
    uint64_t n, steps, block, seed;
    int inproc, check;
    const char *service;
    struct body *bodies;
    double (*velocities)[3], (*accelerations)[3];
    struct launch launch;
    flm_error error;
};

/* One block's answer; arg is the run, and the task's id says which block: they are submitted in order. */
static void on_result(const struct flm_result *result, void *arg)
{
    struct run *run = arg;
    uint64_t blocks = (run->n + run->block - 1) / run->block;
    uint64_t first = (result->task - 1) % blocks * run->block;
    uint64_t count = run->n - first < run->block ? run->n - first : run->block;

    if (result->state != FLM_TASK_SUCCEED)
        launch_explain(result, &run->error);
    else if (result->size != count * sizeof(*run->accelerations))
        fail(&run->error, FLM_EPROTO, "a task answered with %zu bytes", result->size);
    else
        memcpy(run->accelerations[first], result->output, result->size);
}

/* The accelerations at the present positions, by tasks. */
static int compute(struct run *run)
{
    flm_session *s = run->launch.session;

    if (flm_update_common_data(s, run->bodies, run->n * sizeof(*run->bodies), NULL, &run->error) < 0)
        return run->error.code;
    for (uint64_t first = 0; first < run->n; first += run->block) {
        struct block block = {first, run->n - first < run->block ? run->n - first : run->block};
        int64_t task = flm_run_task(s, &block, sizeof(block), on_result, run);
        if (task < 0)
            return fail(&run->error, (int)task, "cannot submit a task: %s", flm_strerror((int)task));
    }
    int rc = flm_wait(s, -1);
    return rc < 0 && !run->error.code ? fail(&run->error, rc, "%s", flm_strerror(rc)) : run->error.code;
}

/* The same here, for --check. */
static int compute_here(struct run *run)
{
    bodies_accelerations(run->bodies, run->n, &(struct block){0, run->n}, run->accelerations);
    return 0;
}

static void kick(struct run *run, double dt)
{
    for (uint64_t i = 0; i < run->n; i++)
        for (int k = 0; k < 3; k++)
            run->velocities[i][k] += dt * run->accelerations[i][k];
}

static void drift(struct run *run, double dt)
{
    for (uint64_t i = 0; i < run->n; i++)
        for (int k = 0; k < 3; k++)
            run->bodies[i].position[k] += dt * run->velocities[i][k];
}

/* Leapfrog, kick-drift-kick: keeps the energy within bounds for ever. */
static int integrate(struct run *run, int (*accelerate)(struct run *))
{
    const double dt = 0.005;
    bodies_make(run->bodies, run->velocities, run->n, run->seed);
    int rc = accelerate(run);
    for (uint64_t step = 0; step < run->steps && rc == 0; step++) {
        kick(run, dt / 2);
        drift(run, dt);
        rc = accelerate(run);
        kick(run, dt / 2);
    }
    return rc;
}

static int allocate(struct run *run)
{
    run->bodies = calloc(run->n, sizeof(*run->bodies));
    run->velocities = calloc(run->n, sizeof(*run->velocities));
    run->accelerations = calloc(run->n, sizeof(*run->accelerations));
    if (run->bodies && run->velocities && run->accelerations)
        return 0;
    return fail(&run->error, FLM_ENOMEM, "no memory for %llu bodies", (unsigned long long)run->n);
}

/* Whether one process gets the very same positions. */
static int agrees(struct run *run)
{
    struct body *bodies = run->bodies;
    size_t bytes = run->n * sizeof(*bodies);
    run->bodies = malloc(bytes);
    int same = run->bodies && integrate(run, compute_here) == 0 && memcmp(run->bodies, bodies, bytes) == 0;
    free(run->bodies);
    run->bodies = bodies;
    return same;
}

static int run_all(struct run *run)
{
    struct launch_options launch = {.program = PROGRAM,
                                    .module = "nbody.so",
                                    .service = run->service,
                                    .description = "bodies that attract each other",
                                    .inproc = run->inproc};
    if (allocate(run) || launch_connect(&run->launch, &launch, &run->error) ||
        launch_session(&run->launch, &launch, NULL, 0, &run->error))
        return 1;
    bodies_make(run->bodies, run->velocities, run->n, run->seed);
    double before = bodies_energy(run->bodies, run->velocities, run->n), begin = report_clock();
    if (integrate(run, compute))
        return 1;
    double seconds = report_clock() - begin, after = bodies_energy(run->bodies, run->velocities, run->n);
    printf("%llu bodies, %llu steps in %.2f s: energy %.9f, %+.1e of it since the beginning\n",
           (unsigned long long)run->n, (unsigned long long)run->steps, seconds, after,
           (after - before) / fabs(before));
    if (run->check && !agrees(run)) {
        fail(&run->error, FLM_EPROTO, "one process alone gets other positions");
        return 1;
    }
    if (run->check)
        printf("one process alone gets the same positions, to the last digit\n");
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct run *run = state->input;

    switch (key) {
    case 'n':
        run->n = parse_count(state, "--bodies", text, 1, 1000000);
        return 0;
    case 's':
        run->steps = parse_count(state, "--steps", text, 0, UINT64_MAX);
        return 0;
    case 'b':
        run->block = parse_count(state, "--block", text, 1, 1000000);
        return 0;
    case 'r':
        run->seed = parse_count(state, "--seed", text, 0, UINT64_MAX);
        return 0;
    case 'c':
        run->check = 1;
        return 0;
    case 'i':
        run->inproc = 1;
        return 0;
    case 'S':
        run->service = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"bodies", 'n', "N", 0, "So many bodies (default 2000)", 0},
        {"steps", 's', "N", 0, "So many steps of 0.005 (default 100)", 0},
        {"block", 'b', "N", 0, "Bodies of a task (default 100)", 0},
        {"seed", 'r', "N", 0, "Which cloud it is at the beginning (default 1)", 0},
        {"check", 'c', NULL, 0, "Computes all once more in this process, and compares", 0},
        {"inproc", 'i', NULL, 0, "Run the tasks inside this process", 0},
        {"service", 'S', "FILE", 0, "The service, where it is not found by itself: nbody.so", 0},
        {0}};
    static const struct argp argp = {
        options, parse, NULL, "Bodies that attract each other, step by step, by tasks.", NULL, NULL, NULL};
    struct run run = {.n = 2000, .steps = 100, .block = 100, .seed = 1};

    argp_parse(&argp, argc, argv, 0, NULL, &run);
    int status = run_all(&run);
    if (status)
        fprintf(stderr, PROGRAM ": %s\n", run.error.text);
    launch_end(&run.launch);
    free(run.bodies);
    free(run.velocities);
    free(run.accelerations);
    return status;
}
