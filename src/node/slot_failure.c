/* slot_failure.c - executors that end before they have joined: what ended them is said once, and after
 * some in a row flmd is told that the slot cannot have one. It is tried again at long intervals, or when
 * flmd says so.
 */
#include "node/agent.h"
#include "node/process.h"

#include <stdio.h>
#include <string.h>

enum {
    IN_A_ROW = 5, /* then flmd is told */
    RETRY_MS = 30000,
};

void slot_heed_line(struct slot *slot, const char *text, size_t n)
{
    if (!slot->joined && n)
        snprintf(slot->last_line, sizeof(slot->last_line), "%.*s", (int)n, text);
}

void slot_describe_failure(const struct slot *slot, char *text, size_t size)
{
    char how[160];
    const char *why = slot->kill_text;
    process_describe(slot->status, &slot->usage, slot->inherited_kib, how, sizeof(how));
    snprintf(text, size, "%s%.100s%s %s before it had joined%s%.150s%s%.160s%s",
             slot_is_wrapped(slot) ? "the executor under '" : "flm-executor",
             slot_is_wrapped(slot) ? slot->agent->options->executor_wrapper : "",
             slot_is_wrapped(slot) ? "'" : "", how, *why ? ": " : "", why,
             *slot->last_line ? "; its last line was: " : "", slot->last_line,
             slot_is_wrapped(slot) ? "; a wrapper must run the command that follows it" : "");
}

static void tell_failed(struct slot *slot, const char *text)
{
    Flm__ExecutorFailed failed = FLM__EXECUTOR_FAILED__INIT;
    failed.lane = slot->lane;
    failed.failures = slot->failures;
    failed.text = (char *)(uintptr_t)text;
    failed.retry_s = RETRY_MS / 1000;
    FLM__MESSAGE(m, executor_failed, EXECUTOR_FAILED, &failed);
    agent_tell(slot->agent, &m, NULL, 0);
}

unsigned slot_count_failure(struct slot *slot, const char *text)
{
    slot->failures++;
    /* Of a node where all fail the first says it for all; the end flmd tells. */
    if (++slot->agent->failures == 1 && slot->failures == 1)
        agent_say(slot->agent, "executor of slot %u: %s; trying again", slot->lane, text);
    if (slot->failures < IN_A_ROW)
        return 0;
    if (slot->failures == IN_A_ROW)
        tell_failed(slot, text);
    return RETRY_MS;
}

void slot_has_joined(struct slot *slot)
{
    slot->joined = true;
    slot->failures = slot->agent->failures = 0;
    slot->last_line[0] = 0;
}

void slot_try_now(struct slot *slot)
{
    if (slot->failures < IN_A_ROW || slot->state != SLOT_EMPTY)
        return;
    slot->failures = slot->agent->failures = 0;
    slot->backoff_ms = 0;
    uv_timer_stop(&slot->timer);
    slot_start(slot);
}
