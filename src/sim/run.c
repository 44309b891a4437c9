#include "sim/run.h"

#include "net/fs_posix.h"
#include "queue/store.h"
#include "sim/ledger.h"
#include "sim/machine.h"
#include "sim/peers.h"
#include "sim/users.h"

#include <assert.h>
#include <stdio.h>

static const char configuration[] =
	"hostname = \"sim.example\"\n"
	"data_dir = \"/data\"\n"
	"submit_socket = \"none\"\n"
	"receivers = %u\n"
	"senders = %u\n"
	"smtp { tls = off }\n"
	"relay_networks = {\"198.51.100.0/24\"}\n"
	"postmaster = \"dave@local.example\"\n"
	"listen smtp { port = 25\n %s }\n"
	"domain \"local.example\" { mailboxes = {\"alice\", \"bob\", \"carol\", \"dave\"} }\n"
	"domain \"lmtp.example\" { deliver = lmtp\n lmtp = \"unix:/lmtp\"\n mailboxes = {\"*\"} }\n"
	"route \"one.example\" { hosts = {\"mx.one.example:25\", \"[192.0.2.11]:2525\"}\n tls = %s }\n"
	"route \"two.example\" { hosts = {\"[192.0.2.2]:25\"}\n tls = %s }\n"
	"queue {\n"
	"retry_first = %us\n"
	"retry_longest = %us\n"
	"warn_after = %s\n"
	"lifetime = %ud\n"
	"disk_reserve = 1M\n"
	"inline_body_max = %uk\n"
	"window_recipients = %u\n"
	"recipients_per_job = %u\n"
	"}\n"
	"mailbox { newlines = %s }\n"
	"%s";

/* In worlds with users. Some who guess have to meet the limits, and the others have to come through in time. */
static const char users[] =
	"accounts { failures_per_account = 20\n failures_per_network = 40\n failures_span = 2m\n }\n";

static unsigned longest; /* seconds between two attempts */

static void configure(enum smtp_client_tls tls, bool with_users)
{
	/* Without TLS there, one may ask for what can be had. */
	static const char *const levels[] = {"opportunistic", "opportunistic", "required", "verify"};
	char text[2000];
	unsigned first = (unsigned)sim_between(1, 300);

	longest = first * (unsigned)sim_between(1, 20);
	/* One draw after the other: compilers differ in the order of arguments. */
	unsigned receivers = (unsigned)sim_between(1, 2), senders = (unsigned)sim_between(1, 2);
	const char *warn = sim_chance(500000) ? "never" : "10m";
	unsigned lifetime = (unsigned)sim_between(1, 5), inline_max = (unsigned)sim_between(4, 16);
	unsigned window = sim_chance(200000) ? 100 : 20000, job = (unsigned)sim_between(1, 10);
	const char *newlines = sim_chance(500000) ? "lf" : "crlf";
	int n = snprintf(text, sizeof text, configuration, receivers, senders,
			 with_users ? "auth = offer\n auth_in_clear = all" : "", levels[tls], levels[tls], first,
			 longest, warn, lifetime, inline_max, window, job, newlines, with_users ? users : "");
	assert(n > 0 && n < (int)sizeof text);
	machine_configure(slice_of(text, (size_t)n));
}

static bool is_up(void)
{
	return machine_is_up();
}

static bool is_down(void)
{
	return machine_is_down();
}

static bool is_over(void)
{
	return clients_are_done() && ledger_is_settled();
}

/* ---- what is left in the queue ----------------------------------------------------------------------------------- */

struct lines {
	const struct store_rcpt *rcpt;
	unsigned attempts;
};

static bool count_line(void *arg, const struct store_history *line)
{
	struct lines *l = arg;

	l->attempts += line->event == STORE_EVENT_ATTEMPT && line->n == l->rcpt->n;
	return true;
}

static bool compare(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct lines l = {.rcpt = r};
	struct store *store = arg;

	if (store->ops->history(store, m->id, count_line, &l) != STORE_OK)
		sim_fail("the history of %s cannot be read", msg_id_format(m->id).text);
	ledger_on_record(m, r, l.attempts);
	return true;
}

static bool left(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	size_t *count = arg;

	/* What an operator has to look at waits for him: it is no work that is left. */
	*count += r->state != STORE_HELD;
	sim_trace("ledger", "in the queue: %s to %.*s, state %d, due %lld, %u attempts", msg_id_format(m->id).text,
		  SLICE_ARGS(r->rcpt.address), (int)r->state, (long long)r->due, r->attempts);
	return true;
}

static void check_queue(void)
{
	struct store_cursor cursor = {0};
	struct store_filter filter = {.state = sim_failure() ? -2 : -1};
	struct store *store;
	struct fs *fs;
	size_t count = 0;

	if (fs_posix_open("/data", &fs) != 0) {
		sim_fail("the data directory is gone");
		return;
	}
	struct store_sqlite_config config = {.path = "/data/queue.db", .fs = fs, .wall = sim_wall()};
	enum store_result result = store_sqlite_open(&config, &store, NULL);
	if (result != STORE_OK) {
		sim_fail("the store cannot be opened: %s", store_result_text(result));
		return;
	}
	while (result == STORE_OK && !cursor.end)
		result = store->ops->list(store, &filter, NEVER / 2, &cursor, left, &count);
	if (result != STORE_OK)
		sim_fail("the store cannot be read: %s", store_result_text(result));
	struct store_cursor again = {0};
	struct store_filter all = {.state = -2};
	while (!sim_failure() && result == STORE_OK && !again.end)
		result = store->ops->list(store, &all, NEVER / 2, &again, compare, store);
	if (count > 0)
		sim_fail("the queue is not empty though all has healed: %zu recipients", count);
	store->ops->close(store);
	fs->ops->close(fs);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static void announce(const struct run_options *o, enum disk_kind disk, size_t messages, sim_us until)
{
	sim_trace("world", "seed %llu, disk %s, %zu messages in %lld s", (unsigned long long)o->seed,
		  disk_kind_name(disk), messages, (long long)(until / SIM_SECOND));
}

static void heal(void)
{
	swarm_heal();
	clients_heal();
	if (machine_is_down())
		machine_start();
	/* Windows of sites that failed, the last waits that were drawn, and whoever waits for a connection to break. */
	sim_us patience = (2 * (sim_us)longest + 7200) * SIM_SECOND;
	sim_us end = sim_now() + patience;
	sim_run(end, is_up);
	sim_run(end, is_over);
	/* Reports that only the queue knows of may still wait for their next attempt. */
	if (is_over())
		sim_run(sim_now() + (sim_us)(2 * longest + 1200) * SIM_SECOND, NULL);
	if (!is_over() && !sim_failure()) {
		/* What of it the queue still has. */
		machine_kill_all();
		ledger_close();
		sim_fail("not all has come to its end %lld s after the world has healed%s",
			 (long long)(patience / SIM_SECOND), clients_are_done() ? "" : ": clients still wait");
		check_queue();
	}
}

void run_close_down(void)
{
	/* What was said last is settled. */
	sim_run(sim_now() + 30 * SIM_SECOND, NULL);
	ledger_close_errands();
	machine_stop();
	sim_run(sim_now() + 120 * SIM_SECOND, is_down);
	if (!is_down())
		sim_fail("the server does not end when it is told to");
	if (!sim_failure())
		check_queue();
	if (!sim_failure())
		users_check();
	if (!sim_failure())
		ledger_close();
}

bool run_world(const struct run_options *o)
{
	static const sim_us lengths[] = {20 * SIM_SECOND, 120 * SIM_SECOND, 1200 * SIM_SECOND, 4 * 3600 * SIM_SECOND};

	sim_seed(o->seed);
	enum disk_kind disk = swarm_disk();
	if (o->disk >= 0)
		disk = (enum disk_kind)o->disk;
	sim_us until = lengths[sim_below(4)];
	size_t messages = 1 + sim_below(sim_chance(200000) ? 120 : 30);
	disk_init(disk);
	announce(o, disk, messages, until);
	enum smtp_client_tls tls = swarm_tls(o->seed);
	bool with_users = swarm_users(o->seed);
	configure(tls, with_users);
	servers_start(tls);
	if (with_users)
		clients_log_in();
	clients_start(messages, until);
	machine_start();
	if (with_users)
		users_make();
	if (!o->calm)
		swarm_draw(o->seed, until);
	sim_run(until, NULL);
	if (!sim_failure())
		heal();
	if (!sim_failure())
		run_close_down();
	sim_count_add(COUNT_SECONDS, (uint64_t)(sim_now() / SIM_SECOND));
	return !sim_failure();
}
