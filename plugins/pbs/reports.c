#define _GNU_SOURCE
#include "reports.h"

#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CLOCKS_S = 3 }; /* by which times of the server and of nodes may differ, and what is cut off them */

/* ---- jobs -------------------------------------------------------------------------------------- */

int64_t report_walltime(const char *text)
{
    int64_t all = 0;
    for (int parts = 0; parts < 3; parts++) {
        if (*text < '0' || *text > '9')
            return -1;
        char *end;
        unsigned long n = strtoul(text, &end, 10);
        if (n > UINT32_MAX)
            return -1;
        all = 60 * all + (int64_t)n;
        if (*end == '.') /* and milliseconds */
            end += strlen(end);
        if (!*end)
            return all;
        if (*end != ':')
            return -1;
        text = end + 1;
    }
    return -1;
}

/* "Sat Nov 21 02:10:51 2026", in the time zone of who asks. */
static int64_t date(const char *text)
{
    struct tm t = {.tm_isdst = -1};
    const char *end = strptime(text, "%a %b %d %H:%M:%S %Y", &t);
    return end && !*end ? (int64_t)mktime(&t) : -1;
}

static struct job_report *report_of(struct job_reports *all, const char *id)
{
    if (all->n && strcmp(all->list[all->n - 1].id, id) == 0)
        return &all->list[all->n - 1];
    struct job_report *more = realloc(all->list, (all->n + 1) * sizeof(*more));
    if (!more)
        return NULL;
    all->list = more;
    struct job_report *job = &more[all->n++];
    *job = (struct job_report){.start_s = -1, .walltime_s = -1, .used_s = -1};
    snprintf(job->id, sizeof(job->id), "%s", id);
    return job;
}

static void note_resource(struct job_report *job, const char *name, const char *value)
{
    if (strcmp(name, "walltime") == 0)
        job->walltime_s = report_walltime(value);
    else if (strcmp(name, "mpiprocs") == 0)
        job->has_ranks = true;
    else if (strcmp(name, "select") == 0)
        job->has_threads = strstr(value, "ompthreads=") != NULL;
}

static void note(struct job_report *job, const char *name, const char *value)
{
    if (strcmp(name, "job_state") == 0) {
        job->state = *value;
    } else if (strcmp(name, "comment") == 0) {
        snprintf(job->comment, sizeof(job->comment), "%s", value);
        for (char *p = job->comment; *p; p++)
            if ((unsigned char)*p < ' ')
                *p = ' ';
    } else if (strcmp(name, "stime") == 0) {
        job->start_s = date(value);
    } else if (strcmp(name, "Exit_status") == 0) {
        job->has_status = true;
        job->status = atoi(value);
    } else if (strcmp(name, "exec_host") == 0) {
        free(job->exec_host);
        job->exec_host = strdup(value);
    }
}

static void on_job_value(void *arg, const char *const *keys, unsigned depth, const char *value)
{
    struct job_reports *all = arg;
    if (depth == 1 && strcmp(keys[0], "timestamp") == 0)
        all->at_s = strtoll(value, NULL, 10);
    if (depth < 3 || depth > 4 || strcmp(keys[0], "Jobs") != 0)
        return;
    struct job_report *job = report_of(all, keys[1]);
    if (!job)
        return;
    if (depth == 3)
        note(job, keys[2], value);
    else if (strcmp(keys[2], "Resource_List") == 0)
        note_resource(job, keys[3], value);
    else if (strcmp(keys[2], "resources_used") == 0 && strcmp(keys[3], "walltime") == 0)
        job->used_s = report_walltime(value);
}

bool reports_read(const char *text, size_t n, struct job_reports *out)
{
    *out = (struct job_reports){.at_s = -1};
    return json_walk(text, n, on_job_value, out);
}

void reports_free(struct job_reports *reports)
{
    for (unsigned i = 0; i < reports->n; i++)
        free(reports->list[i].exec_host);
    free(reports->list);
    *reports = (struct job_reports){0};
}

const struct job_report *reports_find(const struct job_reports *reports, const char *id)
{
    size_t n = strcspn(id, ".");
    for (unsigned i = 0; i < reports->n; i++) {
        const char *other = reports->list[i].id;
        if (strcmp(other, id) == 0 || (!id[n] && strncmp(other, id, n) == 0 && other[n] == '.'))
            return &reports->list[i];
    }
    return NULL;
}

static bool is_suspended(const struct job_report *job)
{
    return job->state == 'S' || job->state == 'U';
}

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Never more than it was: it is better to end too early. */
static void follow(struct job_report *job, const struct job_report *old, int64_t now_s, int64_t before_s,
                   int64_t stopped_s)
{
    bool changed = job->used_s >= 0 && job->used_s != old->used_s;
    if (is_suspended(job) && is_suspended(old))
        stopped_s = at_least(now_s - before_s, 0);
    job->seen_s = old->seen_s + stopped_s;
    job->suspended_s = at_least(old->suspended_s, job->seen_s);
    /* At some time since the answer before it had been there for longer than it had run. */
    if (changed)
        job->suspended_s = at_least(job->suspended_s, before_s - job->start_s - job->used_s - CLOCKS_S);
    int64_t most = at_least(now_s - job->start_s - at_least(job->used_s, 0), 0);
    if (job->suspended_s > most)
        job->suspended_s = most;
}

void reports_follow(struct job_reports *now, const struct job_reports *before, int64_t stopped_s)
{
    for (unsigned i = 0; i < now->n && now->at_s > 0 && before->at_s > 0; i++) {
        struct job_report *job = &now->list[i];
        const struct job_report *old = reports_find(before, job->id);
        if (old && old->start_s == job->start_s && job->start_s >= 0) /* else it has begun anew */
            follow(job, old, now->at_s, before->at_s, stopped_s);
    }
}

int64_t report_end(const struct job_report *job)
{
    if (is_suspended(job) || job->start_s < 0 || job->walltime_s < 0)
        return -1;
    return job->start_s + job->walltime_s + job->suspended_s;
}

const char *report_how(const struct job_report *job, char *out, size_t n)
{
    if (!job->has_status)
        snprintf(out, n, "has ended");
    else if (job->status == -29)
        snprintf(out, n, "has used up its time");
    else if (job->status == -14 || job->status == -20)
        snprintf(out, n, "has lost a node");
    else if (job->status == 271)
        snprintf(out, n, "was ended by SIGTERM, as by qdel");
    else if (job->status > 256)
        snprintf(out, n, "was ended by signal %d", job->status - 256);
    else if (job->status < 0)
        snprintf(out, n, "was ended by PBS (exit status %d)", job->status);
    else
        snprintf(out, n, job->status ? "has failed with status %d" : "has ended", job->status);
    return out;
}

/* ---- nodes ------------------------------------------------------------------------------------- */

struct offline {
    const char *node;
    int found;
};

/* States are lists: "offline,down". */
static void on_node_state(void *arg, const char *const *keys, unsigned depth, const char *value)
{
    struct offline *o = arg;
    if (depth == 3 && strcmp(keys[0], "nodes") == 0 && strcmp(keys[1], o->node) == 0 &&
        strcmp(keys[2], "state") == 0)
        o->found = strstr(value, "offline") != NULL;
}

int report_is_offline(const char *text, size_t size, const char *node)
{
    struct offline o = {.node = node, .found = -1};
    json_walk(text, size, on_node_state, &o);
    return o.found;
}

enum { KINDS = 64 };
struct usual {
    struct {
        unsigned cpus, nodes;
    } kinds[KINDS];
};

static void on_node_cpus(void *arg, const char *const *keys, unsigned depth, const char *value)
{
    struct usual *u = arg;
    unsigned long cpus = strtoul(value, NULL, 10);
    if (depth != 4 || strcmp(keys[0], "nodes") != 0 || strcmp(keys[2], "resources_available") != 0 ||
        strcmp(keys[3], "ncpus") != 0 || !cpus || cpus > 1u << 20)
        return;
    for (int i = 0; i < KINDS; i++) {
        if (u->kinds[i].nodes && u->kinds[i].cpus != cpus)
            continue;
        u->kinds[i].cpus = (unsigned)cpus;
        u->kinds[i].nodes++;
        return;
    }
}

unsigned report_usual_cpus(const char *text, size_t size)
{
    struct usual u = {0};
    unsigned best = 0;
    json_walk(text, size, on_node_cpus, &u);
    for (unsigned i = 1; i < KINDS; i++)
        if (u.kinds[i].nodes > u.kinds[best].nodes)
            best = i;
    return u.kinds[best].cpus;
}
