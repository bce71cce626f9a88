/* plot.c - see plot.h. The SVG is written by hand: it has two axes, three curves
 * and a legend, and any browser shows it.
 */
#include "plot.h"
#include "fail.h"
#include "report.h"
#include "save.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIDTH     800
#define HEIGHT    520
#define LEFT      86.0
#define RIGHT     776.0
#define TOP       78.0
#define BOTTOM    454.0
#define CONVERTER "rsvg-convert"

#define COLOUR_ERROR    "#0072b2" /* a pair that colour-blind people can tell apart */
#define COLOUR_STANDARD "#e69f00"
#define COLOUR_TEXT     "#222"

extern char **environ;

/* A logarithmic axis from 10^low to 10^high over pixels from..to. */
struct axis {
    int low, high;
    double from, to;
};

static double place(const struct axis *a, double value)
{
    double t = (log10(value) - a->low) / (a->high - a->low);

    return a->from + (a->to - a->from) * fmin(fmax(t, 0), 1);
}

static void axis_fit(struct axis *a, double low, double high)
{
    a->low = (int)floor(log10(low) + 1e-9);
    a->high = (int)ceil(log10(high) - 1e-9);
    if (a->high <= a->low)
        a->high = a->low + 1;
}

/* Ranges that show every standard error and the differences down to 1/30 of them. */
static void fit(const struct history *h, struct axis *x, struct axis *y)
{
    double low = INFINITY, high = 0;

    for (int i = 0; i < h->n; i++) {
        double e = h->row[i].standard_error, d = fabs(h->row[i].difference);
        if (e > 0) {
            low = fmin(low, d > 0 ? fmax(fmin(d, e), e / 30) : e);
            high = fmax(high, fmax(e, d));
        } else if (d > 0) {
            low = fmin(low, d);
            high = fmax(high, d);
        }
    }
    *x = (struct axis){.from = LEFT, .to = RIGHT};
    *y = (struct axis){.from = BOTTOM, .to = TOP};
    axis_fit(x, h->n ? (double)h->row[0].samples : 1, h->n ? (double)h->row[h->n - 1].samples : 10);
    axis_fit(y, high > 0 ? low : 1e-3, high > 0 ? high : 1);
}

static void draw_grid(FILE *f, const struct axis *a, int vertical)
{
    for (int p = a->low; p <= a->high; p++)
        for (int k = 1; k < (p < a->high ? 10 : 2); k++) {
            double at = place(a, k * pow(10, p));
            if (vertical)
                fprintf(f, "<path d='M%.1f %.1fV%.1f' stroke='%s'/>\n", at, TOP, BOTTOM,
                        k == 1 ? "#ccc" : "#f0f0f0");
            else
                fprintf(f, "<path d='M%.1f %.1fH%.1f' stroke='%s'/>\n", LEFT, at, RIGHT,
                        k == 1 ? "#ccc" : "#f0f0f0");
        }
}

static void draw_power(FILE *f, double x, double y, const char *anchor, int power)
{
    fprintf(f, "<text x='%.1f' y='%.1f' text-anchor='%s'>10<tspan dy='-6' font-size='11'>", x, y, anchor);
    fprintf(f, power < 0 ? "\xe2\x88\x92%d" : "%d", abs(power));
    fputs("</tspan></text>\n", f);
}

static void draw_axes(FILE *f, const struct axis *x, const struct axis *y)
{
    int step = 1 + (y->high - y->low) / 10;

    draw_grid(f, x, 1);
    draw_grid(f, y, 0);
    fprintf(f, "<path d='M%.1f %.1fV%.1fH%.1f' fill='none' stroke='%s' stroke-width='1.2'/>\n", LEFT, TOP,
            BOTTOM, RIGHT, COLOUR_TEXT);
    for (int p = x->low; p <= x->high; p++)
        draw_power(f, place(x, pow(10, p)), BOTTOM + 22, "middle", p);
    for (int p = y->low; p <= y->high; p += step)
        draw_power(f, LEFT - 10, place(y, pow(10, p)) + 5, "end", p);
    fprintf(
        f,
        "<text x='%.1f' y='%d' text-anchor='middle'>samples <tspan font-style='italic'>N</tspan></text>\n",
        (LEFT + RIGHT) / 2, HEIGHT - 18);
    fprintf(f,
            "<text transform='translate(24 %.1f) rotate(-90)' text-anchor='middle'>error of the "
            "estimate</text>\n",
            (TOP + BOTTOM) / 2);
}

/* One of the columns of the history as a polyline; values not above 0 are left out. */
static double column(const struct history_row *row, int standard)
{
    return standard ? row->standard_error : fabs(row->difference);
}

static void draw_curve(FILE *f, const struct history *h, const struct axis *x, const struct axis *y,
                       int standard, const char *style)
{
    fprintf(f, "<polyline fill='none' %s points='", style);
    for (int i = 0; i < h->n; i++)
        if (column(&h->row[i], standard) > 0)
            fprintf(f, "%.1f,%.1f ", place(x, (double)h->row[i].samples),
                    place(y, column(&h->row[i], standard)));
    fputs("'/>\n", f);
}

static void draw_dots(FILE *f, const struct history *h, const struct axis *x, const struct axis *y)
{
    for (int i = 0; i < h->n; i++)
        if (fabs(h->row[i].difference) > 0)
            fprintf(f, "<circle cx='%.1f' cy='%.1f' r='2.4'/>\n", place(x, (double)h->row[i].samples),
                    place(y, fabs(h->row[i].difference)));
}

/* c / sqrt(N) through the last standard error, cut where it leaves the picture. */
static void draw_reference(FILE *f, const struct history *h, const struct axis *x, const struct axis *y)
{
    const struct history_row *last = &h->row[h->n - 1];
    double c = last->standard_error * sqrt((double)last->samples);
    double n0, n1;

    if (!(c > 0))
        return;
    n0 = fmax(pow(10, x->low), pow(c / pow(10, y->high), 2));
    n1 = fmin(pow(10, x->high), pow(c / pow(10, y->low), 2));
    fprintf(f, "<path d='M%.1f %.1fL%.1f %.1f' stroke='#444' stroke-width='1.3' stroke-dasharray='7 5'/>\n",
            place(x, n0), place(y, c / sqrt(n0)), place(x, n1), place(y, c / sqrt(n1)));
}

static void draw_legend(FILE *f)
{
    double left = RIGHT - 264, y = TOP + 24;

    fprintf(f,
            "<rect x='%.1f' y='%.1f' width='254' height='76' rx='4' fill='#fff' fill-opacity='0.92' "
            "stroke='#ccc'/>\n",
            left, TOP + 8);
    fprintf(f,
            "<path d='M%.1f %.1fh34' stroke='" COLOUR_ERROR "' stroke-width='1.2'/>"
            "<circle cx='%.1f' cy='%.1f' r='2.8' fill='" COLOUR_ERROR "'/>"
            "<text x='%.1f' y='%.1f'>|estimate \xe2\x88\x92 exact|</text>\n",
            left + 12, y, left + 29, y, left + 58, y + 5);
    fprintf(f,
            "<path d='M%.1f %.1fh34' stroke='" COLOUR_STANDARD "' stroke-width='3.5'/>"
            "<text x='%.1f' y='%.1f'>standard error</text>\n",
            left + 12, y + 22, left + 58, y + 27);
    fprintf(f,
            "<path d='M%.1f %.1fh34' stroke='#444' stroke-width='1.3' stroke-dasharray='7 5'/>"
            "<text x='%.1f' y='%.1f'>proportional to 1/\xe2\x88\x9a<tspan "
            "font-style='italic'>N</tspan></text>\n",
            left + 12, y + 44, left + 58, y + 49);
}

static void draw_title(FILE *f, const struct outcome *o)
{
    char samples[REPORT_TEXT], tasks[REPORT_TEXT];

    fprintf(f,
            "<text x='%.1f' y='34' font-size='19' font-weight='bold'>%s by Monte Carlo: %.8g "
            "\xc2\xb1 %.2g</text>\n",
            LEFT, o->model.payoff == PAYOFF_PI ? "\xcf\x80" : model_title(o->model.payoff),
            o->estimate.value, o->estimate.error);
    fprintf(f,
            "<text x='%.1f' y='58' fill='#666' font-size='13'>%s samples, %s tasks, seed %llu, exact value "
            "%.10g",
            LEFT, report_count(samples, o->estimate.samples), report_count(tasks, o->tasks),
            (unsigned long long)o->model.seed, o->exact);
    if (o->model.payoff != PAYOFF_PI)
        fprintf(f, " (S %g, K %g, r %g, \xcf\x83 %g, T %g)", o->model.spot, o->model.strike, o->model.rate,
                o->model.volatility, o->model.maturity);
    fputs("</text>\n", f);
}

char *plot_svg(const struct outcome *o, const struct history *h, size_t *size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    struct axis x, y;

    if (!f)
        return NULL;
    fit(h, &x, &y);
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' "
            "font-family='Helvetica, Arial, sans-serif' font-size='15' fill='" COLOUR_TEXT "'>\n"
            "<rect width='%d' height='%d' fill='#fff'/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_title(f, o);
    draw_axes(f, &x, &y);
    draw_curve(f, h, &x, &y, 1, "stroke='" COLOUR_STANDARD "' stroke-width='3.5'");
    if (h->n)
        draw_reference(f, h, &x, &y);
    draw_curve(f, h, &x, &y, 0, "stroke='" COLOUR_ERROR "' stroke-width='1.1'");
    fputs("<g fill='" COLOUR_ERROR "'>\n", f);
    draw_dots(f, h, &x, &y);
    fputs("</g>\n", f);
    draw_legend(f);
    fputs("</svg>\n", f);
    if (fclose(f)) {
        free(text);
        return NULL;
    }
    return text;
}

static int have_converter(void)
{
    const char *path = getenv("PATH");
    char *copy = strdup(path ? path : ""), *save = NULL, *folder;
    char file[4096];
    int found = 0;

    for (folder = copy ? strtok_r(copy, ":", &save) : NULL; folder && !found;
         folder = strtok_r(NULL, ":", &save)) {
        snprintf(file, sizeof(file), "%s/%s", folder, CONVERTER);
        found = access(file, X_OK) == 0;
    }
    free(copy);
    return found;
}

int plot_check(const char *path, flm_error *error)
{
    if (save_has_suffix(path, ".png") && !have_converter())
        return fail(error, FLM_ENOTFOUND,
                    "a PNG needs " CONVERTER ", which is not in the PATH: install librsvg2-bin, or ask for "
                    "an SVG (--plot=FILE.svg)");
    if (!save_has_suffix(path, ".svg") && !save_has_suffix(path, ".png"))
        return fail(error, FLM_EINVAL, "--plot=%s: the name must end in .svg or .png", path);
    return save_check(path, error);
}

/* Runs the converter with the SVG as its input; its output goes to a file
 * without a name that is then read back, so that nothing is left half written. */
static int run_converter(FILE *svg, FILE *png)
{
    char *const argv[] = {(char *)CONVERTER, (char *)"--format=png", (char *)"--zoom=2", NULL};
    posix_spawn_file_actions_t actions;
    int status = -1;
    pid_t pid;

    if (posix_spawn_file_actions_init(&actions))
        return -1;
    posix_spawn_file_actions_adddup2(&actions, fileno(svg), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(png), STDOUT_FILENO);
    if (posix_spawnp(&pid, CONVERTER, &actions, NULL, argv, environ) == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    posix_spawn_file_actions_destroy(&actions);
    return status;
}

static int write_png(const char *path, const char *svg, size_t size, flm_error *error)
{
    FILE *in = tmpfile(), *out = tmpfile();
    char *image = NULL;
    long n = 0;
    int rc = FLM_EIO;

    if (in && out && fwrite(svg, 1, size, in) == size && fflush(in) == 0 &&
        lseek(fileno(in), 0, SEEK_SET) == 0 && run_converter(in, out) == 0 &&
        fseek(out, 0, SEEK_END) == 0 && (n = ftell(out)) > 0 && (image = malloc((size_t)n))) {
        rewind(out);
        if (fread(image, 1, (size_t)n, out) == (size_t)n)
            rc = save_file(path, image, (size_t)n, error);
        else
            fail(error, rc, "%s: cannot read back the picture", path);
    } else {
        fail(error, rc,
             "%s: " CONVERTER " failed or there is no room in the temporary directory; an SVG "
             "(--plot=FILE.svg) needs neither",
             path);
    }
    free(image);
    if (in)
        fclose(in);
    if (out)
        fclose(out);
    return rc;
}

int plot_write(const char *path, const struct outcome *o, const struct history *h, flm_error *error)
{
    size_t size = 0;
    char *svg = plot_svg(o, h, &size);
    int rc;

    if (!svg)
        return fail(error, FLM_ENOMEM, "no memory for the plot");
    rc = save_has_suffix(path, ".png") ? write_png(path, svg, size, error)
                                       : save_file(path, svg, size, error);
    free(svg);
    return rc;
}
