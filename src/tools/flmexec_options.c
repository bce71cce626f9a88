#define _GNU_SOURCE 1
#include "flmexec_options.h"

#include <flm/client.h>

#include <argp.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_UNORDERED = 1000,
    KEY_JOBLOG,
    KEY_RESUME,
    KEY_RESUME_FAILED,
    KEY_HALT,
    KEY_TIMEOUT,
    KEY_RETRIES,
    KEY_TAG,
    KEY_DRY_RUN,
    KEY_PROGRESS,
    KEY_NO_PROGRESS,
    KEY_RESULTS,
    KEY_SHELL,
    KEY_CITE,
    KEY_STATE_DIR,
    KEY_SESSION,
    KEY_RANKS,
};

static const struct argp_option rows[] = {
    {0, 0, 0, 0, "Arguments", 1},
    {"from-file", 'a', "FILE", 0, "One argument a line from FILE (- is standard input); may be given again",
     1},
    {"arg-file", 0, 0, OPTION_ALIAS, 0, 1},
    {"null", '0', 0, 0, "Arguments in files end with a zero byte instead of a newline", 1},
    {"delimiter", 'd', "C", 0, "Arguments in files end with the character C (\\n, \\t and \\0 work)", 1},
    {"colsep", 'C', "TEXT", 0, "TEXT separates {1}, {2}, ... within an argument (\\t works)", 1},
    {"max-args", 'n', "N", 0, "N arguments per job; 0: read one and put in none", 1},
    {"max-replace-args", 'N', "N", 0, "The same", 1},
    {0, 0, 0, 0, "Running", 2},
    {"jobs", 'j', "N", 0,
     "Use N executors (N% of the cores, +N more than cores, -N fewer); default one per core", 2},
    {"ranks", KEY_RANKS, "N", 0, "Each job is an MPI program of N ranks, which take N cores", 2},
    {"timeout", KEY_TIMEOUT, "TIME", 0,
     "End a job after TIME (seconds, or like 1.5m, 2h, 1d); it has failed", 2},
    {"retries", KEY_RETRIES, "N", 0, "Run a job that fails up to N times in all", 2},
    {"halt", KEY_HALT, "WHEN,WHY=N", 0,
     "Stop after N jobs: WHEN is now (end what runs), soon (start no more) or never; WHY is fail, success "
     "or done",
     2},
    {"shell", KEY_SHELL, "SHELL", OPTION_ARG_OPTIONAL,
     "The command is a line for SHELL (default sh). Without this option that is so when the command is a "
     "single "
     "word with spaces or characters that mean something to a shell",
     2},
    {"quote", 'q', 0, 0, "Never use a shell", 2},
    {"state-dir", KEY_STATE_DIR, "DIR", 0,
     "The run outlives flmexec and its session manager, whose --state-dir this is; default FLM_STATE_DIR, "
     "which flmrun --state-dir sets",
     2},
    {"session", KEY_SESSION, "NAME", 0,
     "Name of the run in --state-dir, where there are several; default flmexec", 2},
    {"resume", KEY_RESUME, 0, 0,
     "Go on with the run in --state-dir; else leave out the jobs that the joblog has", 2},
    {"resume-failed", KEY_RESUME_FAILED, 0, 0, "The same, and run again the jobs that failed", 2},
    {0, 0, 0, 0, "Output", 3},
    {"keep-order", 'k', 0, 0, "Outputs in the order of the arguments; this is the default", 3},
    {"unordered", KEY_UNORDERED, 0, 0, "Outputs as jobs end", 3},
    {"tag", KEY_TAG, 0, 0, "Put the arguments and a tab before each line of output", 3},
    {"results", KEY_RESULTS, "DIR", 0,
     "Keep stdout, stderr and seq of each job in DIR, as GNU parallel does", 3},
    {"joblog", KEY_JOBLOG, "FILE", 0, "A line per job that has ended: times, exit status, command", 3},
    {"progress", KEY_PROGRESS, 0, 0, "Show progress on stderr also when it is no terminal", 3},
    {"bar", KEY_PROGRESS, 0, OPTION_ALIAS, 0, 3},
    {"eta", KEY_PROGRESS, 0, OPTION_ALIAS, 0, 3},
    {"no-progress", KEY_NO_PROGRESS, 0, 0, "Never show progress", 3},
    {"dry-run", KEY_DRY_RUN, 0, 0, "Print the commands and run nothing", 3},
    {"will-cite", KEY_CITE, 0, OPTION_HIDDEN, 0, 3},
    {0}};

/* What is only needed while parsing. */
struct parsing {
    struct flmexec_options *o;
    bool shell, no_shell;
    const char *shell_name;
    char **words;
    int n_words;
};

/* --- values --- */

static uint64_t number(const char *text, const char *option, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || n < least || n > most)
        flmexec_die(FLMEXEC_USAGE, "%s: '%s' is not a number from %llu to %llu", option, text,
                    (unsigned long long)least, (unsigned long long)most);
    return n;
}

static unsigned cores(void)
{
    cpu_set_t set;
    int n =
        sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

static unsigned parse_jobs(const char *text)
{
    size_t length = strlen(text);
    char digits[32];
    if (length && length < sizeof(digits) && text[length - 1] == '%') {
        memcpy(digits, text, length - 1);
        digits[length - 1] = 0;
        uint64_t n = number(digits, "--jobs", 1, 100000) * cores() / 100;
        return n ? (unsigned)n : 1;
    }
    if (text[0] == '+')
        return cores() + (unsigned)number(text + 1, "--jobs", 0, 100000);
    if (text[0] == '-') {
        unsigned fewer = (unsigned)number(text + 1, "--jobs", 0, 100000);
        return fewer < cores() ? cores() - fewer : 1;
    }
    return (unsigned)number(text, "--jobs", 1, 100000);
}

static uint64_t parse_time_ms(const char *text)
{
    static const struct {
        char unit;
        double seconds;
    } units[] = {{0, 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    double value = strtod(text, &end), seconds = -1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && end != text; i++) {
        if (*end == units[i].unit && (!*end || !end[1]))
            seconds = value * units[i].seconds;
    }
    if (!(seconds >= 0.001 && seconds <= 2e6))
        flmexec_die(FLMEXEC_USAGE,
                    "--timeout: '%s' is not a time from 0.001 s to 2,000,000 s, like 30, 1.5m or 2h", text);
    return (uint64_t)(seconds * 1000 + 0.5);
}

static void parse_halt(struct flmexec_options *o, const char *text)
{
    static const char *const whys[] = {"fail=", "success=", "done="};
    o->halt = HALT_NEVER;
    if (strcmp(text, "never") == 0)
        return;
    enum flmexec_halt_when when = strncmp(text, "now,", 4) == 0    ? HALT_NOW
                                  : strncmp(text, "soon,", 5) == 0 ? HALT_SOON
                                                                   : HALT_NEVER;
    const char *why = strchr(text, ',');
    for (int i = 0; when != HALT_NEVER && i < 3; i++) {
        size_t length = strlen(whys[i]);
        if (strncmp(why + 1, whys[i], length) != 0)
            continue;
        o->halt = when;
        o->halt_why = (enum flmexec_halt_why)i;
        o->halt_count = number(why + 1 + length, "--halt", 1, UINT32_MAX);
        return;
    }
    flmexec_die(FLMEXEC_USAGE, "--halt: '%s' is not like now,fail=1 or soon,fail=3 or never", text);
}

/* The text with \n, \t, \0 and \\ replaced, in place. Returns its length. */
static size_t unescape(char *text)
{
    char *to = text;
    for (const char *s = text; *s; s++) {
        char c = *s;
        if (c == '\\' && s[1] && strchr("nt0\\", s[1])) {
            s++;
            c = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s == '0' ? 0 : '\\';
        }
        *to++ = c;
    }
    *to = 0;
    return (size_t)(to - text);
}

static char parse_delimiter(char *text)
{
    char first = text[0];
    if (first == 0 || unescape(text) != 1)
        flmexec_die(FLMEXEC_USAGE, "--delimiter: give one character");
    return text[0];
}

static const char *parse_colsep(char *text)
{
    if (unescape(text) == 0 || !text[0])
        flmexec_die(FLMEXEC_USAGE, "--colsep: give one or more characters");
    return text;
}

/* --- sources --- */

static struct flmexec_source *add_source(struct flmexec_inputs *in)
{
    in->source = flmexec_realloc(in->source, (size_t)(in->n + 1) * sizeof(*in->source));
    in->source[in->n] = (struct flmexec_source){.fd = -1};
    return &in->source[in->n++];
}

/* 0: no mark; 3: list, 4: files. */
static int source_mark(const char *word, bool *linked)
{
    size_t colons = strspn(word, ":");
    *linked = strcmp(word + colons, "+") == 0;
    return (colons == 3 || colons == 4) && (!word[colons] || *linked) ? (int)colons : 0;
}

/* Splits the words behind the options into the command and its sources. */
static void split_words(struct parsing *p)
{
    struct flmexec_inputs *in = &p->o->inputs;
    bool linked, next_linked;
    int i = 0, all = p->n_words, mark = 0;
    while (i < all && !(mark = source_mark(p->words[i], &linked)))
        i++;
    p->n_words = i;
    while (i < all) {
        int begin = ++i, next = 0;
        while (i < all && !(next = source_mark(p->words[i], &next_linked)))
            i++;
        if (mark == 3) {
            struct flmexec_source *s = add_source(in);
            s->list = p->words + begin;
            s->n_list = i - begin;
            s->linked = linked && in->n > 1;
        }
        for (int k = begin; mark == 4 && k < i; k++) {
            struct flmexec_source *s = add_source(in);
            s->file = p->words[k];
            s->linked = linked && in->n > 1;
        }
        if (mark == 4 && i == begin)
            flmexec_die(FLMEXEC_USAGE, "'::::' wants names of files behind it");
        mark = next;
        linked = next_linked;
    }
}

static void finish_sources(struct flmexec_inputs *in)
{
    int from_stdin = 0;
    if (in->n == 0)
        add_source(in)->file = "-";
    for (int i = 0; i < in->n; i++) {
        const struct flmexec_source *s = &in->source[i];
        from_stdin += s->file && strcmp(s->file, "-") == 0;
        if (s->file && strcmp(s->file, "-") != 0 && access(s->file, R_OK) < 0)
            flmexec_die(FLMEXEC_USAGE, "cannot read '%s' for its arguments: %s", s->file, strerror(errno));
    }
    if (from_stdin > 1)
        flmexec_die(FLMEXEC_USAGE, "standard input can be only one of the sources of arguments");
    if (in->per_job != 1 && in->n > 1)
        flmexec_die(FLMEXEC_USAGE, "-n works with one source of arguments, and there are %d", in->n);
    if (in->per_job != 1 && in->colsep)
        flmexec_die(FLMEXEC_USAGE, "-n and --colsep do not go together");
}

/* --- the command --- */

static void warn_of_operators(char *const *words, int n)
{
    static const char *const operators[] = {"|", ">", ">>", "<", "2>", "&>", "||", "&&", ";", "&"};
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof(operators) / sizeof(operators[0]); k++) {
            if (strcmp(words[i], operators[k]) != 0)
                continue;
            flmexec_warn(
                "'%s' is given to %s as an argument; for a shell add --shell, or put the whole command in "
                "one pair of quotes (-q: no such message)",
                words[i], words[0]);
            return;
        }
    }
}

static void finish_command(struct parsing *p)
{
    struct flmexec_template *t = &p->o->command;
    static char *const line[] = {(char *)"{}"};
    if (p->n_words == 0) { /* the arguments are commands */
        flmexec_template_make(t, line, 1);
        t->shell = p->shell_name;
        t->raw = true;
        return;
    }
    flmexec_template_make(t, p->words, p->n_words);
    if (p->no_shell)
        return;
    if (p->shell || (p->n_words == 1 && flmexec_template_needs_shell(t)))
        t->shell = p->shell_name;
    else if (!p->o->inner) /* the flmexec outside has said it */
        warn_of_operators(p->words, p->n_words);
}

/* --- argp --- */

static error_t parse_input_option(int key, char *arg, struct flmexec_inputs *in)
{
    switch (key) {
    case 'a':
        add_source(in)->file = arg;
        return 0;
    case '0':
        in->delimiter = 0;
        return 0;
    case 'd':
        in->delimiter = parse_delimiter(arg);
        return 0;
    case 'C':
        in->colsep = parse_colsep(arg);
        return 0;
    case 'n':
    case 'N':
        in->per_job = (int)number(arg, "--max-args", 0, 1000000);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_resume_option(int key, char *arg, struct flmexec_options *o)
{
    switch (key) {
    case KEY_RESUME_FAILED:
        o->resume_failed = true;
        /* fall through */
    case KEY_RESUME:
        o->resume = true;
        return 0;
    case KEY_STATE_DIR:
        o->state_dir = arg;
        return 0;
    case KEY_SESSION:
        o->session = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_output_option(int key, char *arg, struct flmexec_options *o)
{
    switch (key) {
    case 'k':
        o->unordered = false;
        return 0;
    case KEY_UNORDERED:
        o->unordered = true;
        return 0;
    case KEY_TAG:
        o->tag = true;
        return 0;
    case KEY_RESULTS:
        o->results = arg;
        return 0;
    case KEY_JOBLOG:
        o->joblog = arg;
        return 0;
    case KEY_PROGRESS:
        o->progress = PROGRESS_ON;
        return 0;
    case KEY_NO_PROGRESS:
        o->progress = PROGRESS_OFF;
        return 0;
    case KEY_DRY_RUN:
        o->dry_run = true;
        return 0;
    case KEY_CITE:
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
    struct parsing *p = state->input;
    switch (key) {
    case 'j':
        p->o->jobs = parse_jobs(arg);
        return 0;
    case KEY_RANKS:
        p->o->ranks = (unsigned)number(arg, "--ranks", 1, 100000);
        return 0;
    case KEY_TIMEOUT:
        p->o->timeout_ms = parse_time_ms(arg);
        return 0;
    case KEY_RETRIES:
        p->o->tries = (unsigned)number(arg, "--retries", 1, 1000000);
        return 0;
    case KEY_HALT:
        parse_halt(p->o, arg);
        return 0;
    case KEY_SHELL:
        p->shell = true;
        p->shell_name = arg ? arg : p->shell_name;
        return 0;
    case 'q':
        p->no_shell = true;
        return 0;
    case ARGP_KEY_ARG: /* the first word that is no option: all the rest is ours */
        p->words = state->argv + state->next - 1;
        p->n_words = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    default:
        break;
    }
    error_t rc = parse_input_option(key, arg, &p->o->inputs);
    if (rc == ARGP_ERR_UNKNOWN)
        rc = parse_resume_option(key, arg, p->o);
    return rc == ARGP_ERR_UNKNOWN ? parse_output_option(key, arg, p->o) : rc;
}

static const struct argp argp = {
    .options = rows,
    .parser = parse_one,
    .args_doc = "COMMAND [ARG...] [::: ARGUMENT...]...\n"
                "COMMAND [ARG...] :::: FILE...\n"
                "COMMAND [ARG...] < FILE",
    .doc = "Runs COMMAND once per argument, on all cores or on the executors of the Flame instance that "
           "FLM_ENDPOINT "
           "names, and prints the outputs in the order of the arguments.\v"
           "In COMMAND {} stands for the argument, {.} for it without its extension, {/} without its "
           "folder, {//} for "
           "its folder, {/.} for its bare name, {#} for the number of the job; {1}, {2.}, {-1/} and so on "
           "for one of "
           "several. Without any of these the argument is put at the end. Several ::: are combined, each "
           "with each; "
           ":::+ goes in step with the one before. Without COMMAND each argument is a command line.\n\n"
           "The exit status is 0 when all jobs succeeded, 1 when some failed, 2 when the command line is "
           "wrong, 3 when "
           "they could not be run.\n\n"
           "  flmexec gzip -9 ::: *.log\n"
           "  flmexec 'sort {} | uniq -c > {.}.counts' ::: *.txt\n"
           "  flmexec --joblog log --resume ./simulate --seed {1} --beta {2} ::: {1..100} ::: 0.1 0.2 0.5\n"
           "  find . -name '*.dat' -print0 | flmexec -0 sha256sum\n",
};

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "flmexec (Flame) %s\n", flm_version());
}

static void finish_resume(struct flmexec_options *o)
{
    if (o->resume && !o->joblog && !o->state_dir)
        flmexec_die(FLMEXEC_USAGE,
                    "--resume needs --joblog FILE or --state-dir DIR, which say what is done");
    if (strlen(o->session) > FLM_MAX_NAME || strcspn(o->session, "/") != strlen(o->session))
        flmexec_die(FLMEXEC_USAGE,
                    "--session: '%s' is no name for a session: up to %d letters, digits and . _ - : @ +",
                    o->session, FLM_MAX_NAME);
}

void flmexec_options_parse(struct flmexec_options *o, int argc, char **argv)
{
    struct parsing p = {.o = o, .shell_name = "sh"};
    *o = (struct flmexec_options){.tries = 1, .inner = getenv(FLMEXEC_INNER) != NULL, .session = "flmexec"};
    o->state_dir = getenv("FLM_STATE_DIR");
    if (o->state_dir && !o->state_dir[0])
        o->state_dir = NULL;
    o->inputs.per_job = 1;
    o->inputs.delimiter = '\n';
    argp_err_exit_status = FLMEXEC_USAGE;
    argp_program_version_hook = print_version;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &p))
        exit(FLMEXEC_USAGE);
    split_words(&p);
    finish_sources(&o->inputs);
    finish_command(&p);
    o->words = p.words;
    o->n_words = p.n_words;
    finish_resume(o);
    if (p.shell && p.no_shell)
        flmexec_die(FLMEXEC_USAGE, "--shell and --quote say the opposite");
}

void flmexec_options_free(struct flmexec_options *o)
{
    flmexec_template_free(&o->command);
    flmexec_inputs_close(&o->inputs);
}
