#include "test.h"

#include "mail/scan.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

/* What is found, without the scanner's own state. */
struct found {
	uint64_t octets, header_octets, header_lines, body_start, longest_line, received, delivered_to;
	unsigned flags;
	bool in_header;
};

static struct found found(const struct mail_scan *s)
{
	return (struct found){s->octets,   s->header_octets, s->header_lines, s->body_start, s->longest_line,
			      s->received, s->delivered_to,  s->flags,        s->in_header};
}

static void assert_same(struct found a, struct found b)
{
	assert_int_equal(a.octets, b.octets);
	assert_int_equal(a.header_octets, b.header_octets);
	assert_int_equal(a.header_lines, b.header_lines);
	assert_int_equal(a.body_start, b.body_start);
	assert_int_equal(a.longest_line, b.longest_line);
	assert_int_equal(a.received, b.received);
	assert_int_equal(a.delivered_to, b.delivered_to);
	assert_int_equal(a.flags, b.flags);
	assert_int_equal(a.in_header, b.in_header);
}

static void feed_exact(struct mail_scan *s, struct slice piece)
{
	char *copy = test_exact_copy(piece);

	mail_scan_feed(s, slice_of(copy, piece.n));
	free(copy);
}

static struct found scan_in_steps(struct slice in, size_t step)
{
	struct mail_scan s;

	mail_scan_init(&s, SLICE("Alice@Example.com"));
	for (size_t at = 0; at < in.n; at += step)
		feed_exact(&s, slice_head(slice_skip(in, at), step));
	mail_scan_end(&s);
	return found(&s);
}

/* Whole, octet by octet, and cut at every point: the same is found. */
static struct found scan(struct slice in)
{
	struct found whole = scan_in_steps(in, in.n + 1);

	assert_same(scan_in_steps(in, 1), whole);
	assert_same(scan_in_steps(in, 3), whole);
	for (size_t cut = 0; cut <= in.n; cut++) {
		struct mail_scan s;

		mail_scan_init(&s, SLICE("Alice@Example.com"));
		feed_exact(&s, slice_head(in, cut));
		feed_exact(&s, slice_skip(in, cut));
		mail_scan_end(&s);
		assert_same(found(&s), whole);
	}
	assert_false(whole.in_header);
	assert_int_equal(whole.octets, in.n);
	return whole;
}

static void the_header_section_ends_where_the_rule_says(void **state)
{
	(void)state;
	enum {
		CRLF = MAIL_SCAN_ENDS_CRLF,
		BROKEN = MAIL_SCAN_HEADER_BROKEN,
		CR = MAIL_SCAN_BARE_CR,
		LF = MAIL_SCAN_BARE_LF
	};
	static const struct {
		const char *message;
		uint64_t header_octets, header_lines, body_start, longest;
		unsigned flags;
	} rows[] = {
		{"", 0, 0, 0, 0, CRLF},
		{"\r\n", 0, 0, 2, 2, CRLF},
		{"\r\nbody\r\n", 0, 0, 2, 6, CRLF},
		{"A: b\r\n\r\nbody\r\n", 6, 1, 8, 6, CRLF},
		{"A: b\r\n", 6, 1, 6, 6, CRLF},
		{"A: b", 4, 1, 4, 4, 0},
		{"A: b\r", 5, 1, 5, 5, CR},
		{"A:\r\n c\r\n\td\r\nE:\r\n\r\n", 16, 4, 18, 4, CRLF},
		{"A: b\r\n \r\n\r\nx", 9, 2, 11, 6, 0},
		{"A : b\r\n\r\n", 7, 1, 9, 7, CRLF},
		{"no field\r\nA: b\r\n", 0, 0, 0, 10, CRLF | BROKEN},
		{" A: b\r\n\r\n", 0, 0, 0, 7, CRLF | BROKEN},
		{"A: b\r\nno field\r\n\r\n", 6, 1, 6, 10, CRLF | BROKEN},
		{"A: b\r\nno-field\r\n\r\n", 6, 1, 6, 10, CRLF | BROKEN},
		{"A: b\r\nno-field", 6, 1, 6, 8, BROKEN},
		{"A: b\r\n: c\r\n", 6, 1, 6, 6, CRLF | BROKEN},
		{"A: b\r\n\rx\r\n", 6, 1, 6, 6, CRLF | BROKEN | CR},
		{"A: b\r\n\r", 6, 1, 6, 6, BROKEN | CR},
		{"A: b\r\n\r\r\n", 6, 1, 6, 6, CRLF | BROKEN | CR},
		{"A: b\r\n\n\r\n", 6, 1, 6, 6, CRLF | BROKEN | LF},
		{"A: b\n\nbody\r\n", 12, 1, 12, 12, CRLF | LF},
		{"A: b\r\r\n\r\n", 7, 1, 9, 7, CRLF | CR},
		{"A: b\r\n\r\nx\ry\r\n", 6, 1, 8, 6, CRLF | CR},
		{"A: b\r\n\r\nx\n", 6, 1, 8, 6, LF},
		{"A: b\r\n\r\nx\r\n\n", 6, 1, 8, 6, LF},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct found f = scan(slice_from_cstr(rows[i].message));

		if (f.header_octets != rows[i].header_octets || f.header_lines != rows[i].header_lines ||
		    f.body_start != rows[i].body_start || f.longest_line != rows[i].longest || f.flags != rows[i].flags)
			fail_msg("%s: header %d octets %d lines, body at %d, longest %d, flags %x", rows[i].message,
				 (int)f.header_octets, (int)f.header_lines, (int)f.body_start, (int)f.longest_line,
				 f.flags);
	}
}

static void nul_and_8bit_octets_are_told_apart_by_place(void **state)
{
	(void)state;
	static const struct {
		struct slice message;
		unsigned flags;
	} rows[] = {
		{{"A: \0\r\n\r\nx\r\n", 11}, MAIL_SCAN_NUL_HEADER},
		{{"A: b\r\n\r\nx\0\r\n", 12}, MAIL_SCAN_NUL_BODY},
		{{"A: \xff\r\n\r\nx\r\n", 11}, MAIL_SCAN_8BIT_HEADER},
		{{"A: b\r\n\r\n\x80\r\n", 11}, MAIL_SCAN_8BIT_BODY},
		{{"A\xc3: b\r\n\r\n\r\n", 11}, MAIL_SCAN_8BIT_BODY | MAIL_SCAN_HEADER_BROKEN},
		{{"\0\r\n", 3}, MAIL_SCAN_NUL_BODY | MAIL_SCAN_HEADER_BROKEN},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(scan(rows[i].message).flags, rows[i].flags | MAIL_SCAN_ENDS_CRLF);
}

static void fields_are_found_and_counted_in_the_header_alone(void **state)
{
	(void)state;
	struct found f = scan(
		SLICE("Received: a\r\n Received: b\r\nRECEIVED : c\r\nreceived:\r\nReceived-SPF: x\r\nX-Received: y\r\n"
		      "FROM: a\r\nDate: b\r\nmessage-Id: c\r\n\r\nReceived: d\r\nResent-From: e\r\n"));

	assert_int_equal(f.received, 3);
	assert_int_equal(f.flags,
			 MAIL_SCAN_HAS_FROM | MAIL_SCAN_HAS_DATE | MAIL_SCAN_HAS_MESSAGE_ID | MAIL_SCAN_ENDS_CRLF);
	f = scan(SLICE("Resent-To: a\r\nFro: x\r\nFromm: y\r\nMessage-IDs-and-more-of-them: z\r\n\r\n"));
	assert_int_equal(f.flags, MAIL_SCAN_HAS_RESENT | MAIL_SCAN_ENDS_CRLF);
}

static void delivered_to_counts_the_given_address_alone(void **state)
{
	(void)state;
	static const struct {
		const char *message;
		uint64_t count;
	} rows[] = {
		{"Delivered-To: alice@example.com\r\n\r\n", 1},
		{"delivered-to:ALICE@EXAMPLE.COM\r\n\r\n", 1},
		{"Delivered-To: alice@example.com", 1},
		{"Delivered-To:\r\n alice@example.com \r\n\t\r\n\r\n", 1},
		{"Delivered-To: alice@example.com\r\nX: y\r\nDelivered-To: bob@example.com\r\nDelivered-To: "
		 "alice@example.com\r\n",
		 2},
		{"Delivered-To: alice@example.co\r\n\r\n", 0},
		{"Delivered-To: alice@example.com2\r\n\r\n", 0},
		{"Delivered-To: malice@example.com\r\n\r\n", 0},
		{"Delivered-To: alice@ example.com\r\n\r\n", 0},
		{"Delivered-To: alice@\r\n example.com\r\n\r\n", 0},
		{"Delivered-To: alice@example.com bob\r\n\r\n", 0},
		{"Delivered-To:\r\n\r\n", 0},
		{"X-Delivered-To: alice@example.com\r\n\r\n", 0},
		{"\r\nDelivered-To: alice@example.com\r\n", 0},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		if (scan(slice_from_cstr(rows[i].message)).delivered_to != rows[i].count)
			fail_msg("wrong count: %s", rows[i].message);
}

/* RFC 8689 3: one field at most, whose value is the word alone. */
static void tls_required_says_no_once_or_nothing(void **state)
{
	(void)state;
	static const struct {
		const char *message;
		bool optional;
	} rows[] = {
		{"TLS-Required: No\r\n\r\n", true},
		{"tls-required:NO\r\n\r\n", true},
		{"From: a\r\nTLS-Required:\r\n No \r\nTo: b\r\n\r\n", true},
		{"TLS-Required: No", true},
		{"TLS-Required: Yes\r\n\r\n", false},
		{"TLS-Required:\r\n\r\n", false},
		{"TLS-Required: N o\r\n\r\n", false},
		{"TLS-Required: No (really)\r\n\r\n", false},
		{"TLS-Required: Nope\r\n\r\n", false},
		{"TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false},
		{"TLS-Required: No\r\nX: y\r\nTLS-Required: x\r\n\r\n", false},
		{"TLS-Required: x\r\nTLS-Required: No\r\n\r\n", false},
		{"TLS-Required-: No\r\n\r\n", false},
		{"X: y\r\n\r\nTLS-Required: No\r\n", false},
		{"Delivered-To: no\r\n\r\n", false},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		if (!(scan(slice_from_cstr(rows[i].message)).flags & MAIL_SCAN_TLS_OPTIONAL) == rows[i].optional)
			fail_msg("wrongly read: %s", rows[i].message);
}

static uint64_t count_by(struct slice message, size_t step)
{
	struct mail_scan s;

	mail_scan_init(&s, SLICE_NONE);
	mail_scan_count_by(&s, SLICE("mx.example.com"));
	for (size_t at = 0; at < message.n; at += step)
		feed_exact(&s, slice_head(slice_skip(message, at), step));
	mail_scan_end(&s);
	return s.received_by_us;
}

static void received_fields_by_a_host_are_counted_by_their_by_clause(void **state)
{
	(void)state;
	char far[1000];
	snprintf(far, sizeof far, "Received: from %0600d by mx.example.com; d\r\n\r\n", 0);
	const struct {
		const char *message;
		uint64_t count;
	} rows[] = {
		{"Received: by mx.example.com; d\r\n\r\n", 1},
		{"received:\tfrom a.example ([192.0.2.1])\r\n\tBY\r\n MX.Example.COM with ESMTP id x;\r\n d\r\n\r\n",
		 1},
		{"Received: by mx.example.com", 1},
		{"Received: by mx.example.com(Postrider); d\r\nReceived: by mx.example.com;d\r\nX: y\r\n", 2},
		{"Received: from by.example (x by mx.example.com) by other.example; d\r\n\r\n", 0},
		{"Received: from a ((by) by mx.example.com \\) by mx.example.com) by mx.example.com; d\r\n\r\n", 1},
		{"Received: from mx.example.com by mx.example.com.example; d\r\n\r\n", 0},
		{"Received: from a by (comment) mx.example.com\r\n\r\n", 1},
		{"Received: from a by other.example for <x> by mx.example.com; d\r\n\r\n", 0},
		{"Received: from a; by mx.example.com\r\n\r\n", 0},
		{"Received: (by mx.example.com\r\n\r\n", 0},
		{"Received: by\r\nReceived: mx.example.com\r\n\r\n", 0},
		{"X-Received: by mx.example.com; d\r\nDelivered-To: by mx.example.com\r\n\r\n", 0},
		{"Subject: x\r\n\r\nReceived: by mx.example.com; d\r\n", 0},
		{"Received: \\\\(\\", 0},
		{far, 1},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct slice message = slice_from_cstr(rows[i].message);

		for (size_t step = 1; step <= message.n; step++)
			if (count_by(message, step) != rows[i].count)
				fail_msg("not %u by %zu: %s", (unsigned)rows[i].count, step, rows[i].message);
	}
}

/* More than 255 blocks of 16 octets, so that the counting lanes are emptied on the way. */
static void long_runs_are_counted_without_overflow(void **state)
{
	(void)state;
	size_t n = 100000;
	char *text = malloc(n);
	struct mail_scan s;

	memset(text, '\n', n);
	for (size_t i = 0; i < n; i += 2)
		text[i] = '\r';
	mail_scan_init(&s, SLICE_NONE);
	mail_scan_feed(&s, slice_of(text, n));
	mail_scan_end(&s);
	assert_int_equal(s.flags, MAIL_SCAN_ENDS_CRLF);
	text[n - 2] = '\n';
	mail_scan_init(&s, SLICE_NONE);
	mail_scan_feed(&s, slice_of(text, n));
	mail_scan_end(&s);
	assert_int_equal(s.flags, MAIL_SCAN_BARE_LF);
	memset(text, 'x', n);
	mail_scan_init(&s, SLICE_NONE);
	for (int i = 0; i < 100; i++)
		mail_scan_feed(&s, slice_of(text, n));
	mail_scan_end(&s);
	assert_int_equal(s.longest_line, 100 * n);
	free(text);
}

static void limits_can_be_watched_on_the_way(void **state)
{
	(void)state;
	struct mail_scan s;

	mail_scan_init(&s, SLICE_NONE);
	mail_scan_feed(&s, SLICE("A: b\r\nReceived: c\r\nRecei"));
	assert_true(s.in_header);
	assert_int_equal(s.octets, 24);
	assert_int_equal(s.header_lines, 2);
	assert_int_equal(s.received, 1);
	mail_scan_feed(&s, SLICE("ved: d\r\n\r"));
	assert_true(s.in_header);
	assert_int_equal(s.received, 2);
	mail_scan_feed(&s, SLICE("\n"));
	assert_false(s.in_header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_header_section_ends_where_the_rule_says),
		cmocka_unit_test(nul_and_8bit_octets_are_told_apart_by_place),
		cmocka_unit_test(fields_are_found_and_counted_in_the_header_alone),
		cmocka_unit_test(delivered_to_counts_the_given_address_alone),
		cmocka_unit_test(tls_required_says_no_once_or_nothing),
		cmocka_unit_test(received_fields_by_a_host_are_counted_by_their_by_clause),
		cmocka_unit_test(long_runs_are_counted_without_overflow),
		cmocka_unit_test(limits_can_be_watched_on_the_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
