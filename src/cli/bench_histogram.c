#include "cli/bench.h"

#include <assert.h>

/* Exact below 2^FINE; above, a power of two has 2^FINE steps. */
static size_t bucket_of(uint64_t us)
{
	if (us < (uint64_t)1 << BENCH_FINE)
		return (size_t)us;
	unsigned exponent = 63 - (unsigned)__builtin_clzll(us);
	size_t step = (size_t)(us >> (exponent - BENCH_FINE)) & ((1u << BENCH_FINE) - 1);
	size_t bucket = ((size_t)(exponent - BENCH_FINE + 1) << BENCH_FINE) + step;
	return bucket < BENCH_BUCKETS ? bucket : BENCH_BUCKETS - 1;
}

/* The longest time in a bucket. */
static uint64_t end_of(size_t bucket)
{
	if (bucket < (size_t)1 << BENCH_FINE)
		return bucket;
	unsigned shift = (unsigned)(bucket >> BENCH_FINE) - 1;
	uint64_t step = (bucket & ((1u << BENCH_FINE) - 1)) + (1u << BENCH_FINE);
	return ((step + 1) << shift) - 1;
}

void bench_histogram_add(struct bench_histogram *h, int64_t us)
{
	uint64_t value = us > 0 ? (uint64_t)us : 0;

	h->count++;
	h->sum += value;
	h->max = value > h->max ? value : h->max;
	h->buckets[bucket_of(value)]++;
}

uint64_t bench_histogram_at(const struct bench_histogram *h, unsigned per_mille)
{
	uint64_t below = 0;

	assert(per_mille <= 1000);
	/* Rounded up: the p99 of ten is the slowest. */
	uint64_t wanted = (h->count * per_mille + 999) / 1000;
	for (size_t i = 0; i < BENCH_BUCKETS; i++) {
		below += h->buckets[i];
		if (below >= wanted && below > 0)
			return end_of(i) < h->max ? end_of(i) : h->max;
	}
	return 0;
}

json_t *bench_histogram_json(const struct bench_histogram *h)
{
	double mean = h->count ? (double)h->sum / (double)h->count : 0;

	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "p50", (double)bench_histogram_at(h, 500) / 1e3, "p90",
			 (double)bench_histogram_at(h, 900) / 1e3, "p99", (double)bench_histogram_at(h, 990) / 1e3,
			 "p999", (double)bench_histogram_at(h, 999) / 1e3, "max", (double)h->max / 1e3, "mean",
			 mean / 1e3);
}
