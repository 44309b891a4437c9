/*
 * Scenes: known bad days, by name. The same roles, store, peers and ledger as in the drawn worlds, with the product's
 * own retry times and a fixed course of events; the seed draws the rest.
 */
#include "sim/machine.h"
#include "sim/peers.h"
#include "sim/run.h"
#include "sim/watch.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SIM_HOUR   (3600 * SIM_SECOND)
#define SIM_MINUTE (60 * SIM_SECOND)
#define SITES      7
#define UNKNOWN    20 /* one in so many recipients of the site that comes back */
#define PORT       25

/* How much busier than the mean a second of retries may be. */
#define SPREAD_MAX 3

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static const char head[] = "hostname = \"sim.example\"\n"
			   "data_dir = \"/data\"\n"
			   "submit_socket = \"none\"\n"
			   "receivers = 2\n"
			   "senders = 2\n"
			   "relay_networks = {\"198.51.100.0/24\"}\n"
			   "postmaster = \"dave@local.example\"\n"
			   "smtp { tls = off }\n"
			   "listen smtp { port = 25 }\n"
			   "queue { disk_reserve = 16M }\n"
			   "domain \"local.example\" { mailboxes = {\"alice\", \"bob\", \"carol\", \"dave\"} }\n";

struct site {
	char domain[40], host[40], address[40];
	bool open;
};

static struct {
	char text[64 * 1024];
	size_t n;
	struct site sites[SITES];
	size_t site_count;
} scene;

static void add_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add_text(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(scene.text + scene.n, sizeof scene.text - scene.n, format, args);
	va_end(args);
	scene.n += (size_t)n;
	assert(n > 0 && scene.n < sizeof scene.text);
}

/* A destination, known to the configuration by the name of its host or by its address. */
static struct site *add_site(const char *name, bool by_name)
{
	assert(scene.site_count < SITES);
	size_t number = scene.site_count;
	struct site *s = &scene.sites[scene.site_count++];

	snprintf(s->domain, sizeof s->domain, "%s%zu.example", name, number);
	snprintf(s->host, sizeof s->host, "mx.%s%zu.example", name, number);
	snprintf(s->address, sizeof s->address, "192.0.2.%zu", number + 1);
	sim_name(s->host, s->address);
	if (by_name)
		add_text("route \"%s\" { hosts = {\"%s:%d\"} }\n", s->domain, s->host, PORT);
	else
		add_text("route \"%s\" { hosts = {\"[%s]:%d\"} }\n", s->domain, s->address, PORT);
	return s;
}

static void open_site(struct site *s)
{
	servers_open(s->domain, s->address, PORT);
	s->open = true;
	sim_trace("world", "%s serves", s->domain);
}

static bool is_up(void)
{
	return machine_is_up();
}

static void start(void)
{
	machine_configure(slice_of(scene.text, scene.n));
	machine_start();
	sim_run(sim_now() + SIM_MINUTE, is_up);
	if (!is_up())
		sim_fail("the server does not start");
}

/* ---- mail -------------------------------------------------------------------------------------------------------- */

/* Messages that come at their times, one after the other. */
struct feed {
	size_t count, handed;
	sim_us from, until;
	void (*draw)(struct client_order *order, uint64_t number);
};

static struct slice words(char room[100], const char *format, ...) __attribute__((format(printf, 2, 3)));
static struct slice words(char room[100], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(room, 100, format, args);
	va_end(args);
	return slice_of(room, (size_t)n);
}

static struct slice local_address(uint64_t number)
{
	static const char *const mailboxes[] = {"alice@local.example", "bob@local.example", "carol@local.example",
						"dave@local.example"};

	return slice_from_cstr(mailboxes[number % 4]);
}

/* Somebody at a site, who takes mail ("ok"), or does not exist ("no"). */
static struct slice remote_address(char room[100], const char *what, uint64_t number, const struct site *s)
{
	return words(room, "%s-%llu@%s", what, (unsigned long long)number, s->domain);
}

static void next_message(void *arg, uint64_t number)
{
	struct feed *f = arg;
	struct client_order order = {.size = 100 + sim_below(800)};

	order.sender = local_address(sim_below(4));
	order.count = 1;
	f->draw(&order, number);
	clients_hand_in(&order);
	if (++f->handed < f->count) {
		/* Evenly, and yet by chance. */
		double gap = (double)(f->until - sim_now()) / (double)(f->count - f->handed);
		sim_in((sim_us)((double)sim_below(2000) / 1000 * gap), next_message, f, number + 1);
	}
}

static void feed_start(struct feed *f)
{
	sim_at(f->from, next_message, f, 0);
}

/* ---- what is looked at ------------------------------------------------------------------------------------------- */

static void run_until(sim_us until)
{
	if (!sim_failure())
		sim_run(until, NULL);
}

/* The spread of retries in an hour that has passed. */
static void look_at_hour(const char *what, sim_us from)
{
	struct watch_spread w = watch_spread(from, from + SIM_HOUR);

	printf("%s: %llu retries in an hour, %.1f in the mean second, %llu in the busiest: %.2f times the mean\n", what,
	       (unsigned long long)w.retries, w.mean, (unsigned long long)w.busiest,
	       w.mean > 0 ? (double)w.busiest / w.mean : 0);
	if (w.retries == 0)
		sim_fail("nothing was tried again in the hour");
	else if ((double)w.busiest >= SPREAD_MAX * w.mean)
		sim_fail("retries come in a burst: %llu in a second, where %.1f are the mean",
			 (unsigned long long)w.busiest, w.mean);
}

/* No recipient fails but those whom their server does not know, and for each of them comes a report. */
static void expect_failed(uint64_t most)
{
	if (sim_counts[COUNT_FAILED] > most)
		sim_fail("%llu recipients failed, and no more than %llu should",
			 (unsigned long long)sim_counts[COUNT_FAILED], (unsigned long long)most);
}

static void expect_delivered(const char *domain, sim_us before)
{
	size_t left = ledger_waiting(slice_from_cstr(domain), before);

	if (left > 0)
		sim_fail("%zu recipients of %s still wait, and nothing keeps them from going", left, domain);
}

/* All has to come to its end before so much time is over. */
static void drain(sim_us patience)
{
	sim_us began = sim_now();
	size_t first = ledger_waiting(SLICE_NONE, sim_now()), left = first;

	while (!sim_failure() && (!clients_are_done() || (left = ledger_waiting(SLICE_NONE, sim_now())) > 0)) {
		if (sim_now() - began > patience) {
			sim_fail("%zu recipients still wait %lld s after all has healed", left,
				 (long long)(patience / SIM_SECOND));
			return;
		}
		sim_run(sim_now() + 10 * SIM_SECOND, NULL);
	}
	if (!sim_failure())
		printf("healed: %zu recipients waited, and the last of them was gone after %lld s\n", first,
		       (long long)((sim_now() - began) / SIM_SECOND));
}

/* ---- dns-outage -------------------------------------------------------------------------------------------------- */

static void to_any_site(struct client_order *order, uint64_t number)
{
	static char room[100];

	const struct site *site = &scene.sites[sim_below(scene.site_count)];

	order->rcpt[0] = number % 10 == 0 ? local_address(sim_below(4)) : remote_address(room, "ok", number, site);
}

/* For a whole day the DNS gives no answer, while mail arrives. */
static void dns_outage(size_t count)
{
	for (size_t i = 0; i < SITES; i++)
		add_site("s", true);
	start();
	for (size_t i = 0; i < SITES; i++)
		open_site(&scene.sites[i]);
	sim_us from = sim_now(), until = from + 24 * SIM_HOUR;
	struct feed mail = {.count = count, .from = from, .until = until, .draw = to_any_site};
	sim_plan.dns_fails = 1000000;
	sim_trace("world", "the DNS gives no answer any more");
	feed_start(&mail);
	run_until(until);
	expect_failed(0);
	expect_delivered("local.example", until - SIM_MINUTE);
	look_at_hour("the last hour of the outage", until - SIM_HOUR);
	sim_plan.dns_fails = 0;
	sim_trace("world", "the DNS answers again");
	drain(5 * SIM_HOUR);
	expect_failed(0);
}

/* ---- dead-site --------------------------------------------------------------------------------------------------- */

static void to_dead_site(struct client_order *order, uint64_t number)
{
	static char room[100];

	order->rcpt[0] = remote_address(room, "ok", number, &scene.sites[0]);
}

static void to_living_site(struct client_order *order, uint64_t number)
{
	static char room[100];

	order->rcpt[0] = remote_address(room, "ok", number, &scene.sites[1 + sim_below(scene.site_count - 1)]);
}

/* One destination refuses every connection, and very much mail is queued for it; beside it others live. */
static void dead_site(size_t count)
{
	add_site("dead", false);
	for (size_t i = 1; i < 6; i++)
		add_site("s", false);
	start();
	for (size_t i = 1; i < 6; i++)
		open_site(&scene.sites[i]);
	sim_us from = sim_now(), filled = from + SIM_HOUR, until = filled + 2 * SIM_HOUR;
	struct feed dead = {.count = count, .from = from, .until = filled, .draw = to_dead_site};
	struct feed living = {.count = count / 10, .from = from, .until = until, .draw = to_living_site};
	feed_start(&dead);
	feed_start(&living);
	run_until(until);
	expect_failed(0);
	for (size_t i = 1; i < 6; i++)
		expect_delivered(scene.sites[i].domain, until - SIM_MINUTE);
	look_at_hour("the second hour after all was queued", until - SIM_HOUR);
	open_site(&scene.sites[0]);
	drain(5 * SIM_HOUR);
	expect_failed(0);
}

/* ---- disk-full --------------------------------------------------------------------------------------------------- */

/* Mail that goes out, mail that comes in for us, and what nobody takes. */
static void to_everybody(struct client_order *order, uint64_t number)
{
	static char room[100];
	const struct site *site = &scene.sites[2 + sim_below(scene.site_count - 2)];

	if (number % 3 == 0)
		order->rcpt[0] = local_address(sim_below(4));
	else
		order->rcpt[0] = remote_address(room, "ok", number, site);
}

static void to_two_dead_sites(struct client_order *order, uint64_t number)
{
	static char room[100];

	/* The first comes back while the disk is full, and knows some of them no more. */
	order->rcpt[0] = number % 2 ? remote_address(room, "ok", number, &scene.sites[1])
				    : remote_address(room, number % UNKNOWN ? "ok" : "no", number, &scene.sites[0]);
}

/* What an hour brought; `least` of it at the least. */
static void tell_change(const uint64_t before[SIM_COUNTS], enum sim_count what, const char *words, uint64_t least)
{
	uint64_t n = sim_counts[what] - before[what];

	printf(" %llu %s", (unsigned long long)n, words);
	if (n < least)
		sim_fail("in the hour without space no %s", words);
}

/* The disk fills for an hour while clients go on, and mail that waits since before is delivered or fails. */
static void disk_full(size_t count)
{
	add_site("back", false);
	add_site("dead", false);
	for (size_t i = 2; i < 6; i++)
		add_site("s", false);
	start();
	for (size_t i = 2; i < 6; i++)
		open_site(&scene.sites[i]);
	sim_us from = sim_now(), full = from + SIM_HOUR, until = full + SIM_HOUR;
	struct feed waiting = {.count = count, .from = from, .until = full, .draw = to_two_dead_sites};
	struct feed mail = {.count = count / 4, .from = from, .until = until, .draw = to_everybody};
	feed_start(&waiting);
	feed_start(&mail);
	run_until(full);
	/* Others take all but a part of the reserve. */
	disk_capacity(disk_used() + (12 << 20));
	sim_trace("world", "others fill the disk");
	uint64_t before[SIM_COUNTS];
	memcpy(before, sim_counts, sizeof before);
	run_until(full + SIM_HOUR / 6);
	open_site(&scene.sites[0]);
	run_until(until);
	expect_failed((count + UNKNOWN - 1) / UNKNOWN);
	look_at_hour("the hour without space", full);
	printf("in that hour:");
	tell_change(before, COUNT_ACCEPTED, "messages were taken,", 0);
	tell_change(before, COUNT_REFUSED, "times a client was told to come later,", 1);
	tell_change(before, COUNT_TO_PEER, "recipients got what had waited,", 1);
	tell_change(before, COUNT_REPORTS, "were reported as unknown\n", 1);
	disk_capacity((uint64_t)1 << 30);
	sim_trace("world", "the disk has room again");
	open_site(&scene.sites[1]);
	drain(5 * SIM_HOUR);
	if (!sim_failure() && sim_counts[COUNT_REPORTS] != (count + UNKNOWN - 1) / UNKNOWN)
		sim_fail("%llu recipients of %zu unknown ones are reported",
			 (unsigned long long)sim_counts[COUNT_REPORTS], (count + UNKNOWN - 1) / UNKNOWN);
}

/* ---- silent-sites ------------------------------------------------------------------------------------------------ */

#define SILENT_SITES    500
#define SILENT_ADDRESS  "192.0.2.100"
#define NEW_SITES       60
#define NEW_ADDRESS     "192.0.2.101"
#define KNOWN_MAY_WAIT  (5 * SIM_SECOND)
#define NEW_MAY_WAIT    (20 * SIM_SECOND)

static void add_many(const char *name, size_t count, const char *address)
{
	for (size_t i = 0; i < count; i++)
		add_text("route \"%zu.%s\" { hosts = {\"[%s]:%d\"} }\n", i, name, address, PORT);
}

static void to_silent_site(struct client_order *order, uint64_t number)
{
	static char room[100];

	order->rcpt[0] = words(room, "ok-%llu@%llu.silent.example", (unsigned long long)number,
			       (unsigned long long)(number % SILENT_SITES));
}

static void to_known_site(struct client_order *order, uint64_t number)
{
	static char room[100];

	order->rcpt[0] = remote_address(room, "ok", number, &scene.sites[sim_below(scene.site_count)]);
}

/* Each to another one. */
static void to_new_site(struct client_order *order, uint64_t number)
{
	static char room[100];

	order->rcpt[0] = words(room, "ok@%llu.new.example", (unsigned long long)number);
}

/* Hundreds of destinations where connections hang, far more than there may be connections for them; beside them some
 * that answer all the time, and now and then one that does and was never heard of. */
static void silent_sites(size_t count)
{
	add_text("client { connections_max = 100 }\n");
	for (size_t i = 0; i < 3; i++)
		add_site("s", false);
	add_many("silent.example", SILENT_SITES, SILENT_ADDRESS);
	add_many("new.example", NEW_SITES, NEW_ADDRESS);
	sim_silence(SILENT_ADDRESS, PORT);
	start();
	for (size_t i = 0; i < 3; i++)
		open_site(&scene.sites[i]);
	servers_open("new.example", NEW_ADDRESS, PORT);
	sim_us from = sim_now() + SIM_MINUTE, until = from + 2 * SIM_HOUR;
	struct feed burst = {.count = count / 2, .from = from, .until = from + SIM_MINUTE, .draw = to_silent_site};
	struct feed more = {.count = count / 2, .from = from, .until = until, .draw = to_silent_site};
	struct feed known = {.count = count / 4, .from = sim_now(), .until = until, .draw = to_known_site};
	struct feed new = {.count = NEW_SITES, .from = from, .until = until, .draw = to_new_site};
	struct feed *const feeds[] = {&burst, &more, &known, &new};
	for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++)
		feed_start(feeds[i]);
	while (sim_now() < until && !sim_failure()) {
		run_until(sim_now() + 5 * SIM_SECOND);
		for (size_t i = 0; i < 3; i++)
			expect_delivered(scene.sites[i].domain, sim_now() - KNOWN_MAY_WAIT);
		expect_delivered("new.example", sim_now() - NEW_MAY_WAIT);
	}
	expect_failed(0);
	sim_silence(NULL, 0);
	servers_open("silent.example", SILENT_ADDRESS, PORT);
	sim_trace("world", "the silent ones answer");
	drain(5 * SIM_HOUR);
	expect_failed(0);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(size_t count);
	size_t count; /* messages */
} scenes[] = {
	{"dns-outage", dns_outage, 20000},
	{"dead-site", dead_site, 100000},
	{"disk-full", disk_full, 20000},
	{"silent-sites", silent_sites, 4000},
};

bool scene_exists(const char *name)
{
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
		if (strcmp(name, scenes[i].name) == 0)
			return true;
	return false;
}

bool run_scene(const struct run_options *o, const char *name, size_t count)
{
	sim_seed(o->seed);
	enum disk_kind disk = swarm_disk();
	disk_init(o->disk >= 0 ? (enum disk_kind)o->disk : disk);
	add_text("%s", head);
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
		if (strcmp(name, scenes[i].name) == 0)
			scenes[i].run(count ? count : scenes[i].count);
	if (!sim_failure())
		run_close_down();
	sim_count_add(COUNT_SECONDS, (uint64_t)(sim_now() / SIM_SECOND));
	return !sim_failure();
}
