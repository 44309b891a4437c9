/*
 * sandbox: what a process of ours may still do once it has locked itself in.
 *
 * One table (sandbox_table.c) has a row for each role: groups of system calls, paths below the data directory, TCP
 * ports. A role applies its row before its first octet of input, in three ways that do not depend on each other:
 *
 *	Landlock    which files are there at all, which TCP ports may be connected to, no signals to other processes
 *	seccomp     which system calls there are (sandbox_calls.def), by libseccomp
 *	the rest    no new privileges, no capabilities, no core dumps, not to be traced, no processes
 *
 * What was opened before stays open, and so does what comes over a channel: that is how a role gets what it needs.
 * Nothing can be undone, and what a process starts is locked in as well.
 *
 * A kernel may lack Landlock (before 5.19 it cannot let files be moved between directories, as Maildirs need) or
 * seccomp, and a container may hide them. Then the others stand alone; sandbox_kernel tells, so that it can be said.
 */
#ifndef NET_SANDBOX_H
#define NET_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Groups of system calls, one bit each; which calls they are stands in sandbox_calls.def. */
enum sandbox_group {
	SANDBOX_BASE,      /* memory, clocks, waiting, reading and writing what is open */
	SANDBOX_CHANNEL,   /* frames and octets over sockets that are there */
	SANDBOX_ACCEPT,    /* take connections from a socket that listens */
	SANDBOX_STREAM,    /* make TCP connections */
	SANDBOX_DATAGRAM,  /* send and receive UDP, as the DNS needs */
	SANDBOX_UNIX,      /* connect to unix sockets by their path */
	SANDBOX_LISTEN,    /* make sockets that others connect to: done before, no role has it */
	SANDBOX_READ,      /* open files for reading */
	SANDBOX_REMOVE,    /* remove files */
	SANDBOX_WRITE,     /* open files for writing; make, move and remove them */
	SANDBOX_PAIR,      /* make socket pairs, files in memory */
	SANDBOX_PROCESS,   /* signals to processes, and their end */
	SANDBOX_START,     /* new processes, other programs */
	SANDBOX_SANITIZER, /* what AddressSanitizer and its kin do behind our back */
	SANDBOX_NEVER,     /* no role has it: the process is ended at once */
	SANDBOX_GROUP_COUNT,
};
#define SANDBOX_BIT(group) (1u << (group))

enum sandbox_right {
	SANDBOX_FILE_READ = 1,  /* files and lists of files */
	SANDBOX_FILE_WRITE = 2, /* what is in files that are there */
	SANDBOX_FILE_MAKE = 4,  /* make, move and remove files and directories */
	SANDBOX_FILE_EXECUTE = 8,
	SANDBOX_FILE_REMOVE = 16, /* remove files alone */
	SANDBOX_FILE_PLACE = 32,  /* a directory, which is made before if it is not there */
};

/* A file, or a directory with all that is below it. What is not there when the role locks itself in stays closed. */
struct sandbox_path {
	const char *path; /* absolute, or from the data directory; NULL ends a list */
	unsigned rights;
};

/* TCP ports that may be connected to, by who has SANDBOX_STREAM. */
enum sandbox_tcp {
	SANDBOX_TCP_NEEDED, /* those that the process needs by its configuration */
	SANDBOX_TCP_ANY,
};

#define SANDBOX_PATHS_MAX 8

/* A row of the table. */
struct sandbox_row {
	const char *role;
	const char *may, *never; /* in words, for people */
	unsigned calls;
	unsigned calls_if_needed; /* by its configuration */
	struct sandbox_path paths[SANDBOX_PATHS_MAX];
	bool all_files; /* files are not confined: what it starts is, by itself */
	enum sandbox_tcp connect;
};

extern const struct sandbox_row sandbox_rows[];
extern const size_t sandbox_row_count;
/* The row of a role, by its name; it must be there. */
const struct sandbox_row *sandbox_row(const char *role);
/* Added to each row in a build with sanitizers; NULL in others. */
extern const struct sandbox_row *const sandbox_sanitizer_row;

const char *sandbox_group_name(enum sandbox_group group);
const char *sandbox_group_meaning(enum sandbox_group group);

/* What the kernel has, and a container lets this process use: known for sure once it may get no new privileges. */
struct sandbox_kernel {
	int landlock; /* its ABI; 0: none, or one that is too old */
	bool seccomp;
};
struct sandbox_kernel sandbox_kernel(void);

/* What a process of its own has, besides its row. */
struct sandbox_needs {
	const char *data_dir;
	unsigned calls;        /* of the row's calls_if_needed */
	const uint16_t *ports; /* for SANDBOX_TCP_NEEDED */
	size_t port_count;
	bool any_port;
	const struct sandbox_path *paths; /* more of them; may be NULL */
	bool required;                    /* Landlock and seccomp have to be there */
};

#define SANDBOX_WHY_MAX 160

/*
 * Locks this process in, for good. False: it could not be done although the kernel has what is needed, or what is
 * required is not there, and `why` says what failed; the process is then neither locked in nor free, and ends.
 */
bool sandbox_enter(const struct sandbox_row *row, const struct sandbox_needs *needs, char why[SANDBOX_WHY_MAX]);

#define SANDBOX_CALL_MAX 32

/*
 * The name of a system call that this process made and was refused, each only once: it needs it for something that was
 * not thought of, or somebody else is at work in it. False: there is none, which costs nothing to ask. A process that
 * starts others (SANDBOX_START), and so each one in a build with sanitizers, does not know what it is refused.
 */
bool sandbox_next_refused(char ret[SANDBOX_CALL_MAX]);

/*
 * No core dumps, no tracing by others of this user, no new privileges by executing; and the local time is read, which a
 * process that is locked in cannot. Of every process, at its start.
 */
void sandbox_begin(void);

/* Gives up all capabilities, in all sets. */
bool sandbox_drop_capabilities(void);

#endif
