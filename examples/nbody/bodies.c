#include "bodies.h"
#include <math.h>

/* Plummer's softening: bodies that come very close do not throw each other out. Units: G = 1, total mass
 * 1. (S. Aarseth, Gravitational N-Body Simulations, 2003, chapter 2.) */
static const double softening2 = 1e-4;

void bodies_accelerations(const struct body *bodies, size_t n, const struct block *block, double (*out)[3])
{
    for (uint64_t i = 0; i < block->count; i++) {
        const double *at = bodies[block->first + i].position;
        double a[3] = {0, 0, 0};
        for (size_t j = 0; j < n; j++) {
            const double d[3] = {bodies[j].position[0] - at[0], bodies[j].position[1] - at[1],
                                 bodies[j].position[2] - at[2]};
            double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + softening2;
            double f = bodies[j].mass / (r2 * sqrt(r2));
            for (int k = 0; k < 3; k++)
                a[k] += f * d[k];
        }
        for (int k = 0; k < 3; k++)
            out[i][k] = a[k];
    }
}

/* splitmix64, to a number in -1 .. 1 */
static double random_number(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-52 - 1;
}

void bodies_make(struct body *bodies, double (*velocities)[3], size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        double *x = bodies[i].position;
        do {
            for (int k = 0; k < 3; k++)
                x[k] = random_number(&seed);
        } while (x[0] * x[0] + x[1] * x[1] + x[2] * x[2] > 1);
        bodies[i].mass = 1.0 / (double)n;
        velocities[i][0] = -0.5 * x[1];
        velocities[i][1] = 0.5 * x[0];
        velocities[i][2] = 0;
    }
}

double bodies_energy(const struct body *bodies, double (*velocities)[3], size_t n)
{
    double energy = 0;
    for (size_t i = 0; i < n; i++) {
        const double *v = velocities[i], *x = bodies[i].position;
        energy += 0.5 * bodies[i].mass * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        for (size_t j = i + 1; j < n; j++) {
            const double *y = bodies[j].position;
            double r2 = (x[0] - y[0]) * (x[0] - y[0]) + (x[1] - y[1]) * (x[1] - y[1]) +
                        (x[2] - y[2]) * (x[2] - y[2]);
            energy -= bodies[i].mass * bodies[j].mass / sqrt(r2 + softening2);
        }
    }
    return energy;
}
