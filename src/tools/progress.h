/* tools/progress.h - the progress line of the tools, on stderr.
 *
 *     struct progress p;
 *     progress_begin(&p, PROGRESS_AUTO, "flmping", total);
 *     ... progress_show(&p, done, failed); ...   as often as you like
 *     progress_end(&p);
 *
 * Drawn at most 10 times a second and only when stderr is a terminal; when it is
 * not, PROGRESS_ON writes a whole line every 5 s. Nothing is left behind on the
 * terminal. Not for several threads.
 */
#ifndef FLM_TOOLS_PROGRESS_H
#define FLM_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum progress_mode { PROGRESS_AUTO, PROGRESS_ON, PROGRESS_OFF };

/* What the line says; progress_format turns it into text. */
struct progress_view {
    const char *label;
    uint64_t done, failed;
    uint64_t total; /* 0: not known */
    double rate;    /* per second, lately; 0: not known yet */
    double elapsed_s;
};

struct progress {
    struct progress_view view;
    bool on, terminal;
    bool drawn; /* there is a line on the terminal */
    int64_t begun_ns, next_ns, rate_ns;
    uint64_t rate_done;
};

/* label lives until progress_end. total 0: not known; it may be set later. */
void progress_begin(struct progress *p, enum progress_mode mode, const char *label, uint64_t total);
void progress_set_total(struct progress *p, uint64_t total);
void progress_show(struct progress *p, uint64_t done, uint64_t failed);

/* Takes the line away, before something else is written to the terminal; the
 * next progress_show draws it again. */
void progress_clear(struct progress *p);
void progress_end(struct progress *p);

/* The line in at most width columns (all of them ASCII but those of the label).
 * Returns its length; text is always terminated. */
int progress_format(char *text, size_t size, unsigned width, const struct progress_view *v);

#endif
