/* philox.h - Philox4x32-10, a counter-based random number generator.
 *
 * J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: "Parallel Random Numbers:
 * As Easy as 1, 2, 3", SC11 (2011), section 3.3. A block of four words is a
 * bijection of a 128-bit counter under a 64-bit key: no state, so that any task
 * can begin anywhere in any stream. Checked against the known answers of the
 * paper's authors in tests/unit/test_montecarlo_kernel.c.
 */
#ifndef MONTECARLO_PHILOX_H
#define MONTECARLO_PHILOX_H

#include <stdint.h>

#define PHILOX_ROUNDS 10
#define PHILOX_M0     UINT32_C(0xD2511F53) /* multipliers */
#define PHILOX_M1     UINT32_C(0xCD9E8D57)
#define PHILOX_W0     UINT32_C(0x9E3779B9) /* key schedule: golden ratio, sqrt(3) - 1 */
#define PHILOX_W1     UINT32_C(0xBB67AE85)

/* Replaces the counter c by four random words. */
static inline void philox4x32(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    uint32_t c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];

    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    c[0] = c0, c[1] = c1, c[2] = c2, c[3] = c3;
}

#endif
