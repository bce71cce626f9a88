/* node/placement.h - which cores each slot of a node gets.
 *
 * Pure function of a topology and options, so that it is tested against
 * recorded topologies of machines we do not have. The only user of hwloc.
 */
#ifndef FLM_NODE_PLACEMENT_H
#define FLM_NODE_PLACEMENT_H

#include <flm/error.h>
#include <stdbool.h>

enum placement_bind { PLACEMENT_CORE, PLACEMENT_L3, PLACEMENT_NUMA, PLACEMENT_NONE };

struct placement_options {
    unsigned slots;          /* 0: one per cores_per_slot cores that this process may use */
    unsigned cores_per_slot; /* 0: 1 */
    enum placement_bind bind;
    bool spread;          /* neighbours far apart; else packed */
    const char *topology; /* XML file or "synthetic:..." instead of this machine; NULL */
    unsigned cpus;        /* as many hardware threads belong to us, of those that we may use; 0: all */
    const char *allowed;  /* CPU list to stay within, "0-3,8"; NULL: this process's affinity */
};

enum { PLACEMENT_CPUS_TEXT = 512, PLACEMENT_MAX_SLOTS = 4096 };

struct placement_slot {
    char cpus[PLACEMENT_CPUS_TEXT]; /* Linux CPU list of the binding; "" = not bound */
    unsigned cores;                 /* cores that the slot may use: OMP_NUM_THREADS */
    int numa;                       /* node for its memory; -1: any */
};

struct placement {
    unsigned n;          /* slots */
    unsigned cores;      /* usable cores of the machine */
    bool oversubscribed; /* more slots than cores: then no slot is bound to a core */
    struct placement_slot *slots;
};

/* Fills *out. FLM_EINVAL: a text that is not a CPU list, slots > PLACEMENT_MAX_SLOTS;
 * FLM_EIO: no such topology. */
int placement_compute(const struct placement_options *options, struct placement *out, flm_error *error);
void placement_free(struct placement *placement);

/* "core", "l3", "numa", "none". FLM_EINVAL otherwise. */
int placement_parse_bind(const char *text, enum placement_bind *out);

/* Applies a slot's binding to the calling process (threads started later
 * inherit it) and prefers its memory node. "" does nothing. Best effort: a
 * failure is returned, not fatal. */
int placement_apply(const char *cpus, int numa);

#endif
