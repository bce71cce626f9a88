/* node/quota.h - how much CPU time the control groups of this process grant. */
#ifndef FLM_NODE_QUOTA_H
#define FLM_NODE_QUOTA_H

/* The smallest quota on the way from this process's group to the root, version 1
 * or 2, in CPUs (1.5); 0 when there is none or it cannot be told. root: "" for
 * this machine, else a folder that holds recorded files (for tests). */
double quota_cpus(const char *root);

#endif
