/* bodies.h - points of mass that attract each other, and what a task computes of them. */
#ifndef NBODY_BODIES_H
#define NBODY_BODIES_H

#include <stddef.h>
#include <stdint.h>

/* The common data: one after another, as many as fit. */
struct body {
    double position[3], mass;
};

/* A task: bodies first .. first + count - 1. Its answer: 3 doubles for each, the accelerations. */
struct block {
    uint64_t first, count;
};

/* Each sum goes over all n bodies in their order, so it does not depend on the block that it is in. */
void bodies_accelerations(const struct body *bodies, size_t n, const struct block *block, double (*out)[3]);

/* Makes n bodies: a cloud in slow rotation, that of the seed. */
void bodies_make(struct body *bodies, double (*velocities)[3], size_t n, uint64_t seed);

/* Kinetic and potential energy. */
double bodies_energy(const struct body *bodies, double (*velocities)[3], size_t n);

#endif
