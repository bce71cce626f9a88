/* Executors, nodes, the manager itself, and logs. */
#include "libflm/admin.h"
#include "base/error.h"

int flm_list_executors(flm_client *c, struct flm_executor_view **list, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_LIST_EXECUTORS;
    q.list_executors = true;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_executors;
    *list = flm__views_make_take(reply, n, sizeof(**list), 0, NULL);
    if (!*list)
        return flm__admin_no_memory(error);
    for (size_t i = 0; i < n; i++) {
        const Flm__ExecutorView *v = r->executors[i];
        (*list)[i] = (struct flm_executor_view){
            .id = v->id,
            .node = v->node,
            .state = v->state,
            .session = v->session,
            .pid = v->pid,
            .cpus = v->cpus,
            .transport = v->transport,
            .done = v->done,
            .restarts = v->restarts,
            .trouble = v->trouble,
        };
    }
    return (int)n;
}

int flm_list_nodes(flm_client *c, struct flm_node_view **list, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_LIST_NODES;
    q.list_nodes = true;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_nodes;
    *list = flm__views_make_take(reply, n, sizeof(**list), 0, NULL);
    if (!*list)
        return flm__admin_no_memory(error);
    for (size_t i = 0; i < n; i++) {
        const Flm__NodeView *v = r->nodes[i];
        (*list)[i] = (struct flm_node_view){
            .name = v->name,
            .state = v->state,
            .transport = v->transport,
            .block = v->block,
            .pid = v->pid,
            .slots = v->slots,
            .executors = v->executors,
            .time_left_s = v->time_left_s,
            .trouble = v->trouble,
        };
    }
    return (int)n;
}

int flm_get_instance(flm_client *c, struct flm_instance_view **view, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_GET_INSTANCE;
    q.get_instance = true;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__InstanceView *v = reply->reply->instance;
    if (!v) {
        flm__message__free_unpacked(reply, NULL);
        return flm__error_set(error, FLM_EPROTO, "the session manager did not describe itself");
    }
    *view = flm__views_make_take(reply, 1, sizeof(**view), 0, NULL);
    if (!*view)
        return flm__admin_no_memory(error);
    **view = (struct flm_instance_view){
        .id = v->id,
        .version = v->version,
        .endpoint = v->endpoint,
        .provider = v->provider,
        .pid = v->pid,
        .started_ns = v->started_ns,
        .tasks = v->tasks,
        .refused = v->refused,
        .objects = v->objects,
        .object_bytes = v->object_bytes,
        .object_limit = v->object_limit,
        .object_file_bytes = v->object_file_bytes,
    };
    return 0;
}

int flm_read_logs(flm_client *c, const char *session, int executor, uint64_t *cursor,
                  struct flm_log_line **list, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__LogQuery query = FLM__LOG_QUERY__INIT;
    Flm__Message *reply;
    if (!cursor)
        return flm__error_set(error, FLM_EINVAL, "reading logs needs a cursor");
    query.session = flm__admin_text(session);
    query.executor = executor;
    query.cursor = *cursor;
    q.verb_case = FLM__REQUEST__VERB_READ_LOGS;
    q.read_logs = &query;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_lines;
    uint64_t next = r->cursor;
    *list = flm__views_make_take(reply, n, sizeof(**list), 0, NULL);
    if (!*list)
        return flm__admin_no_memory(error);
    for (size_t i = 0; i < n; i++) {
        const Flm__LogLine *v = r->lines[i];
        (*list)[i] = (struct flm_log_line){
            .time_ns = v->time_ns,
            .executor = v->executor,
            .session = v->session,
            .error_stream = v->error_stream,
            .text = v->text,
        };
    }
    *cursor = next;
    return (int)n;
}
