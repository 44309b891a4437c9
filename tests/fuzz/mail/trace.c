/*
 * Trace fields from any values: each writer adds one field of proper lines, and nothing else (attacks F2). The input is
 * cut at its LFs into the values.
 */
#include <assert.h>

#include "mail/field.h"
#include "mail/scan.h"
#include "mail/trace.h"

#define VALUES 6

static void check_one_field(const struct buf *out, struct slice name)
{
	struct slice s = buf_slice(out);
	struct mail_scan scan;
	size_t fields = 0;

	assert(slice_starts(s, name));
	mail_scan_init(&scan, SLICE_NONE);
	mail_scan_feed(&scan, s);
	mail_scan_end(&scan);
	assert((scan.flags & ~(unsigned)MAIL_SCAN_8BIT_HEADER) == MAIL_SCAN_ENDS_CRLF);
	assert(scan.header_octets == s.n);
	assert(scan.longest_line <= 1000);
	for (struct slice rest = s; rest.n;) {
		fields += rest.p[0] != ' ' && rest.p[0] != '\t';
		rest = slice_skip(rest, slice_search(rest, SLICE("\r\n")) + 2);
	}
	assert(fields == 1);
	assert(slice_is_utf8(s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice value[VALUES] = {0}, rest = slice_of(data + 1, size ? size - 1 : 0);
	struct buf out;

	if (size < 1)
		return 0;
	for (size_t i = 0; i + 1 < VALUES && rest.p; i++)
		value[i] = slice_split(&rest, '\n');
	value[VALUES - 1] = slice_of(data + 1, size - 1); /* all of it, with the LFs */

	struct mail_received r = {
		.helo = value[0],
		.peer = value[1],
		.by = value[2],
		.id = value[3],
		.rcpt = value[4],
		.extended = data[0] & 1,
		.lmtp = data[0] & 2,
		.utf8 = data[0] & 4,
		.tls = data[0] & 8,
		.authenticated = data[0] & 16,
	};
	if (data[0] & 32)
		r.helo = r.rcpt = value[VALUES - 1];
	for (size_t i = 0; i < size && i < sizeof r.now; i++)
		r.now = (wall_ms)((uint64_t)r.now << 8 | data[i]);
	buf_init(&out, 1 << 16);
	assert(mail_received_write(&r, &out));
	check_one_field(&out, SLICE("Received: from"));
	if (!r.utf8)
		assert(slice_is_ascii(buf_slice(&out)));
	buf_reset(&out);
	assert(mail_return_path_write(value[data[0] & 32 ? VALUES - 1 : 0], &out));
	check_one_field(&out, SLICE("Return-Path: <"));
	buf_reset(&out);
	assert(mail_delivered_to_write(value[data[0] & 32 ? VALUES - 1 : 0], &out));
	check_one_field(&out, SLICE("Delivered-To: "));
	buf_free(&out);
	return 0;
}
