/* A world of two MPI ranks as one executor, under a scripted agent and manager; once per MPI. */
#define _GNU_SOURCE
#include "executor_fixture.h"
#include "net/blob.h"

#include <flm/admin.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { RING = 256 << 10 };

static const struct mpi {
    const char *name, *launcher, *service;
} mpis[] = {
#ifdef FLM_HAVE_OPENMPI
    {"openmpi", "mpirun.openmpi", FLM_BUILDDIR "/tests/system/services/.libs/allreduce.so"},
#endif
#ifdef FLM_HAVE_MPICH
    {"mpich", "mpiexec.hydra", FLM_BUILDDIR "/tests/system/services/.libs/allreduce_mpich.so"},
#endif
    {NULL, NULL, NULL}, /* perhaps Flame was built with none */
};

static char launchers[sizeof(mpis) / sizeof(mpis[0])][300];

/* Debian says which mpirun it is, others may have just one. */
static int find_launchers(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        char command[200];
        snprintf(command, sizeof(command), "command -v %s || %s", mpis[i].launcher,
                 strcmp(mpis[i].name, "openmpi") == 0 ? "command -v mpirun" : "false");
        FILE *f = popen(command, "r");
        if (f && fgets(launchers[i], sizeof(launchers[i]), f))
            launchers[i][strcspn(launchers[i], "\n")] = 0;
        if (f)
            pclose(f);
    }
    return 0;
}

/* False: this MPI has no launcher here. */
static bool start(struct manager *m, size_t which, const char *ranks, const char *expected, bool spawn_only)
{
    char expects[40], mpi[40];
    char *const argv[] = {launchers[which],         (char *)"-n",
                          (char *)(uintptr_t)ranks, (char *)FLM_BUILDDIR "/bin/flm-executor",
                          (char *)"--world",        NULL};
    snprintf(expects, sizeof(expects), "FLM_WORLD_RANKS=%s", expected);
    snprintf(mpi, sizeof(mpi), "FLM_MPI=%s", mpis[which].name);
    const char *const environment[] = {expects,
                                       mpi,
                                       "OMPI_ALLOW_RUN_AS_ROOT=1",
                                       "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                                       "OMPI_MCA_rmaps_base_oversubscribe=1",
                                       "OMPI_MCA_hwloc_base_binding_policy=none",
                                       "OMPI_MCA_mpi_yield_when_idle=1",
                                       "FLM_MODULE_DIR=" FLM_BUILDDIR "/lib/flame/.libs",
                                       NULL};
    if (!launchers[which][0]) {
        print_message("no launcher of %s here\n", mpis[which].name);
        return false;
    }
    if (spawn_only)
        manager_spawn(m, argv, environment);
    else
        manager_start(m, argv, environment, RING);
    return true;
}

static void add(struct manager *m, int64_t x)
{
    char input[16] = "+";
    struct answer a;
    int64_t out[2];
    memcpy(input + 8, &x, 8);
    manager_task(m, input, sizeof(input), 0);
    manager_answer(m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_SUCCEED);
    assert_int_equal(a.size, sizeof(out));
    memcpy(out, a.output, sizeof(out));
    assert_int_equal(out[0], 3 * x);
    assert_int_equal(out[1], 2);
    answer_free(&a);
}

static void tasks_allreduce(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        struct manager m;
        struct answer a;
        char common[5000];
        memset(common, 'c', sizeof(common));
        const struct binding_spec spec = {
            .file = mpis[i].service, .ranks = 2, .common = common, .common_size = sizeof(common)};
        if (!start(&m, i, "2", "2", false))
            continue;
        for (int session = 0; session < 2; session++) {
            manager_bind(&m, &spec);
            for (int64_t x = 0; x < 200; x++)
                add(&m, x);
            usleep(20000); /* the others nap */
            add(&m, -5);
            manager_task(&m, "f", 1, 0);
            manager_answer(&m, &a);
            assert_int_equal(a.outcome.state, FLM_TASK_FAILED);
            assert_int_equal(a.outcome.reason, FLM_REASON_SERVICE);
            assert_int_equal(a.outcome.code, 6);
            assert_string_equal(a.text, "rank 1 does not like it");
            answer_free(&a);
            manager_task(&m, "e", 1, 0);
            manager_answer(&m, &a);
            assert_int_equal(a.size, sizeof(common));
            assert_memory_equal(a.output, common, sizeof(common));
            answer_free(&a);
            assert_int_equal(manager_update(&m, flm__blob_copy("changed", 7, NULL), 7, 2), 0);
            manager_task(&m, "e", 1, 0);
            manager_answer(&m, &a);
            assert_int_equal(a.size, 7);
            assert_memory_equal(a.output, "changed", 7);
            answer_free(&a);
            manager_unbind(&m);
        }
        manager_stop(&m);
    }
}

/* A task that runs until it is cancelled; those sent behind it are then in the ring together. */
static uint64_t hold_up(struct manager *m)
{
    uint64_t number = manager_task(m, "c", 1, 0);
    while (atomic_load(&m->status->began) < number)
        usleep(1000);
    return number;
}

static void expect_state(struct manager *m, int state, const char *text)
{
    struct answer a;
    manager_answer(m, &a);
    assert_int_equal(a.outcome.state, state);
    if (text && state == FLM_TASK_SUCCEED) {
        assert_int_equal(a.size, strlen(text));
        assert_memory_equal(a.output, text, a.size);
    } else if (text) {
        assert_string_equal(a.text, text);
    }
    answer_free(&a);
}

/* Rank 0 is ahead of the others: the answers are in order all the same, also of those that failed in
 * another rank and of those with large outputs; and a long task holds nothing back. */
static void spans(void **state)
{
    enum { TASKS = 150 };
    static const char *const kinds[] = {"#7", "f", "#1", "e", "#3"};
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        struct manager m;
        char common[20000];
        memset(common, 'x', sizeof(common));
        const struct binding_spec spec = {
            .file = mpis[i].service, .ranks = 2, .common = common, .common_size = sizeof(common)};
        if (!start(&m, i, "2", "2", false))
            continue;
        manager_bind(&m, &spec);
        uint64_t first = hold_up(&m);
        for (int k = 0; k < TASKS; k++) /* 'e' once only: an answer of 20000 bytes */
            manager_task(&m, kinds[k % 5 == 3 && k > 3 ? 0 : k % 5], 2, 0);
        manager_cancel(&m, first);
        expect_state(&m, FLM_TASK_SUCCEED, "");
        for (int k = 0; k < TASKS; k++) {
            const char *kind = kinds[k % 5 == 3 && k > 3 ? 0 : k % 5];
            expect_state(&m, *kind == 'f' ? FLM_TASK_FAILED : FLM_TASK_SUCCEED,
                         *kind == 'f'              ? "rank 1 does not like it"
                         : *kind == 'e'            ? NULL
                         : strcmp(kind, "#7") == 0 ? "21 of 2 ranks"
                         : strcmp(kind, "#1") == 0 ? "3 of 2 ranks"
                                                   : "9 of 2 ranks");
        }
        first = hold_up(&m);
        for (int k = 0; k < TASKS; k++)
            manager_task(&m, "#1", 2, 0);
        uint64_t last = manager_task(&m, "c", 1, 0);
        manager_cancel(&m, first);
        expect_state(&m, FLM_TASK_SUCCEED, "");
        for (int k = 0; k < TASKS; k++)
            expect_state(&m, FLM_TASK_SUCCEED, "3 of 2 ranks");
        manager_cancel(&m, last);
        expect_state(&m, FLM_TASK_SUCCEED, "");
        manager_stop(&m);
    }
}

static void refusals(void **state)
{
    const char *const bad_enter[] = {"REFUSE_ON_RANK=1", NULL};
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        const struct {
            struct binding_spec spec;
            const char *text;
        } cases[] = {
            {{.file = "/nowhere/service.so", .ranks = 2}, "/nowhere/service.so"},
            {{.file = mpis[i].service, .ranks = 3}, "3 MPI ranks"},
            {{.file = mpis[i].service, .ranks = 2, .environment = bad_enter}, "rank 1: on_session_enter"},
            {{.file = "/bin/true", .shim = FLM_SHIM_EXEC, .ranks = 2}, "MPI"},
        };
        struct manager m;
        if (!start(&m, i, "2", "2", false))
            continue;
        for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
            char *text;
            assert_true(manager_bind_fails(&m, &cases[k].spec, &text) < 0);
            if (!strstr(text, cases[k].text))
                fail_msg("\"%s\" says nothing of \"%s\"", text, cases[k].text);
            free(text);
        }
        manager_bind(&m, &(struct binding_spec){.file = mpis[i].service, .ranks = 2});
        add(&m, 1);
        manager_stop(&m);
    }
}

/* A world that is not as large as it should be does not attach. */
static void wrong_size(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        struct manager m;
        if (!start(&m, i, "2", "3", true))
            continue;
        int status = manager_reap(&m);
        assert_true(WIFEXITED(status));
        assert_int_not_equal(WEXITSTATUS(status), 0);
    }
}

/* One rank dies: the world ends, and the manager can tell in which task. */
static void a_rank_dies(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        struct manager m;
        siginfo_t info;
        if (!start(&m, i, "2", "2", false))
            continue;
        manager_bind(&m, &(struct binding_spec){.file = mpis[i].service, .ranks = 2});
        add(&m, 1);
        char input[16] = "k";
        manager_task(&m, input, sizeof(input), 0);
        assert_int_equal(waitid(P_PID, (id_t)m.pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(atomic_load(&m.status->began), 2);
        manager_reap(&m);
    }
}

/* Rank 0 goes on while another dies: which task that was is known all the same. */
static void a_rank_dies_behind(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        struct manager m;
        siginfo_t info;
        if (!start(&m, i, "2", "2", false))
            continue;
        manager_bind(&m, &(struct binding_spec){.file = mpis[i].service, .ranks = 2});
        for (int k = 0; k < 50; k++)
            add(&m, 1); /* short ones: now they may be held */
        uint64_t first = hold_up(&m);
        for (int k = 0; k < 40; k++)
            manager_task(&m, "#1", 2, 0);
        uint64_t deadly = manager_task(&m, "K", 1, 0);
        for (int k = 0; k < 40; k++)
            manager_task(&m, "?", 1, 0); /* no rank waits for another in those */
        manager_cancel(&m, first);
        assert_int_equal(waitid(P_PID, (id_t)m.pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(flm__status_began(m.status), deadly);
        manager_reap(&m);
    }
}

/* Its agent goes: no rank stays. */
static void no_rank_stays(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i].name; i++) {
        struct manager m;
        if (!start(&m, i, "2", "2", false))
            continue;
        manager_bind(&m, &(struct binding_spec){.file = mpis[i].service, .ranks = 2});
        flm__conn_free(m.conn);
        m.conn = NULL;
        manager_reap(&m); /* the launcher waits for all ranks */
    }
}

static unsigned files_in_shm(void)
{
    unsigned n = 0;
    struct dirent *entry;
    DIR *shm = opendir("/dev/shm");
    if (!shm)
        return 0;
    while ((entry = readdir(shm)))
        n += strncmp(entry->d_name, "vader", 5) == 0 || strncmp(entry->d_name, "mpich", 5) == 0;
    closedir(shm);
    return n;
}

/* Its launcher is told to end: all ranks do in good order. Killed: they end, too. Nothing of MPI's stays in
 * shared memory. */
static void with_the_launcher(void **state)
{
    (void)state;
    for (size_t i = 0; mpis[i / 2].name; i++) {
        struct manager m;
        unsigned before = files_in_shm();
        if (!start(&m, i / 2, "2", "2", false))
            continue;
        manager_bind(&m, &(struct binding_spec){.file = mpis[i / 2].service, .ranks = 2});
        add(&m, 1);
        assert_int_equal(files_in_shm(), before);
        kill(m.pid, i % 2 ? SIGKILL : SIGTERM);
        /* All ranks are gone when nobody holds the other end of the control connection. */
        int fds[FLM__FRAME_FDS], rc;
        unsigned n_fds;
        Flm__Message *message;
        while ((rc = flm__conn_wait_message(m.conn, -1, &message, fds, &n_fds)) == 1)
            flm__message__free_unpacked(message, NULL);
        assert_int_equal(rc, FLM_EDISCONNECTED);
        manager_reap(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_allreduce), cmocka_unit_test(refusals),
        cmocka_unit_test(wrong_size),      cmocka_unit_test(with_the_launcher),
        cmocka_unit_test(a_rank_dies),     cmocka_unit_test(no_rank_stays),
        cmocka_unit_test(spans),           cmocka_unit_test(a_rank_dies_behind),
    };
    if (!mpis[0].name)
        return 77;
    return cmocka_run_group_tests(tests, find_launchers, NULL);
}
