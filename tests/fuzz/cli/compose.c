/*
 * A message as a script writes it, on its way through sendmail: lines, header section, missing fields, Bcc.
 *
 * However the input is cut into pieces, the lines are the same. The header that is made is one header section with
 * every field that must be there; Bcc is gone from it; and the fields and the body of the script are in it octet by
 * octet.
 */
#include "cli/compose.h"
#include "mail/scan.h"

#include <assert.h>
#include <string.h>

static void read_lines(struct slice in, size_t piece, bool dot_ends, struct buf *out)
{
	struct compose_lines l = {.out = out, .dot_ends = dot_ends};

	while (in.n) {
		assert(compose_lines_feed(&l, slice_head(in, piece)));
		in = slice_skip(in, piece);
	}
	assert(compose_lines_end(&l));
}

static void check_lines(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		assert(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
	assert(s.n == 0 || slice_ends(s, SLICE("\r\n")));
}

static void check_head(struct slice fields, struct slice text, bool drop_bcc)
{
	struct compose c = {
		.from = SLICE("me@example.org"),
		.full_name = slice_head(text, 300),
		.subject = slice_head(text, 2000),
		.host = SLICE("host.example"),
		.charset = SLICE("utf-8"),
		.drop_bcc = drop_bcc,
	};
	struct mail_scan scan;
	struct compose_field field;
	struct buf head;

	buf_init(&head, 65536 + 2 * fields.n);
	assert(compose_head(&c, fields, &head));
	struct slice rest = buf_slice(&head);
	mail_scan_init(&scan, SLICE_NONE);
	mail_scan_feed(&scan, rest);
	mail_scan_end(&scan);
	assert(scan.header_octets + 2 == rest.n && !(scan.flags & MAIL_SCAN_HEADER_BROKEN));
	unsigned must = MAIL_SCAN_HAS_FROM | MAIL_SCAN_HAS_DATE | MAIL_SCAN_HAS_MESSAGE_ID;
	assert((scan.flags & must) == must);
	while (compose_field_next(&rest, &field))
		assert(!drop_bcc || !(compose_name(field.name) & COMPOSE_BCC));
	assert(slice_eq(rest, SLICE("\r\n")));
	if (!drop_bcc)
		assert(slice_search(buf_slice(&head), fields) < buf_len(&head));
	buf_free(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct slice in = slice_of(data + 2, size - 2), fields, body;
	bool dot_ends = data[0] & 1, drop_bcc = data[0] & 2;
	struct buf whole, cut;

	buf_init(&whole, 2 * size + 16);
	buf_init(&cut, 2 * size + 16);
	read_lines(in, in.n, dot_ends, &whole);
	read_lines(in, 1 + data[1] % 16, dot_ends, &cut);
	assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
	check_lines(buf_slice(&whole));
	compose_split(buf_slice(&whole), &fields, &body);
	check_lines(fields);
	check_lines(body);
	assert(slice_ends(buf_slice(&whole), body));
	check_head(fields, in, drop_bcc);
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
