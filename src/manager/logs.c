#include "manager/logs.h"

#include "base/time.h"
#include "manager/client.h"
#include "manager/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { PATIENCE_MS = 3000 }; /* below the time after which a client gives up a request */

/* A node that was asked. */
struct asked {
    struct node *node; /* NULL: it has answered, or is gone */
    Flm__Message *answer;
    char missing[300]; /* not empty: why there is no answer */
};

/* One question to all nodes. */
struct log_question {
    struct log_question *next;
    uint64_t number; /* of the request to the nodes */
    struct peer *peer;
    uint64_t id, cursor;
    int64_t overdue;
    unsigned waiting, n_asked;
    struct asked asked[];
};

/* What the asker is told in place of the node's lines. */
static void note_missing(struct asked *a, const struct node *n, const char *why)
{
    snprintf(a->missing, sizeof(a->missing), "node %.127s %s: what its executors wrote is missing", n->name,
             why);
}

static int by_time(const void *a, const void *b)
{
    const Flm__LogLine *x = *(Flm__LogLine *const *)a, *y = *(Flm__LogLine *const *)b;
    return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

/* A line in place of those that could not be had. */
static void fill_missing(Flm__LogLine *line, struct asked *a)
{
    flm__log_line__init(line);
    line->time_ns = flm__wall_ns();
    line->session = (char *)(uintptr_t) "";
    line->error_stream = true;
    line->text = a->missing;
}

static void send_answer(struct log_question *l)
{
    Flm__Reply r = FLM__REPLY__INIT;
    size_t n = 0;
    Flm__LogLine *missing = calloc(l->n_asked, sizeof(*missing));
    for (unsigned i = 0; i < l->n_asked; i++)
        n += l->asked[i].answer ? l->asked[i].answer->reply->n_lines : 1;
    r.id = l->id;
    r.lines = calloc(n ? n : 1, sizeof(*r.lines));
    if (!missing || !r.lines) {
        client_reply(l->peer, l->id, FLM_ENOMEM, "the session manager has no memory for the answer");
        goto out;
    }
    for (unsigned i = 0; i < l->n_asked; i++) {
        struct asked *a = &l->asked[i];
        Flm__Reply *answer = a->answer ? a->answer->reply : NULL;
        for (size_t k = 0; answer && k < answer->n_lines; k++)
            r.lines[r.n_lines++] = answer->lines[k];
        if (answer && answer->cursor > r.cursor)
            r.cursor = answer->cursor;
        if (!answer && a->missing[0]) {
            fill_missing(&missing[i], a);
            r.lines[r.n_lines++] = &missing[i];
        }
    }
    if (r.cursor < l->cursor)
        r.cursor = l->cursor;
    if (!r.cursor && r.n_lines)
        r.cursor = 1; /* the next question is not the first one, see logs_overdue */
    qsort(r.lines, r.n_lines, sizeof(*r.lines), by_time);
    client_send_reply(l->peer, &r);
out:
    free(missing);
    free(r.lines);
}

static void question_free(struct log_question *l)
{
    for (unsigned i = 0; i < l->n_asked; i++)
        if (l->asked[i].answer)
            flm__message__free_unpacked(l->asked[i].answer, NULL);
    free(l);
}

void logs_ask(struct peer *p, uint64_t id, const Flm__LogQuery *query)
{
    struct manager *m = p->manager;
    struct node *n;
    unsigned nodes = 0;
    DL_COUNT(m->nodes, n, nodes);
    struct log_question *l = calloc(1, sizeof(*l) + nodes * sizeof(l->asked[0]));
    if (!l || !nodes) {
        free(l);
        client_reply(p, id, nodes ? FLM_ENOMEM : FLM_ENOTFOUND, nodes ? NULL : "there is no node yet");
        return;
    }
    l->number = ++m->log_questions;
    l->peer = p;
    l->id = id;
    l->cursor = query->cursor;
    l->overdue = m->now + PATIENCE_MS * 1000000LL;
    Flm__Request r = FLM__REQUEST__INIT;
    r.id = l->number;
    r.verb_case = FLM__REQUEST__VERB_READ_LOGS;
    r.read_logs = (Flm__LogQuery *)(uintptr_t)query;
    FLM__MESSAGE(message, request, REQUEST, &r);
    DL_FOREACH(m->nodes, n)
    {
        struct asked *a = &l->asked[l->n_asked++];
        if (peer_send(n->peer, &message, NULL, 0) == 0) {
            a->node = n;
            l->waiting++;
        } else {
            note_missing(a, n, "is lost");
        }
    }
    if (l->waiting) {
        l->next = m->logs;
        m->logs = l;
        return;
    }
    send_answer(l);
    question_free(l);
}

/* Takes the question at *at out of the list and answers it, if nobody is waited for any more. */
static bool settle(struct log_question **at)
{
    struct log_question *l = *at;
    if (l->waiting)
        return false;
    *at = l->next;
    send_answer(l);
    question_free(l);
    return true;
}

static struct asked *find(struct log_question *l, const struct node *n)
{
    for (unsigned i = 0; i < l->n_asked; i++)
        if (l->asked[i].node == n)
            return &l->asked[i];
    return NULL;
}

void logs_reply(struct node *n, Flm__Message *message)
{
    struct log_question **at = &n->peer->manager->logs;
    while (*at && (*at)->number != message->reply->id)
        at = &(*at)->next;
    struct asked *a = *at ? find(*at, n) : NULL;
    if (!a) {
        flm__message__free_unpacked(message, NULL);
        return;
    }
    a->node = NULL;
    a->answer = message;
    (*at)->waiting--;
    settle(at);
}

void logs_node_gone(struct node *n)
{
    struct log_question **at = &n->peer->manager->logs;
    while (*at) {
        struct asked *a = find(*at, n);
        if (a) {
            a->node = NULL;
            note_missing(a, n, "is lost");
            (*at)->waiting--;
        }
        if (!a || !settle(at))
            at = &(*at)->next;
    }
}

void logs_overdue(struct manager *m)
{
    struct log_question **at = &m->logs;
    while (*at) {
        struct log_question *l = *at;
        if (m->now < l->overdue) {
            at = &l->next;
            continue;
        }
        for (unsigned i = 0; i < l->n_asked; i++) {
            struct asked *a = &l->asked[i];
            if (a->node && !l->cursor) /* said once, not each time that somebody asks for news */
                note_missing(a, a->node, "does not answer");
            a->node = NULL;
        }
        l->waiting = 0;
        settle(at);
    }
}

void logs_forget(struct peer *p)
{
    struct log_question **at = &p->manager->logs;
    while (*at) {
        struct log_question *l = *at;
        if (l->peer != p) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        question_free(l);
    }
}
