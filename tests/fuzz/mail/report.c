/*
 * Reports from any values: whatever comes in, the report has the fields, parts and groups that were meant, proper
 * lines, and can be converted for a peer with 7 bits. The input is cut at each 0xFF 0x00 into the values.
 */
#include <assert.h>
#include <string.h>

#include "mail/mime.h"
#include "mail/report.h"
#include "mail/scan.h"
#include "mail/seven.h"

#define TOKEN  "Zq7Zq7Zq7Zq7"
#define VALUES 12
#define RCPTS  2

static struct slice next_value(struct slice *rest)
{
	static const char mark[2] = {(char)0xff, 0};
	size_t at = slice_search(*rest, slice_of(mark, 2));
	struct slice value = slice_head(*rest, at);

	*rest = slice_skip(*rest, at + 2);
	return value;
}

static size_t count(struct slice text, struct slice what)
{
	size_t n = 0;

	for (size_t at; (at = slice_search(text, what)) < text.n; text = slice_skip(text, at + 1))
		n++;
	return n;
}

static void check_header(struct slice header, bool utf8)
{
	static const char *const names[] = {"Date",       "From",           "To",           "Subject",
					    "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"};
	struct mail_header_field f;
	size_t n = 0;

	assert(utf8 || slice_is_ascii(header));
	for (struct slice rest = header; mail_header_next(&rest, &f); n++) {
		if (n == 8)
			assert(slice_eq(f.whole, SLICE("Content-Transfer-Encoding: 8bit\r\n")));
		else
			assert(n < 8 && slice_eq(f.name, slice_from_cstr(names[n])));
	}
	assert(n >= 8 && n <= 9);
}

/* The second part: a group for the message, and one for each recipient, each with its fields in their order. */
static void check_status(struct slice status)
{
	static const struct slice needed[] = {
		{"\r\nFinal-Recipient: ", 19}, {"\r\nAction: ", 10}, {"\r\nStatus: ", 10}};

	assert(count(status, SLICE("\r\n\r\n")) == RCPTS + 1);
	for (size_t i = 0; i < 3; i++)
		assert(count(status, needed[i]) == RCPTS);
}

static void check_report(const struct mail_report *r, struct slice out)
{
	struct mail_scan s;
	size_t full = r->wanted == MAIL_REPORT_RETURN_FULL ? r->original.n : 0;

	mail_scan_init(&s, SLICE_NONE);
	mail_scan_feed(&s, out);
	mail_scan_end(&s);
	assert(!(s.flags & (MAIL_SCAN_BARE_CR | MAIL_SCAN_BARE_LF | MAIL_SCAN_NUL_HEADER | MAIL_SCAN_NUL_BODY)));
	assert(!(s.flags & MAIL_SCAN_HEADER_BROKEN));
	assert(s.flags & MAIL_SCAN_ENDS_CRLF);
	assert(s.longest_line <= 1000);
	assert(out.n <= MAIL_REPORT_FIXED_MAX + RCPTS * MAIL_REPORT_RCPT_MAX + 2 * r->header.n + full);
	check_header(slice_head(out, (size_t)s.header_octets), r->utf8);

	size_t parts = count(out, SLICE("\r\n--=_" TOKEN "\r\n"));
	assert(parts == 2 || parts == 3);
	assert(count(out, SLICE("\r\n--=_" TOKEN "--\r\n")) == 1);
	assert(count(out, SLICE(TOKEN)) == parts + 3);

	struct slice status = slice_skip(out, slice_search(out, SLICE("\r\nContent-Description: Delivery report\r\n")));
	check_status(slice_head(status, slice_search(status, SLICE("\r\n--=_"))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mail_report_rcpt rcpt[RCPTS] = {0};
	struct slice value[VALUES], rest = slice_of(data + 4, size < 4 ? 0 : size - 4);
	struct buf out;

	if (size < 4 || size > 100000 || slice_search(rest, SLICE("Zq7")) < rest.n)
		return 0;
	for (size_t i = 0; i < VALUES; i++)
		value[i] = next_value(&rest);
	for (size_t i = 0; i < RCPTS; i++)
		rcpt[i] = (struct mail_report_rcpt){
			.address = value[6 * i % VALUES],
			.orcpt = value[(6 * i + 1) % VALUES],
			.remote_mta = value[(6 * i + 2) % VALUES],
			.diagnostic = value[(6 * i + 3) % VALUES],
			.explanation = value[(6 * i + 4) % VALUES],
			.advice = value[(6 * i + 5) % VALUES],
			.action = (enum mail_report_action)(data[i] % (MAIL_REPORT_ACTION_MAX + 1)),
			.status = {data[2] % 10, data[2], data[3]},
			.last_attempt = data[2],
			.will_retry_until = data[3],
		};
	struct mail_report r = {
		.mta = value[2],
		.from_display = value[3],
		.from_address = value[0],
		.sender = value[1].n ? value[1] : SLICE("a@b"),
		.envid = value[5],
		.id = value[4],
		.utf8 = data[0] & 0x80,
		.token = SLICE(TOKEN),
		.rcpt = rcpt,
		.rcpt_count = RCPTS,
		.wanted = (enum mail_report_return)(data[1] % 3),
		.header = value[7],
		.original = value[8],
	};

	buf_init(&out, 4 << 20);
	assert(mail_report_write(&r, &out));
	check_report(&r, buf_slice(&out));
	if (!mail_report_needs_utf8(&r)) {
		struct mail_seven *seven = mail_seven_new(MAIL_SEVEN_TO_7BIT);

		assert(mail_seven_feed(seven, buf_slice(&out), NULL) == MAIL_SEVEN_OK);
		assert(mail_seven_end(seven, NULL) == MAIL_SEVEN_OK);
		mail_seven_free(seven);
	}
	buf_free(&out);
	return 0;
}
