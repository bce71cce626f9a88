/* parts/hosts.h - the nodes of a world, for launchers that read them in a file. nodes: that of each rank,
 * "n2,n1,n1". */
#ifndef PLUGIN_PARTS_HOSTS_H
#define PLUGIN_PARTS_HOSTS_H

#include <stdbool.h>

bool hosts_are_one(const char *nodes);

/* Sets the variable to the name of a file with "n2:1" and "n1:2", a line each, where between is ":". It is
 * there for who inherits our descriptors, and nobody has to remove it. 0, or -1 and errno. */
int hosts_give(const char *variable, const char *nodes, const char *between);

#endif
