/* A line on each block for people who look at the batch system's queue: how far its work has come. */
#include "manager/backend.h"
#include "manager/blocks_inside.h"
#include "manager/executor.h"

#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

static const int64_t interval_ns = INT64_C(30000000000); /* each is a request to a busy server */

struct counts {
    uint64_t done, all;
};

static struct counts of_session(const struct session *s)
{
    uint64_t done = s->succeed + s->failed + s->cancelled;
    return (struct counts){done, done + session_unfinished(s)};
}

/* Of the session that it was asked for, else of all. */
static struct counts count_tasks(const struct block *b)
{
    struct manager *m = b->manager;
    struct session *s = b->session[0] ? session_by_id(m, b->session) : NULL;
    if (s)
        return of_session(s);
    struct counts sum = {m->tasks, m->tasks};
    for (s = m->sessions; s; s = s->hh.next)
        sum.all += session_unfinished(s);
    return sum;
}

static unsigned count_executors(const struct block *b)
{
    const struct node *n;
    unsigned executors = 0;
    DL_FOREACH(b->manager->nodes, n)
    for (unsigned i = 0; n->block_number == b->number && i < n->n_slots; i++)
        executors += n->lanes[i]->state != EXECUTOR_VOID;
    return executors;
}

void block_comment(struct block *b, bool last)
{
    struct manager *m = b->manager;
    int64_t now = flm__now_ns();
    char text[sizeof(b->comment)], executors[40] = "";
    if (!m->jobs.can_comment || b->state != BLOCK_GRANTED || (!b->nodes && !b->comment_ns))
        return;
    if (!last && b->comment_ns && now - b->comment_ns < interval_ns)
        return;
    struct counts tasks = count_tasks(b);
    unsigned n = count_executors(b);
    if (!last)
        snprintf(executors, sizeof(executors), ", %u executor%s", n, n == 1 ? "" : "s");
    snprintf(text, sizeof(text), "flame: %" PRIu64 " of %" PRIu64 " tasks done%s", tasks.done, tasks.all,
             executors);
    if (strcmp(text, b->comment) == 0)
        return;
    memcpy(b->comment, text, sizeof(text));
    b->comment_ns = now;
    backend_comment(m, b->number, text);
}

void blocks_comment(struct manager *m)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    block_comment(b, false);
}
