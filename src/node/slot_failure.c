/* slot_failure.c - what a process last wrote to stderr, which is told with its end; and executors that end
 * before they have joined: what ended them is said once, and after some in a row flmd is told that the slot
 * cannot have one. It is tried again at long intervals, or when flmd says so.
 */
#define _GNU_SOURCE
#include "node/agent.h"
#include "node/process.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum {
    IN_A_ROW = 5, /* then flmd is told */
    RETRY_MS = 30000,
};

/* A line that says more stays when another follows it: that of an executor about how it ends, and that of
 * MPI about a wrong call. */
enum line_weight { LINE, LINE_OF_OURS, LINE_OF_MPI };

/* What MPIs write about a call before MPI_Init or after MPI_Finalize, with the call's name; then they end
 * the process, and Open MPI adds lines that say less. */
static bool is_of_mpi(const char *text, size_t n)
{
    static const char *const words[] = {" MPI_INIT was invoked", " MPI_FINALIZE was invoked",
                                        "before initializing or after finalizing"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (memmem(text, n, words[i], strlen(words[i])))
            return true;
    return false;
}

static bool says_something(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isalnum((unsigned char)text[i]) || (unsigned char)text[i] > 127)
            return true;
    return false; /* a line of dashes */
}

void slot_heed_line(struct slot *slot, const char *text, size_t n)
{
    static const char ours[] = "flm-executor: ";
    bool is_ours = n > strlen(ours) && memcmp(text, ours, strlen(ours)) == 0;
    int weight = is_of_mpi(text, n) ? LINE_OF_MPI : is_ours ? LINE_OF_OURS : LINE;
    if (!says_something(text, n) || weight < slot->line_weight)
        return;
    size_t kept = n < sizeof(slot->last_line) ? n : sizeof(slot->last_line) - 1;
    for (size_t i = 0; i < kept; i++)
        slot->last_line[i] = iscntrl((unsigned char)text[i]) ? ' ' : text[i];
    slot->last_line[kept] = 0;
    slot->line_weight = weight;
}

void slot_forget_line(struct slot *slot)
{
    slot->last_line[0] = 0;
    slot->line_weight = LINE;
}

void slot_last_words(const struct slot *slot, char *text, size_t size)
{
    const char *what = slot->line_weight < LINE_OF_MPI ? "its last line was"
                       : slot->kind.world              ? "it called an MPI that is not that of its ranks"
                                                       : "it called MPI without ranks (see ranks_per_task)";
    text[0] = 0;
    if (*slot->last_line)
        snprintf(text, size, "; %s: %s", what, slot->last_line);
}

void slot_describe_failure(const struct slot *slot, char *text, size_t size)
{
    char how[160], words[300];
    const char *why = slot->kill_text;
    process_describe(slot->status, &slot->usage, slot->inherited_kib, how, sizeof(how));
    slot_last_words(slot, words, sizeof(words));
    snprintf(text, size, "%s%.100s%s %s before it had joined%s%.150s%s%s",
             slot_is_wrapped(slot) ? "the executor under '" : "flm-executor",
             slot_is_wrapped(slot) ? slot->agent->options->executor_wrapper : "",
             slot_is_wrapped(slot) ? "'" : "", how, *why ? ": " : "", why, words,
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
    slot_forget_line(slot);
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
