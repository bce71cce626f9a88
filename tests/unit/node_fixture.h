/* node_fixture.h - a scripted flmd with one flm-node and its real executors. */
#ifndef FLM_TESTS_NODE_FIXTURE_H
#define FLM_TESTS_NODE_FIXTURE_H

#include "net/conn.h"
#include "net/link.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { NODE_SLOTS_MAX = 8, NODE_SESSION = 12 };

/* What flmd knows of a lane. */
struct node_lane {
    uint32_t life;
    int32_t pid;
    uint32_t restarts;
    struct flm__link *link;
    int bell, executor_bell;
};

struct node {
    char directory[64];
    char endpoint[128];
    int listener;
    pid_t pid;
    struct flm__conn *conn;
    Flm__Message *hello;
    struct node_lane lanes[NODE_SLOTS_MAX];
};

/* Starts flm-node with these further arguments and greets it. */
void node_start(struct node *n, const char *const *arguments);
/* Hears ExecutorUp of each of n_slots lanes and gives each a ring. */
void node_wait_up(struct node *n, unsigned n_slots);
/* Hears ExecutorUp of this lane, which must be of this life, and gives it a ring. */
void node_up(struct node *n, uint32_t lane, uint32_t life);

void node_say(struct node *n, Flm__Message *m, const int *fds, unsigned n_fds);
/* The next message; must be of this kind. Freed by the caller. */
Flm__Message *node_hear(struct node *n, int body_case);

/* A Bind of shim exec with `sh -c script`, or of shim self with the program; life 0: the lane's. */
void node_say_bind(struct node *n, uint32_t lane, uint32_t life, int shim, const char *command);
void node_bind(struct node *n, uint32_t lane, int shim, const char *command);
void node_unbind(struct node *n, uint32_t lane);
void node_kill(struct node *n, uint32_t lane, int reason, const char *text);
void node_task(struct node *n, uint32_t lane, uint64_t task, const char *input);
/* The output of the next result of the lane, as text; static. */
const char *node_result(struct node *n, uint32_t lane, uint64_t task);

/* Lines that the agent has, waits for at least n of them. Freed by the caller. */
Flm__Message *node_logs(struct node *n, const char *session, int executor, uint64_t cursor, unsigned at_least);

/* Ends it in order and checks that it and its executors do. */
void node_stop(struct node *n);
/* Waits for its end; its status as from wait(2). Frees all. */
int node_reap(struct node *n);

/* Waits until the process is gone (no zombie of ours). */
void node_wait_gone(pid_t pid);

#endif
