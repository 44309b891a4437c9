#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static struct slice without_brackets(struct slice text)
{
	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = slice_of(text.p + 1, text.n - 2);
	return slice_istarts(text, SLICE("IPv6:")) ? slice_skip(text, 5) : text;
}

bool net_address_ip(struct slice text, uint16_t port, struct net_address *ret)
{
	char buffer[INET6_ADDRSTRLEN];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->storage;

	text = without_brackets(text);
	if (text.n == 0 || text.n >= sizeof buffer || slice_find(text, '\0') < text.n)
		return false;
	memcpy(buffer, text.p, text.n);
	buffer[text.n] = '\0';
	*ret = (struct net_address){0};
	if (inet_pton(AF_INET, buffer, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		ret->length = sizeof *v4;
		return true;
	}
	if (inet_pton(AF_INET6, buffer, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		ret->length = sizeof *v6;
		return true;
	}
	return false;
}

bool net_address_unix(struct slice path, struct net_address *ret)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&ret->storage;

	*ret = (struct net_address){0};
	if (path.n == 0 || path.n >= sizeof un->sun_path || slice_find(path, '\0') < path.n)
		return false;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path.p, path.n);
	ret->length = sizeof *un;
	return true;
}

struct slice net_address_text(const struct net_address *address, char out[NET_ADDRESS_TEXT])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;

	if (address->storage.ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, out, NET_ADDRESS_TEXT);
	else if (address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out, NET_ADDRESS_TEXT);
	else if (address->storage.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, out, NET_ADDRESS_TEXT);
	else
		return SLICE("unix");
	return slice_from_cstr(out);
}

uint16_t net_address_port(const struct net_address *address)
{
	if (address->storage.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
	if (address->storage.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
	return 0;
}
