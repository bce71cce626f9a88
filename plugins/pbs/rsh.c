/* flm-pbs-rsh: runs a command line on another node of the PBS job, as rsh would. Launchers of MPI call it.
 *
 * The command is a task of the job, by pbsdsh: counted, limited and ended with the job. pbsdsh gives it
 * nothing of the environment, so that goes by a file (environment.h), and says with -v alone how it has
 * ended. Whatever ends this process ends the task: SIGTERM to pbsdsh does, which is sent when its parent
 * ends, too.
 */
#define _GNU_SOURCE
#include "dsh.h"
#include "environment.h"
#include "hidden.h"
#include "nodes.h"
#include "programs.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_START = 255, SAID = 4096 };

static volatile sig_atomic_t dsh; /* its process; 0: none yet */
static volatile sig_atomic_t told;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "flm-pbs-rsh: %s: %s\n", what, why);
    return CANNOT_START;
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    told = number;
    if (dsh)
        kill(dsh, SIGTERM);
}

/* When the parent has ended, however. */
static bool ends_with_parent(pid_t parent)
{
    return prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == 0 && getppid() == parent;
}

static void heed_signals(void)
{
    static const int these[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < sizeof(these) / sizeof(*these); i++)
        sigaction(these[i], &action, NULL);
}

/* ---- the task ---------------------------------------------------------------------------------- */

/* Its output and that of the task have different ways: the task's goes to the files of the job. */
static pid_t start(const struct words *w, int output)
{
    pid_t we = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    if (!ends_with_parent(we) || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(CANNOT_START);
    execv(w->list[0], (char *const *)(uintptr_t)w->list);
    dprintf(2, "cannot start %s: %s", w->list[0], strerror(errno));
    _exit(CANNOT_START);
}

/* As a shell has it. */
static int status_of(int task, const char *host, const char *said)
{
    if (task > 256)
        return 128 + (task - 256) % 128;
    if (task >= 0)
        return task % 256;
    if (told)
        return 128 + told;
    fprintf(stderr, "flm-pbs-rsh: pbsdsh does not start a process on %s: %.400s\n", host, said);
    return CANNOT_START;
}

static int run(const struct words *w, const char *host)
{
    char said[SAID];
    int status, output = memfd_create("flm-pbsdsh", MFD_CLOEXEC);
    pid_t pid = output >= 0 ? start(w, output) : -1;
    if (pid < 0)
        return fail("cannot start pbsdsh", strerror(errno));
    dsh = pid;
    if (told)
        kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    dsh = 0;
    int task = dsh_read(output, said, sizeof(said));
    close(output);
    return status_of(task, host, said);
}

static char *join(char *const *words)
{
    char *line = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&line, &size);
    for (; f && *words; words++)
        fprintf(f, "%s%s", *words, words[1] ? " " : "");
    if (f && fclose(f) == 0)
        return line;
    free(line);
    return NULL;
}

static int run_there(const struct pbs_node *node, char *const *command)
{
    char program[PATH_MAX], *folder = environment_folder(), *file = NULL, *line = join(command);
    struct words w = {.n = 0};
    int rc = CANNOT_START;
    if (!program_find("pbsdsh", program, sizeof(program))) {
        fail("cannot find PBS's program pbsdsh", "is its bin directory in PATH?");
        goto out;
    }
    file = folder ? environment_write(folder, true) : NULL;
    if (!file)
        fail("no file for the environment, which the processes there now lack", strerror(errno));
    words_add(&w, program);
    words_add(&w, "-v");
    words_add(&w, "-n");
    words_addf(&w, "%u", node->line);
    words_add(&w, "--");
    environment_add(&w, file);
    words_add(&w, "/bin/sh");
    words_add(&w, "-c");
    words_add(&w, line);
    rc = w.failed ? fail("cannot run a command", strerror(ENOMEM)) : run(&w, node->name);
out:
    if (file)
        unlink(file); /* which the task has done, if it ever began */
    words_free(&w);
    free(file);
    free(line);
    free(folder);
    return rc;
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
    switch (key) {
    case 'l':
    case 'n':
    case 'q':
    case 'x':
        return 0;
    case ARGP_KEY_ARGS:
        a->words = state->argv + state->next;
        a->n = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (a->n < 2)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {NULL, 'l', "USER", 0, "taken, as by rsh and ssh, and of no effect", 0},
        {NULL, 'n', NULL, 0, "the same", 0},
        {NULL, 'q', NULL, 0, "the same", 0},
        {NULL, 'x', NULL, 0, "the same", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "HOST COMMAND...",
        .doc =
            "Runs a command line on a node of the PBS job that this process belongs to, as a task of it.",
    };
    struct arguments a = {0};
    struct pbs_nodes nodes;
    flm_error error = {0, ""};
    pid_t parent = getppid();
    argp_program_version = "flm-pbs-rsh (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
    heed_signals();
    if (!ends_with_parent(parent))
        return CANNOT_START;
    hide_job(false);
    const char *file = getenv("PBS_NODEFILE");
    if (!file)
        return fail("this is no PBS job", "PBS_NODEFILE is not set");
    if (nodes_read(file, &nodes, &error) < 0)
        return fail("the PBS job", error.text);
    const struct pbs_node *node = nodes_find(&nodes, a.words[0]);
    int rc = node ? run_there(node, a.words + 1) : fail(a.words[0], "is no node of this PBS job");
    nodes_free(&nodes);
    return rc;
}
