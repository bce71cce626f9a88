/* manager/say.h - lines for flmd's log about what may happen very often: some, then how many were left out.
 */
#ifndef MANAGER_SAY_H
#define MANAGER_SAY_H

#include <flm/error.h>
#include <stdint.h>

enum { SAY_LINES = 10, SAY_PERIOD_S = 10 }; /* at most so many in so many seconds */

struct say_limit {
    int64_t since_ns; /* beginning of the period */
    unsigned lines;   /* in it */
    unsigned long left_out;
};

/* "flmd: ..." on stderr. */
void say_limited(struct say_limit *limit, int64_t now_ns, const char *format, ...) FLM_PRINTF(3, 4);
/* The same lines, the last ones. */
struct events;
const struct events *say_events(void);
void say(const char *format, ...) FLM_PRINTF(1, 2);

#endif
