/*
 * socket: listening and blocking connections, for the supervisor and for tools.
 *
 * Paths of unix sockets may be as long as the system lets a path be: those beyond the 107 octets of sun_path are
 * reached through their opened directory.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "net/address.h"

#include <sys/types.h>

/* A listening, non-blocking socket; -1 with errno. */
int socket_listen(const struct net_address *address);
/* The same on a path; what a dead server left there is replaced. A live one there gives EADDRINUSE. */
int socket_listen_unix(const char *path, mode_t mode);
/* Blocking; -1 with errno. */
/* The same below a directory that is open, when its own path cannot be reached. */
int socket_listen_unix_at(int directory, const char *name, mode_t mode);
/* One that somebody else bound: whether it is a stream socket that listens. It is then set up as ours are. */
bool socket_take_over(int fd);
/* Whether connections to this address come in on this socket, which is bound to just that: an address and a port, or a
 * path. One of all IPv6 addresses may serve all IPv4 addresses, too. */
bool socket_serves(int fd, const struct net_address *address);
int socket_connect(const struct net_address *address);
int socket_connect_unix(const char *path);
/* Two connected ends, close-on-exec; false with errno. */
bool socket_pair(int ret[2]);
/* Who is at the other end of a unix socket; false when it cannot be told. */
bool socket_peer(int fd, uid_t *ret_uid, pid_t *ret_pid);

#endif
