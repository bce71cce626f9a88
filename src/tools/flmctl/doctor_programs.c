/* flmctl doctor: whether the parts of Flame are where they are looked for. */
#include "tools/flmctl/doctor.h"
#include "tools/program_folder.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void check_program(struct doctor *d, const char *name)
{
    char path[PATH_MAX];
    bool found = program_find(path, sizeof(path), name, FLM_BINDIR) ||
                 program_module(path, sizeof(path), name, FLM_LIBEXECDIR);
    if (!found)
        doctor_say(d, DOCTOR_FAIL, name, "reinstall Flame",
                   "not found: neither beside flmctl nor at %.150s", path);
    else if (access(path, X_OK))
        doctor_say(d, DOCTOR_FAIL, name, "reinstall Flame", "%.200s is not executable", path);
    else
        doctor_say(d, DOCTOR_OK, name, "", "%.250s", path);
}

static void check_module(struct doctor *d, const char *name, enum doctor_level without, const char *advice)
{
    char path[PATH_MAX];
    if (!program_module(path, sizeof(path), name, FLM_PKGLIBDIR)) {
        doctor_say(d, without, name, advice, "not found: looked for %.200s", path);
        return;
    }
    void *module = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (module)
        doctor_say(d, DOCTOR_OK, name, "", "%.250s", path);
    else
        doctor_say(d, DOCTOR_FAIL, name, "install the library it needs, or reinstall Flame", "%.250s",
                   dlerror());
}

void doctor_programs(struct doctor *d)
{
    static const char *const programs[] = {"flmd",     "flmrun",       "flmping",    "flmexec",
                                           "flm-node", "flm-executor", "flm-backend"};
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
        check_program(d, programs[i]);
    check_module(d, "flmping.so", DOCTOR_FAIL, "reinstall Flame");
    check_module(d, "flm-backend-local.so", DOCTOR_FAIL, "reinstall Flame");
    check_module(d, "flm-fabric.so", DOCTOR_WARN,
                 "only one machine: for several nodes build Flame with libfabric (libfabric-dev)");
}
