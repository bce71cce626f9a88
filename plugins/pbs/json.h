/* pbs/json.h - a walk over what qstat and pbsnodes print with -F json.
 *
 * That is not always JSON: names and values have whatever bytes users gave them. So bytes are taken as they
 * are, and of escapes that are none the backslash stays.
 */
#ifndef PLUGIN_PBS_JSON_H
#define PLUGIN_PBS_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum { JSON_DEPTH = 6 };

/* A text, number or word (true, null); keys[0..depth) are the names above it. Elements of a list have the
 * list's; what lies deeper than JSON_DEPTH is not told. */
typedef void json_fn(void *arg, const char *const *keys, unsigned depth, const char *value);

/* false: the text breaks off, or is nothing like that; what came before has been told. */
bool json_walk(const char *text, size_t n, json_fn *fn, void *arg);

#endif
