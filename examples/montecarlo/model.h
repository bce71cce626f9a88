/* model.h - what is estimated, and what travels between client and service.
 *
 * The estimate is scale * (centre + mean of x), where x is what one sample
 * gives less the centre (the centre keeps sums of squares from cancelling):
 *
 *   pi    x = 1 inside the unit circle else 0     centre 0                 scale 4
 *   call  x = max(S - K, 0) - centre              max(S0 e^(rT) - K, 0)    e^(-rT)
 *   put   x = max(K - S, 0) - centre              max(K - S0 e^(rT), 0)    e^(-rT)
 *
 * S = S0 exp((r - sigma^2/2) T + sigma sqrt(T) Z), Z normal: the price at
 * maturity of an asset that follows a geometric Brownian motion.
 */
#ifndef MONTECARLO_MODEL_H
#define MONTECARLO_MODEL_H

#include <flm/error.h>
#include <stdint.h>

enum payoff { PAYOFF_PI = 1, PAYOFF_CALL = 2, PAYOFF_PUT = 3 };

#define MODEL_VERSION 1u

/* The common data of the session. All but the centre is the user's. Little endian, 64 bytes. */
struct model {
    uint32_t version; /* MODEL_VERSION */
    uint32_t payoff;  /* enum payoff */
    uint64_t seed;
    double spot, strike; /* S0, K: in any currency */
    double rate;         /* r: per year, continuously compounded */
    double volatility;   /* sigma: per square root of a year */
    double maturity;     /* T: years */
    double centre;       /* see above; set by model_set_centre on the client, since exp() of libm may differ
                            in its last digit from node to node */
};

/* The input of a task: which stream, and how much of it. */
struct mc_task {
    uint64_t number;
    uint64_t samples;
};

/* Its output. */
struct mc_sums {
    uint64_t number;
    uint64_t samples;
    double sum;  /* of x */
    double sum2; /* of x^2 */
};

const char *model_payoff_name(uint32_t payoff); /* "pi", "call", "put"; never NULL */
const char *model_title(uint32_t payoff);       /* "European call option" */

/* Whether the numbers make sense: 0, or FLM_EINVAL with the reason. */
int model_check(const struct model *model, flm_error *error);

/* The value that the estimate tends to: pi, or Black and Scholes (1973). */
double model_exact(const struct model *model);
/* Any shift would do; this one is near the mean. */
void model_set_centre(struct model *model);
double model_scale(const struct model *model);

#endif
