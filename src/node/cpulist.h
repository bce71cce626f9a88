/* node/cpulist.h - lists of CPUs as Linux writes them, "0-3,8". */
#ifndef FLM_NODE_CPULIST_H
#define FLM_NODE_CPULIST_H

/* No machine numbers its CPUs higher; a text that does is a mistake. */
enum { CPULIST_MAX = 65535 };

/* Calls add(arg, first, last) for each range of text. Only digits, '-' and ','
 * in the places where they belong: 0, or FLM_EINVAL also for "" (add may have
 * been called by then). An error that add returns ends it and is returned. */
int cpulist_parse(const char *text, int (*add)(void *arg, unsigned first, unsigned last), void *arg);

#endif
