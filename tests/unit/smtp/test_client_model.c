/* The client engine against a random peer: see client_model.h for what must hold. */
#include "test.h"

#include "client_model.h"

static void every_recipient_has_one_outcome_whatever_the_peer_does(void **state)
{
	(void)state;
	const char *first = getenv("SEED"), *count = getenv("COUNT");
	uint64_t from = first ? strtoull(first, NULL, 10) : 1;
	uint64_t runs = count ? strtoull(count, NULL, 10) : first ? 1 : 20000;

	for (uint64_t seed = from; seed < from + runs; seed++) {
		struct model_source source = {.seed = seed * 2654435761u};
		/* Remains on the screen if the run aborts. */
		if (first)
			print_message("SEED=%llu\n", (unsigned long long)seed);
		model_run(&source);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_recipient_has_one_outcome_whatever_the_peer_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
