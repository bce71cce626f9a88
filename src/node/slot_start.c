/* slot_start.c - the process of a lane's next life: which program, its environment, its streams, its page.
 */
#define _GNU_SOURCE
#include "base/error.h"
#include "base/time.h"
#include "executor/which_mpi.h"
#include "net/handshake.h"
#include "node/agent.h"
#include "node/gpus.h"
#include "node/process.h"
#include "node/world_command.h"

#include <errno.h>
#include <fcntl.h>
#include <flm/admin.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char **environ;

enum { WORLD_CPUS_MAX = 16 << 10, LAUNCH_MAX = 8 << 10 }; /* executor/identity.h reads as much */

/* Variables by which a launcher's MPI would believe that this process is a rank of it. A service that is
 * not in a world must not join the launcher's: one dead rank would end all. */
static const char *const launcher_prefixes[] = {
    "PMI_",           "PMIX_",          "OMPI_COMM_",           "OMPI_UNIVERSE_", "OMPI_APP_",
    "OMPI_NUM_",      "OMPI_FIRST_",    "OMPI_FILE_",           "OMPI_ARGV",      "OMPI_COMMAND",
    "OMPI_MCA_ess_",  "OMPI_MCA_orte_", "OMPI_MCA_pmix",        "HYDI_",          "HYDRA_",
    "MPI_LOCAL",      "SLURM_STEP",     "SLURM_PROCID",         "SLURM_LOCALID",  "SLURM_GTIDS",
    "SLURM_MPI_",     "SLURM_PMIX",     "SLURM_SRUN_COMM",      "SLURM_TASK_PID", "SLURM_LAUNCH_NODE",
    "SLURM_NTASKS",   "SLURM_NPROCS",   "SLURM_TASKS_PER_NODE", "SLURM_NNODES",   "SLURM_DISTRIBUTION",
    "SLURM_CPU_BIND",
};

static bool is_launchers(const char *assignment)
{
    for (size_t i = 0; i < sizeof(launcher_prefixes) / sizeof(*launcher_prefixes); i++)
        if (strncmp(assignment, launcher_prefixes[i], strlen(launcher_prefixes[i])) == 0)
            return true;
    return false;
}

void slot_kind_clear(struct slot_kind *kind)
{
    free(kind->application);
    free(kind->lanes);
    free(kind->nodes);
    free(kind->cpus);
    *kind = (struct slot_kind){0};
}

static bool is_self(const Flm__Bind *bind)
{
    return bind && bind->application && bind->application->shim == FLM_SHIM_SELF;
}

/* An MPI program per task has one rank if no other number is given. */
static bool is_per_task(const Flm__Bind *bind)
{
    return bind->application && bind->application->shim == FLM_SHIM_MPI;
}

static uint32_t ranks_of(const Flm__Bind *bind)
{
    return is_per_task(bind) && !bind->ranks ? 1 : bind->ranks;
}

int slot_kind_set(struct slot_kind *kind, const Flm__Bind *bind)
{
    slot_kind_clear(kind);
    if (!bind)
        return 0;
    kind->lanes = bind->n_lanes ? malloc(bind->n_lanes * sizeof(*kind->lanes)) : NULL;
    if (bind->n_lanes && !kind->lanes)
        return FLM_ENOMEM;
    if (bind->n_lanes)
        memcpy(kind->lanes, bind->lanes, bind->n_lanes * sizeof(*kind->lanes));
    kind->n_lanes = bind->n_lanes;
    kind->nodes = bind->nodes[0] ? strdup(bind->nodes) : NULL;
    kind->cpus = bind->nodes[0] ? strdup(bind->cpus) : NULL;
    if (bind->nodes[0] && (!kind->nodes || !kind->cpus))
        return FLM_ENOMEM;
    kind->ranks = ranks_of(bind);
    kind->world = kind->ranks && !is_per_task(bind);
    kind->mpi = world_mpi(bind);
    kind->self = is_self(bind);
    if (!kind->self)
        return 0;
    kind->application_size = flm__application__get_packed_size(bind->application);
    kind->application = malloc(kind->application_size + 1);
    if (!kind->application)
        return FLM_ENOMEM;
    flm__application__pack(bind->application, kind->application);
    return 0;
}

bool slot_kind_fits(const struct slot_kind *kind, const Flm__Bind *bind)
{
    if (kind->ranks != ranks_of(bind) || kind->self != is_self(bind))
        return false;
    if (kind->ranks && (kind->world == is_per_task(bind) || kind->mpi != world_mpi(bind)))
        return false;
    if (kind->n_lanes != bind->n_lanes ||
        (kind->n_lanes && memcmp(kind->lanes, bind->lanes, kind->n_lanes * sizeof(*kind->lanes)) != 0))
        return false; /* its ranks are bound to the processors of other slots */
    if (strcmp(kind->nodes ? kind->nodes : "", bind->nodes) != 0 ||
        (kind->cpus && strcmp(kind->cpus, bind->cpus) != 0))
        return false;
    if (!kind->self)
        return true;
    struct slot_kind wanted = {0};
    bool same = slot_kind_set(&wanted, bind) == 0 && wanted.application_size == kind->application_size &&
                memcmp(wanted.application, kind->application, wanted.application_size) == 0;
    slot_kind_clear(&wanted);
    return same;
}

bool slot_is_wrapped(const struct slot *slot)
{
    const struct node_options *o = slot->agent->options;
    return o->executor_wrapper && (o->wrap_executor < 0 || (unsigned)o->wrap_executor == slot->lane);
}

static int build_command(const struct slot *slot, const Flm__Application *self, struct texts *command,
                         flm_error *error)
{
    const struct node_options *o = slot->agent->options;
    if (slot_is_wrapped(slot) && texts_add_words(command, o->executor_wrapper) < 0)
        return flm__error_set(error, FLM_EINVAL, "the wrapper '%s' is not a command line",
                              o->executor_wrapper);
    if (slot->kind.ranks && !*o->world_command)
        return flm__error_set(error, FLM_ENOTSUP,
                              "the executors of this node run tasks of one rank only (flm-node was started "
                              "with no --world-command, as by flm_mpi_init)");
    int rc = slot->kind.world ? world_command(slot, command, error) : 0;
    if (rc < 0)
        return rc;
    if (self && !self->n_command)
        return flm__error_set(error, FLM_EINVAL, "the application %s has no command", self->name);
    if (self) {
        for (size_t i = 0; i < self->n_command; i++)
            texts_add(command, self->command[i]);
        return 0;
    }
    texts_add(command, slot->agent->executor);
    if (slot->kind.world)
        texts_add(command, "--world");
    return 0;
}

static void set_number(struct texts *environment, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    texts_set(environment, name, text);
}

/* Open MPI: ranks may be more than cores, and are not bound by it; a service outside a world that calls
 * MPI_Init gets a world of one without a helper process. */
static void set_mpi(const struct slot *slot, struct texts *environment)
{
    if (!slot->kind.ranks) {
        texts_set_default(environment, "OMPI_MCA_ess_singleton_isolated", "1");
        return;
    }
    texts_set_default(environment, "OMPI_MCA_rmaps_base_oversubscribe", "1");
    texts_set_default(environment, "OMPI_MCA_hwloc_base_binding_policy", "none");
    texts_set_default(environment, "OMPI_MCA_mpi_yield_when_idle", "1");
    if (geteuid() == 0) {
        texts_set_default(environment, "OMPI_ALLOW_RUN_AS_ROOT", "1");
        texts_set_default(environment, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
}

/* What a process that starts ranks for each task needs: their launcher, a word a line. */
static void set_launch(const struct slot *slot, struct texts *environment)
{
    char path[64], lines[LAUNCH_MAX] = "";
    struct texts words = {0};
    size_t used = 0;
    world_words(slot, FLM__MPIRUN, FLM__MPI_MARK, &words);
    for (size_t i = 0; i < words.n && used < sizeof(lines); i++)
        used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%s%s", i ? "\n" : "", words.list[i]);
    texts_free(&words);
    texts_set(environment, "FLM_LAUNCH", used < sizeof(lines) ? lines : "");
    slot_world_memory(slot, path, sizeof(path));
    texts_set(environment, FLM__LAUNCH_MEMORY,
              path);                    /* what may be emptied; the user may name another to MPI */
    if (path[0] && !slot->kind.nodes) { /* it is on this node alone */
        texts_set_default(environment, FLM__LAUNCH_MEMORY_4, path);
        texts_set_default(environment, FLM__LAUNCH_MEMORY_5, path);
    }
}

/* A world's ranks see what their launcher gives them. */
static void set_gpus(const struct slot *slot, struct texts *environment)
{
    char share[1024];
    for (const char *const *name = gpus_variables; *name; name++) {
        const char *all = texts_get(environment, *name);
        if (all && gpus_share(all, slot->lane, slot->agent->n_slots, share, sizeof(share)))
            texts_set(environment, *name, share);
    }
}

/* Of this slot, "0-3,8"; of a world one such list for each rank, "0-1;2-3"; of a process that starts ranks
 * for each task all of them. "": wherever they like. */
static void set_cpus(const struct slot *slot, struct texts *environment)
{
    char list[WORLD_CPUS_MAX] = "";
    const char *between = slot->kind.world ? ";" : ",";
    size_t used = 0;
    if (!slot->kind.ranks || (!slot->kind.world && !slot->kind.n_lanes)) {
        texts_set(environment, "FLM_CPUS", slot->place->cpus);
        return;
    }
    if (slot->kind.world && slot->kind.cpus && strlen(slot->kind.cpus) < WORLD_CPUS_MAX) {
        texts_set(environment, "FLM_CPUS", slot->kind.cpus);
        return;
    }
    for (size_t r = 0; r < slot->kind.n_lanes && used < sizeof(list); r++) {
        uint32_t lane = slot->kind.lanes[r];
        const char *cpus = lane < slot->agent->n_slots ? slot->agent->placement.slots[lane].cpus : "";
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", r ? between : "", cpus);
        if (!cpus[0])
            used = sizeof(list);
    }
    texts_set(environment, "FLM_CPUS", used < sizeof(list) ? list : "");
}

static void build_environment(const struct slot *slot, const Flm__Application *self,
                              struct texts *environment)
{
    const struct agent *agent = slot->agent;
    for (char **e = environ; *e; e++)
        if (!is_launchers(*e))
            texts_add(environment, *e);
    if (!slot->kind.ranks)
        set_gpus(slot, environment);
    for (size_t i = 0; self && i < self->n_environment; i++)
        texts_put(environment, self->environment[i]);
    texts_set(environment, "FLM_AGENT", agent->socket);
    texts_set(environment, "FLM_ENDPOINT", agent->options->endpoint);
    set_cpus(slot, environment);
    char numa[16];
    snprintf(numa, sizeof(numa), "%d", slot->place->numa);
    texts_set(environment, "FLM_NUMA", slot->kind.ranks ? "-1" : numa);
    set_number(environment, "FLM_AGENT_PID", (uint64_t)getpid());
    set_number(environment, "FLM_LANE", slot->lane);
    set_number(environment, "FLM_LIFE", slot->life);
    set_number(environment, "FLM_TOKEN", slot->token);
    set_number(environment, "FLM_CORES", slot->place->cores);
    set_number(environment, "FLM_SIGNALLED", agent->options->grace_s > 0);
    if (slot->kind.world)
        set_number(environment, "FLM_RANKS", slot->kind.ranks);
    if (slot->kind.mpi)
        texts_set(environment, "FLM_MPI", slot->kind.mpi);
    char cores[16];
    snprintf(cores, sizeof(cores), "%u", slot->place->cores);
    texts_set_default(environment, "OMP_NUM_THREADS", cores);
    texts_set_default(environment, "OPENBLAS_NUM_THREADS", cores);
    set_mpi(slot, environment);
    if (slot->kind.ranks && !slot->kind.world)
        set_launch(slot, environment);
}

/* A fresh page for this life; after the death it still tells which task ran. */
static int make_page(struct slot *slot, flm_error *error)
{
    int fd = memfd_create("flm-status", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *page = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof(struct flm__status_page)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        page = mmap(NULL, sizeof(struct flm__status_page), PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return flm__error_errno(error, FLM_ENOMEM, e, "cannot make a page of memory");
    }
    slot->page_fd = fd;
    slot->page = page;
    return 0;
}

static void on_line(void *arg, bool error_stream, const char *text, size_t n)
{
    struct slot *slot = arg;
    if (error_stream)
        slot_heed_line(slot, text, n);
    log_add(&slot->log, ++slot->agent->log_lines, error_stream, text, n);
    if (slot->agent->options->log_to_stderr)
        fprintf(stderr, "executor %u: %.*s\n", slot->log.executor, (int)n, text);
}

static int spawn_with_pipes(struct slot *slot, struct process_spec *spec, flm_error *error)
{
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot make a pipe for the output of a service");
    if (pipe2(err, O_CLOEXEC) < 0) {
        close(out[0]);
        close(out[1]);
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot make a pipe for the output of a service");
    }
    spec->out = out[1];
    spec->err = err[1];
    int rc = process_start(spec, &slot->pid, error);
    slot->inherited_kib = process_peak_kib();
    close(out[1]);
    close(err[1]);
    if (rc < 0) {
        close(out[0]);
        close(err[0]);
        return rc;
    }
    slot->out = log_stream_new_take(&slot->agent->loop, out[0], false, on_line, slot);
    slot->err = log_stream_new_take(&slot->agent->loop, err[0], true, on_line, slot);
    return 0;
}

int slot_launch(struct slot *slot, flm_error *error)
{
    Flm__Application *self = slot->kind.self ? flm__application__unpack(NULL, slot->kind.application_size,
                                                                        slot->kind.application)
                                             : NULL;
    struct texts command = {0}, environment = {0};
    if (slot->kind.self && !self)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a command line");
    slot->life++;
    int rc = flm__random(&slot->token, sizeof(slot->token));
    slot->token |= 1; /* 0 means none */
    if (rc == 0)
        rc = attach_renew(slot->agent, error);
    if (rc == 0)
        rc = build_command(slot, self, &command, error);
    if (rc == 0)
        rc = make_page(slot, error);
    if (rc == 0) {
        build_environment(slot, self, &environment);
        struct process_spec spec = {.command = &command,
                                    .environment = &environment,
                                    .directory = self ? self->working_directory : NULL,
                                    .cpus = slot->kind.ranks ? "" : slot->place->cpus,
                                    .numa = slot->place->numa,
                                    .same_session = slot->agent->options->same_session};
        rc = spawn_with_pipes(slot, &spec, error);
    }
    slot->heard_ns = flm__now_ns();
    texts_free(&command);
    texts_free(&environment);
    if (self)
        flm__application__free_unpacked(self, NULL);
    return rc;
}
