/* inputs.h - A and B on the client's side, and the check of C. */
#ifndef MATMUL_INPUTS_H
#define MATMUL_INPUTS_H

#include <flm/error.h>
#include <stdint.h>

/* Fills rows from.. (count) of matrix `which` (0: A, 1: B) with numbers in
 * [-1, 1): a function of seed, which and position alone. */
void inputs_generate(uint64_t seed, int which, uint64_t columns, uint64_t from, uint64_t count, double *to);

/* The outcome of comparing C with another C of the same A and B. */
struct inputs_check {
    double difference;    /* the largest |C - reference| */
    double of_bound;      /* the largest |C - reference| / bound: passed when <= 1 */
    uint64_t row, column; /* where of_bound is largest */
    double value, reference;
};

/* Both C and the reference are sums of k products in some order and so
 * |C - reference| <= 2 gamma_k |A| |B|, element by element, where gamma_k =
 * k u / (1 - k u), u = 2^-53 (N. J. Higham, Accuracy and Stability of Numerical
 * Algorithms, 2nd ed., section 3.5). The product |A| |B| is not formed: its
 * element (i, j) is at most |row i of A| |column j of B| (Euclidean norms).
 * 0 or FLM_ENOMEM. */
int inputs_compare(uint64_t m, uint64_t n, uint64_t k, const double *a, const double *b, const double *c,
                   const double *reference, struct inputs_check *check);

#endif
