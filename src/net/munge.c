#define _GNU_SOURCE
#include "net/munge.h"

#include "base/error.h"

#ifdef FLM_WITH_MUNGE

#include <dlfcn.h>
#include <errno.h>
#include <munge.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Ours have some 600 bytes. munged is not bothered with others. */
enum { CREDENTIAL_MAX = 4096 };

/* What is used of libmunge: X(name) for munge_name. */
#define FUNCTIONS(X) X(encode) X(decode) X(strerror) X(ctx_create) X(ctx_destroy) X(ctx_set) X(ctx_strerror)

static struct {
    void *handle;
#define MEMBER(name) __typeof__(&munge_##name) name;
    FUNCTIONS(MEMBER)
} lib;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over lib until it is loaded */

static int load(flm_error *error)
{
    void *handle = dlopen("libmunge.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return flm__error_set(error, FLM_EAUTH, "libmunge is not installed (%s)", dlerror());
#define FIND(name) lib.name = (__typeof__(lib.name))dlsym(handle, "munge_" #name);
    FUNCTIONS(FIND)
#define MISSING(name) || !lib.name
    if (false FUNCTIONS(MISSING)) {
        dlclose(handle);
        return flm__error_set(error, FLM_EAUTH, "libmunge.so.2 is not the library of munge");
    }
    lib.handle = handle; /* for ever */
    return 0;
}

/* A context of libmunge; the caller ends it by lib.ctx_destroy. */
static munge_ctx_t context(flm_error *error)
{
    pthread_mutex_lock(&lock);
    int rc = lib.handle ? 0 : load(error);
    pthread_mutex_unlock(&lock);
    if (rc < 0)
        return NULL;
    munge_ctx_t ctx = lib.ctx_create();
    const char *socket_path = getenv("FLM_MUNGE_SOCKET");
    if (ctx && (!socket_path || !*socket_path ||
                lib.ctx_set(ctx, MUNGE_OPT_SOCKET, socket_path) == EMUNGE_SUCCESS))
        return ctx;
    if (ctx)
        lib.ctx_destroy(ctx);
    flm__error_set(error, FLM_ENOMEM, "no memory for munge");
    return NULL;
}

/* libmunge writes to a socket, and the program may not ignore SIGPIPE. */
struct quiet {
    sigset_t mask;
    bool held; /* one was pending before */
};

static void be_quiet(struct quiet *q)
{
    sigset_t pipe_signal, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    q->held = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &q->mask);
}

static void be_loud(const struct quiet *q)
{
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    while (!q->held && sigtimedwait(&pipe_signal, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &q->mask, NULL);
}

static int no_answer(const char *more, flm_error *error)
{
    return flm__error_set(error, FLM_EAUTH, "munged does not answer: %s", more ? more : "no connection");
}

int flm__munge_encode(const void *payload, size_t n, char **credential, flm_error *error)
{
    *credential = NULL;
    munge_ctx_t ctx = context(error);
    if (!ctx)
        return FLM_EAUTH;
    struct quiet q;
    be_quiet(&q);
    munge_err_t e = lib.ctx_set(ctx, MUNGE_OPT_UID_RESTRICTION, geteuid());
    if (e == EMUNGE_SUCCESS)
        e = lib.encode(credential, ctx, payload, (int)n);
    be_loud(&q);
    const char *more = lib.ctx_strerror(ctx);
    int rc = 0;
    if (e == EMUNGE_SOCKET)
        rc = no_answer(more, error);
    else if (e != EMUNGE_SUCCESS)
        rc = flm__error_set(error, FLM_EAUTH, "munge makes no credential: %s",
                            more ? more : lib.strerror(e));
    if (rc < 0) {
        free(*credential);
        *credential = NULL;
    }
    lib.ctx_destroy(ctx);
    return rc;
}

int flm__munge_usable(flm_error *error)
{
    char *credential;
    int rc = flm__munge_encode("", 0, &credential, error);
    free(credential);
    return rc;
}

static int decode_error(munge_err_t e, const char *more, flm_error *error)
{
    switch (e) {
    case EMUNGE_CRED_REPLAYED:
        return flm__error_set(error, FLM_EAUTH, "the munge credential was used before");
    case EMUNGE_CRED_EXPIRED:
    case EMUNGE_CRED_REWOUND:
        return flm__error_set(error, FLM_EAUTH,
                              "the munge credential is of another time: do the clocks of the nodes agree?");
    case EMUNGE_CRED_UNAUTHORIZED:
        return flm__error_set(error, FLM_EAUTH, "the munge credential is for another user");
    case EMUNGE_CRED_INVALID:
        return flm__error_set(error, FLM_EAUTH,
                              "the munge credential is not valid: do the nodes have the same munge key?");
    case EMUNGE_SOCKET:
    case EMUNGE_TIMEOUT:
        return no_answer(more, error);
    default:
        return flm__error_set(error, FLM_EAUTH, "the munge credential cannot be read: %s",
                              more ? more : lib.strerror(e));
    }
}

int flm__munge_check(const char *credential, const void *payload, size_t n, flm_error *error)
{
    if (strnlen(credential, CREDENTIAL_MAX) == CREDENTIAL_MAX)
        return flm__error_set(error, FLM_EAUTH, "the munge credential is too long to be one of Flame");
    munge_ctx_t ctx = context(error);
    if (!ctx)
        return FLM_EAUTH;
    void *got = NULL;
    int size = 0, rc = 0;
    uid_t uid = (uid_t)-1;
    gid_t gid;
    struct quiet q;
    be_quiet(&q);
    munge_err_t e = lib.decode(credential, ctx, &got, &size, &uid, &gid);
    be_loud(&q);
    if (e != EMUNGE_SUCCESS)
        rc = decode_error(e, lib.ctx_strerror(ctx), error);
    else if (uid != geteuid())
        rc = flm__error_set(error, FLM_EAUTH, "the munge credential is of the user %u, not of %u",
                            (unsigned)uid, (unsigned)geteuid());
    else if (size < 0 || (size_t)size != n || memcmp(got, payload, n) != 0)
        rc = flm__error_set(error, FLM_EAUTH, "the munge credential is not for this connection");
    free(got);
    lib.ctx_destroy(ctx);
    return rc;
}

#else

static int built_without(flm_error *error)
{
    return flm__error_set(error, FLM_EAUTH, "Flame was built without munge");
}

int flm__munge_usable(flm_error *error)
{
    return built_without(error);
}

int flm__munge_encode(const void *payload, size_t n, char **credential, flm_error *error)
{
    (void)payload;
    (void)n;
    *credential = NULL;
    return built_without(error);
}

int flm__munge_check(const char *credential, const void *payload, size_t n, flm_error *error)
{
    (void)credential;
    (void)payload;
    (void)n;
    return built_without(error);
}

#endif
