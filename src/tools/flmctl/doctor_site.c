/* flmctl doctor: what the site gives: networks, MPI, a batch system. */
#include "tools/flmctl/doctor.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The names from `fi_info -l`: lines that begin at the margin, "tcp;ofi_rxm:". */
static void providers_of(const char *listing, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    while (*listing) {
        size_t line = strcspn(listing, "\n"), name = strcspn(listing, ":\n");
        bool hook = !strncmp(listing, "ofi_hook", 8); /* these wrap others, for measuring */
        if (name && name < line && !hook && !isspace((unsigned char)*listing) && at + name + 3 < size)
            at += (size_t)snprintf(text + at, size - at, "%s%.*s", at ? " " : "", (int)name, listing);
        listing += line + (listing[line] == '\n');
    }
}

static void check_libfabric(struct doctor *d)
{
    char listing[4096], names[250];
    void *lib = dlopen("libfabric.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!lib) {
        doctor_say(d, DOCTOR_WARN, "libfabric", "for several nodes install libfabric (Debian: libfabric1)",
                   "%.200s", dlerror());
        return;
    }
    if (doctor_run((const char *const[]){"fi_info", "-l", NULL}, listing, sizeof(listing)) != 0) {
        doctor_say(d, DOCTOR_OK, "libfabric", "",
                   "loads (fi_info, to list providers, is in libfabric-bin)");
        return;
    }
    providers_of(listing, names, sizeof(names));
    bool tcp = strstr(names, "tcp") && strstr(names, "rxm");
    doctor_say(d, tcp ? DOCTOR_OK : DOCTOR_WARN, "libfabric",
               "tcp with ofi_rxm is what works everywhere: install libfabric with them", "%s", names);
}

static void check_mpi(struct doctor *d)
{
    char text[512];
    int status = doctor_run((const char *const[]){"mpirun", "--version", NULL}, text, sizeof(text));
    text[strcspn(text, "\n")] = 0;
    if (status < 0 || status == 127)
        doctor_say(d, DOCTOR_WARN, "mpirun",
                   "only services that use MPI need it: install openmpi-bin or mpich", "not found");
    else if (status != 0)
        doctor_say(d, DOCTOR_WARN, "mpirun", "only services that use MPI need it: reinstall it",
                   "'mpirun --version' fails: %.200s", text);
    else if (geteuid() == 0 && strstr(text, "Open MPI") && !getenv("OMPI_ALLOW_RUN_AS_ROOT"))
        doctor_say(d, DOCTOR_WARN, "mpirun",
                   "as root it needs OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "%.200s",
                   text);
    else
        doctor_say(d, DOCTOR_OK, "mpirun", "", "%.200s%s", text, strstr(text, "HYDRA") ? " (MPICH)" : "");
}

static bool in_search_path(const char *name)
{
    const char *list = getenv("PATH");
    char file[4096];
    while (list && *list) {
        size_t n = strcspn(list, ":");
        snprintf(file, sizeof(file), "%.*s/%s", (int)(n < 4000 ? n : 4000), list, name);
        if (!access(file, X_OK))
            return true;
        list += n + (list[n] == ':');
    }
    return false;
}

/* Its programs may be installed where no cluster is. */
static void check_slurm(struct doctor *d)
{
    char text[512];
    const char *advice =
        "only for jobs from here (--backend slurm, --max-nodes): see what 'scontrol ping' says";
    if (doctor_run((const char *const[]){"scontrol", "ping", NULL}, text, sizeof(text)) == 0)
        doctor_say(d, DOCTOR_OK, "batch system", "", "Slurm is here; this is no job");
    else
        doctor_say(d, DOCTOR_WARN, "batch system", advice,
                   "Slurm is installed, but this machine knows no controller that answers");
}

static void check_batch_system(struct doctor *d)
{
    const char *slurm = getenv("SLURM_JOB_ID"), *pbs = getenv("PBS_JOBID");
    if (slurm)
        doctor_say(d, DOCTOR_OK, "batch system", "", "in Slurm job %.60s (%.20s nodes)", slurm,
                   getenv("SLURM_JOB_NUM_NODES") ? getenv("SLURM_JOB_NUM_NODES") : "?");
    else if (pbs)
        doctor_say(d, DOCTOR_OK, "batch system", "", "in PBS job %.60s", pbs);
    else if (in_search_path("sbatch"))
        check_slurm(d);
    else if (in_search_path("qsub"))
        doctor_say(d, DOCTOR_OK, "batch system", "", "PBS is here; this is no job");
    else
        doctor_say(d, DOCTOR_OK, "batch system", "", "none: this machine only");
}

void doctor_site(struct doctor *d)
{
    check_libfabric(d);
    check_mpi(d);
    check_batch_system(d);
}
