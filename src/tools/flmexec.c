/* flmexec - runs a command once per argument, through executors.
 *
 * With FLM_ENDPOINT it works on that instance. Without it starts itself again
 * inside flmrun, which makes a private one and takes it down in the end. */
#define _GNU_SOURCE 1
#include "base/standard.h"
#include "flmexec_options.h"
#include "flmexec_run.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXECUTORS_MAX = 4096 }; /* of an instance of our own, by flmrun -n */

static int dry_run(struct flmexec_options *o)
{
    struct flmexec_arguments a;
    struct flmexec_text argv = {0}, line = {0};
    enum flmexec_next next;
    flmexec_inputs_open(&o->inputs);
    for (uint64_t seq = 1; (next = flmexec_inputs_next(&o->inputs, &a)) != NEXT_END;) {
        if (next == NEXT_WAIT) {
            struct pollfd p = {flmexec_inputs_fd(&o->inputs), POLLIN, 0};
            poll(&p, 1, -1);
            continue;
        }
        flmexec_template_expand(&o->command, &a, seq++, &argv);
        flmexec_command_line(argv.data, argv.size, o->command.shell != NULL, &line);
        puts(line.data);
    }
    flmexec_text_free(&argv);
    flmexec_text_free(&line);
    if (fflush(stdout) != 0)
        flmexec_die(FLMEXEC_TROUBLE, "cannot write to standard output: %s", strerror(errno));
    return FLMEXEC_OK;
}

/* Whether there is nothing to do, when that can be told from the command line. */
static bool nothing_to_do(const struct flmexec_options *o)
{
    for (int i = 0; i < o->inputs.n; i++) {
        if (o->inputs.source[i].list && o->inputs.source[i].n_list == 0)
            return true;
    }
    return false;
}

/* Becomes `flmrun [-n N] [--state-dir DIR [--resume]] -- flmexec ...`: the flmrun beside this program, else
 * the one in PATH. */
static int run_in_private_instance(const struct flmexec_options *o, int argc, char **argv)
{
    char self[PATH_MAX], flmrun[PATH_MAX + 8], jobs[24];
    if (o->inner)
        flmexec_die(FLMEXEC_TROUBLE, "flmrun has set no FLM_ENDPOINT: is it the flmrun of this flmexec?");
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        flmexec_die(FLMEXEC_TROUBLE, "cannot read /proc/self/exe: %s", strerror(errno));
    self[n] = 0;
    snprintf(flmrun, sizeof(flmrun), "%.*s/flmrun", (int)(strrchr(self, '/') - self), self);
    char **list = flmexec_alloc((size_t)(argc + 9) * sizeof(*list));
    int k = 0;
    list[k++] = (char *)"flmrun";
    if (o->jobs) {
        unsigned long long slots = (unsigned long long)o->jobs * (o->ranks ? o->ranks : 1);
        snprintf(jobs, sizeof(jobs), "%llu", slots < EXECUTORS_MAX ? slots : EXECUTORS_MAX);
        list[k++] = (char *)"-n";
        list[k++] = jobs;
    }
    if (o->state_dir) {
        list[k++] = (char *)"--state-dir";
        list[k++] = (char *)(uintptr_t)o->state_dir;
        if (o->resume)
            list[k++] = (char *)"--resume";
    }
    list[k++] = (char *)"--";
    list[k++] = self;
    for (int i = 1; i < argc; i++)
        list[k++] = argv[i];
    setenv(FLMEXEC_INNER, "1", 1);
    execv(flmrun, list);
    execvp("flmrun", list);
    flmexec_die(FLMEXEC_TROUBLE, "cannot start flmrun, neither '%s' nor the one in PATH: %s", flmrun,
                strerror(errno));
}

int main(int argc, char **argv)
{
    struct flmexec_options o;
    const char *endpoint = getenv("FLM_ENDPOINT");
    int status;
    flm__standard_open();
    flmexec_options_parse(&o, argc, argv);
    if (o.dry_run)
        status = dry_run(&o);
    else if (nothing_to_do(&o))
        status = FLMEXEC_OK;
    else if (!endpoint || !endpoint[0])
        status = run_in_private_instance(&o, argc, argv);
    else {
        unsetenv(FLMEXEC_INNER);
        status = flmexec_run(&o);
    }
    flmexec_options_free(&o);
    return status;
}
