/*
 * The table: what each role may do once it has locked itself in. What is not here, it may not.
 */
#include "net/sandbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BASE      SANDBOX_BIT(SANDBOX_BASE)
#define CHANNEL   SANDBOX_BIT(SANDBOX_CHANNEL)
#define ACCEPT    SANDBOX_BIT(SANDBOX_ACCEPT)
#define STREAM    SANDBOX_BIT(SANDBOX_STREAM)
#define DATAGRAM  SANDBOX_BIT(SANDBOX_DATAGRAM)
#define UNIX      SANDBOX_BIT(SANDBOX_UNIX)
#define READ      SANDBOX_BIT(SANDBOX_READ)
#define WRITE     SANDBOX_BIT(SANDBOX_WRITE)
#define REMOVE    SANDBOX_BIT(SANDBOX_REMOVE)
#define PAIR      SANDBOX_BIT(SANDBOX_PAIR)
#define PROCESS   SANDBOX_BIT(SANDBOX_PROCESS)
#define START     SANDBOX_BIT(SANDBOX_START)
#define NEVER     SANDBOX_BIT(SANDBOX_NEVER)
#define SANITIZER SANDBOX_BIT(SANDBOX_SANITIZER)

#define LOOK      (SANDBOX_FILE_READ)
#define OWN       (SANDBOX_FILE_READ | SANDBOX_FILE_WRITE | SANDBOX_FILE_MAKE | SANDBOX_FILE_PLACE)
#define RUN       (SANDBOX_FILE_READ | SANDBOX_FILE_EXECUTE)

const struct sandbox_row sandbox_rows[] = {
	{
		.role = "supervisor",
		.may = "read the configuration, open certificates for the keys role, watch over the roles",
		.never = "see the network, start a program by itself",
		.calls = BASE | CHANNEL | READ | REMOVE | PAIR | PROCESS,
		.paths = {{"/", LOOK}},
	},
	{
		.role = "launcher",
		.may = "start roles when the supervisor says so",
		.never = "hear from anybody else",
		.calls = ~(NEVER | SANITIZER),
		.all_files = true,
		.connect = SANDBOX_TCP_ANY,
	},
	{
		.role = "receiver",
		.may = "talk to clients, ask the DNS",
		.never = "open a file: no mailbox, no queue, no password, no key",
		.calls = BASE | CHANNEL | ACCEPT | STREAM | DATAGRAM,
	},
	{
		.role = "auth",
		.may = "read the accounts, check passwords",
		.never = "see the network, the queue, a mailbox or a key",
		.calls = BASE | CHANNEL | READ | WRITE,
		.paths = {{"accounts", OWN}, {"/dev/urandom", LOOK}},
	},
	{
		.role = "queue",
		.may = "keep the database and large messages",
		.never = "see the network",
		.calls = BASE | CHANNEL | READ | WRITE,
		.paths = {{".", OWN}, {"/dev/urandom", LOOK}},
	},
	{
		.role = "sender",
		.may = "connect to other servers, ask the DNS",
		.never = "listen; reach the queue, a mailbox, a password or a key",
		.calls = BASE | CHANNEL | STREAM | DATAGRAM | READ,
		.paths = {{"/etc/ssl/certs", LOOK},
			  {"/etc/pki/tls/certs", LOOK},
			  {"/etc/pki/ca-trust/extracted", LOOK},
			  {"/usr/share/ca-certificates", LOOK},
			  {"/usr/local/share/ca-certificates", LOOK}},
		.connect = SANDBOX_TCP_ANY,
	},
	{
		.role = "mailbox",
		.may = "write below the mail directory, connect to LMTP servers",
		.never = "see the internet, the queue, a password or a key",
		.calls = BASE | CHANNEL | READ | WRITE,
		.calls_if_needed = STREAM | DATAGRAM | UNIX,
		.paths = {{"mail", OWN}},
	},
	{
		.role = "admin",
		.may = "talk to tools of the operator, pass on what the queue answers",
		.never = "open a file, see the network",
		.calls = BASE | CHANNEL | ACCEPT,
	},
	{
		.role = "keys",
		.may = "read certificates and private keys, sign handshakes of TLS",
		.never = "see the network, the queue or a mailbox",
		.calls = BASE | CHANNEL | READ | WRITE,
		.paths = {{"tls", OWN}},
	},
};

const size_t sandbox_row_count = sizeof sandbox_rows / sizeof *sandbox_rows;

/* Reports of the sanitizers name functions: that is another program's work, which reads programs and libraries. */
static const struct sandbox_row sanitizer = {
	.role = "sanitizer",
	.may = "what AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer need",
	.calls = BASE | READ | START | SANITIZER,
	.paths = {{"/proc", LOOK | SANDBOX_FILE_WRITE},
		  {"/usr", RUN},
		  {"/lib", RUN},
		  {"/lib64", RUN},
		  {"/etc/ld.so.cache", LOOK}},
};

#ifdef SANDBOX_WITH_SANITIZERS
const struct sandbox_row *const sandbox_sanitizer_row = &sanitizer;
#else
const struct sandbox_row *const sandbox_sanitizer_row = NULL;
#endif

const struct sandbox_row *sandbox_row(const char *role)
{
	if (strcmp(role, sanitizer.role) == 0)
		return &sanitizer;
	for (size_t i = 0; i < sandbox_row_count; i++)
		if (strcmp(sandbox_rows[i].role, role) == 0)
			return &sandbox_rows[i];
	abort();
}

static const struct {
	const char *name, *meaning;
} groups[] = {
	[SANDBOX_BASE] = {"base", "memory, clocks, waiting, reading and writing what is open"},
	[SANDBOX_CHANNEL] = {"channel", "frames and octets over sockets that are there"},
	[SANDBOX_ACCEPT] = {"accept", "take connections from sockets that listen"},
	[SANDBOX_STREAM] = {"stream", "connect by TCP"},
	[SANDBOX_DATAGRAM] = {"datagram", "send and receive by UDP"},
	[SANDBOX_UNIX] = {"unix", "connect to unix sockets"},
	[SANDBOX_LISTEN] = {"listen", "make sockets that listen"},
	[SANDBOX_READ] = {"read", "open files for reading"},
	[SANDBOX_REMOVE] = {"remove", "remove files"},
	[SANDBOX_WRITE] = {"write", "open files for writing; make, move and remove them"},
	[SANDBOX_PAIR] = {"pair", "make socket pairs and files in memory"},
	[SANDBOX_PROCESS] = {"process", "send signals, and wait for processes"},
	[SANDBOX_START] = {"start", "start processes, other programs among them"},
	[SANDBOX_SANITIZER] = {"sanitizer", "what sanitizers do in a build with them"},
	[SANDBOX_NEVER] = {"never", "trace others, load modules, mount, change the user and the like"},
};
static_assert(sizeof groups / sizeof *groups == SANDBOX_GROUP_COUNT, "each group has its words");

const char *sandbox_group_name(enum sandbox_group group)
{
	return groups[group].name;
}

const char *sandbox_group_meaning(enum sandbox_group group)
{
	return groups[group].meaning;
}
