/* options.c - see options.h */
#include "options.h"
#include "matrix_file.h"
#include <flm/error.h>
#include "parse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_SIZE = 256,
    OPT_A,
    OPT_B,
    OPT_DATA,
    OPT_INPUTS,
    OPT_NO_OUTPUT,
    OPT_CHECK,
    OPT_NO_CHECK,
    OPT_SEED,
    OPT_BLOCK,
    OPT_JSON,
    OPT_NO_PROGRESS,
    OPT_INPROC,
    OPT_SERVICE
};

static const struct argp_option table[] = {
    {0, 0, 0, 0, "The matrices:", 1},
    {"m", 'm', "N", 0, "Rows of A and C (default 2000)", 1},
    {"n", 'n', "N", 0, "Columns of B and C (default 2000)", 1},
    {"k", 'k', "N", 0, "Columns of A, rows of B (default 2000)", 1},
    {"size", OPT_SIZE, "N", 0, "The same as -m N -n N -k N", 1},
    {"a", OPT_A, "FILE:/SET", 0, "Read A from this dataset of an HDF5 file (default: generate it)", 1},
    {"b", OPT_B, "FILE:/SET", 0, "Likewise B", 1},
    {"seed", OPT_SEED, "N", 0, "Of generated matrices (default 1)", 1},
    {0, 0, 0, 0, "How to multiply:", 2},
    {"block", OPT_BLOCK, "N", 0, "Tiles of C of N x N (default auto: from the size of the cache)", 2},
    {"data", OPT_DATA, "HOW", 0,
     "How executors get A and B: common (as common data of the session, at most 1 GiB), hdf5 (they read "
     "panels from files, which all nodes must see) or auto (default: common where it fits)",
     2},
    {"inputs", OPT_INPUTS, "FILE", 0,
     "Where generated matrices go for the executors to read (default matmul-inputs.h5)", 2},
    {"check", OPT_CHECK, 0, 0, "Compare C with one dgemm (default: when that takes seconds)", 2},
    {"no-check", OPT_NO_CHECK, 0, 0, "Do not", 2},
    {0, 0, 0, 0, "What to write:", 3},
    {"output", 'o', "FILE", 0, "Write C as /C of this HDF5 file (default matmul.h5)", 3},
    {"no-output", OPT_NO_OUTPUT, 0, 0, "Do not write C", 3},
    {"json", OPT_JSON, 0, 0, "Print the result as one JSON object", 3},
    {"quiet", 'q', 0, 0, "Print errors only", 3},
    {"no-progress", OPT_NO_PROGRESS, 0, 0, "No progress line on the terminal", 3},
    {0, 0, 0, 0, "How to run:", 4},
    {"inproc", OPT_INPROC, 0, 0, "Run the tasks inside this program, without executors", 4},
    {"service", OPT_SERVICE, "FILE", 0, "Use this service module", 4},
    {0}};

/* Splits FILE:/dataset; without a dataset it is /A or /B. */
static void parse_matrix(const struct argp_state *state, const char *option, const char *arg,
                         const char *dataset, struct options_matrix *matrix)
{
    const char *colon = strstr(arg, ":/");

    while (colon && strstr(colon + 1, ":/"))
        colon = strstr(colon + 1, ":/");
    free(matrix->file);
    free(matrix->dataset);
    matrix->file = colon ? strndup(arg, (size_t)(colon - arg)) : strdup(arg);
    matrix->dataset = strdup(colon ? colon + 1 : dataset);
    if (!matrix->file || !matrix->dataset)
        parse_refuse(state->name, "no memory");
    if (!matrix->file[0] || strlen(matrix->dataset) > 200)
        argp_error(state, "--%s=%s: FILE:/dataset is needed", option, arg);
}

static uint64_t parse_side(const struct argp_state *state, const char *option, const char *arg)
{
    return parse_count(state, option, arg, 1, MATMUL_MAX_SIDE);
}

static error_t parse_flag(int key, struct options *o)
{
    switch (key) {
    case OPT_NO_OUTPUT:
        o->output = NULL;
        break;
    case OPT_CHECK:
    case OPT_NO_CHECK:
        o->check = key == OPT_CHECK;
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
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;

    switch (key) {
    case 'm':
        o->m = parse_side(state, "m", arg);
        break;
    case 'n':
        o->n = parse_side(state, "n", arg);
        break;
    case 'k':
        o->k = parse_side(state, "k", arg);
        break;
    case OPT_SIZE:
        o->m = o->n = o->k = parse_side(state, "size", arg);
        break;
    case OPT_A:
        parse_matrix(state, "a", arg, "/A", &o->a);
        break;
    case OPT_B:
        parse_matrix(state, "b", arg, "/B", &o->b);
        break;
    case OPT_SEED:
        o->seed = parse_count(state, "seed", arg, 0, UINT64_MAX);
        break;
    case OPT_BLOCK:
        o->block = parse_is(arg, "auto") ? 0 : parse_count(state, "block", arg, 1, MATMUL_MAX_BLOCK);
        break;
    case OPT_DATA:
        o->data = parse_is(arg, "common") ? MATMUL_COMMON : parse_is(arg, "hdf5") ? MATMUL_HDF5 : 0;
        if (!o->data && !parse_is(arg, "auto"))
            argp_error(state, "--data=%s: common, hdf5 or auto", arg);
        break;
    case OPT_INPUTS:
        o->inputs = arg;
        break;
    case 'o':
        o->output = arg;
        break;
    case OPT_SERVICE:
        o->service = arg;
        break;
    default:
        return parse_flag(key, o);
    }
    return 0;
}

void options_parse(struct options *o, int argc, char **argv)
{
    static char version[64];
    static const char none[] = "";
    struct argp argp = {.options = table,
                        .parser = parse,
                        .doc = "Multiplies two matrices by tiles, C = A B, and checks the result.\v"
                               "Run it through flmrun:\n"
                               "  flmrun -- flm-matmul --size=4000\n"
                               "  flmrun -- flm-matmul --a=in.h5:/left --b=in.h5:/right -o c.h5"};

    snprintf(version, sizeof(version), "flm-matmul (Flame) %s", flm_version());
    argp_program_version = version;
    argp_err_exit_status = 2;
    *o = (struct options){
        .seed = 1, .check = -1, .progress = 1, .output = none, .inputs = "matmul-inputs.h5"};
    argp_parse(&argp, argc, argv, 0, NULL, o);
    if (o->output == none)
        o->output = matrix_file_available() ? "matmul.h5" : NULL;
    if (!matrix_file_available() && (o->output || o->a.file || o->b.file || o->data == MATMUL_HDF5))
        parse_refuse(argv[0], "this build has no HDF5: matrices can be neither read nor written");
}

void options_free(struct options *o)
{
    free(o->a.file);
    free(o->a.dataset);
    free(o->b.file);
    free(o->b.dataset);
}
