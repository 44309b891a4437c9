/*
 * Stories: one or two messages, one thing that happens to them, and all that the server does, told like a log. They are
 * golden traces (tests/sim/golden), and what a newcomer may read first.
 */
#include "sim/ledger.h"
#include "sim/machine.h"
#include "sim/peers.h"
#include "sim/run.h"
#include "sim/users.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char usual[] = "hostname = \"sim.example\"\n"
			    "data_dir = \"/data\"\n"
			    "submit_socket = \"none\"\n"
			    "receivers = 1\n"
			    "senders = 1\n"
			    "relay_networks = {\"198.51.100.0/24\"}\n"
			    "postmaster = \"alice@local.example\"\n"
			    "listen smtp { port = 25 }\n"
			    "domain \"local.example\" { mailboxes = {\"alice\", \"bob\"} }\n"
			    "route \"one.example\" { hosts = {\"[192.0.2.1]:25\"} }\n"
			    "route \"two.example\" { hosts = {\"[192.0.2.2]:25\"} }\n"
			    "route \"*\" { hosts = {\"[192.0.2.3]:25\", \"[192.0.2.4]:25\"} }\n";

#define A_SECOND SIM_SECOND
#define A_MINUTE (60 * SIM_SECOND)
#define AN_HOUR  (3600 * SIM_SECOND)
#define A_DAY    (24 * AN_HOUR)
#define ONE      "one.example"
#define TWO      "two.example"

/* ---- what stories do --------------------------------------------------------------------------------------------- */

static void pass(sim_us time)
{
	if (!sim_failure())
		sim_run(sim_now() + time, NULL);
}

static void serve_one(void)
{
	servers_open(ONE, "192.0.2.1", 25);
}

static void serve_two(void)
{
	servers_open(TWO, "192.0.2.2", 25);
}

static void mail_to_both(const char *first, const char *second)
{
	struct client_order o = {.sender = SLICE("alice@local.example"),
				 .rcpt = {slice_from_cstr(first), slice_from_cstr(second ? second : "")},
				 .count = second ? 2 : 1,
				 .size = 200,
				 .plain = true};

	clients_hand_in(&o);
}

static void mail_to(const char *rcpt)
{
	mail_to_both(rcpt, NULL);
}

static void say(const char *words)
{
	sim_trace("world", "%s", words);
}

/* ---- the stories ------------------------------------------------------------------------------------------------- */

static void delivered(void)
{
	serve_one();
	mail_to("carol@" ONE);
	pass(A_MINUTE);
}

static void mailbox(void)
{
	mail_to("bob@local.example");
	pass(A_MINUTE);
}

static void greylisted(void)
{
	serve_one();
	servers_will(ONE, "RCPT TO", 0, SERVER_SAYS, "450 4.7.1 greylisted, come back in a few minutes\r\n");
	mail_to("carol@" ONE);
	pass(15 * A_MINUTE);
}

static void refused(void)
{
	serve_one();
	mail_to("no-such-user@" ONE);
	pass(A_MINUTE);
}

static void mixed(void)
{
	serve_one();
	serve_two();
	mail_to_both("no-such-user@" ONE, "dora@" TWO);
	pass(A_MINUTE);
}

static void reply_lost(void)
{
	serve_one();
	servers_will(ONE, NULL, 0, SERVER_BREAKS, NULL);
	mail_to("carol@" ONE);
	pass(15 * A_MINUTE);
}

static void power_before_commit(void)
{
	serve_one();
	disk_forgets();
	machine_trap("queue", "fsync", 0, DEATH_POWER);
	mail_to("carol@" ONE);
	pass(20 * A_MINUTE);
}

static void power_after_commit(void)
{
	serve_one();
	machine_trap("queue", "fsync done", 0, DEATH_POWER);
	mail_to("carol@" ONE);
	pass(20 * A_MINUTE);
}

static void queue_killed(void)
{
	serve_one();
	/* It is asked for ids, then it gets the message, then the outcome. */
	machine_trap("queue", "frame", 2, DEATH_KILLED);
	mail_to("carol@" ONE);
	pass(15 * A_MINUTE);
}

static void receiver_killed(void)
{
	serve_one();
	/* Of the octets that it reads, the fifth piece is the message. */
	machine_trap("receiver-0", "read", 4, DEATH_KILLED);
	mail_to("carol@" ONE);
	pass(15 * A_MINUTE);
}

static void auth_killed(void)
{
	struct client_order o = {.sender = SLICE("alice@local.example"),
				 .rcpt = {SLICE("carol@" ONE)},
				 .count = 1,
				 .size = 200,
				 .plain = true,
				 .user = user_number(0)};

	users_make();
	serve_one();
	/* The first frame begins the exchange, the second has the name, the third would have had the password. */
	machine_trap("auth", "frame", 2, DEATH_KILLED);
	clients_hand_in(&o);
	pass(15 * A_MINUTE);
}

static void disk_full(void)
{
	serve_one();
	disk_capacity(disk_used() + (10 << 20));
	say("others fill the disk: less than disk_reserve is left");
	mail_to("carol@" ONE);
	pass(40 * A_SECOND);
	disk_capacity((uint64_t)1 << 30);
	say("the disk has room again");
	pass(5 * A_MINUTE);
}

static void failover(void)
{
	servers_open("far.example", "192.0.2.4", 25);
	mail_to("erin@far.example");
	pass(A_MINUTE);
}

static void clock_jump(void)
{
	mail_to("carol@" ONE);
	pass(A_MINUTE);
	sim_wall_jump(365 * DAY);
	pass(A_MINUTE);
	serve_one();
	say(ONE " serves");
	pass(15 * A_MINUTE);
}

static void expired(void)
{
	mail_to("carol@" ONE);
	pass(5 * A_DAY + A_DAY);
}

static const struct story {
	const char *name, *words;
	const char *more; /* configuration */
	void (*run)(void);
} stories[] = {
	{"delivered",
	 "A client hands in a message for another server. The 250 is said when the log of the store is on the "
	 "disk, and the message is on its way in the same turn.",
	 "", delivered},
	{"mailbox",
	 "A message for a mailbox of our own. The file is written below tmp, synced, renamed into new, and the"
	 " directory is synced, before the queue hears that it is delivered.",
	 "", mailbox},
	{"greylisted",
	 "The other server asks to come back later. The recipient waits for about retry_first, five minutes, "
	 "by a clock that never jumps, and is taken then.",
	 "", greylisted},
	{"refused",
	 "The other server does not know the recipient. The failure and the report about it are one "
	 "transaction; the report is a message as any other, and lies in the sender's mailbox at the end.",
	 "", refused},
	{"mixed",
	 "Two recipients of one message at two destinations: one takes it, one refuses. The report is about "
	 "the one that failed.",
	 "", mixed},
	{"reply-lost",
	 "The other server takes the message, and the connection breaks before its 250 is here. Nobody can "
	 "tell whether it was taken: it goes out again. The second delivery has this reason, which the ledger "
	 "finds as well.",
	 "", reply_lost},
	{"power-before-commit",
	 "The power goes while the message is being written, before the log is on the disk. The client never "
	 "heard a 250 and comes again; the message is delivered once.",
	 "", power_before_commit},
	{"power-after-commit",
	 "The power goes when the log is on the disk, before the client hears its 250. The message is safe, "
	 "and the client, who cannot know, hands it in again: two copies, which only the client could have "
	 "kept apart.",
	 "", power_after_commit},
	{"queue-killed",
	 "The queue is killed after a message went out, before the outcome is on record. The next one finds "
	 "the message claimed by an owner that is gone, waits for recovery_grace, and delivers again.",
	 "", queue_killed},
	{"receiver-killed",
	 "The receiver is killed while a client sends its message. The client heard no 250, comes again to the"
	 " receiver that was started in its place, and the message is delivered once.",
	 "", receiver_killed},
	{"auth-killed",
	 "The auth role is killed when it gets a client's password. The client hears 454 at once, comes again, and "
	 "logs in at the role that was started in its place, which keeps more of the password from then on. It holds "
	 "the message to be one of the user's own.",
	 "smtp { auth = offer\n auth_in_clear = all }\n", auth_killed},
	{"disk-full",
	 "The disk has less left than disk_reserve. The client is told 452 before the message is taken, comes "
	 "again, and is served as soon as there is room.",
	 "", disk_full},
	{"failover",
	 "Mail for all other domains goes to a smart host of two. The first is dead: its place is taken by the"
	 " second, in the same attempt.",
	 "", failover},
	{"clock-jump",
	 "A message waits for a destination that is down, and the wall clock jumps ahead by a year. It is not "
	 "a year older for that: nothing is given up, and it goes out with its next attempt.",
	 "", clock_jump},
	{"expired",
	 "A destination is down for good. After four hours the sender is told that the message is late, after "
	 "five days that it has failed. Attempts are at least eight hours apart here (retry_first = 8h, "
	 "retry_longest = 1d).",
	 "queue { retry_first = 8h\n retry_longest = 1d }\n", expired},
};

static const struct story *find(const char *name)
{
	for (size_t i = 0; i < sizeof stories / sizeof *stories; i++)
		if (strcmp(name, stories[i].name) == 0)
			return &stories[i];
	return NULL;
}

bool story_exists(const char *name)
{
	return find(name) != NULL;
}

void story_list(void)
{
	for (size_t i = 0; i < sizeof stories / sizeof *stories; i++)
		printf("%s\n", stories[i].name);
}

static bool is_up(void)
{
	return machine_is_up();
}

bool run_story(const char *name)
{
	const struct story *s = find(name);
	char text[2000];

	sim_seed_steady();
	disk_init(DISK_EXT4);
	int n = snprintf(text, sizeof text, "%s%s", usual, s->more);
	assert(n > 0 && n < (int)sizeof text);
	machine_configure(slice_of(text, (size_t)n));
	machine_start();
	sim_run(10 * SIM_SECOND, is_up);
	sim_run(10 * SIM_SECOND, NULL);
	sim_print_folded(stdout, s->words, 118, 0);
	putchar('\n');
	sim_story_to(stdout);
	s->run();
	sim_story_to(NULL);
	if (!sim_failure() && ledger_waiting(SLICE_NONE, sim_now()) > 0)
		sim_fail("the story has no end: something still waits");
	if (!sim_failure())
		run_close_down();
	return !sim_failure();
}
