/* flm-slurm-world: starts MPI ranks on nodes of a Slurm job, each world apart from all others.
 *
 * Ranks of Open MPI are a step: srun is their launcher. Those of MPICH know nothing of each other under
 * "srun --mpi=pmix", and what srun has for them, PMI2, does not hold: hydra starts them. On one node that
 * needs nothing of Slurm, since we are in a step there; on others its proxies are steps of one task, which
 * we start when hydra asks us to, as it would ask rsh. So each rank is where NODES has it, which hydra's
 * own launcher for Slurm does not keep. Hydra ends a world for a rank that was killed, but on several nodes
 * not for one that exits with a status, and the others wait for ever: there, each rank is our child, and
 * ends as hydra understands it.
 */
#define _GNU_SOURCE
#include "../parts/hosts.h"
#include "removed.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_START = 127, FIXED = 16 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "flm-slurm-world: %s: %s\n", what, why);
    return CANNOT_START;
}

/* Becomes the words of a and then those of b. */
static int become(const char *const *a, size_t n_a, char *const *b, size_t n_b)
{
    const char **words = calloc(n_a + n_b + 1, sizeof(*words));
    if (!words)
        return fail(a[0], strerror(ENOMEM));
    for (size_t i = 0; i < n_a + n_b; i++)
        words[i] = i < n_a ? a[i] : b[i - n_a];
    execvp(words[0], (char *const *)(uintptr_t)words);
    int e = errno;
    free(words);
    return fail(a[0], e == ENOENT ? "there is no such program in PATH" : strerror(e));
}

/* ---- Open MPI ---------------------------------------------------------------------------------- */

/* The first rank is where we are. */
static int become_step(char *const *words, size_t n)
{
    char tasks[32], nodes[PATH_MAX];
    snprintf(tasks, sizeof(tasks), "--ntasks=%s", words[0]);
    if ((size_t)snprintf(nodes, sizeof(nodes), "--nodelist=%s", words[1]) >= sizeof(nodes))
        return fail("the nodes of the ranks", strerror(E2BIG));
    const char *const srun[] = {"srun",
                                "--mpi=pmix",
                                "--overlap",
                                "--oversubscribe",
                                "--no-kill",
                                "--kill-on-bad-exit=1",
                                "--distribution=arbitrary",
                                nodes,
                                tasks,
                                "--input=0",
                                "--export=ALL",
                                "--quiet"};
    return become(srun, sizeof(srun) / sizeof(*srun), words + 4, n - 4);
}

/* ---- MPICH ------------------------------------------------------------------------------------- */

/* Of the node where they were set; ranks are to have those of their own. */
static const char *const of_one_node[] = {"SLURMD_NODENAME", "SLURM_NODEID", "SLURM_TOPOLOGY_ADDR",
                                          "SLURM_TOPOLOGY_ADDR_PATTERN"};

/* We are what its proxies are started by, with these options for srun. */
static int reach_nodes(const char *self, char *const *options, size_t n)
{
    char more[PATH_MAX] = "--on --";
    size_t used = strlen(more);
    for (size_t i = 0; i < n && used < sizeof(more); i++)
        used += (size_t)snprintf(more + used, sizeof(more) - used, " %s", options[i]);
    if (used >= sizeof(more))
        return fail("options of srun", strerror(E2BIG));
    for (size_t i = 0; i < sizeof(of_one_node) / sizeof(*of_one_node); i++)
        unsetenv(of_one_node[i]);
    setenv("HYDRA_LAUNCHER", "rsh", 1);
    setenv("HYDRA_LAUNCHER_AUTOFORK", "0", 1); /* on this node, too */
    setenv("HYDRA_LAUNCHER_EXEC", self, 1);
    setenv("HYDRA_LAUNCHER_EXTRA_ARGS", more, 1);
    return 0;
}

static int become_hydra(char *const *words, size_t n)
{
    char self[PATH_MAX];
    const char *const hydra[] = {words[3], "-n", words[0], self, "--rank", "--"};
    size_t options = 0;
    while (4 + options < n && words[4 + options][0] == '-')
        options++;
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[size > 0 ? size : 0] = 0;
    if (size <= 0)
        return fail("/proc/self/exe", strerror(errno));
    if (hosts_give("HYDRA_HOST_FILE", words[1], ":") < 0)
        return fail("cannot keep a list of nodes", strerror(errno));
    bool one = hosts_are_one(words[1]);
    if (one)
        setenv("HYDRA_LAUNCHER", "fork", 1);
    int rc = one ? 0 : reach_nodes(self, words + 4, options);
    return rc ? rc : become(hydra, one ? 3 : 6, words + 4 + options, n - 4 - options);
}

/* A proxy of hydra on a node. What it is to start it hears from hydra, and so the variables, too. */
static int become_proxy(char *const *words, size_t n, pid_t parent)
{
    char node[PATH_MAX], *line = NULL;
    size_t options = 0, size = 0;
    while (options < n && words[options][0] == '-')
        options++;
    if (options + 2 > n)
        return fail("--on", "it needs a node and a command");
    snprintf(node, sizeof(node), "--nodelist=%s", words[options]);
    FILE *f = open_memstream(&line, &size);
    for (size_t i = options + 1; f && i < n; i++)
        fprintf(f, "%s%s", words[i], i + 1 < n ? " " : "");
    if (!f || fclose(f) != 0)
        return fail("srun", strerror(ENOMEM));
    for (const char *const *name = slurm_removed; *name; name++)
        unsetenv(*name); /* what ends in * is not one of these */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 || getppid() != parent)
        return CANNOT_START;
    const char *srun[FIXED * 2] = {"srun",      "--mpi=none", "--overlap",    "--oversubscribe",
                                   "--no-kill", "--wait=0",   "--input=none", "--export=ALL",
                                   "--quiet",   "--nodes=1",  "--ntasks=1",   "--kill-on-bad-exit=0",
                                   node};
    size_t used = 13;
    for (size_t i = 0; i < options && used < FIXED * 2 - 3; i++)
        srun[used++] = words[i];
    srun[used++] = "sh";
    srun[used++] = "-c";
    return become(srun, used, &line, 1);
}

/* ---- a rank of MPICH ----------------------------------------------------------------------------- */

static volatile sig_atomic_t rank_pid;

static void pass_on(int number)
{
    if (rank_pid)
        kill(rank_pid, number);
}

static pid_t start_rank(char *const *words)
{
    pid_t we = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != we)
        _exit(CANNOT_START);
    execvp(words[0], words);
    _exit(fail(words[0], strerror(errno)));
}

/* By this signal, which hydra takes for the end of all. */
static int end_by(int number)
{
    sigset_t all;
    signal(number, SIG_DFL);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    raise(number);
    return CANNOT_START;
}

static int watch_rank(char *const *words)
{
    static const int passed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT};
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    int status = 0;
    pid_t pid = start_rank(words);
    if (pid < 0)
        return fail(words[0], strerror(errno));
    rank_pid = pid;
    for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
        sigaction(passed[i], &action, NULL);
    close_range(3, ~0U, 0); /* hydra sees by one of them that the rank has ended */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        return end_by(WTERMSIG(status));
    if (WEXITSTATUS(status) == 0)
        return 0;
    fprintf(stderr, "flm-slurm-world: a rank has ended with status %d\n", WEXITSTATUS(status));
    return end_by(SIGTERM);
}

/* ---- the command ------------------------------------------------------------------------------- */

struct arguments {
    int mode; /* the option; 0: none */
    char **words;
    size_t n;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    (void)arg;
    switch (key) {
    case 'o':
    case 'r':
        a->mode = key;
        return 0;
    case ARGP_KEY_ARGS:
        a->words = state->argv + state->next;
        a->n = (size_t)(state->argc - state->next);
        return 0;
    case ARGP_KEY_END:
        if (a->n < (a->mode == 'o' ? 2 : a->mode ? 1 : 5))
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"on", 'o', NULL, 0, "for hydra: run a command on a node, as rsh would", 0},
        {"rank", 'r', NULL, 0, "for hydra: a program that ends by a signal if it fails", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "RANKS NODES MPI MPIRUN [SRUN-OPTION...] PROGRAM [ARGUMENT...]\n"
                    "--on -- [SRUN-OPTION...] NODE COMMAND...\n--rank -- PROGRAM [ARGUMENT...]",
        .doc = "Starts MPI ranks on nodes of a Slurm job, where NODES names the node of each rank, as in "
               "n2,n1,n1: if MPI is mpich by MPIRUN, which is hydra, else by srun --mpi=pmix.",
    };
    struct arguments a = {0};
    pid_t parent = getppid();
    argp_program_version = "flm-slurm-world (Flame) " FLM_VERSION;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
    if (a.mode == 'r')
        return watch_rank(a.words);
    if (a.mode)
        return become_proxy(a.words, a.n, parent);
    return strcmp(a.words[2], "mpich") == 0 ? become_hydra(a.words, a.n) : become_step(a.words, a.n);
}
