#define _GNU_SOURCE 1
#include "executor/shim_launch.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/executor.h"
#include "executor/status.h"
#include "executor/which_mpi.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN_MS = 5000 };

/* Lines into words. */
static int split(struct flm__launch *l, const char *lines)
{
    char *rest = NULL;
    size_t room = 2;
    l->text = strdup(lines);
    for (const char *c = lines; *c; c++)
        room += *c == '\n';
    l->words = l->text ? calloc(room, sizeof(*l->words)) : NULL;
    if (!l->words)
        return FLM_ENOMEM;
    for (char *word = strtok_r(l->text, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest)) {
        if (!l->mpirun && strcmp(word, FLM__MPIRUN) == 0)
            l->mpirun = &l->words[l->n];
        if (!l->mpi && strcmp(word, FLM__MPI_MARK) == 0)
            l->mpi = &l->words[l->n];
        l->words[l->n++] = word;
    }
    return 0;
}

static int find(struct flm__launch *l, const char *program, const char *directory, char *const *environment,
                flm_error *error)
{
    int rc = flm__command_find(l->words[0], directory, environment, l->path, sizeof(l->path));
    return !rc ? 0
               : flm__error_errno(error, FLM_EBIND, rc,
                                  "cannot run '%.200s', which is to start the MPI ranks of '%.100s'",
                                  l->words[0], program);
}

int flm__launch_choose(struct flm__launch *l, const char *program, const char *directory,
                       char *const *environment, flm_error *error)
{
    if (!l->n)
        return 0;
    const char *mpi = flm__mpi_of_command(program, directory, environment);
    if (l->mpirun)
        *l->mpirun = (char *)(uintptr_t)flm__mpi_launcher(mpi, environment);
    if (l->mpi)
        *l->mpi = (char *)(uintptr_t)flm__mpi_name(mpi);
    int rc = l->mpirun == l->words ? find(l, program, directory, environment, error) : 0;
    return rc < 0 ? rc : flm__mpi_check(mpi, program, l->words, l->n, environment, error);
}

int flm__launch_open(struct flm__launch *l, const struct flm__shim_app *app, char *const *environment,
                     flm_error *error)
{
    if (app->shim != FLM_SHIM_MPI)
        return 0;
    if (!app->launch || !*app->launch)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application '%.100s' of shim mpi needs a launcher of MPI programs, and this "
                              "executor was given none",
                              app->name);
    if (split(l, app->launch) < 0) {
        flm__launch_close(l);
        return flm__error_set(error, FLM_ENOMEM, "no memory for the launcher of '%.100s'", app->name);
    }
    if (!l->n) {
        flm__launch_close(l);
        return flm__error_set(error, FLM_EINVAL, "the launcher of MPI programs for '%.100s' is empty",
                              app->name);
    }
    if (l->mpirun != l->words && find(l, app->name, app->working_directory, environment, error) < 0) {
        flm__launch_close(l);
        return FLM_EBIND;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    return 0;
}

void flm__launch_close(struct flm__launch *l)
{
    if (l->n)
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    free(l->text);
    free(l->words);
    *l = (struct flm__launch){0};
}

/* What Open MPI keeps in shared memory: it removes that itself unless its launcher is killed. The agent,
 * which gave us this directory, removes the rest of it when we end. */
static void empty_directory(const char *path)
{
    DIR *dir = path && *path ? opendir(path) : NULL;
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

static void explain(struct flm__shim_task *t, int status, const char *program)
{
    int sig = WIFEXITED(status) ? WEXITSTATUS(status) - 128 : 0;
    const char *name = sig > 0 && sig < SIGRTMIN ? sigabbrev_np(sig) : NULL;
    if (t->reason == FLM_REASON_EXIT && name)
        flm__outcome_fail(
            t, FLM_REASON_EXIT, t->code,
            "'%.200s' ended with status %d: a rank was ended by signal %d (SIG%s), or ended so", program,
            t->code, sig, name);
}

/* Those whose parents end become ours. What cannot be killed, or hangs in the kernel, is left behind. */
static void end_all_children(void)
{
    const struct timespec moment = {0, 2000000};
    int64_t until = flm__now_ns() + CHILDREN_MS * INT64_C(1000000);
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return;
        if (pid > 0)
            continue;
        if (flm__now_ns() > until)
            return;
        flm__end_children();
        nanosleep(&moment, NULL);
    }
}

void flm__launch_ended(const struct flm__launch *l, struct flm__shim_task *task, int status,
                       const char *program)
{
    if (!l->n)
        return;
    end_all_children();
    if (!WIFEXITED(status))
        empty_directory(getenv(FLM__LAUNCH_MEMORY));
    explain(task, status, program);
}
