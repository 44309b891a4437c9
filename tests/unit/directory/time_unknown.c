/*
 * How well somebody who measures can tell users who are not there from wrong passwords (attacks U3):
 *
 *	time-unknown [TRIALS [SLOW_TRIALS]]
 *
 * For each mechanism so many logins of either kind, in an order that is drawn, and Welch's t of their times: of all of
 * them, and of those that were not disturbed (below the 95th percentile). Beyond 4.5 the two can be told apart. Times
 * are those of the processor that this thread used, so other work disturbs little; what passes the network is not in
 * them. It prints, and judges nothing: what decides is that both do the same work, which test_unknown.c counts.
 */
#include "stranger.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

struct moments {
	double n, mean, squares; /* Welford */
};

static void add_sample(struct moments *m, double x)
{
	double off = x - m->mean;

	m->n++;
	m->mean += off / m->n;
	m->squares += off * (x - m->mean);
}

static double welch(const struct moments *a, const struct moments *b)
{
	double va = a->squares / (a->n - 1), vb = b->squares / (b->n - 1);
	double error = sqrt(va / a->n + vb / b->n);

	return error > 0 ? (a->mean - b->mean) / error : 0;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct sample {
	double us;
	bool known;
};

static void print_row(enum sasl_mechanism m, const struct sample *samples, size_t n)
{
	struct moments all[2] = {{0}}, calm[2] = {{0}};
	double *sorted = calloc(n, sizeof *sorted);

	assert_non_null(sorted);
	for (size_t i = 0; i < n; i++)
		sorted[i] = samples[i].us;
	qsort(sorted, n, sizeof *sorted, by_size);
	double limit = sorted[n - 1 - n / 20];
	free(sorted);
	for (size_t i = 0; i < n; i++) {
		add_sample(&all[samples[i].known], samples[i].us);
		if (samples[i].us <= limit)
			add_sample(&calm[samples[i].known], samples[i].us);
	}
	printf("{\"mechanism\": \"%s\", \"trials\": %zu, \"wrong_us\": %.3f, \"unknown_us\": %.3f, \"t\": %.2f, "
	       "\"t_undisturbed\": %.2f}\n",
	       sasl_row(m)->name, n, calm[1].mean, calm[0].mean, welch(&all[0], &all[1]), welch(&calm[0], &calm[1]));
	fflush(stdout);
}

static void measure(enum sasl_mechanism m, size_t n)
{
	struct sample *samples = calloc(n, sizeof *samples);

	assert_non_null(samples);
	srandom(1);
	for (size_t i = 0; i < 20; i++)
		fail_to_log_in(m, i % 2 ? KNOWN : UNKNOWN, NULL);
	for (size_t i = 0; i < n; i++) {
		samples[i].known = random() >> 8 & 1;
		double since = now_us();
		fail_to_log_in(m, samples[i].known ? KNOWN : UNKNOWN, NULL);
		samples[i].us = now_us() - since;
	}
	print_row(m, samples, n);
	free(samples);
}

int main(int argc, char **argv)
{
	static const enum sasl_mechanism mechanisms[] = {SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1, SASL_CRAM_MD5,
							 SASL_PLAIN, SASL_LOGIN};
	size_t trials = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000,
	       slow = argc > 2 ? strtoul(argv[2], NULL, 10) : 400;

	begin(NULL);
	make_users(true);
	for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
		size_t n = sasl_row(mechanisms[i])->slow ? slow : trials;
		if (n >= 4)
			measure(mechanisms[i], n);
	}
	forget_users();
	end(NULL);
	return 0;
}
