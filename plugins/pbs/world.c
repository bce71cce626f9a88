/* flm-pbs-world: starts MPI ranks on the nodes of a PBS job by an mpirun that knows nothing of PBS.
 *
 * On one node that is mpirun as it is on any machine. On several, it is told by variables which nodes there
 * are, and that processes on others are started by flm-pbs-rsh. Those of Open MPI and those of MPICH's
 * hydra have names of their own, so both are set, and nobody needs to know which one this mpirun is.
 */
#define _GNU_SOURCE
#include "../parts/hosts.h"
#include "hidden.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CANNOT_START = 127 };

/* The launch agent has to stay as long as what it starts: a daemon in a session of its own is not the job's
 * any more. One of a node that is cut off must learn soon that nobody is there. */
static const char *const settings[][2] = {
    {"OMPI_MCA_plm", "rsh"},
    {"OMPI_MCA_plm_rsh_no_tree_spawn", "1"},
    {"OMPI_MCA_orte_leave_session_attached", "1"},
    {"OMPI_MCA_ras", "^tm,slurm,gridengine"},
    {"OMPI_MCA_rmaps_base_mapping_policy", "slot"},
    {"OMPI_MCA_oob_tcp_keepalive_time", "10"},
    {"OMPI_MCA_oob_tcp_keepalive_intvl", "5"},
    {"OMPI_MCA_oob_tcp_keepalive_probes", "4"},
    {"HYDRA_LAUNCHER", "rsh"},
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "flm-pbs-world: %s: %s\n", what, why);
    return CANNOT_START;
}

static int give_hosts(const char *variable, const char *nodes, const char *between)
{
    return hosts_give(variable, nodes, between) == 0 ? 0
                                                     : fail("cannot keep a list of nodes", strerror(errno));
}

static int spread(const char *nodes)
{
    char agent[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", agent, sizeof(agent) - 1);
    agent[n > 0 ? n : 0] = 0;
    char *name = strrchr(agent, '/');
    if (!name || (size_t)(name - agent) + sizeof("/flm-pbs-rsh") > sizeof(agent))
        return fail("cannot find flm-pbs-rsh", "this program does not know where it is");
    memcpy(name, "/flm-pbs-rsh", sizeof("/flm-pbs-rsh"));
    if (access(agent, X_OK) < 0)
        return fail(agent, strerror(errno));
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        setenv(settings[i][0], settings[i][1], 1);
    setenv("OMPI_MCA_plm_rsh_agent", agent, 1);
    setenv("HYDRA_LAUNCHER_EXEC", agent, 1);
    int rc = give_hosts("OMPI_MCA_orte_default_hostfile", nodes, " slots=");
    return rc ? rc : give_hosts("HYDRA_HOST_FILE", nodes, ":");
}

/* ---- the command ------------------------------------------------------------------------------- */

struct arguments {
    char **words;
    int n;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    (void)arg;
    if (key == ARGP_KEY_ARGS) {
        a->words = state->argv + state->next;
        a->n = state->argc - state->next;
        return 0;
    }
    if (key == ARGP_KEY_END && a->n < 4)
        argp_usage(state);
    return ARGP_ERR_UNKNOWN;
}

/* MPIRUN -n RANKS and all that follows MPIRUN. */
static int become(char **words, int n)
{
    char *mpirun = words[2], **command = calloc((size_t)n + 2, sizeof(*command));
    if (!command)
        return fail(mpirun, strerror(ENOMEM));
    command[0] = mpirun;
    command[1] = (char *)(uintptr_t) "-n";
    command[2] = words[0];
    for (int i = 3; i < n; i++)
        command[i] = words[i];
    execvp(mpirun, command);
    int e = errno;
    free(command);
    return fail(mpirun, e == ENOENT ? "there is no such program in PATH" : strerror(e));
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .parser = parse,
        .args_doc = "RANKS NODES MPIRUN PROGRAM [ARGUMENT...]",
        .doc = "Starts MPI ranks on nodes of a PBS job: MPIRUN -n RANKS PROGRAM..., where NODES names the "
               "node of each rank, as in n2,n1,n1.",
    };
    struct arguments a = {0};
    argp_program_version = "flm-pbs-world (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
    hide_job(true);
    int rc = hosts_are_one(a.words[1]) ? 0 : spread(a.words[1]);
    return rc ? rc : become(a.words, a.n);
}
