/*
 * Session walks (attacks B2): the server engine and the model of model.h on random sessions.
 *
 *	walk COUNT [SEED [JOBS]]     walks number SEED to SEED + COUNT - 1
 *	walk --replay SEED           one of them, shown
 *	walk --steps CONFIG:STEPS    a walk that was shortened, shown
 *
 * The first walk that diverges is shortened, shown and ends the run with status 1; so does one that the engine's own
 * assertions end. Each attempt to shorten runs in a process of its own.
 */
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 64
#define PATIENCE 20 /* seconds of the processor for a single walk: other work must not end it */

/* What a worker tells the parent: memory that both see. */
struct report {
	uint64_t seed; /* of the walk that is under way */
	struct walk_counts counts;
	char why[600];
};

static struct report *reports;
static bool copies;

static uint64_t seed_state(uint64_t seed)
{
	return seed * 0xd1342543de82ef95u + 1;
}

static void set_patience(void)
{
	struct itimerval t = {.it_value.tv_sec = PATIENCE};

	setitimer(ITIMER_PROF, &t, NULL);
}

/* ---- a single walk ----------------------------------------------------------------------------------------------- */

/* Plays it in a child; true when it diverges or ends the process. `ret_why` may be NULL. */
static bool diverges(const struct plan *plan, char *ret_why, size_t n)
{
	struct report *r = &reports[JOBS_MAX];
	int status = 0;

	snprintf(r->why, sizeof r->why, "the process was ended");
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct plan copy = *plan;
		struct walk_counts counts = {0};
		set_patience();
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		const char *why = walk_play(&copy, NULL, false, copies, &counts);
		snprintf(r->why, sizeof r->why, "%s", why ? why : "");
		_exit(why != NULL);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (ret_why)
		snprintf(ret_why, n, "%s", r->why);
	return status != 0;
}

static struct plan without(const struct plan *plan, unsigned at, unsigned n)
{
	struct plan shorter = *plan;

	memmove(shorter.step + at, shorter.step + at + n, (plan->n - at - n) * sizeof *plan->step);
	shorter.n -= n;
	return shorter;
}

static bool try_plan(struct plan *plan, const struct plan *simpler)
{
	if (memcmp(plan, simpler, sizeof *plan) == 0 || !diverges(simpler, NULL, 0))
		return false;
	*plan = *simpler;
	return true;
}

static bool drop_steps(struct plan *plan)
{
	bool better = false;

	for (unsigned n = plan->n / 2 ? plan->n / 2 : 1; n > 0; n /= 2)
		for (unsigned at = 0; at + n <= plan->n;) {
			struct plan shorter = without(plan, at, n);
			if (try_plan(plan, &shorter))
				better = true;
			else
				at++;
		}
	return better;
}

#define SIMPLER_WAYS 8
/* Each way makes some of its numbers smaller, or changes nothing. */
static struct step simpler(struct step s, unsigned way)
{
	const struct step ways[SIMPLER_WAYS] = {
		{s.kind, 0, s.what, s.more},
		{s.kind, s.flags & ~(STEP_JOIN | STEP_NO_WAIT), s.what, s.more},
		{s.kind, s.flags & ~(STEP_IMPATIENT | STEP_CUT), s.what, s.more},
		{s.kind, s.flags, 0, s.more},
		{s.kind, s.flags, s.what % 256, s.more},
		{s.kind, s.flags, s.what, 0},
		{s.kind, s.flags, s.what, s.more > 0},
		{s.kind, s.flags, s.what, s.more % 256},
	};

	return ways[way];
}

/* Without flags, with small numbers, under the roomiest configuration. */
static bool simplify(struct plan *plan)
{
	bool better = false;

	for (unsigned i = 0; i < plan->n; i++)
		for (unsigned way = 0; way < SIMPLER_WAYS; way++) {
			struct plan other = *plan;
			other.step[i] = simpler(plan->step[i], way);
			better |= try_plan(plan, &other);
		}
	for (unsigned bit = 0; bit < 64; bit++) {
		struct plan other = *plan;
		other.config &= ~((uint64_t)1 << bit);
		better |= try_plan(plan, &other);
	}
	return better;
}

static void shorten(struct plan *plan)
{
	memset(plan->step + plan->n, 0, (WALK_STEPS - plan->n) * sizeof *plan->step);
	while (drop_steps(plan) || simplify(plan))
		continue;
}

static void print_plan(const struct plan *plan)
{
	printf("%llx:", (unsigned long long)plan->config);
	for (unsigned i = 0; i < plan->n; i++)
		printf("%s%x.%x.%x.%x", i ? "," : "", plan->step[i].kind, plan->step[i].flags, plan->step[i].what,
		       plan->step[i].more);
}

static bool read_plan(const char *text, struct plan *plan)
{
	unsigned long long config;
	int used = 0;

	if (sscanf(text, "%llx:%n", &config, &used) != 1 || used == 0)
		return false;
	*plan = (struct plan){.config = config};
	for (text += used; *text && plan->n < WALK_STEPS; text += used) {
		unsigned kind, flags, what, more;
		used = 0;
		if (sscanf(text, "%x.%x.%x.%x%n", &kind, &flags, &what, &more, &used) != 4 || kind >= STEP_KINDS)
			return false;
		plan->step[plan->n++] = (struct step){(uint8_t)kind, (uint8_t)flags, (uint16_t)what, more};
		used += text[used] == ',';
	}
	return *text == '\0';
}

/* ---- showing ----------------------------------------------------------------------------------------------------- */

/* Plays it before everybody's eyes. */
static int show(struct plan *plan, uint64_t *random)
{
	struct walk_counts counts = {0};

	fflush(stdout);
	const char *why = walk_play(plan, random, true, copies, &counts);
	fprintf(stderr, "%s\n", why ? why : "no divergence");
	return why != NULL;
}

/* The steps of a walk that ended its process are lost with it: they are drawn again in a child, which shares them. */
static void plan_of_seed(uint64_t seed, struct plan *ret)
{
	struct plan *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	if (shared == MAP_FAILED)
		exit(2);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		uint64_t random = seed_state(seed);
		struct walk_counts counts = {0};
		set_patience();
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		walk_play(shared, &random, false, copies, &counts);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	*ret = *shared;
	munmap(shared, sizeof *shared);
}

static void explain(uint64_t seed, const char *program)
{
	struct plan plan;
	char why[600];

	plan_of_seed(seed, &plan);
	printf("walk %llu diverges; %u steps\n", (unsigned long long)seed, plan.n);
	if (!diverges(&plan, why, sizeof why)) {
		printf("its steps alone do not show it; replay: %s --replay %llu\n", program, (unsigned long long)seed);
		return;
	}
	printf("%s\n", why);
	shorten(&plan);
	diverges(&plan, why, sizeof why);
	printf("shortened to %u steps: %s\nreplay: %s --replay %llu\nreplay, shortened: %s --steps ", plan.n, why,
	       program, (unsigned long long)seed, program);
	print_plan(&plan);
	printf("\n");
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		set_patience();
		_exit(show(&plan, NULL));
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static void work(struct report *r, uint64_t from, uint64_t end, uint64_t step)
{
	struct plan plan;

	for (uint64_t seed = from; seed < end; seed += step) {
		uint64_t random = seed_state(seed);
		r->seed = seed;
		if ((seed - from) / step % 256 == 0)
			set_patience();
		const char *why = walk_play(&plan, &random, false, copies, &r->counts);
		if (why)
			_exit(1);
	}
	_exit(0);
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_counts(unsigned jobs, double took)
{
	struct walk_counts sum = {0};

	for (unsigned i = 0; i < jobs; i++) {
		const struct walk_counts *c = &reports[i].counts;
		sum.walks += c->walks;
		sum.steps += c->steps;
		sum.octets += c->octets;
		sum.replies += c->replies;
		sum.accepted += c->accepted;
		sum.refused += c->refused;
	}
	printf("%llu walks, %llu steps, %llu replies (%llu of them 4yz or 5yz), %llu messages handed over, %llu "
	       "octets; "
	       "%.1f s in %u processes, %.0f walks/s\n",
	       (unsigned long long)sum.walks, (unsigned long long)sum.steps, (unsigned long long)sum.replies,
	       (unsigned long long)sum.refused, (unsigned long long)sum.accepted, (unsigned long long)sum.octets, took,
	       jobs, (double)sum.walks / (took > 0 ? took : 1));
}

static int run(uint64_t count, uint64_t first, unsigned jobs, const char *program)
{
	pid_t pid[JOBS_MAX];
	bool failed[JOBS_MAX] = {0};
	double began = seconds_now();
	int found = -1;

	fflush(NULL);
	for (unsigned i = 0; i < jobs; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			work(&reports[i], first + i, first + count, jobs);
		if (pid[i] < 0)
			exit(2);
	}
	for (unsigned i = 0; i < jobs; i++) {
		int status = 0;
		waitpid(pid[i], &status, 0);
		failed[i] = status != 0;
		if (failed[i] && (found < 0 || reports[i].seed < reports[found].seed))
			found = (int)i;
	}
	print_counts(jobs, seconds_now() - began);
	if (found < 0) {
		printf("no divergence\n");
		return 0;
	}
	explain(reports[found].seed, program);
	return 1;
}

static int usage(void)
{
	fprintf(stderr, "usage: walk COUNT [SEED [JOBS]] | walk --replay SEED | walk --steps CONFIG:STEPS\n");
	return 64;
}

int main(int argc, char **argv)
{
	size_t size = (JOBS_MAX + 1) * sizeof *reports;

#if defined(__SANITIZE_ADDRESS__)
	copies = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	copies = true;
#endif
#endif
	reports = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reports == MAP_FAILED)
		return 2;
	struct plan plan;
	if (argc == 3 && strcmp(argv[1], "--steps") == 0)
		return read_plan(argv[2], &plan) ? show(&plan, NULL) : usage();
	if (argc == 3 && strcmp(argv[1], "--replay") == 0) {
		uint64_t random = seed_state(strtoull(argv[2], NULL, 10));
		return show(&plan, &random);
	}
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	unsigned long jobs = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
	if (argc > 4 || count == 0 || jobs == 0 || jobs > JOBS_MAX)
		return usage();
	return run(count, first, (unsigned)jobs, argv[0]);
}
