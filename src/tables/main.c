/* flm-tables: keeps STATE-DIR/flame.sqlite, the tables that operators query, as flmd tells it over
 * descriptor 3 (manager/tables.h): replies with sessions, applications and events that are new.
 *
 *     flm-tables STATE-DIR
 */
#define _GNU_SOURCE
#include "base/time.h"
#include "net/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <flm/admin.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FLMD = 3, BUSY_MS = 10000 };

/* Rows that are kept; the oldest go. */
#define EVENTS_KEPT   "100000"
#define SESSIONS_KEPT "100000"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS applications (name TEXT PRIMARY KEY, shim TEXT, command TEXT,"
    " description TEXT, output_type TEXT, seen INTEGER);"
    "CREATE TABLE IF NOT EXISTS sessions (created INTEGER PRIMARY KEY, id TEXT, application TEXT, state "
    "TEXT,"
    " client TEXT, slots INTEGER, pending INTEGER, running INTEGER, succeed INTEGER, failed INTEGER,"
    " cancelled INTEGER, retried INTEGER, closed INTEGER, trouble TEXT, results_file TEXT,"
    " results_rows INTEGER, updated INTEGER);"
    "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER, session "
    "TEXT,"
    " executor INTEGER, task INTEGER, code INTEGER, text TEXT);"
    "CREATE INDEX IF NOT EXISTS events_of_session ON events (session);"
    /* flmd begins: what it does not tell of again was lost with the one before */
    "UPDATE sessions SET state = 'Lost', slots = 0, client = '' WHERE state <> 'Closed';"
    "PRAGMA user_version = 1;";

static const char put_application[] = "REPLACE INTO applications VALUES (?, ?, ?, ?, ?, ?)";
static const char put_session[] =
    "REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char put_event[] =
    "INSERT INTO events (time, session, executor, task, code, text) VALUES (?, ?, ?, ?, ?, ?)";
static const char bound[] =
    "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - " EVENTS_KEPT ";"
    "DELETE FROM sessions WHERE state IN ('Closed', 'Lost') AND created <="
    " (SELECT created FROM sessions ORDER BY created DESC LIMIT 1 OFFSET " SESSIONS_KEPT ");";

static sqlite3 *db;
static char path[PATH_MAX];
static sqlite3_stmt *application, *session, *event;

static void fail(const char *doing)
{
    fprintf(stderr, "flm-tables: cannot %s %s: %s; it is tried again, nothing else needs it\n", doing, path,
            db ? sqlite3_errmsg(db) : strerror(errno));
    exit(1);
}

static void run(const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail("write");
}

/* ---- opening ------------------------------------------------------------------------------------------
 */

static bool is_sound(void)
{
    sqlite3_stmt *check = NULL;
    bool sound = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &check, NULL) == SQLITE_OK &&
                 sqlite3_step(check) == SQLITE_ROW &&
                 !strcmp((const char *)sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);
    return sound;
}

static void prepare(const char *sql, sqlite3_stmt **statement)
{
    if (sqlite3_prepare_v2(db, sql, -1, statement, NULL) != SQLITE_OK)
        fail("write");
}

static void open_file(void)
{
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fail("open");
    sqlite3_busy_timeout(db, BUSY_MS);
}

static void open_tables(void)
{
    char aside[PATH_MAX + 16];
    umask(077);
    open_file();
    if (!is_sound()) {
        sqlite3_close(db);
        snprintf(aside, sizeof(aside), "%s.damaged", path);
        if (rename(path, aside) == 0)
            fprintf(stderr, "flm-tables: %s was damaged: it is now %s, and new ones begin\n", path, aside);
        open_file();
    }
    run("PRAGMA synchronous = NORMAL");
    run(schema);
    prepare(put_application, &application);
    prepare(put_session, &session);
    prepare(put_event, &event);
}

/* ---- rows -------------------------------------------------------------------------------------------- */

static void text(sqlite3_stmt *s, int at, const char *value)
{
    sqlite3_bind_text(s, at, value, -1, SQLITE_TRANSIENT);
}

static void number(sqlite3_stmt *s, int at, uint64_t value)
{
    sqlite3_bind_int64(s, at, (sqlite3_int64)value);
}

static void step(sqlite3_stmt *s)
{
    if (sqlite3_step(s) != SQLITE_DONE)
        fail("write");
    sqlite3_reset(s);
}

static void take_application(const Flm__Application *a)
{
    char command[4096] = "";
    for (size_t i = 0, n = 0; i < a->n_command && n < sizeof(command); i++)
        n += (size_t)snprintf(command + n, sizeof(command) - n, "%s%s", i ? " " : "", a->command[i]);
    text(application, 1, a->name);
    text(application, 2, flm_shim_name(a->shim));
    text(application, 3, command);
    text(application, 4, a->description);
    text(application, 5, a->output_type);
    number(application, 6, (uint64_t)flm__wall_ns());
    step(application);
}

static void take_event(const char *of, const Flm__Event *e)
{
    number(event, 1, (uint64_t)e->time_ns);
    text(event, 2, of);
    sqlite3_bind_int(event, 3, e->executor);
    number(event, 4, e->task);
    sqlite3_bind_int(event, 5, e->code);
    text(event, 6, e->text);
    step(event);
}

static void take_session(const Flm__SessionView *v)
{
    const char *texts[] = {v->id, v->application, v->state, v->client};
    uint64_t numbers[] = {v->slots,  v->pending,   v->running, v->succeed,
                          v->failed, v->cancelled, v->retried, (uint64_t)v->closed_ns};
    int at = 1;
    number(session, at++, (uint64_t)v->created_ns);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        text(session, at++, texts[i]);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        number(session, at++, numbers[i]);
    text(session, at++, v->trouble);
    text(session, at++, v->results_file);
    number(session, at++, v->results_rows);
    number(session, at++, (uint64_t)flm__wall_ns());
    step(session);
    for (size_t i = 0; i < v->n_events; i++)
        take_event(v->id, v->events[i]);
}

static void take(const Flm__Message *m)
{
    if (m->body_case != FLM__MESSAGE__BODY_REPLY)
        return;
    const Flm__Reply *r = m->reply;
    for (size_t i = 0; i < r->n_applications; i++)
        take_application(r->applications[i]);
    for (size_t i = 0; i < r->n_sessions; i++)
        take_session(r->sessions[i]);
    for (size_t i = 0; i < r->n_events; i++)
        take_event("", r->events[i]);
}

/* ---- */

/* All that has come makes one transaction. */
static int follow(struct flm__conn *conn)
{
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    int rc = flm__conn_wait_message(conn, -1, &m, fds, &n_fds);
    if (rc <= 0)
        return rc;
    run("BEGIN IMMEDIATE");
    do {
        flm__close_fds(fds, n_fds);
        take(m);
        flm__message__free_unpacked(m, NULL);
    } while (flm__conn_take(conn, &m, fds, &n_fds) > 0);
    run(bound);
    run("COMMIT");
    return 1;
}

static bool asked(const char *argument, const char *name, const char *otherwise)
{
    return !strcmp(argument, name) || !strcmp(argument, otherwise);
}

int main(int argc, char **argv)
{
    if (argc == 2 && asked(argv[1], "--help", "-?")) {
        puts("Usage: flm-tables STATE-DIR\n"
             "Keeps the tables of a session manager. flmd starts it: see flm-tables(1).");
        return 0;
    }
    if (argc == 2 && asked(argv[1], "--version", "-V")) {
        puts("flm-tables (Flame) " FLM_VERSION);
        return 0;
    }
    if (argc != 2 || fcntl(FLMD, F_SETFD, FD_CLOEXEC) < 0) {
        fprintf(stderr, "flm-tables is started by flmd (flmd(1))\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG,
          SIGKILL); /* what flmd leaves behind when it is killed is its successor's alone */
    struct flm__conn *conn = flm__conn_new_take(FLMD);
    snprintf(path, sizeof(path), "%s/flame.sqlite", argv[1]);
    if (!conn)
        fail("open");
    open_tables();
    while (follow(conn) > 0)
        ;
    sqlite3_finalize(application);
    sqlite3_finalize(session);
    sqlite3_finalize(event);
    sqlite3_close(db);
    flm__conn_free(conn);
    return 0;
}
