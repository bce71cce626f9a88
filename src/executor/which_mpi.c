#define _GNU_SOURCE
#include "executor/which_mpi.h"

#include "base/error.h"
#include "base/paths.h"
#include "executor/process.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char openmpi[] = "openmpi", mpich[] = "mpich";

/* ---- what a file needs ---- */

enum { SEGMENTS_MAX = 64, ENTRIES_MAX = 1024, FIRST_OF_OPEN_MPI = 20, MPICH_ABI = 12 };

/* By the name of a library: libmpi.so.40, libmpi_mpifh.so.40; libmpich.so.12, and as MPICH itself calls it,
 * libmpi.so.12. */
static const char *mpi_of_library(const char *name)
{
    const char *so = strstr(name, ".so.");
    if (strncmp(name, "libmpi", 6) != 0 || !so)
        return NULL;
    int number = atoi(so + 4);
    if (strncmp(name, "libmpich", 8) == 0 || number == MPICH_ABI)
        return mpich;
    return number >= FIRST_OF_OPEN_MPI ? openmpi : NULL;
}

struct segments {
    Elf64_Phdr list[SEGMENTS_MAX];
    unsigned n;
};

static int read_segments(int fd, struct segments *s)
{
    Elf64_Ehdr head;
    if (pread(fd, &head, sizeof(head), 0) != sizeof(head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
        head.e_phentsize != sizeof(*s->list) || head.e_phnum > SEGMENTS_MAX)
        return -1;
    s->n = head.e_phnum;
    size_t size = s->n * sizeof(*s->list);
    return pread(fd, s->list, size, (off_t)head.e_phoff) == (ssize_t)size ? 0 : -1;
}

/* Where in the file an address lies; -1: nowhere. */
static off_t offset_of(const struct segments *s, uint64_t address)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->list[i].p_type == PT_LOAD && address >= s->list[i].p_vaddr &&
            address - s->list[i].p_vaddr < s->list[i].p_filesz)
            return (off_t)(s->list[i].p_offset + (address - s->list[i].p_vaddr));
    return -1;
}

static const char *look_at_needed(int fd, const struct segments *s, const Elf64_Dyn *entries, size_t n)
{
    off_t names = -1;
    const char *mpi = NULL;
    for (size_t i = 0; i < n && entries[i].d_tag != DT_NULL; i++)
        if (entries[i].d_tag == DT_STRTAB)
            names = offset_of(s, entries[i].d_un.d_ptr);
    for (size_t i = 0; names >= 0 && !mpi && i < n && entries[i].d_tag != DT_NULL; i++) {
        char name[64] = "";
        if (entries[i].d_tag == DT_NEEDED && entries[i].d_un.d_val < INT_MAX &&
            pread(fd, name, sizeof(name) - 1, names + (off_t)entries[i].d_un.d_val) > 0)
            mpi = mpi_of_library(name);
    }
    return mpi;
}

static const char *mpi_of_fd(int fd)
{
    struct segments s;
    if (read_segments(fd, &s) < 0)
        return NULL;
    for (unsigned i = 0; i < s.n; i++) {
        if (s.list[i].p_type != PT_DYNAMIC)
            continue;
        Elf64_Dyn entries[ENTRIES_MAX];
        size_t size = s.list[i].p_filesz < sizeof(entries) ? s.list[i].p_filesz : sizeof(entries);
        ssize_t n = pread(fd, entries, size, (off_t)s.list[i].p_offset);
        return n > 0 ? look_at_needed(fd, &s, entries, (size_t)n / sizeof(*entries)) : NULL;
    }
    return NULL;
}

const char *flm__mpi_of_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *mpi = fd >= 0 ? mpi_of_fd(fd) : NULL;
    if (fd >= 0)
        close(fd);
    return mpi;
}

/* ---- what a command needs ---- */

static const char *mpi_by_name(const char *name)
{
    return !name ? NULL : strcmp(name, openmpi) == 0 ? openmpi : strcmp(name, mpich) == 0 ? mpich : NULL;
}

/* A name without a slash is looked for in PATH, and is else a file where the command is to run. */
static const char *mpi_of_named(const char *command, const char *directory, char *const *environment)
{
    char path[PATH_MAX], full[2 * PATH_MAX];
    if (strchr(command, '/') || flm__command_find(command, directory, environment, path, sizeof(path)) != 0)
        snprintf(path, sizeof(path), "%s", command);
    bool relative = directory && *directory && path[0] != '/';
    snprintf(full, sizeof(full), "%s%s%s", relative ? directory : "", relative ? "/" : "", path);
    return flm__mpi_of_file(full);
}

const char *flm__mpi_of_command(const char *command, const char *directory, char *const *environment)
{
    const char *mpi = command ? mpi_of_named(command, directory, environment) : NULL;
    return mpi ? mpi : mpi_by_name(flm__environment_get(environment, "FLM_MPI"));
}

const char *flm__mpi_only(void)
{
    char path[PATH_MAX];
    bool has_openmpi = flm__find_module("flm-mpi-openmpi.so", path, sizeof(path)) == 0;
    bool has_mpich = flm__find_module("flm-mpi-mpich.so", path, sizeof(path)) == 0;
    return has_openmpi == has_mpich ? NULL : has_openmpi ? openmpi : mpich;
}

/* ---- launchers ---- */

const char *flm__mpi_launcher(const char *mpi, char *const *environment)
{
    static const char *const of_openmpi[] = {"mpirun.openmpi", NULL},
                             *const of_mpich[] = {"mpiexec.hydra", "mpirun.mpich", NULL},
                             *const of_any[] = {"mpirun", "mpiexec.hydra", NULL};
    const char *const *names = mpi == openmpi ? of_openmpi : mpi == mpich ? of_mpich : of_any;
    char path[PATH_MAX];
    for (; *names; names++)
        if (flm__command_find(*names, NULL, environment, path, sizeof(path)) == 0)
            return *names;
    return "mpirun";
}

const char *flm__mpi_name(const char *mpi)
{
    return mpi ? mpi : "unknown";
}

/* Starts ranks of Open MPI by Slurm itself, and of MPICH by the mpirun that it is given. */
static bool is_slurms(char *const *words, size_t n)
{
    return n && strstr(words[0], "flm-slurm-world");
}

/* The only MPI whose ranks it can start. NULL: that is not known. */
static const char *mpi_of_launcher(char *const *words, size_t n, char *const *environment)
{
    char path[PATH_MAX], real[PATH_MAX];
    size_t at = is_slurms(words, n)                      ? 4 /* RANKS NODES MPI MPIRUN */
                : n && strstr(words[0], "flm-pbs-world") ? 3
                                                         : 0; /* RANKS NODES MPIRUN */
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], "--mpi=pmix") == 0)
            return openmpi;
    if (at >= n || flm__command_find(words[at], NULL, environment, path, sizeof(path)) != 0 ||
        !realpath(path, real))
        return NULL;
    const char *name = basename(real);
    if (strcmp(name, "orterun") == 0 || strcmp(name, "prterun") == 0 || strcmp(name, "mpirun.openmpi") == 0)
        return openmpi;
    return strstr(name, "hydra") || strcmp(name, "mpirun.mpich") == 0 ? mpich : NULL;
}

static const char *full_name(const char *mpi)
{
    return mpi == openmpi ? "Open MPI" : "MPICH";
}

static int refuse_mpich(const char *program, flm_error *error)
{
    return flm__error_set(
        error, FLM_ENOTSUP,
        "%.150s is compiled with MPICH, whose launcher (mpiexec.hydra) is not in PATH, and "
        "'srun --mpi=pmix' is of Open MPI: each rank would be alone. Install it",
        program);
}

int flm__mpi_check(const char *mpi, const char *program, char *const *words, size_t n,
                   char *const *environment, flm_error *error)
{
    const char *said = flm__environment_get(environment, "FLM_MPI");
    if (said && *said && !mpi_by_name(said))
        return flm__error_set(error, FLM_EINVAL, "FLM_MPI is '%.60s': it is to be openmpi or mpich", said);
    bool slurms = is_slurms(words, n);
    const char *launchers =
        mpi && !(slurms && mpi == openmpi) ? mpi_of_launcher(words, n, environment) : mpi;
    if (launchers == mpi || (!launchers && !slurms))
        return 0;
    if (slurms)
        return refuse_mpich(program, error);
    return flm__error_set(
        error, FLM_ENOTSUP,
        "%.150s is compiled with %s, and ranks are started here by '%.100s%s', which is of %s: "
        "each would be alone. Compile it with %s%s",
        program, full_name(mpi), words[0], strcmp(words[0], "srun") == 0 ? " --mpi=pmix" : "",
        full_name(launchers), full_name(launchers),
        strcmp(words[0], "srun") == 0 ? "" : ", or install the launcher of its MPI");
}
