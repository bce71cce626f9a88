/* options.c - see options.h */
#include "options.h"
#include "results.h"
#include "parse.h"
#include "save.h"
#include <argp.h>
#include <stdlib.h>

#define DEFAULT_SAMPLES_PI     UINT64_C(1000000000)
#define DEFAULT_SAMPLES_OPTION UINT64_C(300000000)
#define TASK_SAMPLES           (UINT64_C(1) << 18) /* about a millisecond of one core */
#define MAX_SAMPLES            UINT64_C(1000000000000000000)
#define MAX_TASK_SAMPLES       (UINT64_C(1) << 36)
#define MAX_TASKS              UINT64_C(1000000000000)

enum {
    OPT_SEED = 256,
    OPT_PAYOFF,
    OPT_SPOT, /* these five describe the market */
    OPT_STRIKE,
    OPT_RATE,
    OPT_VOLATILITY,
    OPT_MATURITY,
    OPT_PLOT,
    OPT_NO_OUTPUT,
    OPT_ERROR,
    OPT_JSON,
    OPT_NO_PROGRESS,
    OPT_INPROC,
    OPT_SERVICE,
    OPT_RESUME,
    OPT_SESSION
};

static const struct argp_option table[] = {
    {0, 0, 0, 0, "What to compute:", 1},
    {"payoff", OPT_PAYOFF, "KIND", 0, "pi (default), or a European option: call, put", 1},
    {"samples", 'n', "N", 0, "How many samples (default 1e9 for pi, 3e8 for options)", 1},
    {"tasks", 't', "N", 0, "Divide them into N tasks (default: 262,144 samples a task)", 1},
    {"seed", OPT_SEED, "N", 0,
     "Choose the random numbers (default 1). The same seed, samples and tasks give "
     "the same digits on any number of executors",
     1},
    {"error", 'e', "E", 0, "Stop as soon as the standard error is below E (at most --samples, then 1e12)",
     1},
    {0, 0, 0, 0, "The option and its market:", 2},
    {"spot", OPT_SPOT, "S", 0, "Price of the asset today (default 100)", 2},
    {"strike", OPT_STRIKE, "K", 0, "Price agreed (default 105)", 2},
    {"rate", OPT_RATE, "R", 0, "Interest rate per year, continuous (default 0.05)", 2},
    {"volatility", OPT_VOLATILITY, "V", 0, "Per square root of a year (default 0.2)", 2},
    {"maturity", OPT_MATURITY, "T", 0, "Years until the option ends (default 1)", 2},
    {0, 0, 0, 0, "What to write:", 3},
    {"output", 'o', "FILE", 0,
     "Convergence history as HDF5, or CSV if FILE ends in .csv (default "
     "montecarlo-KIND.h5)",
     3},
    {"no-output", OPT_NO_OUTPUT, 0, 0, "Write no result file", 3},
    {"plot", OPT_PLOT, "FILE", 0, "Error against samples, as .svg or .png", 3},
    {"json", OPT_JSON, 0, 0, "Print the result as one JSON object", 3},
    {"quiet", 'q', 0, 0, "Print the estimate alone", 3},
    {"no-progress", OPT_NO_PROGRESS, 0, 0, "No progress line on the terminal", 3},
    {0, 0, 0, 0, "How to run:", 4},
    {"inproc", OPT_INPROC, 0, 0, "Run the tasks inside this program, without executors", 4},
    {"resume", OPT_RESUME, 0, 0, "Go on with the run in --output (under flmrun --state-dir DIR --resume)",
     4},
    {"session", OPT_SESSION, "NAME", 0,
     "Its session, where several are to go on later (default montecarlo)", 4},
    {"service", OPT_SERVICE, "FILE", 0, "Use this service module", 4},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;

    if (key >= OPT_SPOT && key <= OPT_MATURITY)
        o->market = 1;
    switch (key) {
    case OPT_PAYOFF:
        for (o->model.payoff = PAYOFF_PUT; o->model.payoff; o->model.payoff--)
            if (parse_is(arg, model_payoff_name(o->model.payoff)))
                return 0;
        argp_error(state, "--payoff=%s: pi, call or put", arg);
        break;
    case 'n':
        o->samples = parse_count(state, "samples", arg, 1, MAX_SAMPLES);
        break;
    case 't':
        o->tasks = parse_count(state, "tasks", arg, 1, MAX_TASKS);
        break;
    case 'e':
        o->error = parse_real(state, "error", arg, 1);
        break;
    case OPT_SEED:
        o->model.seed = parse_count(state, "seed", arg, 0, UINT64_MAX);
        break;
    case OPT_SPOT:
        o->model.spot = parse_real(state, "spot", arg, 0);
        break;
    case OPT_STRIKE:
        o->model.strike = parse_real(state, "strike", arg, 0);
        break;
    case OPT_RATE:
        o->model.rate = parse_real(state, "rate", arg, 0);
        break;
    case OPT_VOLATILITY:
        o->model.volatility = parse_real(state, "volatility", arg, 0);
        break;
    case OPT_MATURITY:
        o->model.maturity = parse_real(state, "maturity", arg, 0);
        break;
    case 'o':
        o->output = arg;
        break;
    case OPT_NO_OUTPUT:
        o->output = "";
        break;
    case OPT_PLOT:
        o->plot = arg;
        break;
    case OPT_JSON:
        o->json = 1;
        break;
    case 'q':
        o->quiet = 1;
        break;
    case OPT_NO_PROGRESS:
        o->progress = 0;
        break;
    case OPT_INPROC:
        o->inproc = 1;
        break;
    case OPT_SERVICE:
        o->service = arg;
        break;
    case OPT_RESUME:
        o->resume = 1;
        break;
    case OPT_SESSION:
        o->session = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char *default_output(uint32_t payoff)
{
    static const char *const hdf5[] = {"montecarlo-pi.h5", "montecarlo-call.h5", "montecarlo-put.h5"};
    static const char *const csv[] = {"montecarlo-pi.csv", "montecarlo-call.csv", "montecarlo-put.csv"};

    return (results_have_hdf5() ? hdf5 : csv)[payoff - PAYOFF_PI];
}

static void set_defaults(struct options *o)
{
    if (!o->output)
        o->output = default_output(o->model.payoff);
    if (!o->output[0])
        o->output = NULL;
    if (!o->samples && o->error > 0)
        o->samples = UINT64_C(1000000000000);
    if (!o->samples)
        o->samples = o->model.payoff == PAYOFF_PI ? DEFAULT_SAMPLES_PI : DEFAULT_SAMPLES_OPTION;
    if (!o->tasks)
        o->tasks = o->samples / TASK_SAMPLES + (o->samples % TASK_SAMPLES != 0);
    if (o->tasks > MAX_TASKS)
        o->tasks = MAX_TASKS;
}

/* A run goes on later where there is a state directory, which keeps the session, and a file for the rest.
 */
static void set_session(struct options *o, const char *program)
{
    const char *state = getenv("FLM_STATE_DIR");
    int can = state && state[0] && !o->inproc && o->output && results_have_hdf5() &&
              !save_has_suffix(o->output, ".csv");

    if (!can && o->resume)
        parse_refuse(program,
                     "--resume needs a session manager that keeps sessions (flmrun --state-dir DIR "
                     "--resume -- flm-montecarlo --resume) and an HDF5 file in --output");
    if (!can)
        o->session = NULL;
    else if (!o->session)
        o->session = "montecarlo";
}

void options_parse(struct options *o, int argc, char **argv)
{
    static char version[64];
    struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Estimates pi or the price of a European option by Monte Carlo, and compares it "
               "with the exact value.\v"
               "Run it through flmrun:\n"
               "  flmrun -- flm-montecarlo\n"
               "  flmrun -- flm-montecarlo --payoff=call --error=0.001 --plot=call.svg"};
    flm_error error;

    snprintf(version, sizeof(version), "flm-montecarlo (Flame) %s", flm_version());
    argp_program_version = version;
    argp_err_exit_status = 2;
    *o = (struct options){.progress = 1,
                          .model = {.version = MODEL_VERSION,
                                    .payoff = PAYOFF_PI,
                                    .seed = 1,
                                    .spot = 100,
                                    .strike = 105,
                                    .rate = 0.05,
                                    .volatility = 0.2,
                                    .maturity = 1}};
    argp_parse(&argp, argc, argv, 0, NULL, o);
    set_defaults(o);
    if (o->tasks > o->samples)
        parse_refuse(argv[0], "--tasks is more than --samples: a task needs a sample");
    if ((o->samples + o->tasks - 1) / o->tasks > MAX_TASK_SAMPLES)
        parse_refuse(argv[0], "too many samples in one task: give more --tasks");
    if (o->market && o->model.payoff == PAYOFF_PI)
        parse_refuse(argv[0], "spot, strike, rate, volatility and maturity belong to --payoff=call or put");
    if (model_check(&o->model, &error))
        parse_refuse(argv[0], error.text);
    model_set_centre(&o->model);
    set_session(o, argv[0]);
    if (o->output && !results_have_hdf5() && !save_has_suffix(o->output, ".csv"))
        parse_refuse(argv[0], "this build has no HDF5: give --output=FILE.csv");
}

uint64_t options_task_samples(const struct options *o, uint64_t i)
{
    return o->samples / o->tasks + (i < o->samples % o->tasks);
}
