/* FLM_PROGRESS_THREAD: a thread of the library makes the progress and runs the callbacks. */
#include "libflm/handle.h"
#include "base/error.h"

#include <signal.h>

static bool told_to_stop(struct flm__wait *wait)
{
    const flm_client *c = wait->arg;
    return c->stop;
}

static void *progress(void *arg)
{
    flm_client *c = arg;
    struct flm__wait wait = {FLM__WAIT_DATA, told_to_stop, c, FLM__FOR_EVER};
    flm__client_lock(c);
    flm__wait_until(c, &wait); /* until told, or until the manager is gone */
    flm__wait_notify(c);
    flm__client_unlock(c);
    return NULL;
}

int flm__thread_start(flm_client *c, flm_error *error)
{
    sigset_t all, old;
    flm__client_lock(c);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the threads of the program */
    int e = pthread_create(&c->thread, NULL, progress, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    c->own_thread = e == 0;
    flm__client_unlock(c);
    return e == 0 ? 0 : flm__error_errno(error, FLM_ENOMEM, e, "cannot start the progress thread");
}

void flm__thread_stop(flm_client *c)
{
    if (!c->own_thread)
        return;
    flm__client_lock(c);
    c->stop = true;
    flm__wait_wake(c);
    flm__client_unlock(c);
    pthread_join(c->thread, NULL);
    c->own_thread = false;
}
