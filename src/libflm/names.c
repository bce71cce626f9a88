#include <flm/client.h>

const char *flm_reason_name(int reason)
{
    static const char *const names[] = {
        [FLM_REASON_NONE] = "none",
        [FLM_REASON_SERVICE] = "service",
        [FLM_REASON_EXIT] = "exit",
        [FLM_REASON_SIGNAL] = "signal",
        [FLM_REASON_OUT_OF_MEMORY] = "out of memory",
        [FLM_REASON_DEADLINE] = "deadline",
        [FLM_REASON_EXECUTOR_LOST] = "executor lost",
        [FLM_REASON_NODE_LOST] = "node lost",
        [FLM_REASON_WALLTIME] = "walltime",
        [FLM_REASON_CANCELLED] = "cancelled",
        [FLM_REASON_RETRY_LIMIT] = "retry limit",
        [FLM_REASON_BIND] = "bind",
        [FLM_REASON_DISCONNECTED] = "disconnected",
        [FLM_REASON_REFUSED] = "refused",
        [FLM_REASON_OBJECT] = "object",
    };
    if (reason < 0 || (unsigned)reason >= sizeof(names) / sizeof(names[0]))
        return "unknown";
    return names[reason];
}

const char *flm_task_state_name(int state)
{
    static const char *const names[] = {
        [FLM_TASK_PENDING] = "Pending", [FLM_TASK_RUNNING] = "Running",     [FLM_TASK_SUCCEED] = "Succeed",
        [FLM_TASK_FAILED] = "Failed",   [FLM_TASK_CANCELLED] = "Cancelled",
    };
    if (state < 0 || (unsigned)state >= sizeof(names) / sizeof(names[0]))
        return "Unknown";
    return names[state];
}
