/* A service for worlds: each task is one allreduce of all ranks.
 * Input: one byte what to do, seven of padding, an int64_t x.
 *   '+'  output: int64_t, the sum of x * (rank + 1) over all ranks, then the number of ranks
 *   '#'  the same in text: "#21" gives "63 of 2 ranks"
 *   'w'  in text the node of each rank: "n1 n1 n2"
 *   'W'  the same, from a task that takes three seconds
 *   'f'  the last rank fails
 *   'e'  on_session_enter's common data of the last rank come back
 *   'c'  each rank for itself runs until the task is cancelled
 *   'k'  the last rank ends without a word, the others wait for it
 *   'K'  the same, and they do not
 */
#include <flm/mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int enter(const struct flm_session_info *info, void **state)
{
    if (!info->mpi_comm)
        return 1;
    if (MPI_Barrier(*(MPI_Comm *)info->mpi_comm) != MPI_SUCCESS)
        return 2;
    *state = (void *)(uintptr_t)info;
    return getenv("REFUSE_ON_RANK") && atoi(getenv("REFUSE_ON_RANK")) == info->rank ? 40 + info->rank : 0;
}

static int add(struct flm_task_context *task, const struct flm_session_info *info, int64_t x)
{
    MPI_Comm comm = flm_task_comm(task);
    int64_t mine = x * (info->rank + 1), *out = flm_task_output(task, 16);
    if (!out || MPI_Allreduce(&mine, &out[0], 1, MPI_INT64_T, MPI_SUM, comm) != MPI_SUCCESS)
        return 1;
    out[1] = info->ranks;
    return 0;
}

static int add_text(struct flm_task_context *task, const struct flm_session_info *info, const char *input,
                    size_t size)
{
    char text[80];
    snprintf(text, sizeof(text), "%.*s", (int)(size < 40 ? size : 40), input);
    long long mine = atoll(text) * (info->rank + 1), sum = 0;
    if (MPI_Allreduce(&mine, &sum, 1, MPI_LONG_LONG, MPI_SUM, flm_task_comm(task)) != MPI_SUCCESS)
        return 1;
    int n = snprintf(text, sizeof(text), "%lld of %d ranks", sum, info->ranks);
    return flm_task_set_output(task, text, (size_t)n);
}

/* As the batch system has it; that of the tests, too, whose nodes are all this machine. */
static void name_node(char *name, size_t size)
{
    const char *slurm = getenv("SLURMD_NODENAME"), *fake = getenv("PBS_FAKE_NODE");
    const char *node = slurm ? slurm : fake ? fake : "here";
    snprintf(name, size, "%s", node);
    if (!slurm && !fake && getenv("PBS_NODENUM"))
        gethostname(name, size - 1);
}

static int where(struct flm_task_context *task, const struct flm_session_info *info)
{
    enum { NAME = 32, RANKS_MAX = 16 };
    char mine[NAME] = "", all[RANKS_MAX * NAME], text[RANKS_MAX * NAME];
    int n = 0;
    if (info->ranks > RANKS_MAX)
        return 1;
    name_node(mine, sizeof(mine));
    if (MPI_Allgather(mine, NAME, MPI_CHAR, all, NAME, MPI_CHAR, flm_task_comm(task)) != MPI_SUCCESS)
        return 1;
    for (int r = 0; r < info->ranks; r++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s", r ? " " : "", all + r * NAME);
    return flm_task_set_output(task, text, (size_t)n);
}

static int common_of_last(struct flm_task_context *task, const struct flm_session_info *info)
{
    void *out = flm_task_output(task, info->common_size);
    if (!out)
        return 1;
    if (info->rank == info->ranks - 1)
        memcpy(out, info->common, info->common_size);
    return MPI_Bcast(out, (int)info->common_size, MPI_CHAR, info->ranks - 1, flm_session_comm(info));
}

static int invoke(struct flm_task_context *task, void *state)
{
    const struct flm_session_info *info = state;
    size_t size;
    const char *input = flm_task_input(task, &size);
    int64_t x = 0;
    int last = info->rank == info->ranks - 1;
    if (size >= 16)
        memcpy(&x, input + 8, sizeof(x));
    switch (size ? input[0] : 0) {
    case '+':
        return add(task, info, x);
    case '#':
        return add_text(task, info, input + 1, size - 1);
    case 'W':
        sleep(3);
        /* fall through */
    case 'w':
        return where(task, info);
    case 'e':
        return common_of_last(task, info);
    case 'f':
        return last ? flm_task_fail(task, 6, "rank %d does not like it", info->rank) : 0;
    case 'c':
        while (!flm_task_cancelled(task))
            usleep(1000);
        return 0;
    case 'k':
        if (last)
            _exit(9);
        return add(task, info, x);
    case 'K':
        if (last)
            _exit(9);
        return 0;
    default:
        return 99;
    }
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .mpi = FLM_MPI,
               .name = "allreduce",
               .on_session_enter = enter,
               .on_task_invoke = invoke};
