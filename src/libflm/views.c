#include "libflm/views.h"

#include <stdlib.h>

/* In front of the array; as large as the strictest alignment. */
union head {
    Flm__Message *reply;
    max_align_t align;
};

void *flm__views_make_room_take(Flm__Message *reply, size_t n, size_t size, size_t more, void **more_at)
{
    size_t array = (n * size + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
    union head *head = calloc(1, sizeof(*head) + array + more + 1);
    if (!head) {
        flm__message__free_unpacked(reply, NULL);
        return NULL;
    }
    head->reply = reply;
    if (more_at)
        *more_at = (char *)(head + 1) + array;
    return head + 1;
}

void *flm__views_make_take(Flm__Message *reply, size_t n, size_t size, size_t n_events,
                           struct flm_event **events)
{
    void *more;
    void *list = flm__views_make_room_take(reply, n, size, n_events * sizeof(**events), &more);
    if (list && events)
        *events = more;
    return list;
}

void flm__views_free(void *array)
{
    if (!array)
        return;
    union head *head = (union head *)array - 1;
    flm__message__free_unpacked(head->reply, NULL);
    free(head);
}

void flm__views_event(struct flm_event *to, const Flm__Event *from)
{
    to->time_ns = from->time_ns;
    to->code = from->code;
    to->task = from->task;
    to->executor = from->executor;
    to->text = from->text;
}

void flm_free_sessions(struct flm_session_view *list, int n)
{
    (void)n;
    flm__views_free(list);
}

void flm_free_tasks(struct flm_task_view *list, int n)
{
    (void)n;
    flm__views_free(list);
}

void flm_free_executors(struct flm_executor_view *list, int n)
{
    (void)n;
    flm__views_free(list);
}

void flm_free_nodes(struct flm_node_view *list, int n)
{
    (void)n;
    flm__views_free(list);
}

void flm_free_objects(struct flm_object_view *list, int n)
{
    (void)n;
    flm__views_free(list);
}

void flm_free_instance(struct flm_instance_view *view)
{
    flm__views_free(view);
}

void flm_free_logs(struct flm_log_line *list, int n)
{
    (void)n;
    flm__views_free(list);
}
