/* print.c - see print.h */
#include "print.h"
#include "report.h"
#include "save.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Decimals that show two digits of the error. */
static int decimals(double error)
{
    int d = error > 0 ? 1 - (int)floor(log10(error)) : 10;

    return d < 0 ? 0 : d > 17 ? 17 : d;
}

void print_json(const struct outcome *o, const char *output, const char *plot)
{
    const struct estimate *e = &o->estimate;

    printf("{\"payoff\": \"%s\", \"estimate\": ", model_payoff_name(o->model.payoff));
    json_number(stdout, e->value);
    printf(", \"standard_error\": ");
    json_number(stdout, e->error);
    printf(", \"exact\": ");
    json_number(stdout, o->exact);
    printf(", \"difference\": ");
    json_number(stdout, e->value - o->exact);
    printf(", \"difference_in_standard_errors\": ");
    json_number(stdout, (e->value - o->exact) / e->error);
    printf(", \"samples\": %llu, \"tasks\": %llu, \"seed\": %llu, \"executors\": %u, \"seconds\": ",
           (unsigned long long)e->samples, (unsigned long long)o->tasks, (unsigned long long)o->model.seed,
           o->executors);
    json_number(stdout, o->seconds);
    printf(", \"samples_per_second\": ");
    json_number(stdout, (double)e->samples / o->seconds);
    printf(", \"tasks_per_second\": ");
    json_number(stdout, (double)o->tasks / o->seconds);
    if (o->progress)
        printf(", \"useful_core_seconds\": %.3f, \"wasted_core_seconds\": %.3f", o->useful_s, o->wasted_s);
    printf(", \"interrupted\": %s, \"output\": ", o->interrupted ? "true" : "false");
    output ? json_text(stdout, output) : (void)fputs("null", stdout);
    printf(", \"plot\": ");
    plot ? json_text(stdout, plot) : (void)fputs("null", stdout);
    printf("}\n");
}

static void print_difference(const struct outcome *o)
{
    double difference = o->estimate.value - o->exact, error = o->estimate.error;

    if (error > 0)
        printf("  difference   %+.*f, %.1f standard errors\n", decimals(error), difference,
               fabs(difference) / error);
    else
        printf("  difference   %+.3g; all samples were equal, so the error is not known\n", difference);
}

void print_estimate(const struct outcome *o)
{
    char a[REPORT_TEXT], b[REPORT_TEXT], c[REPORT_TEXT];
    const struct model *m = &o->model;
    const struct estimate *e = &o->estimate;
    int digits = decimals(e->error);

    printf("%s by Monte Carlo%s\n", model_title(m->payoff), o->interrupted ? " (interrupted)" : "");
    if (m->payoff != PAYOFF_PI)
        printf("  market       spot %g, strike %g, rate %g, volatility %g, maturity %g\n", m->spot,
               m->strike, m->rate, m->volatility, m->maturity);
    printf("  estimate     %.*f %s %.*f\n", digits, e->value, report_plus_minus(), digits,
           e->error > 0 ? e->error : 0);
    printf("  exact        %.*f%s\n", digits, o->exact, m->payoff == PAYOFF_PI ? "" : " (Black-Scholes)");
    print_difference(o);
    printf("  samples      %s in %s task%s on %u executor%s, seed %llu\n", report_count(a, e->samples),
           report_count(b, o->tasks), o->tasks == 1 ? "" : "s", o->executors, o->executors == 1 ? "" : "s",
           (unsigned long long)m->seed);
    printf("  throughput   %s samples/s, %s tasks/s, %s\n", report_rate(a, (double)e->samples / o->seconds),
           report_rate(b, (double)o->tasks / o->seconds), report_time(c, o->seconds));
    if (o->progress)
        printf("  core-seconds %.1f useful, %.1f wasted on attempts that were cut off%s\n", o->useful_s,
               o->wasted_s, o->interrupted ? "; --resume goes on" : "");
}

/* A file name as a shell takes it. */
static void print_quoted(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+:,@%";

    if (name[strspn(name, plain)] == '\0') {
        printf("%s", name);
        return;
    }
    putchar('\'');
    for (; *name; name++)
        *name == '\'' ? printf("'\\''") : putchar(*name);
    putchar('\'');
}

void print_files(const char *output, const char *plot)
{
    if (output) {
        printf("  results      ");
        print_quoted(output);
        printf("\n  look at it   ");
        printf(save_has_suffix(output, ".csv") ? "cat " : "h5ls -d ");
        print_quoted(output);
        printf(save_has_suffix(output, ".csv") ? "\n" : "/convergence; h5dump -A ");
        if (!save_has_suffix(output, ".csv")) {
            print_quoted(output);
            putchar('\n');
        }
    }
    if (plot) {
        printf("  plot         ");
        print_quoted(plot);
        putchar('\n');
    }
}
