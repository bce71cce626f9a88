/* executor/stock.h - the session manager is lost, and another may take us over with our process and
 * session.
 *
 * What has not begun is forgotten, since the next session manager has it all in its journal; what runs is
 * finished, and its result waits in the ring with those that are there. The next session manager takes over
 * its end of the ring: it reads on where the last one came to, and writes behind what that wrote, which we
 * skip. The number of a task is then that of the last one that we began, plus 1.
 *
 * The second thread takes stock at once: what has begun, and which task runs. The main thread, when it gets
 * there, skips what is not to be run and says in the ring, behind all results, that it has settled.
 */
#ifndef FLM_EXECUTOR_STOCK_H
#define FLM_EXECUTOR_STOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct flm__executor;

struct flm__stock {
    pthread_mutex_t lock;
    uint64_t round; /* lock: of losses, as the agent counts them */
    uint64_t began; /* lock: number of the last task that is run */
    uint64_t skip;  /* lock: the ring is skipped up to this position */
    bool taken;     /* lock: and the main thread has not settled yet */
};

void flm__stock_init(struct flm__stock *stock);

/* Second thread: returns the number of the last task that has begun; *task its id if it runs, 0 if it does
 * not or is only about to. */
uint64_t flm__stock_take(struct flm__executor *e, uint64_t round, uint64_t *task);

/* Main thread: between tasks, once control.halt was set; nothing happens when that was not for this. */
void flm__stock_settle(struct flm__executor *e);

#endif
