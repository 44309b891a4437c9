#include "sim/sim.h"

#include "base/id.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct event {
	sim_us at;
	uint64_t sequence;
	void (*run)(void *arg, uint64_t number);
	void *arg;
	uint64_t number;
};

/* 2026-11-21T00:00:00Z, so that times in traces look like times. */
#define WALL_FIRST ((wall_ms)1795219200000)
#define MONO_FIRST ((mono_ms)10000)

static struct {
	sim_us now;
	uint64_t sequence;
	struct event *heap;
	size_t n, cap;
	uint64_t random[4];
	bool steady;
	sim_us booted;
	unsigned boots;
	wall_ms wall_offset; /* of the wall clock against the time of the world */
	wall_ms wall_frozen; /* 0: it runs */
	FILE *trace, *story;
	char ids[26][MSG_ID_TEXT]; /* in the story, the first is A */
	size_t id_count;
	struct {
		sim_us at;
		char who[24], text[100]; /* empty: nothing */
	} aside;
	uint64_t trace_hash;
	char failure[1000];
} world = {.trace_hash = 14695981039346656037u};

uint64_t sim_counts[SIM_COUNTS];
struct sim_plan sim_plan;
const struct sim_plan sim_no_faults;

/* ---- events ------------------------------------------------------------------------------------------------------ */

sim_us sim_now(void)
{
	return world.now;
}

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

static void sift_up(size_t i)
{
	struct event e = world.heap[i];

	for (; i > 0 && before(&e, &world.heap[(i - 1) / 2]); i = (i - 1) / 2)
		world.heap[i] = world.heap[(i - 1) / 2];
	world.heap[i] = e;
}

static void sift_down(size_t i)
{
	struct event e = world.heap[i];

	for (size_t child; (child = 2 * i + 1) < world.n; i = child) {
		if (child + 1 < world.n && before(&world.heap[child + 1], &world.heap[child]))
			child++;
		if (!before(&world.heap[child], &e))
			break;
		world.heap[i] = world.heap[child];
	}
	world.heap[i] = e;
}

void sim_at(sim_us at, void (*run)(void *arg, uint64_t number), void *arg, uint64_t number)
{
	if (world.n == world.cap) {
		world.cap = world.cap ? 2 * world.cap : 1024;
		world.heap = sim_realloc(world.heap, world.cap * sizeof *world.heap);
	}
	world.heap[world.n] = (struct event){at > world.now ? at : world.now, world.sequence++, run, arg, number};
	sift_up(world.n++);
}

void sim_in(sim_us wait, void (*run)(void *arg, uint64_t number), void *arg, uint64_t number)
{
	sim_at(world.now + wait, run, arg, number);
}

void sim_run(sim_us until, bool (*done)(void))
{
	while (world.n > 0 && world.heap[0].at <= until && !world.failure[0]) {
		struct event e = world.heap[0];

		world.heap[0] = world.heap[--world.n];
		if (world.n > 0)
			sift_down(0);
		assert(e.at >= world.now);
		world.now = e.at;
		sim_count(COUNT_EVENTS);
		e.run(e.arg, e.number);
		if (done && done())
			return;
	}
	if (!world.failure[0] && world.now < until && !done)
		world.now = until;
}

/* ---- chance ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void sim_seed(uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		world.random[i] = mix(&seed);
}

void sim_seed_steady(void)
{
	world.steady = true;
}

static uint64_t rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

/* xoshiro256** */
uint64_t sim_random(void)
{
	uint64_t *s = world.random, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	if (world.steady)
		return (uint64_t)1 << 63;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

uint64_t sim_below(uint64_t below)
{
	assert(below > 0);
	return world.steady ? below / 2 : sim_random() % below;
}

sim_us sim_between(sim_us least, sim_us most)
{
	assert(least <= most);
	return least + (sim_us)sim_below((uint64_t)(most - least) + 1);
}

bool sim_chance(uint32_t ppm)
{
	return ppm > 0 && sim_below(1000000) < ppm;
}

/* ---- clocks ------------------------------------------------------------------------------------------------------ */

mono_ms sim_mono(void)
{
	return MONO_FIRST + (world.now - world.booted) / SIM_MS;
}

wall_ms sim_wall(void)
{
	return world.wall_frozen ? world.wall_frozen : WALL_FIRST + world.wall_offset + world.now / SIM_MS;
}

void sim_wall_jump(span_ms by)
{
	world.wall_offset += by;
	/* Before 1971 nobody lives. */
	if (sim_wall() < 365 * DAY)
		world.wall_offset = 365 * DAY - WALL_FIRST - world.now / SIM_MS;
	sim_trace("clock", "the wall clock jumps by %lld s", (long long)(by / SECOND));
}

void sim_wall_freeze(bool frozen)
{
	world.wall_frozen = frozen ? sim_wall() : 0;
	sim_trace("clock", "the wall clock %s", frozen ? "stands" : "runs again");
}

void sim_boot(void)
{
	world.booted = world.now;
	world.boots++;
}

unsigned sim_boots(void)
{
	return world.boots;
}

/* ---- octets ------------------------------------------------------------------------------------------------------ */

void octets_add(struct octets *o, struct slice s)
{
	if (o->n + s.n > o->cap) {
		o->cap = 2 * (o->n + s.n);
		o->p = sim_realloc(o->p, o->cap);
	}
	if (s.n)
		memcpy(o->p + o->n, s.p, s.n);
	o->n += s.n;
}

void octets_take(struct octets *o, size_t n)
{
	assert(n <= o->n);
	if (n)
		memmove(o->p, o->p + n, o->n - n);
	o->n -= n;
}

void octets_free(struct octets *o)
{
	sim_free(o->p);
	*o = (struct octets){0};
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

void sim_trace_to(FILE *out)
{
	world.trace = out;
}

uint64_t sim_trace_hash(void)
{
	return world.trace_hash;
}

void sim_story_to(FILE *out)
{
	world.story = out;
}

static bool is_id_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

/* The letter for an id. */
static char letter_of(const char *id)
{
	size_t i = 0;

	while (i < world.id_count && memcmp(world.ids[i], id, MSG_ID_TEXT) != 0)
		i++;
	assert(i < sizeof world.ids / sizeof *world.ids);
	if (i == world.id_count)
		memcpy(world.ids[world.id_count++], id, MSG_ID_TEXT);
	return (char)('A' + i);
}

static void name_ids(char *text)
{
	char *out = text;

	for (const char *p = text; *p;) {
		size_t n = 0;
		while (is_id_char(p[n]))
			n++;
		if (n == MSG_ID_TEXT) {
			*out++ = letter_of(p);
			p += n;
			continue;
		}
		n = n > 0 ? n : 1;
		memmove(out, p, n);
		out += n;
		p += n;
	}
	*out = '\0';
}

#define STORY_WIDTH  118
#define STORY_INDENT 32

void sim_print_folded(FILE *out, const char *text, size_t width, size_t indent)
{
	size_t room = width - indent;

	for (const char *p = text;;) {
		size_t n = strlen(p), cut = room;
		if (n > room) {
			while (cut > 0 && p[cut] != ' ')
				cut--;
			n = cut > 0 ? cut : strcspn(p, " ");
		}
		fprintf(out, "%.*s\n", (int)n, p);
		p += n;
		if (*p == '\0')
			return;
		p++;
		fprintf(out, "%*s", (int)indent, "");
	}
}

static void print_told(sim_us t, const char *who, const char *text)
{
	char day[24] = "";

	if (t / SIM_MS >= DAY)
		snprintf(day, sizeof day, "%lldd", (long long)(t / SIM_MS / DAY));
	fprintf(world.story, "%2s %02lld:%02lld:%02lld.%03lld  %-12s ", day, (long long)(t / SIM_MS / HOUR % 24),
		(long long)(t / SIM_MS / MINUTE % 60), (long long)(t / SIM_SECOND % 60),
		(long long)(t / SIM_MS % 1000), who);
	sim_print_folded(world.story, text, STORY_WIDTH, STORY_INDENT);
}

static void tell_story(const char *who, char *text)
{
	if (!world.story || strncmp(text, ">> ", 3) == 0 || strncmp(text, "SQLite: ", 8) == 0)
		return;
	name_ids(text);
	bool again = strcmp(text, world.aside.text) == 0 && strcmp(who, world.aside.who) == 0;
	if (world.aside.text[0] && !again && world.now - world.aside.at <= SIM_SECOND)
		print_told(world.aside.at, world.aside.who, world.aside.text);
	world.aside.text[0] = '\0';
	if (text[0] == '(') {
		world.aside.at = world.now;
		snprintf(world.aside.who, sizeof world.aside.who, "%s", who);
		snprintf(world.aside.text, sizeof world.aside.text, "%s", text);
		return;
	}
	print_told(world.now, who, text);
}

static void hash_line(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		world.trace_hash = (world.trace_hash ^ (unsigned char)p[i]) * 1099511628211u;
}

void sim_trace(const char *who, const char *format, ...)
{
	char line[1200];
	sim_us t = world.now;
	int n = snprintf(line, sizeof line, "%3lldd %02lld:%02lld:%02lld.%06lld  %-12s ", (long long)(t / SIM_MS / DAY),
			 (long long)(t / SIM_MS / HOUR % 24), (long long)(t / SIM_MS / MINUTE % 60),
			 (long long)(t / SIM_SECOND % 60), (long long)(t % SIM_SECOND), who);
	va_list args;

	va_start(args, format);
	int more = vsnprintf(line + n, sizeof line - (size_t)n, format, args);
	va_end(args);
	int end = more < (int)sizeof line - n ? n + more : (int)sizeof line - 1;
	char *text = line + n;
	n = end;
	for (char *p = text; p < line + n; p++)
		if (*p == '\r' || *p == '\n')
			*p = *p == '\r' ? ' ' : '|';
	hash_line(line, (size_t)n);
	if (world.trace)
		fprintf(world.trace, "%.*s\n", n, line);
	tell_story(who, text);
}

void sim_fail(const char *format, ...)
{
	va_list args;

	if (world.failure[0])
		return;
	va_start(args, format);
	vsnprintf(world.failure, sizeof world.failure, format, args);
	va_end(args);
	sim_trace("VIOLATION", "%s", world.failure);
}

const char *sim_failure(void)
{
	return world.failure[0] ? world.failure : NULL;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static const struct {
	const char *group, *text;
} counts[] = {
#define SIM_COUNT(id, group, text) {group, text},
#include "sim/counts.def"
#undef SIM_COUNT
};

void sim_count(enum sim_count what)
{
	sim_counts[what]++;
}

void sim_count_add(enum sim_count what, uint64_t by)
{
	sim_counts[what] += by;
}

const char *sim_count_text(enum sim_count what)
{
	return counts[what].text;
}

const char *sim_count_group(enum sim_count what)
{
	return counts[what].group;
}
