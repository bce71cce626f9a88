/* Which MPI a file says that it is compiled with, whatever is in the file. */
#define _GNU_SOURCE
#include "executor/which_mpi.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
    const char *path, *mpi;
} files[] = {
    {FLM_BUILDDIR "/bin/flmd", NULL},
    {FLM_BUILDDIR "/config.h", NULL},
    {FLM_BUILDDIR, NULL},
    {FLM_BUILDDIR "/nosuch", NULL},
    {"/dev/null", NULL},
    {"/proc/self/exe", NULL},
#ifdef FLM_HAVE_OPENMPI
    {FLM_BUILDDIR "/tests/system/services/.libs/allreduce.so", "openmpi"},
#endif
#ifdef FLM_HAVE_MPICH
    {FLM_BUILDDIR "/tests/system/services/.libs/allreduce_mpich.so", "mpich"},
#endif
};
enum { FILES = sizeof(files) / sizeof(files[0]) };

static void check(const char *expected, const char *found, const char *what)
{
    if (!expected != !found || (found && strcmp(expected, found) != 0))
        fail_msg("%s: %s, not %s", what, found ? found : "none", expected ? expected : "none");
}

static void files_tell_it(void **state)
{
    char *const said[] = {(char *)(uintptr_t) "FLM_MPI=mpich", NULL}, *const odd[] = {
                                                                          (char *)(uintptr_t) "FLM_MPI=x",
                                                                          NULL};
    (void)state;
    for (size_t i = 0; i < FILES; i++) {
        check(files[i].mpi, flm__mpi_of_file(files[i].path), files[i].path);
        check(files[i].mpi, flm__mpi_of_command(files[i].path, "/", odd), files[i].path);
        check(files[i].mpi ? files[i].mpi : "mpich", flm__mpi_of_command(files[i].path, NULL, said),
              files[i].path);
    }
    const char *last = files[FILES - 1].path;
    check(files[FILES - 1].mpi, flm__mpi_of_command(last + 1, "/", odd), "in a directory");
}

/* Any file, cut anywhere or with any word changed, gives an answer: one of the two, or none. */
static void broken_files_do_no_harm(void **state)
{
    static unsigned char whole[64 << 10], bad[sizeof(whole)];
    char path[64];
    (void)state;
    int from = open(files[FILES - 1].path, O_RDONLY), fd = memfd_create("broken", 0);
    ssize_t size = read(from, whole, sizeof(whole));
    assert_true(size > 64 && fd >= 0);
    close(from);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    srand(5);
    for (int round = 0; round < 3000; round++) {
        size_t n = round % 3 ? (size_t)size : (size_t)rand() % (size_t)size;
        memcpy(bad, whole, n);
        for (int i = 0; i < 1 + round % 4 && n > 64; i++) {
            size_t among = i % 2 ? n : n < 1024 ? n : 1024; /* half of them in the headers */
            uint64_t word = round % 2 ? UINT64_MAX - (unsigned)rand() : (unsigned)rand();
            memcpy(bad + (size_t)rand() % (among - sizeof(word)), &word, sizeof(word));
        }
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bad, n, 0), (ssize_t)n);
        const char *mpi = flm__mpi_of_file(path);
        assert_true(!mpi || strcmp(mpi, "openmpi") == 0 || strcmp(mpi, "mpich") == 0);
    }
    close(fd);
}

/* Words as they come from agents; a launcher that is not known is let be. */
static void launchers_are_checked(void **state)
{
    static const struct {
        const char *mpi, *words[6];
        int code;
    } cases[] = {
        {"mpich", {"srun", "--mpi=pmix", "-n", "2"}, FLM_ENOTSUP},
        {"openmpi", {"srun", "--mpi=pmix", "-n", "2"}, 0},
        {"mpich", {"srun", "--mpi=pmi2", "-n", "2"}, 0},
        {NULL, {"srun", "--mpi=pmix", "-n", "2"}, 0},
        {"mpich", {"nosuch", "-n", "2"}, 0},
        {"openmpi", {"/x/flm-pbs-world", "2", "n1,n2", "nosuch"}, 0},
        {"openmpi", {"/x/flm-pbs-world", "2"}, 0},
        {"openmpi", {"/x/flm-slurm-world", "2", "n1,n2", "openmpi", "nosuch"}, 0},
        {"mpich", {"/x/flm-slurm-world", "2", "n1,n2", "mpich", "nosuch"}, FLM_ENOTSUP},
        {"mpich", {"/x/flm-slurm-world", "2"}, FLM_ENOTSUP},
        {NULL, {"/x/flm-slurm-world", "2", "n1,n2", "unknown", "nosuch"}, 0},
        {"mpich", {NULL}, 0},
    };
    char *const environment[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        flm_error error = {0, ""};
        char *words[6];
        size_t n = 0;
        for (; n < 6 && cases[i].words[n]; n++)
            words[n] = (char *)(uintptr_t)cases[i].words[n];
        char said[32];
        snprintf(said, sizeof(said), "FLM_MPI=%s", cases[i].mpi ? cases[i].mpi : "");
        const char *mpi = flm__mpi_of_command(NULL, NULL, (char *const[]){said, NULL});
        assert_int_equal(flm__mpi_check(mpi, "p", words, n, environment, &error), cases[i].code);
        assert_int_equal(!cases[i].code, !error.text[0]);
    }
    flm_error error;
    assert_int_equal(flm__mpi_check(NULL, "p", NULL, 0, (char *const[]){"FLM_MPI=mpch", NULL}, &error),
                     FLM_EINVAL);
    assert_string_equal(error.text, "FLM_MPI is 'mpch': it is to be openmpi or mpich");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_tell_it),
        cmocka_unit_test(broken_files_do_no_harm),
        cmocka_unit_test(launchers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
