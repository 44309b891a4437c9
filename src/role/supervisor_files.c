/*
 * The files that roles want and may not open: what the system says about names goes over as text, and certificates with
 * their keys as open files, which are not read here.
 */
#include "role/supervisor_private.h"

#include "net/credential.h"

#include <fcntl.h>
#include <unistd.h>

static void read_text(const char *path, struct buf *into)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char part[4096];
	ssize_t n;

	buf_init(into, WIRE_SYSTEM_MAX);
	while (fd >= 0 && (n = read(fd, part, sizeof part)) > 0)
		buf_add(into, slice_of(part, (size_t)n));
	if (fd >= 0)
		close(fd);
}

static void send_system(struct channel *to)
{
	struct buf resolv_conf, hosts, frame;

	read_text("/etc/resolv.conf", &resolv_conf);
	read_text("/etc/hosts", &hosts);
	buf_init(&frame, 2 * WIRE_SYSTEM_MAX + 16);
	wire_put_system(&frame, &(struct wire_system){buf_slice(&resolv_conf), buf_slice(&hosts)});
	if (!frame.failed)
		channel_send(to, WIRE_SYSTEM, buf_slice(&frame), -1);
	buf_free(&frame);
	buf_free(&resolv_conf);
	buf_free(&hosts);
}

static void send_file(struct channel *to, enum wire_file_kind kind, size_t index, const char *path)
{
	struct credential_file f = credential_file_open(path);
	struct wire_file file = {.kind = kind, .index = (uint32_t)index, .error = f.fd < 0 ? (uint32_t)f.error : 0};
	struct buf frame;

	buf_init(&frame, 16);
	wire_put_file(&frame, &file);
	channel_send(to, WIRE_FILE, buf_slice(&frame), f.fd);
	buf_free(&frame);
	credential_file_close(&f);
}

static bool same_trust(const struct conf_route_keys *a, const struct conf_route_keys *b)
{
	return slice_eq(a->tls_ca, b->tls_ca) && slice_eq(a->tls_crl, b->tls_crl);
}

/* The same files are sent once, for the first route that names them. */
static void send_trust(const struct conf *conf, struct channel *to)
{
	for (size_t i = 0; i < conf->route_count; i++) {
		const struct conf_route_keys *r = &conf->routes[i];
		size_t first = 0;
		while (!same_trust(&conf->routes[first], r))
			first++;
		if (first < i)
			continue;
		if (r->tls_ca.n)
			send_file(to, WIRE_FILE_AUTHORITIES, i, r->tls_ca.p);
		if (r->tls_crl.n)
			send_file(to, WIRE_FILE_REVOKED, i, r->tls_crl.p);
	}
}

void supervisor_send_files(const struct conf *conf, enum role_kind kind, struct channel *to)
{
	if (kind == ROLE_RECEIVER || kind == ROLE_SENDER || kind == ROLE_MAILBOX)
		send_system(to);
	for (size_t i = 0; kind == ROLE_KEYS && i < conf->certificate_count; i++) {
		send_file(to, WIRE_FILE_CHAIN, i, conf->certificates[i].chain.p);
		send_file(to, WIRE_FILE_KEY, i, conf->certificates[i].key.p);
		if (conf->certificates[i].ocsp.n)
			send_file(to, WIRE_FILE_STAPLE, i, conf->certificates[i].ocsp.p);
	}
	if (kind == ROLE_KEYS && conf_asks_certificates(conf)) {
		send_file(to, WIRE_FILE_CLIENT_AUTHORITIES, 0, conf->client_authorities.p);
		if (conf->client_revoked.n)
			send_file(to, WIRE_FILE_CLIENT_REVOKED, 0, conf->client_revoked.p);
	}
	if (kind == ROLE_AUTH && conf->oauth.keys.n)
		send_file(to, WIRE_FILE_TOKEN_KEYS, 0, conf->oauth.keys.p);
	if (kind == ROLE_SENDER)
		send_trust(conf, to);
}
