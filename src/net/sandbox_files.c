/*
 * Files and ports, by Landlock. A kernel that knows less is asked for less; what it does not know it cannot forbid.
 */
#include "net/sandbox_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The first ABI that lets files be moved between directories: a Maildir is nothing without. */
#define ABI_MIN         2
#define ABI_TRUNC       3
#define ABI_NET         4
#define ABI_IOCTL       5
#define ABI_SCOPE       6

/* Of newer headers than those that there may be. */
#define FS_REFER        (1ull << 13)
#define FS_TRUNCATE     (1ull << 14)
#define FS_IOCTL_DEV    (1ull << 15)
#define NET_BIND_TCP    (1ull << 0)
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT  (1ull << 0)
#define SCOPE_SIGNAL    (1ull << 1)
#define RULE_NET_PORT   2

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_rule {
	uint64_t access;
	int32_t parent;
} __attribute__((packed));

struct port_rule {
	uint64_t access, port;
};

static const uint64_t read_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t write_access = LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
static const uint64_t make_access = LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
				    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | FS_REFER;
static const uint64_t file_access =
	LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE | FS_TRUNCATE;

int sandbox_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < ABI_MIN)
		return 0;
	/* A container may let this question through, and not the rest. Rules that are nowhere are no good otherwise. */
	if (syscall(SYS_landlock_add_rule, -1, LANDLOCK_RULE_PATH_BENEATH, NULL, 0) == 0 || errno != EBADF)
		return 0;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
	    (syscall(SYS_landlock_restrict_self, -1, 0) == 0 || errno != EBADF))
		return 0;
	return (int)abi;
}

static struct ruleset all_of(int abi)
{
	struct ruleset r = {.fs = FS_REFER * 2 - 1};

	if (abi >= ABI_TRUNC)
		r.fs |= FS_TRUNCATE;
	if (abi >= ABI_IOCTL)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= ABI_NET)
		r.net = NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= ABI_SCOPE)
		r.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	return r;
}

static uint64_t access_of(unsigned rights)
{
	return (rights & SANDBOX_FILE_READ ? read_access : 0) | (rights & SANDBOX_FILE_WRITE ? write_access : 0) |
	       (rights & SANDBOX_FILE_MAKE ? make_access : 0) |
	       (rights & SANDBOX_FILE_REMOVE ? LANDLOCK_ACCESS_FS_REMOVE_FILE : 0) |
	       (rights & SANDBOX_FILE_EXECUTE ? LANDLOCK_ACCESS_FS_EXECUTE : 0);
}

static int open_path(const struct sandbox_path *p, const char *data_dir)
{
	if (p->path[0] == '/')
		return open(p->path, O_PATH | O_CLOEXEC);
	int root = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = root < 0 ? -1 : openat(root, p->path, O_PATH | O_CLOEXEC);
	int error = errno;
	if (root >= 0)
		close(root);
	errno = error;
	return fd;
}

static int add_path(int rules, const struct ruleset *handled, const struct sandbox_path *p, const char *data_dir)
{
	struct stat st;
	int error = 0, fd = open_path(p, data_dir);

	/* What cannot be reached needs no rule. */
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? errno : 0;
	struct path_rule rule = {.access = access_of(p->rights) & handled->fs, .parent = fd};
	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.access &= file_access;
	if (rule.access && syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		error = errno;
	close(fd);
	return error;
}

static int add_paths(int rules, const struct ruleset *handled, const struct sandbox_path *p, const char *data_dir)
{
	int error = 0;

	for (; p && p->path && !error; p++)
		error = add_path(rules, handled, p, data_dir);
	return error;
}

static int allow_port(int rules, uint16_t port)
{
	struct port_rule rule = {.access = NET_CONNECT_TCP, .port = port};

	return syscall(SYS_landlock_add_rule, rules, RULE_NET_PORT, &rule, 0) < 0 ? errno : 0;
}

static int add_ports(int rules, const struct sandbox_needs *needs)
{
	int error = 0;

	for (size_t i = 0; i < needs->port_count && !error; i++)
		error = allow_port(rules, needs->ports[i]);
	return error;
}

static int fill(int rules, const struct ruleset *handled, const struct sandbox_row *row,
		const struct sandbox_needs *needs, const char **what)
{
	*what = "the rules for files";
	int error = add_paths(rules, handled, row->paths, needs->data_dir);
	if (!error)
		error = add_paths(rules, handled, needs->paths, needs->data_dir);
	if (!error && sandbox_sanitizer_row)
		error = add_paths(rules, handled, sandbox_sanitizer_row->paths, needs->data_dir);
	if (!error && handled->net & NET_CONNECT_TCP) {
		*what = "the rules for ports";
		error = add_ports(rules, needs);
	}
	return error;
}

int sandbox_confine_files(const struct sandbox_row *row, const struct sandbox_needs *needs, int abi, const char **what)
{
	struct ruleset handled = all_of(abi);

	if (row->connect == SANDBOX_TCP_ANY || needs->any_port)
		handled.net &= ~NET_CONNECT_TCP;
	if (row->calls & SANDBOX_BIT(SANDBOX_PROCESS))
		handled.scoped = 0; /* it sends signals, and speaks to the service manager */
	*what = "the rules";
	int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
	if (rules < 0)
		return errno;
	int error = fill(rules, &handled, row, needs, what);
	if (!error && syscall(SYS_landlock_restrict_self, rules, 0) < 0) {
		*what = "Landlock";
		error = errno;
	}
	close(rules);
	return error;
}
