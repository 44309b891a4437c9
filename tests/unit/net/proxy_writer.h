/*
 * proxy_writer: headers of the PROXY protocol, for tests.
 */
#ifndef PROXY_WRITER_H
#define PROXY_WRITER_H

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "net/proxy_header.h"

static inline void proxy_write_v1(const struct proxy_header *h, struct buf *out)
{
	bool six = h->source.size == 16 || h->destination.size == 16;
	/* What is IPv4 to us may have come as IPv6. */
	const char *mapped_source = six && h->source.size == 4 ? "::ffff:" : "",
		   *mapped_destination = six && h->destination.size == 4 ? "::ffff:" : "";

	if (h->client == PROXY_CLIENT_TOLD)
		buf_printf(out, "PROXY TCP%c %s%s %s%s %u %u\r\n", six ? '6' : '4', mapped_source,
			   ip_format(&h->source).text, mapped_destination, ip_format(&h->destination).text,
			   h->source_port, h->destination_port);
	else
		buf_add_lit(out, "PROXY UNKNOWN\r\n");
}

static inline void proxy_add_two(struct buf *out, unsigned n)
{
	buf_add_char(out, (char)(n >> 8));
	buf_add_char(out, (char)n);
}

static inline void proxy_add_address(struct buf *out, const struct ip_address *a, bool six)
{
	if (six && a->size == 4)
		buf_add(out, slice_of("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12));
	buf_add(out, slice_of(a->octets, a->size));
}

/* With `tlvs` behind the addresses, and a checksum behind these if `crc` is not NULL. */
static inline void proxy_write_v2(const struct proxy_header *h, struct slice tlvs, const struct crc32c *crc,
				  struct buf *out)
{
	bool told = h->client == PROXY_CLIENT_TOLD, six = h->source.size == 16 || h->destination.size == 16;
	size_t begin = buf_len(out), addresses = told ? six ? 36 : 12 : 0;

	buf_add(out, slice_of("\r\n\r\n\0\r\nQUIT\n", 12));
	buf_add_char(out, h->client == PROXY_CLIENT_ITSELF ? 0x20 : 0x21);
	buf_add_char(out, told ? six ? 0x21 : 0x11 : 0);
	proxy_add_two(out, (unsigned)(addresses + tlvs.n + (crc ? 7 : 0)));
	if (told) {
		proxy_add_address(out, &h->source, six);
		proxy_add_address(out, &h->destination, six);
		proxy_add_two(out, h->source_port);
		proxy_add_two(out, h->destination_port);
	}
	buf_add(out, tlvs);
	if (!crc)
		return;
	buf_add(out, slice_of("\x03\0\x04\0\0\0\0", 7));
	struct slice header = slice_skip(buf_slice(out), begin);
	uint32_t sum = crc32c_add(crc, 0, header);
	buf_cut(out, begin + header.n - 4);
	proxy_add_two(out, sum >> 16);
	proxy_add_two(out, sum & 0xffff);
}

static inline bool proxy_same(const struct proxy_header *a, const struct proxy_header *b)
{
	return a->client == b->client && ip_eq(&a->source, &b->source) && ip_eq(&a->destination, &b->destination) &&
	       a->source_port == b->source_port && a->destination_port == b->destination_port;
}

#endif
