/*
 * The look-up of host names by libevent. It reads files alone, so what a process was told of them is put into files in
 * memory.
 */
#include "net/loop_private.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <event2/dns.h>

/* -1 without memory. */
static int file_of(struct slice text)
{
	int fd = memfd_create("postrider", MFD_CLOEXEC);

	if (fd >= 0 && text.n && write(fd, text.p, text.n) != (ssize_t)text.n) {
		close(fd);
		return -1;
	}
	return fd;
}

static void read_file(struct evdns_base *dns, struct slice text, bool hosts)
{
	char path[32];
	int fd = file_of(text);

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	/* What cannot be read leaves libevent's defaults. */
	if (hosts)
		(void)evdns_base_load_hosts(dns, path);
	else
		(void)evdns_base_resolv_conf_parse(dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC,
						   path);
	if (fd >= 0)
		close(fd);
}

struct evdns_base *loop_dns_new(struct event_base *base, const struct loop_system *system)
{
	int flags = EVDNS_BASE_DISABLE_WHEN_INACTIVE | (system->told ? 0 : EVDNS_BASE_INITIALIZE_NAMESERVERS);
	struct evdns_base *dns = evdns_base_new(base, flags);

	if (dns && system->told) {
		read_file(dns, buf_slice(&system->resolv_conf), false);
		read_file(dns, buf_slice(&system->hosts), true);
	}
	return dns;
}
