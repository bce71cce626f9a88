/* executor/identity.h - who this executor is: what its agent put into its environment.
 *
 *   FLM_AGENT       unix:PATH, where the agent listens
 *   FLM_LANE        slot of the agent
 *   FLM_LIFE        which process of that slot, from 1
 *   FLM_TOKEN       number of 64 bits that proves that the agent started us
 *   FLM_AGENT_PID   of the agent
 *   FLM_LAUNCH      the words that start the ranks of an MPI program, each a line; none: no shim mpi
 *   FLM_CPUS        processors to run on, "0-3,8"; none: where we are; of a world such a list for each
 * rank, "0-3;4-7" FLM_NUMA        node to take memory from; none or -1: any FLM_WORLD_RANKS (or FLM_RANKS)
 * ranks of the MPI world that this process is one of; none or 0: no MPI FLM_MPI         module for it,
 * "openmpi" or "mpich"; default: by the launcher FLM_SIGNALLED   1: who ends the agent signals all
 * processes of the job, us and our children first FLM_CORES       of the slot, for flm_session_info; stays,
 * it may interest a service
 *
 * The others are removed from the environment once read, so that services and their children do not take
 * them for their own.
 */
#ifndef FLM_EXECUTOR_IDENTITY_H
#define FLM_EXECUTOR_IDENTITY_H

#include <flm/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct flm__identity {
    char agent[128];
    uint32_t lane, life;
    uint64_t token;
    pid_t agent_pid; /* 0: not told */
    char cpus[16 << 10];
    int numa;
    unsigned world_ranks;
    bool signalled;
    char mpi[32];
    char launch[8 << 10];
};

/* 0; FLM_ENOTFOUND: no agent started us; FLM_EINVAL: a variable makes no sense. */
int flm__identity_read(struct flm__identity *id, flm_error *error);

/* The same of a process that an agent has not started, from the variables that it gave to one that it has:
 * a block of NAME=VALUE, each with its zero, and one more. */
int flm__identity_read_given(struct flm__identity *id, const char *text, flm_error *error);

/* A rank of a world, on the node of its agent: its processors. */
void flm__identity_place_rank(const struct flm__identity *id, int rank);

/* Before any thread: processors, memory, session, signals, descriptors, the end with the agent. */
int flm__identity_settle(const struct flm__identity *id, flm_error *error);

#endif
