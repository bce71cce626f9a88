/* model.c - see model.h */
#include "model.h"
#include <math.h>
#include <stdio.h>

_Static_assert(sizeof(struct model) == 64, "common data has no holes");
_Static_assert(sizeof(struct mc_task) == 16 && sizeof(struct mc_sums) == 32, "nor have records");

/* Beyond these, prices at maturity leave the range of the kernel's exp(). */
#define MAX_GROWTH 100.0 /* |rate| * maturity */
#define MAX_SPREAD 10.0  /* volatility * sqrt(maturity) */

const char *model_payoff_name(uint32_t payoff)
{
    static const char *const name[] = {"?", "pi", "call", "put"};
    return name[payoff <= PAYOFF_PUT ? payoff : 0];
}

const char *model_title(uint32_t payoff)
{
    static const char *const title[] = {"?", "pi", "European call option", "European put option"};
    return title[payoff <= PAYOFF_PUT ? payoff : 0];
}

static int refuse(flm_error *error, const char *what, double value, const char *rule)
{
    if (error) {
        error->code = FLM_EINVAL;
        snprintf(error->text, sizeof(error->text), "%s is %g, but must be %s", what, value, rule);
    }
    return FLM_EINVAL;
}

int model_check(const struct model *m, flm_error *error)
{
    if (m->version != MODEL_VERSION)
        return refuse(error, "the version of the common data", m->version, "1: program and module differ");
    if (m->payoff < PAYOFF_PI || m->payoff > PAYOFF_PUT)
        return refuse(error, "the payoff", m->payoff, "pi, call or put");
    if (!isfinite(m->centre))
        return refuse(error, "the centre", m->centre, "a number");
    if (m->payoff == PAYOFF_PI)
        return 0;
    if (!(m->spot > 0 && m->spot <= 1e100))
        return refuse(error, "the spot price", m->spot, "positive, at most 1e100");
    if (!(m->strike > 0 && m->strike <= 1e100))
        return refuse(error, "the strike price", m->strike, "positive, at most 1e100");
    if (!(m->volatility >= 0 && m->volatility <= 100))
        return refuse(error, "the volatility", m->volatility, "from 0 to 100 (0.2 means 20 % in a year)");
    if (!(m->maturity >= 0 && m->maturity <= 1000))
        return refuse(error, "the maturity", m->maturity, "from 0 to 1000 years");
    if (!(fabs(m->rate) * m->maturity <= MAX_GROWTH && fabs(m->rate) <= 100))
        return refuse(error, "the rate", m->rate, "at most 100, and rate x maturity at most 100");
    if (!(m->volatility * sqrt(m->maturity) <= MAX_SPREAD))
        return refuse(error, "volatility x sqrt(maturity)", m->volatility * sqrt(m->maturity),
                      "at most 10");
    return 0;
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* What the option gives if the asset grows by the interest rate. */
static double expected_gain(const struct model *m)
{
    double forward = m->spot * exp(m->rate * m->maturity);

    return fmax(m->payoff == PAYOFF_CALL ? forward - m->strike : m->strike - forward, 0);
}

void model_set_centre(struct model *m)
{
    m->centre = m->payoff == PAYOFF_PI ? 0 : expected_gain(m);
}

double model_scale(const struct model *m)
{
    return m->payoff == PAYOFF_PI ? 4 : exp(-m->rate * m->maturity);
}

double model_exact(const struct model *m)
{
    double spread = m->volatility * sqrt(m->maturity);
    double discounted = m->strike * exp(-m->rate * m->maturity);
    double d1, d2;

    if (m->payoff == PAYOFF_PI)
        return acos(-1.0);
    if (!(spread > 0)) /* nothing is left to chance */
        return model_scale(m) * expected_gain(m);
    d1 = (log(m->spot / m->strike) + m->rate * m->maturity) / spread + spread / 2;
    d2 = d1 - spread;
    if (m->payoff == PAYOFF_CALL)
        return m->spot * normal_cdf(d1) - discounted * normal_cdf(d2);
    return discounted * normal_cdf(-d2) - m->spot * normal_cdf(-d1);
}
