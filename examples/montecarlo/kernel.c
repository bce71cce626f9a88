/* kernel.c - random words, normals, payoffs and their sums, a chunk at a time.
 *
 * Loops are plain and free of branches and calls, so that compilers make vector
 * code of them; the functions with KERNEL_CLONES are compiled for several
 * instruction sets and chosen when the module is loaded (they are static: clang 14
 * gives others a name that nobody finds). All arrays of a chunk fit in the
 * first-level cache. log, sin, cos and exp are series (the arguments are reduced
 * first), accurate to a few units in the last place:
 * tests/unit/test_montecarlo_kernel.c compares them with libm.
 *
 * Stream of a task: key = seed, counter = (block number, task number). One
 * block gives two samples.
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* whatever CFLAGS say: gcc 12 makes little vector code below it */
#endif
#include "kernel.h"
#include "philox.h"
#include <math.h>
#include <string.h>

#define BLOCKS (KERNEL_CHUNK / 2)

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define KERNEL_CLONES
#endif
#endif
#if !defined(KERNEL_CLONES) && defined(__x86_64__) && defined(__gnu_linux__) &&                            \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KERNEL_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#elif !defined(KERNEL_CLONES)
#define KERNEL_CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

#define ROUND_MAGIC                                                                                        \
    6755399441055744.0 /* 1.5 * 2^52: adding it rounds to an integer, left in the                          \
                          low bits of the sum */

INLINE uint64_t bits_of(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof(b));
    return b;
}

INLINE double double_of(uint64_t b)
{
    double x;
    memcpy(&x, &b, sizeof(x));
    return x;
}

KERNEL_CLONES
static void words_of(uint64_t seed, uint64_t task, uint64_t first, uint32_t words[4][BLOCKS])
{
    uint32_t *restrict w0 = words[0], *restrict w1 = words[1];
    uint32_t *restrict w2 = words[2], *restrict w3 = words[3];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t t0 = (uint32_t)task, t1 = (uint32_t)(task >> 32);

    for (int i = 0; i < BLOCKS; i++) {
        uint64_t n = first + (uint64_t)i;
        uint32_t c[4] = {(uint32_t)n, (uint32_t)(n >> 32), t0, t1};
        philox4x32(c, k0, k1);
        w0[i] = c[0], w1[i] = c[1], w2[i] = c[2], w3[i] = c[3];
    }
}

/* 52 bits in the middle of (0, 1): never 0, never 1. */
INLINE double uniform(uint32_t low, uint32_t high)
{
    uint64_t mantissa = ((uint64_t)high << 20) | (low >> 12);
    return double_of(mantissa | UINT64_C(0x3FF0000000000000)) - (1.0 - 0x1p-53);
}

/* ln u for 0 < u <= 1: u = 2^e m with m in [1/sqrt(2), sqrt(2)),
 * ln m = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...), s = (m - 1)/(m + 1), |s| < 0.172. */
INLINE double log_unit(double u)
{
    uint64_t b = bits_of(u);
    uint64_t up = (b & UINT64_C(0x000FFFFFFFFFFFFF)) > UINT64_C(0x6A09E667F3BCC) ? 1 : 0;
    uint64_t e = (b >> 52) + up; /* biased by 1023 */
    double m = double_of((b & UINT64_C(0x000FFFFFFFFFFFFF)) | ((1023 - up) << 52));
    double exponent = double_of(e | UINT64_C(0x4330000000000000)) - (0x1p52 + 1023);
    double s = (m - 1) / (m + 1), q = s * s, p = 1.0 / 21;

    p = p * q + 1.0 / 19;
    p = p * q + 1.0 / 17;
    p = p * q + 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    return exponent * 0.69314718055994530942 + 2 * (s + s * q * p);
}

INLINE double sin_series(double t, double q) /* |t| <= pi/4, q = t^2 */
{
    double p = 1.0 / 355687428096000;
    p = p * q - 1.0 / 1307674368000;
    p = p * q + 1.0 / 6227020800;
    p = p * q - 1.0 / 39916800;
    p = p * q + 1.0 / 362880;
    p = p * q - 1.0 / 5040;
    p = p * q + 1.0 / 120;
    p = p * q - 1.0 / 6;
    return t + t * q * p;
}

INLINE double cos_series(double q)
{
    double p = -1.0 / 6402373705728000;
    p = p * q + 1.0 / 20922789888000;
    p = p * q - 1.0 / 87178291200;
    p = p * q + 1.0 / 479001600;
    p = p * q - 1.0 / 3628800;
    p = p * q + 1.0 / 40320;
    p = p * q - 1.0 / 720;
    p = p * q + 1.0 / 24;
    p = p * q - 0.5;
    return 1 + q * p;
}

/* G. E. P. Box, M. E. Muller (1958): two uniforms give two normals. The angle
 * 2 pi v is a quarter turn `quad` times, and a rest of at most pi/4. */
KERNEL_CLONES
static void normals(const uint32_t words[4][BLOCKS], double z[KERNEL_CHUNK])
{
    const uint32_t *restrict w0 = words[0], *restrict w1 = words[1];
    const uint32_t *restrict w2 = words[2], *restrict w3 = words[3];
    double *restrict za = z, *restrict zb = z + BLOCKS;

    for (int i = 0; i < BLOCKS; i++) {
        double r = sqrt(-2 * log_unit(uniform(w0[i], w1[i])));
        double v = uniform(w2[i], w3[i]);
        double shifted = 4 * v + ROUND_MAGIC;
        double t = (v - (shifted - ROUND_MAGIC) * 0.25) * 6.28318530717958647693;
        double q = t * t, s = sin_series(t, q), c = cos_series(q);
        uint64_t quad = bits_of(shifted);
        uint64_t swap = 0 - (quad & 1); /* all ones: sine and cosine change places */
        uint64_t sb = bits_of(s), cb = bits_of(c), change = (sb ^ cb) & swap;
        za[i] = r * double_of((cb ^ change) ^ (((quad + 1) & 2) << 62));
        zb[i] = r * double_of((sb ^ change) ^ ((quad & 2) << 62));
    }
}

/* e^x = 2^k e^f, |f| <= ln(2)/2, and the Taylor series of e^f. */
KERNEL_CLONES
static void exponentials(double x[KERNEL_CHUNK])
{
    for (int i = 0; i < KERNEL_CHUNK; i++) {
        double shifted = x[i] * 1.44269504088896340736 + ROUND_MAGIC;
        double k = shifted - ROUND_MAGIC;
        double f = (x[i] - k * 0x1.62e42fefa0000p-1) - k * 0x1.cf79abc9e3b3ap-40;
        double p = 1.0 / 6227020800;
        p = p * f + 1.0 / 479001600;
        p = p * f + 1.0 / 39916800;
        p = p * f + 1.0 / 3628800;
        p = p * f + 1.0 / 362880;
        p = p * f + 1.0 / 40320;
        p = p * f + 1.0 / 5040;
        p = p * f + 1.0 / 720;
        p = p * f + 1.0 / 120;
        p = p * f + 1.0 / 24;
        p = p * f + 1.0 / 6;
        p = p * f + 0.5;
        p = p * f + 1;
        p = p * f + 1;
        x[i] = p * double_of((bits_of(shifted) + 1023) << 52);
    }
}

/* 1 where the point is inside the circle; coordinates in (-1, 1), 32 bits each. */
KERNEL_CLONES
static void circle(const uint32_t words[4][BLOCKS], double x[KERNEL_CHUNK])
{
    double *restrict xa = x, *restrict xb = x + BLOCKS;

    for (int i = 0; i < BLOCKS; i++) {
        double a = (int32_t)words[0][i] + 0.5, b = (int32_t)words[1][i] + 0.5;
        double c = (int32_t)words[2][i] + 0.5, d = (int32_t)words[3][i] + 0.5;
        xa[i] = a * a + b * b < 0x1p62 ? 1.0 : 0.0;
        xb[i] = c * c + d * d < 0x1p62 ? 1.0 : 0.0;
    }
}

/* x: normals in, payoffs out. sign: 1 call, -1 put. */
KERNEL_CLONES
static void drift(double x[KERNEL_CHUNK], double mean, double spread)
{
    for (int i = 0; i < KERNEL_CHUNK; i++)
        x[i] = mean + spread * x[i];
}

KERNEL_CLONES
static void payoff(double x[KERNEL_CHUNK], double spot, double strike, double sign, double centre)
{
    for (int i = 0; i < KERNEL_CHUNK; i++) {
        double gain = sign * (spot * x[i] - strike);
        x[i] = (gain > 0 ? gain : 0) - centre;
    }
}

/* Sums by halving: order fixed, rounding grows with the logarithm of the length. */
KERNEL_CLONES
static void fold(double x[KERNEL_CHUNK], double *sum, double *sum2)
{
    double y[KERNEL_CHUNK];

    for (int i = 0; i < KERNEL_CHUNK; i++)
        y[i] = x[i] * x[i];
    for (int half = KERNEL_CHUNK / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) {
            x[i] += x[i + half];
            y[i] += y[i + half];
        }
    *sum += x[0];
    *sum2 += y[0];
}

int kernel_run(const struct model *m, const struct mc_task *task, struct mc_sums *sums,
               bool (*stop)(const void *arg), const void *arg)
{
    uint32_t words[4][BLOCKS];
    double x[KERNEL_CHUNK];
    double spread = m->volatility * sqrt(m->maturity);
    double mean = m->rate * m->maturity - spread * spread / 2;

    *sums = (struct mc_sums){.number = task->number, .samples = task->samples};
    for (uint64_t done = 0; done < task->samples; done += KERNEL_CHUNK) {
        uint64_t left = task->samples - done;
        words_of(m->seed, task->number, done / 2, words);
        if (m->payoff == PAYOFF_PI) {
            circle((const uint32_t(*)[BLOCKS])words, x);
        } else {
            normals((const uint32_t(*)[BLOCKS])words, x);
            drift(x, mean, spread);
            exponentials(x);
            payoff(x, m->spot, m->strike, m->payoff == PAYOFF_CALL ? 1 : -1, m->centre);
        }
        for (uint64_t i = left; i < KERNEL_CHUNK; i++)
            x[i] = 0;
        fold(x, &sums->sum, &sums->sum2);
        if (stop && stop(arg))
            return FLM_ECANCELLED;
    }
    return 0;
}

void kernel_words(uint64_t seed, uint64_t task, uint64_t first, uint32_t words[4][BLOCKS])
{
    words_of(seed, task, first, words);
}

void kernel_normals(const uint32_t words[4][BLOCKS], double z[KERNEL_CHUNK])
{
    normals(words, z);
}

void kernel_exp(double x[KERNEL_CHUNK])
{
    exponentials(x);
}
