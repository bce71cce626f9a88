#define _GNU_SOURCE
#include "base/paths.h"

#include <flm/error.h>

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Folders to try, seen from the folder of the program. The installed program is
 * in PREFIX/bin or PREFIX/libexec/flame, one of the build tree in bin/ or
 * tests/unit/, with libtool's modules one folder deeper, in .libs. */
static const char *const modules_from_program[] = {
    "../lib/flame/.libs", "../lib/flame", "../../lib/flame/.libs", "../../lib/flame", NULL,
};
/* libflm.so is in PREFIX/lib or PREFIX/lib/TRIPLET; in a build tree in lib/.libs. */
static const char *const modules_from_library[] = {
    "flame",
    "../flame/.libs",
    NULL,
};
static const char *const modules_installed[] = {FLM_PKGLIBDIR, NULL};

static const char *const programs_from_program[] = {
    ".", "../libexec/flame", "../bin", "../../bin", NULL,
};
static const char *const programs_from_library[] = {
    "../libexec/flame", "../bin", "../../libexec/flame", "../../bin", NULL,
};
static const char *const programs_installed[] = {FLM_LIBEXECDIR, FLM_BINDIR, NULL};

static void cut_last_part(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
}

/* The folder of the running program; false when it cannot be known. */
static bool program_folder(char folder[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    if (n <= 0)
        return false;
    folder[n] = '\0';
    cut_last_part(folder);
    return true;
}

/* The folder of the library that this code is in. In our own programs that is
 * the program itself, which does no harm. */
static bool library_folder(char folder[PATH_MAX])
{
    Dl_info info;
    if (!dladdr((const void *)flm__find_module, &info) || !info.dli_fname || !strchr(info.dli_fname, '/'))
        return false;
    if (!realpath(info.dli_fname, folder))
        return false;
    cut_last_part(folder);
    return true;
}

/* base/sub/file, if it is there. */
static int try_file(const char *base, const char *sub, const char *file, int mode, char *path, size_t n)
{
    char joined[3 * PATH_MAX], real[PATH_MAX];
    if ((size_t)snprintf(joined, sizeof(joined), "%s/%s/%s", base, sub, file) >= sizeof(joined))
        return FLM_ETOOBIG;
    if (access(joined, mode) || !realpath(joined, real))
        return FLM_ENOTFOUND;
    if (strlen(real) >= n)
        return FLM_ETOOBIG;
    memcpy(path, real, strlen(real) + 1);
    return FLM_OK;
}

static int try_folders(const char *base, const char *const *subs, const char *file, int mode, char *path,
                       size_t n)
{
    int rc = FLM_ENOTFOUND;
    for (; *subs && rc == FLM_ENOTFOUND; subs++)
        rc = try_file(base, *subs, file, mode, path, n);
    return rc;
}

struct places {
    const char *variable;
    const char *const *from_program;
    const char *const *from_library;
    const char *const *installed;
};

static int find(const struct places *p, const char *file, int mode, char *path, size_t n)
{
    char folder[PATH_MAX];
    int rc = FLM_ENOTFOUND;
    if (!*file || strchr(file, '/'))
        return FLM_ENOTFOUND;
    const char *forced = getenv(p->variable);
    if (forced && *forced)
        rc = try_file(forced, ".", file, mode, path, n);
    if (rc == FLM_ENOTFOUND && program_folder(folder))
        rc = try_folders(folder, p->from_program, file, mode, path, n);
    if (rc == FLM_ENOTFOUND && library_folder(folder))
        rc = try_folders(folder, p->from_library, file, mode, path, n);
    if (rc == FLM_ENOTFOUND)
        rc = try_folders("", p->installed, file, mode, path, n);
    return rc;
}

int flm__find_module(const char *file, char *path, size_t n)
{
    static const struct places places = {"FLM_MODULE_DIR", modules_from_program, modules_from_library,
                                         modules_installed};
    return find(&places, file, R_OK, path, n);
}

int flm__find_program(const char *name, char *path, size_t n)
{
    static const struct places places = {"FLM_BINDIR", programs_from_program, programs_from_library,
                                         programs_installed};
    return find(&places, name, X_OK, path, n);
}
