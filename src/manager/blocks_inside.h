/* manager/blocks_inside.h - what blocks.c and block_jobs.c share. */
#ifndef MANAGER_BLOCKS_INSIDE_H
#define MANAGER_BLOCKS_INSIDE_H

#include "manager/blocks.h"

#include <flm/client.h>

enum block_state { BLOCK_WAITS, BLOCK_ASKED, BLOCK_GRANTED };

struct block {
    struct block *prev, *next;
    struct manager *manager;
    bool is_job;    /* a job of its own; else of the nodes that are here */
    char node[128]; /* the one that it replaces; "": all */
    uint64_t number;
    enum block_state state;
    char job[JOB_ID_SIZE], waits_for[200];
    char session[FLM_MAX_NAME + 1];           /* job: that it was asked for; "": none */
    char comment[128];                        /* that was given last, */
    int64_t comment_ns;                       /* then; 0: not yet */
    int64_t asked_ns, granted_ns, end_time_s; /* end: 0 none known */
    unsigned slots;                           /* of the node that it replaces */
    unsigned nodes;                           /* that are there */
    unsigned failures;                        /* in a row, without a node in between */
    unsigned ends;                            /* in a row, of attempts that did not stay */
    int64_t idle_ns;                          /* job: nobody uses it since; 0: in use */
    int64_t left_ns;                          /* job: its nodes have left, it will end; 0: they have not */
    uv_timer_t again;
};

/* A block that stays in the ledger; NULL: no memory. */
struct block *block_new(struct manager *m);
/* Asks for it, with a new number. name: of a job. */
void block_ask(struct block *b, const char *name);
/* Its nodes are told to end, and the backend to release it. */
void block_give_back(struct block *b, const char *why);

/* block_comment.c: tells the backend what it does now, as far as that has changed and was not told lately.
 * last: it is being given back. */
void block_comment(struct block *b, bool last);

/* block_jobs.c */
void block_jobs_start(struct manager *m);
void block_jobs_stop(struct manager *m);
void block_job_ended(struct block *b, const char *why);
void block_job_joined(struct block *b);

#endif
