/*
 * postrider-sim: runs the product's roles in simulated worlds, a process for each seed.
 */
#include "sim/run.h"
#include "sim/sim.h"

#include "base/slice.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define JOBS_MAX  64
#define WORDS_MAX 1000

static const char usage[] = "Usage: postrider-sim [--seed N [--trace] | --runs N | --minutes N] [--first N] [--disk "
			    "KIND] [--jobs N] [--calm]\n"
			    "       [--until-failure]\n"
			    "       postrider-sim --scene NAME [--seed N] [--count N] [--disk KIND] [--trace]\n"
			    "       postrider-sim --story NAME | --stories\n"
			    "\n"
			    "Runs the server's own roles in simulated worlds with failing disks, networks, clocks and "
			    "processes, and checks that\n"
			    "nothing which was promised is lost.\n"
			    "\n"
			    "  --seed N      one run; its hash tells whether two runs were the same\n"
			    "  --trace       with everything that happens in it, like a log\n"
			    "  --runs N      N runs, of the seeds from --first on (1)\n"
			    "  --minutes N   as many as fit; or --seconds N\n"
			    "  --disk KIND   posix, ext4, btrfs or liar (which syncs nothing, and has to be caught); "
			    "drawn by the seed without\n"
			    "  --jobs N      runs at one time (1)\n"
			    "  --calm        no faults\n"
			    "  --until-failure  no more runs after one that failed\n"
			    "  --scene NAME  a known bad day: dns-outage, dead-site, disk-full or silent-sites\n"
			    "  --count N     with so many messages\n"
			    "  --story NAME  the trace of one small thing that happens; --stories lists them\n";

/* What a run leaves for the process that counts. */
struct outcome {
	bool done, good;
	uint64_t hash;
	char words[WORDS_MAX];
	uint64_t counts[SIM_COUNTS];
};

struct totals {
	uint64_t runs, failed;
	uint64_t counts[SIM_COUNTS];
};

static struct options {
	struct run_options run;
	bool one, until_failure;
	const char *scene, *story;
	uint64_t runs, seconds, first, jobs, count;
} options = {.run = {.seed = 1, .disk = -1}, .first = 1, .jobs = 1};

static volatile sig_atomic_t time_is_up;

static void on_alarm(int number)
{
	(void)number;
	time_is_up = 1;
}

/* ---- one run in a process ---------------------------------------------------------------------------------------- */

static void run_one(uint64_t seed, struct outcome *ret)
{
	struct run_options o = options.run;

	o.seed = seed;
	if (o.trace)
		sim_trace_to(stdout);
	sim_heap_sqlite();
	disk_vfs();
	ret->good = options.story   ? run_story(options.story)
		    : options.scene ? run_scene(&o, options.scene, (size_t)options.count) : run_world(&o);
	ret->hash = sim_trace_hash();
	memcpy(ret->counts, sim_counts, sizeof ret->counts);
	if (!ret->good)
		snprintf(ret->words, sizeof ret->words, "%s", sim_failure());
	ret->done = true;
	fflush(NULL);
}

static pid_t start(uint64_t seed, struct outcome *outcome)
{
	memset(outcome, 0, sizeof *outcome);
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(EX_OSERR);
	}
	if (pid == 0) {
		/* A run that does not come to an end is a failure too. */
		alarm(300);
		run_one(seed, outcome);
		_exit(0);
	}
	return pid;
}

static void show_failure(uint64_t seed, const struct outcome *o, int status)
{
	const char *commit = getenv("SIM_COMMIT"); /* scripts/sim knows it */

	printf("\nFAILED seed %llu, version %s%s%s", (unsigned long long)seed, POSTRIDER_VERSION,
	       commit ? ", commit " : "", commit ? commit : "");
	if (!o->done && WIFSIGNALED(status))
		printf(": the run was ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (!o->done)
		printf(": the run ended with status %d\n", WEXITSTATUS(status));
	else
		printf(": %s\n", o->words);
	printf("  replay: build/src/sim/postrider-sim --seed %llu --trace%s%s%s\n", (unsigned long long)seed,
	       options.run.disk >= 0 ? " --disk " : "",
	       options.run.disk >= 0 ? disk_kind_name((enum disk_kind)options.run.disk) : "",
	       options.run.calm ? " --calm" : "");
}

static void add_up(struct totals *t, uint64_t seed, const struct outcome *o, int status)
{
	t->runs++;
	for (size_t i = 0; i < SIM_COUNTS; i++)
		t->counts[i] += o->counts[i];
	if (o->done && o->good)
		return;
	t->failed++;
	if (t->failed <= 20)
		show_failure(seed, o, status);
}

/* ---- many runs --------------------------------------------------------------------------------------------------- */

static bool goes_on(const struct totals *t, uint64_t begun)
{
	if (options.until_failure && t->failed > 0)
		return false;
	return options.seconds ? !time_is_up : begun < options.runs;
}

static void run_many(struct totals *t)
{
	struct outcome *outcomes =
		mmap(NULL, sizeof *outcomes * JOBS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[JOBS_MAX] = {0};
	uint64_t seeds[JOBS_MAX], begun = 0;
	size_t running = 0;

	if (outcomes == MAP_FAILED)
		exit(EX_OSERR);
	if (options.seconds) {
		signal(SIGALRM, on_alarm);
		alarm((unsigned)options.seconds);
	}
	for (;;) {
		for (size_t i = 0; i < options.jobs && goes_on(t, begun); i++)
			if (pids[i] == 0) {
				seeds[i] = options.first + begun++;
				pids[i] = start(seeds[i], &outcomes[i]);
				running++;
			}
		if (running == 0)
			break;
		int status;
		pid_t pid = wait(&status);
		for (size_t i = 0; i < options.jobs; i++)
			if (pid > 0 && pids[i] == pid) {
				pids[i] = 0;
				running--;
				add_up(t, seeds[i], &outcomes[i], status);
			}
	}
	munmap(outcomes, sizeof *outcomes * JOBS_MAX);
}

static void show_counts(const uint64_t counts[SIM_COUNTS])
{
	const char *group = "";

	for (size_t i = 0; i < SIM_COUNTS; i++) {
		if (strcmp(group, sim_count_group((enum sim_count)i)) != 0)
			printf("\n%s\n", group = sim_count_group((enum sim_count)i));
		if (counts[i] > 0)
			printf("%14llu  %s\n", (unsigned long long)counts[i], sim_count_text((enum sim_count)i));
	}
}

static long long processor_ms(int whose)
{
	struct rusage used;

	getrusage(whose, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000LL +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

static void show_totals(const struct totals *t)
{
	show_counts(t->counts);
	printf("\n%llu runs, seeds %llu to %llu, %llu failed; %lld s of processor time\n", (unsigned long long)t->runs,
	       (unsigned long long)options.first, (unsigned long long)(options.first + t->runs - 1),
	       (unsigned long long)t->failed, processor_ms(RUSAGE_CHILDREN) / 1000);
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static void wrong(void)
{
	fputs(usage, stderr);
	exit(EX_USAGE);
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
	uint64_t n = 0;

	if (!text || !slice_u64(slice_from_cstr(text), most, &n) || n < least)
		wrong();
	return n;
}

static int disk_kind(const char *text)
{
	for (int i = 0; text && i < DISK_KINDS; i++)
		if (strcmp(text, disk_kind_name((enum disk_kind)i)) == 0)
			return i;
	wrong();
	return -1;
}

static bool is(const char *argument, const char *name)
{
	return strcmp(argument, name) == 0;
}

static void read_options(char **argv)
{
	for (char **a = argv + 1; *a; a++) {
		if (is(*a, "--help")) {
			fputs(usage, stdout);
			exit(0);
		} else if (is(*a, "--trace")) {
			options.run.trace = true;
		} else if (is(*a, "--calm")) {
			options.run.calm = true;
		} else if (is(*a, "--until-failure")) {
			options.until_failure = true;
		} else if (is(*a, "--seed")) {
			options.one = true;
			options.run.seed = number(*++a, 0, UINT64_MAX);
		} else if (is(*a, "--runs")) {
			options.runs = number(*++a, 1, UINT32_MAX);
		} else if (is(*a, "--minutes")) {
			options.seconds = 60 * number(*++a, 1, 100000);
		} else if (is(*a, "--seconds")) {
			options.seconds = number(*++a, 1, 6000000);
		} else if (is(*a, "--first")) {
			options.first = number(*++a, 0, UINT64_MAX);
		} else if (is(*a, "--jobs")) {
			options.jobs = number(*++a, 1, JOBS_MAX);
		} else if (is(*a, "--disk")) {
			options.run.disk = disk_kind(*++a);
		} else if (is(*a, "--scene")) {
			options.scene = *++a;
			if (!options.scene || !scene_exists(options.scene))
				wrong();
		} else if (is(*a, "--story")) {
			options.story = *++a;
			if (!options.story || !story_exists(options.story))
				wrong();
		} else if (is(*a, "--stories")) {
			story_list();
			exit(0);
		} else if (is(*a, "--count")) {
			options.count = number(*++a, 1, 10000000);
		} else {
			wrong();
		}
	}
	if ((options.one || options.scene || options.story) + (options.runs > 0) + (options.seconds > 0) != 1)
		wrong();
}

/* In this process, for debuggers. */
static int run_alone(void)
{
	static struct outcome o;

	run_one(options.run.seed, &o);
	printf("seed %llu: %s, hash %016llx\n", (unsigned long long)options.run.seed, o.good ? "good" : o.words,
	       (unsigned long long)o.hash);
	return o.good ? 0 : 1;
}

static int run_the_scene(void)
{
	static struct outcome o;

	run_one(options.run.seed, &o);
	show_counts(o.counts);
	printf("\nscene %s, seed %llu: %s, %lld ms of processor time, hash %016llx\n", options.scene,
	       (unsigned long long)options.run.seed, o.good ? "good" : o.words, processor_ms(RUSAGE_SELF),
	       (unsigned long long)o.hash);
	return o.good ? 0 : 1;
}

static int tell_story(void)
{
	static struct outcome o;

	run_one(options.run.seed, &o);
	if (!o.good)
		printf("\nVIOLATION: %s\n", o.words);
	return o.good ? 0 : 1;
}

/* LeakSanitizer asks. What a role that was killed held in the simulated kernel goes with this process; what one that
 * ends in order leaves behind is a violation by itself (machine.c). */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}

int main(int argc, char **argv)
{
	static struct totals totals;

	(void)argc;
	read_options(argv);
	if (options.story)
		return tell_story();
	if (options.scene)
		return run_the_scene();
	if (options.one)
		return run_alone();
	run_many(&totals);
	show_totals(&totals);
	return totals.failed ? 1 : 0;
}
