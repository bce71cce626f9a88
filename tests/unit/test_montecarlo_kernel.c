/* test_montecarlo_kernel.c - random numbers, functions and sums of examples/montecarlo. */
#include "kernel.h"
#include "philox.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define BLOCKS (KERNEL_CHUNK / 2)

static double normal[KERNEL_CHUNK];
static uint32_t word[4][BLOCKS];

/* From the known-answer file of the authors of Philox (Random123, kat_vectors). */
static void test_philox_known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t c[4];
        memcpy(c, cases[i].counter, sizeof(c));
        philox4x32(c, cases[i].key[0], cases[i].key[1]);
        assert_memory_equal(c, cases[i].out, sizeof(c));
    }
}

static void test_words_are_philox_of_seed_and_task(void **state)
{
    static const struct {
        uint64_t seed, task, first;
    } cases[] = {{0, 0, 0}, {1, 2, 3}, {UINT64_C(1) << 40, UINT64_C(7) << 33, 0}, {9, 9, 0xfffffff0}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t s = cases[i].seed, t = cases[i].task;
        kernel_words(s, t, cases[i].first, word);
        for (int j = 0; j < BLOCKS; j++) {
            uint64_t n = cases[i].first + (uint64_t)j;
            uint32_t c[4] = {(uint32_t)n, (uint32_t)(n >> 32), (uint32_t)t, (uint32_t)(t >> 32)};
            philox4x32(c, (uint32_t)s, (uint32_t)(s >> 32));
            for (int w = 0; w < 4; w++)
                assert_int_equal(word[w][j], c[w]);
        }
    }
}

/* The same uniform as the kernel makes, and then libm. */
static double uniform(uint32_t low, uint32_t high)
{
    return ((double)(((uint64_t)high << 20) | (low >> 12)) + 0.5) * 0x1p-52;
}

static void check_normals(void)
{
    kernel_normals((const uint32_t(*)[BLOCKS])word, normal);
    for (int i = 0; i < BLOCKS; i++) {
        double r = sqrt(-2 * log(uniform(word[0][i], word[1][i])));
        double angle = 2 * acos(-1.0) * uniform(word[2][i], word[3][i]);
        /* sin and cos lose as many digits to the rounding of the angle here */
        assert_true(fabs(normal[i] - r * cos(angle)) <= 4e-15 * r);
        assert_true(fabs(normal[i + BLOCKS] - r * sin(angle)) <= 4e-15 * r);
    }
}

static void test_normals_are_box_and_muller(void **state)
{
    static const uint32_t edge[] = {0,          1,          0xfff,      0x1000,     0x7fffffff,
                                    0x80000000, 0xb504f333, 0xfffff000, 0xffffffff, 0x20000000,
                                    0x40000000, 0x60000000, 0xe0000000};
    const int edges = sizeof(edge) / sizeof(edge[0]);

    (void)state;
    for (uint64_t task = 0; task < 50; task++) {
        kernel_words(3, task, 0, word);
        check_normals();
    }
    for (int i = 0; i < BLOCKS; i++) { /* every pair of edges, as radius and as angle */
        word[0][i] = word[2][i] = edge[i % edges];
        word[1][i] = word[3][i] = edge[i / edges % edges];
    }
    check_normals();
}

static void test_normals_have_the_moments(void **state)
{
    double sum[5] = {0}, n = 500 * KERNEL_CHUNK, beyond3 = 0;

    (void)state;
    for (uint64_t task = 0; task < 500; task++) {
        kernel_words(1, task, 0, word);
        kernel_normals((const uint32_t(*)[BLOCKS])word, normal);
        for (int i = 0; i < KERNEL_CHUNK; i++) {
            for (int p = 1; p <= 4; p++)
                sum[p] += pow(normal[i], p);
            beyond3 += fabs(normal[i]) > 3;
        }
    }
    /* five standard errors of each */
    assert_true(fabs(sum[1] / n) < 5 * sqrt(1 / n));
    assert_true(fabs(sum[2] / n - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(sum[3] / n) < 5 * sqrt(15 / n));
    assert_true(fabs(sum[4] / n - 3) < 5 * sqrt(96 / n));
    assert_true(fabs(beyond3 / n - erfc(3 / sqrt(2.0))) < 5 * sqrt(0.0027 / n));
}

static void test_exp_is_exp(void **state)
{
    double x[KERNEL_CHUNK], want[KERNEL_CHUNK];

    (void)state;
    for (int scale = 0; scale <= 3; scale++) {
        double range = (double[]){1e-9, 0.4, 30, 700}[scale];
        for (int i = 0; i < KERNEL_CHUNK; i++) {
            x[i] = range * (2.0 * i / (KERNEL_CHUNK - 1) - 1);
            want[i] = exp(x[i]);
        }
        kernel_exp(x);
        for (int i = 0; i < KERNEL_CHUNK; i++)
            assert_true(fabs(x[i] - want[i]) <= 1e-15 * want[i]);
    }
}

static struct model market(uint32_t payoff, double strike, double rate, double volatility, double maturity)
{
    struct model m = {.version = MODEL_VERSION,
                      .payoff = payoff,
                      .seed = 1,
                      .spot = 100,
                      .strike = strike,
                      .rate = rate,
                      .volatility = volatility,
                      .maturity = maturity};

    model_set_centre(&m);
    return m;
}

/* Counts with whole numbers: (2a + 1)^2 + (2b + 1)^2 < 2^64. */
static uint64_t count_hits(uint64_t seed, uint64_t task, uint64_t samples)
{
    uint64_t hits = 0;

    for (uint64_t first = 0; first < samples; first += KERNEL_CHUNK) {
        kernel_words(seed, task, first / 2, word);
        for (uint64_t i = 0; i < KERNEL_CHUNK && first + i < samples; i++) {
            int half = i >= BLOCKS ? 2 : 0;
            __int128 a = 2 * (__int128)(int32_t)word[half][i % BLOCKS] + 1;
            __int128 b = 2 * (__int128)(int32_t)word[half + 1][i % BLOCKS] + 1;
            hits += a * a + b * b < (__int128)1 << 64;
        }
    }
    return hits;
}

static void test_pi_counts_points_in_the_circle(void **state)
{
    static const uint64_t samples[] = {1, 2, 7, BLOCKS, BLOCKS + 1, KERNEL_CHUNK, KERNEL_CHUNK + 1, 100000};
    struct model m = {.version = MODEL_VERSION, .payoff = PAYOFF_PI, .seed = 5};

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        struct mc_task task = {.number = i + 3, .samples = samples[i]};
        struct mc_sums sums;
        assert_int_equal(kernel_run(&m, &task, &sums, NULL, NULL), 0);
        assert_int_equal(sums.number, task.number);
        assert_int_equal(sums.samples, samples[i]);
        assert_true(sums.sum == (double)count_hits(5, task.number, samples[i]));
        assert_true(sums.sum2 == sums.sum);
    }
}

static void test_estimates_are_near_the_exact_value(void **state)
{
    const struct model cases[] = {
        {.version = MODEL_VERSION, .payoff = PAYOFF_PI, .seed = 1},
        market(PAYOFF_CALL, 105, 0.05, 0.2, 1),
        market(PAYOFF_PUT, 105, 0.05, 0.2, 1),
        market(PAYOFF_CALL, 40, 0.01, 0.5, 3),
        market(PAYOFF_PUT, 160, -0.02, 0.1, 0.5),
        market(PAYOFF_CALL, 100, 0, 1.5, 2),
        market(PAYOFF_CALL, 90, 0.05, 1e-6, 1), /* the centre keeps what is left of the variance */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mc_task task = {.number = i, .samples = 2000000};
        struct mc_sums sums;
        double n = 2e6, mean, error, estimate;
        assert_int_equal(kernel_run(&cases[i], &task, &sums, NULL, NULL), 0);
        mean = sums.sum / n;
        error = model_scale(&cases[i]) * sqrt((sums.sum2 / n - mean * mean) / n);
        estimate = model_scale(&cases[i]) * (cases[i].centre + mean);
        assert_true(error > 0);
        assert_true(fabs(estimate - model_exact(&cases[i])) < 4 * error);
    }
}

/* These sums must never change: results would no longer be repeatable. */
static void test_digits_are_pinned(void **state)
{
    struct model m = market(PAYOFF_CALL, 105, 0.05, 0.2, 1);
    struct mc_task task = {.number = 12345678901, .samples = 12345};
    struct mc_sums sums;

    (void)state;
    m.seed = 42;
    m.centre = 5.375;
    assert_int_equal(kernel_run(&m, &task, &sums, NULL, NULL), 0);
    assert_true(sums.sum == 0x1.337bea21332d6p+15);
    assert_true(sums.sum2 == 0x1.37beb1a382879p+21);
}

static bool stop_third(const void *arg)
{
    int *calls = *(int *const *)arg;
    return ++*calls == 3;
}

static void test_a_task_can_be_stopped(void **state)
{
    struct model m = {.version = MODEL_VERSION, .payoff = PAYOFF_PI};
    struct mc_task task = {.samples = UINT64_C(1) << 36};
    struct mc_sums sums;
    int calls = 0, *arg = &calls;

    (void)state;
    assert_int_equal(kernel_run(&m, &task, &sums, stop_third, &arg), FLM_ECANCELLED);
    assert_int_equal(calls, 3);
}

/* The price as an integral over the normal density, by Simpson's rule. */
static double integral(const struct model *m)
{
    const int steps = 40000;
    double h = 20.0 / steps, sum = 0, spread = m->volatility * sqrt(m->maturity);

    for (int i = 0; i <= steps; i++) {
        double z = -10 + i * h;
        double price = m->spot * exp(m->rate * m->maturity - spread * spread / 2 + spread * z);
        double gain = fmax(m->payoff == PAYOFF_CALL ? price - m->strike : m->strike - price, 0);
        sum += (i == 0 || i == steps ? 1 : i % 2 ? 4 : 2) * gain * exp(-z * z / 2);
    }
    return model_scale(m) * sum * h / 3 / sqrt(2 * acos(-1.0));
}

static void test_exact_prices(void **state)
{
    struct model haug = {.version = MODEL_VERSION,
                         .payoff = PAYOFF_CALL,
                         .spot = 60,
                         .strike = 65,
                         .rate = 0.08,
                         .volatility = 0.3,
                         .maturity = 0.25};

    (void)state;
    /* E. G. Haug, The Complete Guide to Option Pricing Formulas, section 1.1.1 */
    assert_true(fabs(model_exact(&haug) - 2.1334) < 5e-5);
    for (int i = 0; i < 24; i++) {
        struct model m = market(i % 2 ? PAYOFF_CALL : PAYOFF_PUT, 80 + 10 * (i % 6), 0.02 * (i % 4) - 0.01,
                                0.1 + 0.1 * (i % 5), 0.25 * (1 + i % 3));
        struct model other = m;
        double parity = m.spot - m.strike * exp(-m.rate * m.maturity);
        other.payoff = m.payoff == PAYOFF_CALL ? PAYOFF_PUT : PAYOFF_CALL;
        assert_true(fabs(model_exact(&m) - integral(&m)) < 1e-5);
        assert_true(fabs(fabs(model_exact(&m) - model_exact(&other)) - fabs(parity)) < 1e-11);
    }
}

static void test_without_chance_the_price_is_known(void **state)
{
    struct model still = market(PAYOFF_CALL, 90, 0.05, 0, 1), now = market(PAYOFF_PUT, 105, 0.05, 0.2, 0);
    struct model *cases[] = {&still, &now};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct mc_task task = {.samples = 1000};
        struct mc_sums sums;
        assert_int_equal(model_check(cases[i], NULL), 0);
        assert_int_equal(kernel_run(cases[i], &task, &sums, NULL, NULL), 0);
        assert_true(fabs(sums.sum) < 1e-9); /* all is in the centre */
        assert_true(fabs(model_exact(cases[i]) - model_scale(cases[i]) * cases[i]->centre) < 1e-12);
    }
    assert_true(fabs(model_exact(&now) - 5) < 1e-12);
}

static void test_models_without_sense_are_refused(void **state)
{
    static const double strange[] = {NAN, INFINITY, -INFINITY, -1, 1e300};
    flm_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
        for (int field = 0; field < 5; field++) {
            struct model m = market(PAYOFF_CALL, 105, 0.05, 0.2, 1);
            double *at[] = {&m.spot, &m.strike, &m.rate, &m.volatility, &m.maturity};
            if (at[field] == &m.rate && strange[i] == -1)
                continue; /* rates may be negative */
            *at[field] = strange[i];
            assert_int_equal(model_check(&m, &error), FLM_EINVAL);
            assert_true(error.text[0]);
        }
    for (uint32_t payoff = 0; payoff < 6; payoff++) {
        struct model m = market(payoff, 105, 0.05, 0.2, 1);
        assert_int_equal(model_check(&m, NULL) == 0, payoff >= PAYOFF_PI && payoff <= PAYOFF_PUT);
        m.version++;
        assert_int_equal(model_check(&m, NULL), FLM_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_words_are_philox_of_seed_and_task),
        cmocka_unit_test(test_normals_are_box_and_muller),
        cmocka_unit_test(test_normals_have_the_moments),
        cmocka_unit_test(test_exp_is_exp),
        cmocka_unit_test(test_pi_counts_points_in_the_circle),
        cmocka_unit_test(test_estimates_are_near_the_exact_value),
        cmocka_unit_test(test_digits_are_pinned),
        cmocka_unit_test(test_a_task_can_be_stopped),
        cmocka_unit_test(test_exact_prices),
        cmocka_unit_test(test_without_chance_the_price_is_known),
        cmocka_unit_test(test_models_without_sense_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
