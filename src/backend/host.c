#define _GNU_SOURCE
#include "backend/host.h"

#include "base/error.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Asked for; gone once it was refused or has ended. */
struct block {
    struct block *next;
    uint64_t number;
    bool granted;
    /* for a flmd that was not there when it was asked for */
    bool new_job;
    char *node, *name; /* NULL: "" */
    unsigned slots;
    char job[288]; /* as long as any batch system's */
    int64_t end_time_s;
};

struct host_watch {
    uv_poll_t poll; /* first: uv_close gives it back */
    struct host_watch *next;
    int fd;
    void (*fn)(void *arg, int fd);
    void *arg;
};

struct host_timer {
    uv_timer_t timer; /* first */
    struct host_timer *next;
    struct host *host;
    int number;
    void (*fn)(void *arg);
    void *arg;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* ---- events ------------------------------------------------------------------------------------ */

static void say_event(struct host *host, Flm__BlockEvent *event)
{
    FLM__MESSAGE(m, block_event, BLOCK_EVENT, event);
    flm__watch_send(host->manager, &m, NULL, 0);
}

void host_say(struct host *host, Flm__BlockEvent__Kind kind, uint64_t block, int code, const char *text)
{
    Flm__BlockEvent event = FLM__BLOCK_EVENT__INIT;
    event.kind = kind;
    event.block = block;
    event.code = code;
    event.text = (char *)(uintptr_t)(text ? text : "");
    say_event(host, &event);
}

static struct block **find_block(struct host *host, uint64_t number)
{
    struct block **p = &host->blocks;
    while (*p && (*p)->number != number)
        p = &(*p)->next;
    return p;
}

bool host_block_known(const struct host *host, uint64_t block)
{
    return *find_block((struct host *)(uintptr_t)host, block) != NULL;
}

bool host_block_begin(struct host *host, const struct flm_block_request *request)
{
    if (host_block_known(host, request->block))
        return false;
    struct block *b = calloc(1, sizeof(*b));
    if (!b)
        return false;
    b->number = request->block;
    b->new_job = request->new_job;
    b->slots = request->slots;
    b->node = request->node ? strdup(request->node) : NULL;
    b->name = request->name ? strdup(request->name) : NULL;
    b->next = host->blocks;
    host->blocks = b;
    return true;
}

static void forget(struct block **p)
{
    struct block *b = *p;
    *p = b->next;
    free(b->node);
    free(b->name);
    free(b);
}

void host_tell_blocks(struct host *host)
{
    static char nothing[1];
    for (const struct block *b = host->blocks; b; b = b->next) {
        Flm__BlockBack back = FLM__BLOCK_BACK__INIT;
        back.block = b->number;
        back.granted = b->granted;
        back.new_job = b->new_job;
        back.node = b->node ? b->node : nothing;
        back.slots = b->slots;
        back.name = b->name ? b->name : nothing;
        back.job = (char *)(uintptr_t)b->job;
        back.end_time_s = b->end_time_s;
        FLM__MESSAGE(m, block_back, BLOCK_BACK, &back);
        flm__watch_send(host->manager, &m, NULL, 0);
    }
}

/* The block if it is in the state in which `what` may be said of it; else a log line. */
static struct block **expect(struct host *host, uint64_t number, bool granted, const char *what)
{
    char text[160];
    struct block **p = find_block(host, number);
    if (*p && (*p)->granted == granted)
        return p;
    snprintf(text, sizeof(text),
             "a mistake in the backend plugin: it says '%s' of block %" PRIu64 ", which is %s", what,
             number,
             !*p       ? "not asked for"
             : granted ? "not granted"
                       : "granted already");
    host_say(host, FLM__BLOCK_EVENT__KIND__LOG, number, FLM_EINVAL, text);
    return NULL;
}

static void on_granted(void *handle, uint64_t block, const char *job, int64_t end_time_s)
{
    struct block **p = expect(handle, block, false, "granted");
    if (!p)
        return;
    (*p)->granted = true;
    (*p)->end_time_s = end_time_s;
    snprintf((*p)->job, sizeof((*p)->job), "%s", job ? job : "");
    Flm__BlockEvent event = FLM__BLOCK_EVENT__INIT;
    event.kind = FLM__BLOCK_EVENT__KIND__GRANTED;
    event.block = block;
    event.text = (char *)(uintptr_t)(job ? job : "");
    event.end_time_s = end_time_s;
    say_event(handle, &event);
}

static void on_refused(void *handle, uint64_t block, int code, const char *reason)
{
    struct block **p = expect(handle, block, false, "refused");
    if (!p)
        return;
    forget(p);
    host_say(handle, FLM__BLOCK_EVENT__KIND__REFUSED, block, code < 0 ? code : FLM_EPERM, reason);
}

static void on_waiting(void *handle, uint64_t block, const char *reason)
{
    if (expect(handle, block, false, "waiting"))
        host_say(handle, FLM__BLOCK_EVENT__KIND__WAITING, block, 0, reason);
}

static void on_submitted(void *handle, uint64_t block, const char *job)
{
    struct block **p = expect(handle, block, false, "submitted");
    if (!p)
        return;
    snprintf((*p)->job, sizeof((*p)->job), "%s", job);
    host_say(handle, FLM__BLOCK_EVENT__KIND__SUBMITTED, block, 0, job);
}

static void on_ended(void *handle, uint64_t block, int code, const char *reason)
{
    struct block **p = expect(handle, block, true, "ended");
    if (!p)
        return;
    forget(p);
    host_say(handle, FLM__BLOCK_EVENT__KIND__ENDED, block, code, reason);
}

static void on_time_left(void *handle, uint64_t block, int64_t end_time_s)
{
    struct block **p = expect(handle, block, true, "time left");
    if (!p)
        return;
    (*p)->end_time_s = end_time_s;
    Flm__BlockEvent event = FLM__BLOCK_EVENT__INIT;
    event.kind = FLM__BLOCK_EVENT__KIND__TIME_LEFT;
    event.block = block;
    event.end_time_s = end_time_s;
    say_event(handle, &event);
}

static void on_log(void *handle, const char *text)
{
    host_say(handle, FLM__BLOCK_EVENT__KIND__LOG, 0, 0, text);
}

/* ---- descriptors and timers -------------------------------------------------------------------- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct host_watch *w = (struct host_watch *)poll;
    (void)status;
    (void)events;
    w->fn(w->arg, w->fd);
}

static void end_watch(struct host_watch **p)
{
    struct host_watch *w = *p;
    *p = w->next;
    uv_close((uv_handle_t *)&w->poll, on_closed);
}

static int watch_fd(void *handle, int fd, void (*fn)(void *arg, int fd), void *arg)
{
    struct host *host = handle;
    struct host_watch **p = &host->watches;
    while (*p && (*p)->fd != fd)
        p = &(*p)->next;
    if (*p)
        end_watch(p);
    if (!fn)
        return 0;
    struct host_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return FLM_ENOMEM;
    *w = (struct host_watch){.fd = fd, .fn = fn, .arg = arg, .next = host->watches};
    if (uv_poll_init(&host->loop, &w->poll, fd) < 0) {
        free(w);
        return FLM_EINVAL;
    }
    host->watches = w;
    uv_poll_start(&w->poll, UV_READABLE, on_readable);
    return 0;
}

static void end_timer(struct host_timer *t)
{
    for (struct host_timer **p = &t->host->timers; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    uv_close((uv_handle_t *)&t->timer, on_closed);
}

static void on_timer(uv_timer_t *timer)
{
    struct host_timer *t = (struct host_timer *)timer;
    void (*fn)(void *) = t->fn;
    void *arg = t->arg;
    end_timer(t);
    fn(arg);
}

static int add_timer(void *handle, unsigned ms, void (*fn)(void *arg), void *arg)
{
    struct host *host = handle;
    struct host_timer *t = calloc(1, sizeof(*t));
    if (!t || !fn) {
        free(t);
        return fn ? FLM_ENOMEM : FLM_EINVAL;
    }
    host->timer_numbers = host->timer_numbers == INT32_MAX ? 1 : host->timer_numbers + 1;
    *t = (struct host_timer){
        .host = host, .number = host->timer_numbers, .fn = fn, .arg = arg, .next = host->timers};
    host->timers = t;
    uv_timer_init(&host->loop, &t->timer);
    uv_timer_start(&t->timer, on_timer, ms, 0);
    return t->number;
}

static void cancel_timer(void *handle, int number)
{
    struct host *host = handle;
    for (struct host_timer *t = host->timers; t; t = t->next) {
        if (t->number == number) {
            end_timer(t);
            return;
        }
    }
}

/* ---- init and fini ----------------------------------------------------------------------------- */

static void on_child_signal(uv_signal_t *handle, int signal)
{
    (void)signal;
    host_reap(handle->data);
}

void host_init(struct host *host)
{
    *host = (struct host){0};
    uv_loop_init(&host->loop);
    uv_signal_init(&host->loop, &host->on_child);
    host->on_child.data = host;
    uv_signal_start(&host->on_child, on_child_signal, SIGCHLD);
    host->table = (struct flm_backend_host){
        .handle = host,
        .granted = on_granted,
        .refused = on_refused,
        .waiting = on_waiting,
        .ended = on_ended,
        .time_left = on_time_left,
        .log = on_log,
        .watch_fd = watch_fd,
        .timer = add_timer,
        .cancel_timer = cancel_timer,
        .spawn = host_spawn,
        .spawn_with_output = host_spawn_with_output,
        .submitted = on_submitted,
    };
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void host_fini(struct host *host)
{
    while (host->watches)
        end_watch(&host->watches);
    while (host->timers)
        end_timer(host->timers);
    while (host->blocks)
        forget(&host->blocks);
    flm__watch_close(host->manager);
    uv_walk(&host->loop, close_handle, NULL);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    uv_loop_close(&host->loop);
}
