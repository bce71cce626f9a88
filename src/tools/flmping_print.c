/* What came of a run of flmping, as text and as JSON. */
#include "tools/flmping.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static double rate(const struct flmping_outcome *out)
{
    return out->seconds > 0 ? (double)out->succeeded / out->seconds : 0;
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t n, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

/* Few are told with the digits that make them a number. */
static const char *rate_text(double tasks_per_second, char text[32])
{
    if (tasks_per_second >= 10 || tasks_per_second <= 0)
        return grouped((uint64_t)tasks_per_second, text);
    snprintf(text, 32, "%.2g", tasks_per_second);
    return text;
}

static void print_trouble(const struct flmping_options *o, const struct flmping_outcome *out)
{
    char a[32], b[32], c[32], d[32];
    if (out->failed || out->wrong || out->duplicated || out->cancelled)
        printf("%s failed, %s cancelled, %s with wrong content, %s not due\n", grouped(out->failed, a),
               grouped(out->cancelled, b), grouped(out->wrong, c), grouped(out->duplicated, d));
    if (out->retried)
        printf("%s %s run again after an executor was lost\n", grouped(out->retried, a),
               out->retried == 1 ? "was" : "were");
    if (out->submitted > out->done)
        printf("%s %s no result\n", grouped(out->submitted - out->done, a),
               out->submitted - out->done == 1 ? "has" : "have");
    if (out->interrupted)
        printf("interrupted: %s of %s tasks done\n", grouped(out->succeeded + out->failed, a),
               grouped(o->tasks, b));
    for (int i = 0; i < FLMPING_EXAMPLES && out->examples[i][0]; i++)
        fprintf(stderr, "flmping: %s\n", out->examples[i]);
}

static void print_text(const struct flmping_options *o, const struct flmping_outcome *out)
{
    const struct histogram *h = &out->round_trip;
    char a[32], b[32], c[32], d[32];
    uint64_t tasks = out->succeeded;
    printf("%s task%s, %s B in, %s B out", grouped(tasks, a), tasks == 1 ? "" : "s",
           grouped(o->input_size, b), grouped(o->output_size, c));
    if (o->duration_ns)
        printf(", %.15g us each%s", us(o->duration_ns), o->sleep ? " (sleeping)" : "");
    if (o->ranks)
        printf(", %u rank%s a task", o->ranks, o->ranks == 1 ? "" : "s");
    printf(": %.3f s, %s tasks/s\n", out->seconds, rate_text(rate(out), d));
    if (h->count) {
        printf("round trip in us: p50 %.1f  p90 %.1f  p99 %.1f  max %.1f", us(histogram_percentile(h, 0.5)),
               us(histogram_percentile(h, 0.9)), us(histogram_percentile(h, 0.99)), us(h->max));
        if (out->sample > 1)
            printf("  (1 of %" PRIu64 " tasks)", out->sample);
        printf("\n");
    }
    printf("%u executor%s%s%s, window %s, service ", out->executors, out->executors == 1 ? "" : "s",
           *out->provider ? ", " : "", out->provider, grouped(out->window, a));
    if (out->start_seconds > 0)
        printf("ready after %.3f s\n", out->start_seconds);
    else
        printf("not ready: no executor answered (flmctl list -n, flmctl list -e)\n");
    print_trouble(o, out);
}

static void set_round_trip(json_t *j, const struct histogram *h)
{
    json_object_set_new(j, "p50_us", json_real(us(histogram_percentile(h, 0.5))));
    json_object_set_new(j, "p90_us", json_real(us(histogram_percentile(h, 0.9))));
    json_object_set_new(j, "p99_us", json_real(us(histogram_percentile(h, 0.99))));
    json_object_set_new(j, "max_us", json_real(us(h->max)));
    json_object_set_new(j, "mean_us", json_real(histogram_mean(h) / 1000));
}

static void print_json(const struct flmping_options *o, const struct flmping_outcome *out,
                       const flm_error *error)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"tasks", o->tasks},
        {"succeeded", out->succeeded},
        {"failed", out->failed},
        {"cancelled", out->cancelled},
        {"retried", out->retried},
        {"wrong", out->wrong},
        {"duplicated", out->duplicated},
        {"lost", out->submitted - out->done},
        {"input_bytes", o->input_size},
        {"output_bytes", o->output_size},
        {"window", out->window},
        {"executors", out->executors},
        {"ranks_per_task", o->ranks},
        {"sampled", out->round_trip.count},
    };
    json_t *j = json_object();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    json_object_set_new(j, "seconds", json_real(out->seconds));
    json_object_set_new(j, "tasks_per_second", json_real(rate(out)));
    json_object_set_new(j, "start_seconds",
                        out->start_seconds > 0 ? json_real(out->start_seconds) : json_null());
    json_object_set_new(j, "duration_us", json_real(us(o->duration_ns)));
    json_object_set_new(j, "provider", json_string(out->provider));
    json_object_set_new(j, "version", json_string(out->version));
    json_object_set_new(j, "interrupted", json_boolean(out->interrupted));
    set_round_trip(j, &out->round_trip);
    json_t *examples = json_array();
    for (int i = 0; i < FLMPING_EXAMPLES && out->examples[i][0]; i++)
        json_array_append_new(examples, json_string(out->examples[i]));
    json_object_set_new(j, "failures", examples);
    json_object_set_new(j, "error", error ? json_string(error->text) : json_null());
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(j);
}

int flmping_print(const struct flmping_options *o, const struct flmping_outcome *out,
                  const flm_error *error)
{
    if (o->json)
        print_json(o, out, error);
    else
        print_text(o, out);
    return fflush(stdout) || ferror(stdout) ? -1 : 0;
}
