/* libflm/inproc.h - the endpoint "inproc:": a client that is its own manager and executor.
 *
 * It stands where a ring would: records that the client writes into its link wait here, and each time the
 * client looks for results one task is run, in the client's thread, and its result is what is found. So
 * everything else of the client is the same as with a session manager. inproc.c: the link and the tasks;
 * inproc_verbs.c: requests, sessions and applications.
 */
#ifndef FLM_LIBFLM_INPROC_H
#define FLM_LIBFLM_INPROC_H

#include "libflm/handle.h"
#include "executor/shim_so.h"
#include "executor/task.h"

struct flm__inproc_session {
    struct flm__inproc_session *previous, *next;
    uint32_t number;
    char id[FLM_MAX_NAME + 1], application[FLM_MAX_NAME + 1];
    struct flm__so_cache loaded;
    const struct flm_service *service;
    void *state; /* of the service */
    struct flm_session_info info;
    void *common;
    size_t common_size;
    uint32_t deadline_ms;
    bool cancelled;
    uint64_t *cancelled_tasks; /* ids */
    size_t n_cancelled_tasks;
    uint64_t succeed, failed, cancels; /* tasks that ended so */
    int64_t created_ns;
};

struct flm__inproc {
    struct flm__link link;
    flm_client *client;
    /* Tasks that wait: data[start .. end), whole records. */
    char *data;
    size_t start, end, room;
    /* The result that waits to be read. */
    char *result; /* FLM__RECORD_MAX bytes */
    size_t result_size;
    /* The running task. */
    struct flm_task_context task;
    void *large; /* its output when that is large; NULL: it is in `result` */
    size_t large_size;

    struct flm__inproc_session *sessions;
    uint32_t last_session;
    Flm__Application **applications;
    size_t n_applications;
};

struct flm__inproc_session *flm__inproc_session(const struct flm__inproc *p, uint32_t number);
bool flm__inproc_is_cancelled(const struct flm__inproc_session *s, uint64_t task);
void flm__inproc_free_applications(struct flm__inproc *p);

#endif
