/* Verbs of <flm/admin.h> whose answer is yes or no. */
#include "libflm/admin.h"
#include "base/error.h"

#include <stdio.h>
int flm__admin_request(flm_client *c, Flm__Request *request, Flm__Message **reply, flm_error *error)
{
    if (!c)
        return flm__error_set(error, FLM_EINVAL, "no client");
    flm__client_lock(c);
    int rc = flm__client_check_outside(c, error);
    if (rc == 0)
        rc = flm__request(c, request, NULL, 0, FLM__REQUEST_PLAIN, c->timeout_ms, reply, error);
    flm__client_unlock(c);
    return rc;
}

int flm__admin_no_memory(flm_error *error)
{
    return flm__error_set(error, FLM_ENOMEM, "no memory for the answer");
}

int flm_unregister_application(flm_client *c, const char *name, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    q.verb_case = FLM__REQUEST__VERB_UNREGISTER_APPLICATION;
    q.unregister_application = flm__admin_text(name);
    return flm__admin_request(c, &q, NULL, error);
}

int flm_admin_close_session(flm_client *c, const char *id, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    q.verb_case = FLM__REQUEST__VERB_ADMIN_CLOSE;
    q.admin_close = flm__admin_text(id);
    return flm__admin_request(c, &q, NULL, error);
}

int flm_admin_cancel_session(flm_client *c, const char *id, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    q.verb_case = FLM__REQUEST__VERB_ADMIN_CANCEL;
    q.admin_cancel = flm__admin_text(id);
    return flm__admin_request(c, &q, NULL, error);
}

int flm_admin_delete_session(flm_client *c, const char *id, int force, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__DeleteSession d = FLM__DELETE_SESSION__INIT;
    d.session_id = flm__admin_text(id);
    d.force = force != 0;
    q.verb_case = FLM__REQUEST__VERB_DELETE_SESSION;
    q.delete_session = &d;
    return flm__admin_request(c, &q, NULL, error);
}

int flm_admin_cancel_task(flm_client *c, const char *id, uint64_t task, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__TaskRef ref = FLM__TASK_REF__INIT;
    ref.session_id = flm__admin_text(id);
    ref.task = task;
    q.verb_case = FLM__REQUEST__VERB_ADMIN_CANCEL_TASK;
    q.admin_cancel_task = &ref;
    return flm__admin_request(c, &q, NULL, error);
}

int flm_admin_drain(flm_client *c, const char *node, int drain, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__DrainNode d = FLM__DRAIN_NODE__INIT;
    d.node = flm__admin_text(node);
    d.drain = drain != 0;
    q.verb_case = FLM__REQUEST__VERB_DRAIN;
    q.drain = &d;
    return flm__admin_request(c, &q, NULL, error);
}

int flm_admin_dry_run(flm_client *c, int new_job, unsigned nodes, char *text, size_t size, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__BlockRequest r = FLM__BLOCK_REQUEST__INIT;
    Flm__Message *reply;
    r.new_job = new_job != 0;
    r.nodes = nodes;
    q.verb_case = FLM__REQUEST__VERB_DRY_RUN;
    q.dry_run = &r;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    if (size)
        snprintf(text, size, "%s", reply->reply->text);
    flm__message__free_unpacked(reply, NULL);
    return 0;
}

int flm_admin_shutdown(flm_client *c, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    q.verb_case = FLM__REQUEST__VERB_SHUTDOWN;
    q.shutdown = true;
    return flm__admin_request(c, &q, NULL, error);
}
