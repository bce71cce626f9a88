/* request.c - how a job of our own is asked for: the words for qsub, and its script.
 *
 * The script carries our environment, so nothing has to lie anywhere while it waits. On one node it becomes
 * the agent. On several it hands what an agent is started with to each of them by a file (environment.h)
 * and waits for all: so one that dies costs its node, not the job.
 */
#define _GNU_SOURCE
#include "../parts/command.h"
#include "environment.h"
#include "pbs.h"
#include "reports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MOST = 60 };

/* ---- what it is to have ------------------------------------------------------------------------ */

/* PBS takes only these, and no digit first in older ones. */
static void name_it(const char *name, char out[NAME_MOST])
{
    snprintf(out, NAME_MOST, "%s", name && *name ? name : "flame");
    for (char *c = out; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+", *c))
            *c = '_';
}

static bool say(const char *const *options, const char *what)
{
    for (; options && *options; options++)
        if (strstr(*options, what))
            return true;
    return false;
}

/* Whether the site's options say already how much of a node is wanted. */
static bool say_how_much(const char *const *options)
{
    return say(options, "select=") || say(options, "nodes=") || say(options, "ncpus=");
}

/* "2:ncpus=4+ncpus=1" are 3. 0: the site's options do not say it. */
static unsigned chunks(const char *const *options)
{
    unsigned n = 0;
    for (; options && *options; options++) {
        const char *at = strstr(*options, "select=");
        if (!at)
            at = strstr(*options, "nodes=");
        for (at = at ? strchr(at, '=') : NULL; at; at = strpbrk(at, "+,")) {
            if (*at == ',')
                break;
            char *end;
            unsigned long count = strtoul(++at, &end, 10);
            n += end > at && strchr(":+,", *end) && count < 1u << 20 ? (unsigned)count : 1;
        }
    }
    return n;
}

/* The site's options and --block-nodes may not mean the same. */
static int check_chunks(const struct flm_block_request *r, flm_error *error)
{
    unsigned n = chunks(r->site_options), nodes = r->nodes ? r->nodes : 1;
    if (n == nodes || !say_how_much(r->site_options) || (nodes == 1 && say(r->site_options, "pack")))
        return 0;
    if (!n && nodes == 1) /* ncpus=N alone is one chunk */
        return 0;
    return plugin_fail(
        error, FLM_EINVAL,
        "the site's options ask for %u chunk%s, but a job is to have %u node%s: say the same in "
        "both, as in --block-nodes %u --site-options '-l select=%u:ncpus=...'",
        n ? n : 1, n > 1 ? "s" : "", nodes, nodes > 1 ? "s" : "", nodes > 1 ? nodes : n,
        nodes > 1 ? nodes : n);
}

static const char *not_followed(const char *const *options)
{
    for (; options && *options; options++) {
        if (strcmp(*options, "-I") == 0 || strncmp(*options, "-J", 2) == 0 || strcmp(*options, "--") == 0 ||
            strstr(*options, "block=true"))
            return *options;
        if (strncmp(*options, "-q", 2) == 0 &&
            strchr((*options)[2] || !options[1] ? *options : options[1], '@'))
            return "-q QUEUE@SERVER";
    }
    return NULL;
}

static unsigned cores_per_slot(const char *const *command)
{
    for (; *command; command++)
        if (strcmp(*command, "--cores-per-slot") == 0 && command[1])
            return (unsigned)atoi(command[1]) ? (unsigned)atoi(command[1]) : 1;
    return 1;
}

/* As most nodes have. Asked once. */
static unsigned usual_cpus(struct pbs *p)
{
    const char *const argv[] = {p->pbsnodes, "-a", "-F", "json", NULL};
    struct answer answer;
    if (!p->usual_cpus && command_run(argv, PBS_LIMIT_MS, &answer) == 0) {
        p->usual_cpus = answer.out ? report_usual_cpus(answer.out, answer.out_size) : 0;
        answer_free(&answer);
    }
    return p->usual_cpus;
}

static void add_place(struct words *w, const struct flm_block_request *r, bool alone)
{
    bool several = r->nodes > 1;
    if ((!several && !alone) || say(r->site_options, "place="))
        return;
    words_add(w, "-l");
    words_addf(w, "place=%s%s%s", several ? "scatter" : "", several && alone ? ":" : "",
               alone ? "excl" : "");
}

static void add_select(struct words *w, struct pbs *p, const struct flm_block_request *r)
{
    unsigned nodes = r->nodes ? r->nodes : 1;
    if (say_how_much(r->site_options)) {
        add_place(w, r, false);
        return;
    }
    words_add(w, "-l");
    if (r->slots) {
        words_addf(w, "select=%u:ncpus=%u:mpiprocs=%u", nodes, r->slots * cores_per_slot(r->agent_command),
                   r->slots);
        add_place(w, r, false);
        return;
    }
    unsigned cpus = usual_cpus(p);
    if (cpus)
        words_addf(w, "select=%u:ncpus=%u", nodes, cpus);
    else
        words_addf(w, "select=%u", nodes);
    add_place(w, r, true);
}

/* Else PBS ends the whole job when one of its nodes is lost. */
static void add_tolerance(struct words *w, const struct flm_block_request *r)
{
    if (r->nodes <= 1 || say(r->site_options, "tolerate_node_failures"))
        return;
    words_add(w, "-W");
    words_add(w, "tolerate_node_failures=all");
}

/* All but the script. */
static int build_options(struct words *w, struct pbs *p, const struct flm_block_request *r,
                         flm_error *error)
{
    char name[NAME_MOST];
    const char *never = not_followed(r->site_options);
    if (never)
        return plugin_fail(error, FLM_ENOTSUP,
                           "jobs that are submitted with %.60s cannot be followed from here", never);
    int rc = check_chunks(r, error);
    if (rc < 0)
        return rc;
    name_it(r->name, name);
    words_add(w, p->qsub);
    words_add(w, "-f"); /* else a process of it stays, with our descriptors */
    words_add(w, "-r");
    words_add(w, "n"); /* a block that is lost is asked for again, if it is still wanted */
    words_add(w, "-S");
    words_add(w, "/bin/sh");
    words_add(w, "-N");
    words_addf(w, "%s", name);
    words_add(w, "-j");
    words_add(w, "oe");
    words_add(w, "-o");
    words_add(w, p->output ? p->output : "/dev/null");
    add_select(w, p, r);
    add_tolerance(w, r);
    if (r->time_s) {
        words_add(w, "-l");
        words_addf(w, "walltime=%u", r->time_s);
    }
    words_add_all(w, r->site_options);
    return 0;
}

/* ---- its script -------------------------------------------------------------------------------- */

/* Becomes the agent. In $1 the node's name, in $2 its lines in the node file. What PBS says is taken before
 * our environment: that may have variables of any name, and a PATH without anything. The number of ranks
 * where the site's options say it (mpiprocs). */
static void print_agent(FILE *f, const struct pbs *p, const struct flm_block_request *r)
{
    fputs("[ \"${NCPUS:-0}\" -ge \"$2\" ] || NCPUS=$2\n", f);
    if (r->slots)
        fprintf(f, "set -- \"$1\" %u\n", r->slots);
    else
        fputs("[ \"$2\" != 1 ] || set -- \"$1\"\n", f);
    environment_print(f, true);
    fputs("exec", f);
    for (const char *const *word = r->agent_command; *word; word++) {
        fputc(' ', f);
        quote(f, *word);
    }
    fprintf(f,
            " --same-session --grace %s --block \"$PBS_JOBID\" --name \"$1\" --cpus \"$NCPUS\" "
            "${2:+--slots \"$2\"}\n",
            p->grace);
}

/* On each node, as pbsdsh counts them; $1 is what it is to read, $2 the beginning of the files' names, $3
 * pbsdsh. A session of its own: else PBS's SIGTERM ends it, and the job before the agents have finished.
 * Nothing that lasts has a name which our environment could have. */
static const char on_each_node[] =
    "trap : TERM\n"
    "umask 077\n"
    "for flame_node in $(awk 'NF { if (!n[$1]++) line[$1] = lines + 0; lines++ }"
    " END { for (node in n) print line[node] \":\" n[node] \":\" node }' \"$PBS_NODEFILE\"); do\n"
    "    flame_file=$2-$PBS_JOBID-${flame_node%%:*}\n"
    "    printf '%s\\n' 'rm -f \"$0\"' \"$1\" >\"$flame_file\" || continue\n"
    "    set -- \"$1\" \"$2\" \"$3\" \"${flame_node%%:*}\" \"${flame_node#*:}\"\n"
    "    if [ \"$4\" = 0 ]; then\n"
    "        /bin/sh \"$flame_file\" \"${5#*:}\" \"${5%%:*}\" &\n"
    "    else\n"
    "        setsid \"$3\" -n \"$4\" -- /bin/sh \"$flame_file\" \"${5#*:}\" \"${5%%:*}\" &\n"
    "    fi\n"
    "done\n"
    "until wait; do :; done\n"
    "rm -f \"$2-$PBS_JOBID\"-*\n";

static bool print_several(FILE *f, const struct pbs *p, const struct flm_block_request *r)
{
    char *agent = NULL, *files = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&agent, &size);
    if (text)
        print_agent(text, p, r);
    bool good = text && fclose(text) == 0 && asprintf(&files, "%s/environment", p->folder) > 0;
    if (good) {
        fputs("set -- ", f);
        quote(f, agent);
        fputc(' ', f);
        quote(f, files);
        fputc(' ', f);
        quote(f, *p->dsh ? p->dsh : "pbsdsh");
        fputc('\n', f);
        fputs(on_each_node, f);
        free(files);
    }
    free(agent);
    return good;
}

static bool print_script(FILE *f, const struct pbs *p, const struct flm_block_request *r)
{
    if (r->nodes > 1)
        return print_several(f, p, r);
    fputs("set -- \"$(head -n 1 \"$PBS_NODEFILE\")\" \"$(grep -c . \"$PBS_NODEFILE\")\"\n", f);
    print_agent(f, p, r);
    return true;
}

static char *write_script(const struct pbs *p, const struct flm_block_request *r)
{
    FILE *f;
    char *path = environment_create(p->folder, &f);
    if (!path)
        return NULL;
    bool good = print_script(f, p, r);
    if (fclose(f) == 0 && good)
        return path;
    unlink(path);
    free(path);
    return NULL;
}

int request_build(void *state, const struct flm_block_request *r, struct words *w, char **file,
                  flm_error *error)
{
    struct pbs *p = state;
    int rc = build_options(w, p, r, error);
    if (rc < 0)
        return rc;
    if (file) {
        *file = write_script(p, r);
        if (!*file)
            return plugin_fail(error, FLM_EIO, "cannot write the script of a job into %s: %s", p->folder,
                               strerror(errno));
    }
    words_add(w, file ? *file : "SCRIPT");
    return w->failed
               ? plugin_fail(error, FLM_ETOOBIG, "backend pbs: the options for qsub are too many words")
               : 0;
}
