#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096

static int close_keeping_errno(int fd)
{
	int error = errno;

	close(fd);
	errno = error;
	return -1;
}

int socket_listen(const struct net_address *address)
{
	int on = 1;
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (address->storage.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)&address->storage, address->length) < 0 || listen(fd, BACKLOG) < 0)
		return close_keeping_errno(fd);
	return fd;
}

/*
 * An address for the path, by way of its directory when it is too long. *ret_dir is to be closed after use; -1 when
 * none was opened.
 */
static bool unix_address(const char *path, struct net_address *ret, int *ret_dir)
{
	char through[64 + NAME_MAX], parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	*ret_dir = -1;
	if (net_address_unix(slice_from_cstr(path), ret))
		return true;
	if (!slash || (size_t)(slash - path) >= sizeof parent || strlen(slash + 1) > NAME_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	*ret_dir = open(parent[0] ? parent : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir < 0)
		return false;
	snprintf(through, sizeof through, "/proc/self/fd/%d/%s", *ret_dir, slash + 1);
	if (net_address_unix(slice_from_cstr(through), ret))
		return true;
	close(*ret_dir);
	*ret_dir = -1;
	errno = ENAMETOOLONG;
	return false;
}

int socket_connect_unix(const char *path)
{
	struct net_address address;
	int dir;

	if (!unix_address(path, &address, &dir))
		return -1;
	int fd = socket_connect(&address);
	if (dir >= 0)
		close_keeping_errno(dir);
	return fd;
}

int socket_listen_unix(const char *path, mode_t mode)
{
	struct net_address address;
	struct stat st;
	int dir;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		int other = socket_connect_unix(path);
		if (other >= 0) {
			close(other);
			errno = EADDRINUSE;
			return -1;
		}
		/* Else the address would seem to be in use, though by nobody. */
		if (unlink(path) < 0 && errno != ENOENT)
			return -1;
	}
	if (!unix_address(path, &address, &dir))
		return -1;
	int fd = socket_listen(&address);
	if (dir >= 0)
		close_keeping_errno(dir);
	if (fd >= 0 && chmod(path, mode) < 0)
		return close_keeping_errno(fd);
	return fd;
}

int socket_listen_unix_at(int directory, const char *name, mode_t mode)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory, name) >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return socket_listen_unix(path, mode);
}

static bool socket_says(int fd, int level, int option)
{
	int value = 0;
	socklen_t size = sizeof value;

	return getsockopt(fd, level, option, &value, &size) == 0 && value;
}

bool socket_take_over(int fd)
{
	int type = 0;
	socklen_t size = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return false;
	return type == SOCK_STREAM && socket_says(fd, SOL_SOCKET, SO_ACCEPTCONN) &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

static bool is_any(const struct net_address *a)
{
	if (a->storage.ss_family == AF_INET)
		return ((const struct sockaddr_in *)&a->storage)->sin_addr.s_addr == htonl(INADDR_ANY);
	return a->storage.ss_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&a->storage)->sin6_addr);
}

bool socket_serves(int fd, const struct net_address *address)
{
	struct net_address own = {.length = sizeof own.storage};
	char text[NET_ADDRESS_TEXT], own_text[NET_ADDRESS_TEXT];
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->storage;

	if (getsockname(fd, (struct sockaddr *)&own.storage, &own.length) < 0)
		return false;
	if (address->storage.ss_family == AF_UNIX)
		return own.storage.ss_family == AF_UNIX && strncmp(((const struct sockaddr_un *)&own.storage)->sun_path,
								   path->sun_path, sizeof path->sun_path) == 0;
	if (own.storage.ss_family == AF_UNIX || net_address_port(&own) != net_address_port(address))
		return false;
	if (own.storage.ss_family == address->storage.ss_family)
		return slice_eq(net_address_text(&own, own_text), net_address_text(address, text));
	return is_any(&own) && is_any(address) && own.storage.ss_family == AF_INET6 &&
	       !socket_says(fd, IPPROTO_IPV6, IPV6_V6ONLY);
}

int socket_connect(const struct net_address *address)
{
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address->storage, address->length) < 0)
		return close_keeping_errno(fd);
	return fd;
}

bool socket_pair(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) == 0;
}

bool socket_peer(int fd, uid_t *ret_uid, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	*ret_uid = peer.uid;
	*ret_pid = peer.pid;
	return true;
}
