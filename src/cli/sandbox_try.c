#include "cli/sandbox_try.h"

#include "base/heap.h"
#include "net/address.h"
#include "net/fs_posix.h"
#include "net/socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOM 512

struct sandbox_scene {
	char root[64];        /* a directory of its own */
	char data[128];       /* the data directory in it */
	int tcp, unix_socket; /* listen */
	uint16_t port;
	pid_t victim;
	struct iovec secret; /* in the victim */
};

static const struct {
	const char *path;
	bool directory;
} places[] = {
	{"data", true},
	{"data/mail", true},
	{"data/mail/example.com", true},
	{"data/mail/example.com/alice", true},
	{"data/mail/example.com/alice/new", true},
	{"data/mail/example.com/alice/new/1", false},
	{"data/tls", true},
	{"data/tls/self-signed.key", false},
	{"data/queue.db", false},
	{"data/spool", true},
	{"data/spool/1", false},
	{"data/accounts", true},
	{"data/accounts/directory.db", false},
	{"elsewhere", true},
	{"elsewhere/1", false},
};
static const size_t place_count = sizeof places / sizeof *places;

/* ---- the attempts: 0, or an errno value ----------------------------------------------------------------------- */

static int try_open(const char *directory, const char *path, int flags)
{
	char whole[ROOM];

	snprintf(whole, sizeof whole, "%s/%s", directory, path);
	int fd = open(whole, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int read_queue(const struct sandbox_scene *s)
{
	return try_open(s->data, "queue.db", O_RDONLY);
}

static int change_queue(const struct sandbox_scene *s)
{
	return try_open(s->data, "queue.db", O_WRONLY);
}

static int read_large(const struct sandbox_scene *s)
{
	return try_open(s->data, "spool/1", O_RDONLY);
}

static int read_mailbox(const struct sandbox_scene *s)
{
	return try_open(s->data, "mail/example.com/alice/new/1", O_RDONLY);
}

static int write_mailbox(const struct sandbox_scene *s)
{
	return try_open(s->data, "mail/example.com/alice/new/2", O_WRONLY | O_CREAT);
}

static int read_key(const struct sandbox_scene *s)
{
	return try_open(s->data, "tls/self-signed.key", O_RDONLY);
}

static int read_passwords(const struct sandbox_scene *s)
{
	return try_open(s->data, "accounts/directory.db", O_RDONLY);
}

static int read_elsewhere(const struct sandbox_scene *s)
{
	return try_open(s->root, "elsewhere/1", O_RDONLY);
}

static int write_elsewhere(const struct sandbox_scene *s)
{
	return try_open(s->root, "elsewhere/2", O_WRONLY | O_CREAT);
}

static int read_system(const struct sandbox_scene *s)
{
	(void)s;
	return try_open("/etc", "passwd", O_RDONLY);
}

static int connect_tcp(const struct sandbox_scene *s)
{
	struct net_address a;

	net_address_ip(SLICE("127.0.0.1"), s->port, &a);
	int fd = socket_connect(&a);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int connect_unix(const struct sandbox_scene *s)
{
	char path[ROOM];

	snprintf(path, sizeof path, "%s/control.sock", s->data);
	int fd = socket_connect_unix(path);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int send_udp(const struct sandbox_scene *s)
{
	struct net_address a;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	net_address_ip(SLICE("127.0.0.1"), s->port, &a);
	ssize_t n = sendto(fd, "", 1, MSG_NOSIGNAL, (const struct sockaddr *)&a.storage, a.length);
	int error = n < 0 ? errno : 0;
	close(fd);
	return error;
}

static int listen_tcp(const struct sandbox_scene *s)
{
	struct net_address a;

	(void)s;
	net_address_ip(SLICE("127.0.0.1"), 0, &a);
	int fd = socket_listen(&a);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int accept_tcp(const struct sandbox_scene *s)
{
	int fd = accept4(s->tcp, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN ? 0 : errno;
	close(fd);
	return 0;
}

static int start_process(const struct sandbox_scene *s)
{
	int status;

	(void)s;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid < 0 ? errno : waitpid(pid, &status, 0) < 0 ? errno : 0;
}

static int run_program(const struct sandbox_scene *s)
{
	char *const argv[] = {(char[]){"true"}, NULL};

	(void)s;
	execv("/bin/true", argv);
	return errno;
}

static int signal_other(const struct sandbox_scene *s)
{
	return kill(s->victim, 0) < 0 ? errno : 0;
}

static int read_memory(const struct sandbox_scene *s)
{
	char octet;
	struct iovec into = {&octet, 1}, from = {s->secret.iov_base, 1};

	return process_vm_readv(s->victim, &into, 1, &from, 1, 0) < 0 ? errno : 0;
}

static int trace_other(const struct sandbox_scene *s)
{
	if (ptrace(PTRACE_SEIZE, s->victim, NULL, NULL) < 0)
		return errno;
	ptrace(PTRACE_DETACH, s->victim, NULL, NULL);
	return 0;
}

static int run_memory(const struct sandbox_scene *s)
{
	(void)s;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? errno : 0;
}

static int new_namespace(const struct sandbox_scene *s)
{
	(void)s;
	return unshare(CLONE_NEWUSER) < 0 ? errno : 0;
}

static int dump_core(const struct sandbox_scene *s)
{
	(void)s;
	return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? 0 : EPERM;
}

typedef int (*try_function)(const struct sandbox_scene *s);

#define ATTEMPTS(X)                                                                    \
	X("read-queue", "read a message in the queue", read_queue)                     \
	X("change-queue", "change the queue", change_queue)                            \
	X("read-large", "read a large message in the queue", read_large)               \
	X("read-mailbox", "read a message in a mailbox", read_mailbox)                 \
	X("write-mailbox", "put a message into a mailbox", write_mailbox)              \
	X("read-key", "read a private key", read_key)                                  \
	X("read-passwords", "read the users and their passwords", read_passwords)      \
	X("read-system", "read a file of the system", read_system)                     \
	X("read-elsewhere", "read a file of the same user elsewhere", read_elsewhere)  \
	X("write-elsewhere", "make a file elsewhere", write_elsewhere)                 \
	X("connect-tcp", "connect by TCP, to any port", connect_tcp)                   \
	X("connect-unix", "connect to a unix socket", connect_unix)                    \
	X("send-udp", "send by UDP", send_udp)                                         \
	X("listen", "listen on a port", listen_tcp)                                    \
	X("accept", "take a connection from a socket that it was given", accept_tcp)   \
	X("signal", "send a signal to another process", signal_other)                  \
	X("start-process", "start a process", start_process)                           \
	X("run-program", "run a program", run_program)                                 \
	X("read-memory", "read the memory of another process", read_memory)            \
	X("trace", "trace another process", trace_other)                               \
	X("run-memory", "run what it has written into its memory", run_memory)         \
	X("dump-core", "leave its memory in a core file, or to a debugger", dump_core) \
	X("new-namespace", "make a namespace of its own", new_namespace)

const struct sandbox_attempt sandbox_attempts[] = {
#define X(name, meaning, function) {name, meaning},
	ATTEMPTS(X)
#undef X
};
const size_t sandbox_attempt_count = sizeof sandbox_attempts / sizeof *sandbox_attempts;

static const try_function functions[] = {
#define X(name, meaning, function) function,
	ATTEMPTS(X)
#undef X
};
static_assert(sizeof functions / sizeof *functions <= SANDBOX_ATTEMPTS_MAX, "there is room for each");

/* ---- the scene ------------------------------------------------------------------------------------------------ */

static bool make_place(const struct sandbox_scene *s, const char *path, bool directory)
{
	char whole[ROOM];

	snprintf(whole, sizeof whole, "%s/%s", s->root, path);
	if (directory)
		return mkdir(whole, 0700) == 0;
	int fd = open(whole, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write(fd, "secret", 6) == 6;
	if (fd >= 0)
		close(fd);
	return good;
}

static bool listen_in(struct sandbox_scene *s)
{
	struct net_address a, own = {.length = sizeof own.storage};
	char path[ROOM];

	net_address_ip(SLICE("127.0.0.1"), 0, &a);
	s->tcp = socket_listen(&a);
	snprintf(path, sizeof path, "%s/control.sock", s->data);
	s->unix_socket = socket_listen_unix(path, 0600);
	if (s->tcp < 0 || s->unix_socket < 0 || getsockname(s->tcp, (struct sockaddr *)&own.storage, &own.length) < 0)
		return false;
	s->port = net_address_port(&own);
	return true;
}

/* A process of the same user that anybody may look into. */
static _Noreturn void be_victim(int ready)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	(void)!write(ready, "r", 1);
	for (;;)
		pause();
}

static bool start_victim(struct sandbox_scene *s)
{
	static char secret[] = "secret";
	int ends[2];
	char octet;

	s->secret = (struct iovec){secret, sizeof secret};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	s->victim = fork();
	if (s->victim == 0)
		be_victim(ends[1]);
	close(ends[1]);
	bool good = s->victim > 0 && read(ends[0], &octet, 1) == 1;
	close(ends[0]);
	return good;
}

struct sandbox_scene *sandbox_scene_open(void)
{
	struct sandbox_scene *s = heap_new(struct sandbox_scene);

	if (!s)
		return NULL;
	*s = (struct sandbox_scene){.root = "/tmp/postrider-sandbox.XXXXXX", .tcp = -1, .unix_socket = -1};
	if (!mkdtemp(s->root)) {
		heap_free(s);
		return NULL;
	}
	snprintf(s->data, sizeof s->data, "%s/data", s->root);
	bool good = true;
	for (size_t i = 0; i < place_count && good; i++)
		good = make_place(s, places[i].path, places[i].directory);
	if (good && listen_in(s) && start_victim(s))
		return s;
	int error = errno;
	sandbox_scene_close(s);
	errno = error;
	return NULL;
}

static void remove_place(const struct sandbox_scene *s, const char *path)
{
	char whole[ROOM];

	snprintf(whole, sizeof whole, "%s/%s", s->root, path);
	(void)remove(whole);
}

void sandbox_scene_close(struct sandbox_scene *s)
{
	static const char *const made[] = {"data/mail/example.com/alice/new/2", "elsewhere/2", "data/control.sock"};

	if (!s)
		return;
	if (s->victim > 0) {
		kill(s->victim, SIGKILL);
		waitpid(s->victim, NULL, 0);
	}
	if (s->tcp >= 0)
		close(s->tcp);
	if (s->unix_socket >= 0)
		close(s->unix_socket);
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		remove_place(s, made[i]);
	for (size_t i = place_count; i-- > 0;)
		remove_place(s, places[i].path);
	(void)rmdir(s->root);
	heap_free(s);
}

/* ---- trying --------------------------------------------------------------------------------------------------- */

/* What a process found out, through a pipe: when it is locked in it has no other way. */
struct finding {
	bool locked_in;
	uint32_t which;
	int error; /* -1: it is about to try */
	char why[SANDBOX_WHY_MAX];
};

/* All from `first` on, until one of them is the end of it. */
static _Noreturn void attempt(const struct sandbox_scene *s, const struct sandbox_row *row,
			      const struct sandbox_needs *needs, size_t first, int answer)
{
	struct finding f = {.locked_in = true};
	struct sandbox_needs here = needs ? *needs : (struct sandbox_needs){0};

	if (row) {
		here.data_dir = s->data;
		sandbox_begin();
		f.locked_in = sandbox_enter(row, &here, f.why);
	} else {
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	}
	if (!f.locked_in)
		(void)!write(answer, &f, sizeof f);
	for (size_t i = first; f.locked_in && i < sandbox_attempt_count; i++) {
		f.which = (uint32_t)i;
		f.error = -1;
		(void)!write(answer, &f, sizeof f);
		f.error = functions[i](s);
		(void)!write(answer, &f, sizeof f);
	}
	_exit(0);
}

/* Of an attempt that was the end of the process. */
static struct sandbox_trial judge_end(int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return (struct sandbox_trial){SANDBOX_ENDED, 0};
	/* It ended well and told nothing more: it had become another program. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return (struct sandbox_trial){SANDBOX_MAY, 0};
	return (struct sandbox_trial){SANDBOX_UNKNOWN, 0};
}

/* Those from `first` on that one process gets to; *ret_next is the first one that it did not. */
static bool try_some(const struct sandbox_scene *s, const struct sandbox_row *row, const struct sandbox_needs *needs,
		     size_t first, struct sandbox_trial ret[SANDBOX_ATTEMPTS_MAX], size_t *ret_next,
		     char why[SANDBOX_WHY_MAX])
{
	struct finding f = {.locked_in = true, .which = (uint32_t)first, .error = -1};
	int ends[2], status = 0;

	*ret_next = sandbox_attempt_count;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return true;
	pid_t pid = fork();
	if (pid == 0)
		attempt(s, row, needs, first, ends[1]);
	close(ends[1]);
	while (pid > 0 && read(ends[0], &f, sizeof f) == (ssize_t)sizeof f)
		if (f.error >= 0 && f.which < sandbox_attempt_count)
			ret[f.which] = (struct sandbox_trial){f.error ? SANDBOX_STOPPED : SANDBOX_MAY, f.error};
	close(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return true;
	if (!f.locked_in) {
		snprintf(why, SANDBOX_WHY_MAX, "%s", f.why);
		return false;
	}
	if (f.error < 0 && f.which < sandbox_attempt_count)
		ret[f.which] = judge_end(status);
	*ret_next = f.which + 1;
	return true;
}

bool sandbox_try(struct sandbox_scene *s, const struct sandbox_row *row, const struct sandbox_needs *needs,
		 struct sandbox_trial ret[SANDBOX_ATTEMPTS_MAX], char why[SANDBOX_WHY_MAX])
{
	size_t next = 0;

	for (size_t i = 0; i < sandbox_attempt_count; i++)
		ret[i] = (struct sandbox_trial){SANDBOX_UNKNOWN, 0};
	while (next < sandbox_attempt_count)
		if (!try_some(s, row, needs, next, ret, &next, why))
			return false;
	return true;
}
