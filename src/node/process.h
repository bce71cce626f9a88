/* node/process.h - starting processes, and making sure that nothing of them stays. */
#ifndef FLM_NODE_PROCESS_H
#define FLM_NODE_PROCESS_H

#include "node/texts.h"

#include <flm/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_spec {
    const struct texts *command;
    const struct texts *environment;
    const char *directory; /* NULL or "": ours */
    int out, err;          /* become its stdout and stderr */
    const char *cpus;      /* as placement_apply; "" not bound */
    int numa;
    bool same_session; /* else it leads one of its own, and a Ctrl-C on our terminal does not reach it */
};

/* Starts it as the leader of a process group of its own, with /dev/null as stdin. A command without a slash
 * is found in the PATH of its environment, one with a slash counts from its directory. FLM_ENOTFOUND,
 * FLM_EPERM, FLM_ENOMEM with the error filled. */
int process_start(const struct process_spec *spec, pid_t *pid, flm_error *error);

/* Makes orphaned descendants our children. */
void process_adopt_orphans(void);

/* Sends the signal to the process and its group. */
void process_signal(pid_t pid, int signal);

/* Kills each child of this process of which keep says false; what that orphans becomes our child, so call
 * again after reaping. Returns how many it killed. */
typedef bool process_keep_fn(void *arg, pid_t pid);
unsigned process_kill_strays(process_keep_fn *keep, void *arg);

/* A variable of the environment that the process was started with; false: it has none, or it is not to be
 * seen. */
bool process_variable(pid_t pid, const char *name, char *out, size_t size);

/* The most memory that this process has had so far, KiB; 0: not known. */
long process_peak_kib(void);

/* "ended by signal 11 (Segmentation fault) after 1.20 s of CPU time and at most 35 MiB of memory". A
 * process counts from its start what we had when we started it, ours_kib: less than that is not known, and
 * not told. */
struct rusage;
struct timeval;
uint64_t process_us(const struct timeval *t);
void process_describe(int status, const struct rusage *usage, long ours_kib, char *text, size_t size);

#endif
