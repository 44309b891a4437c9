#include "test.h"

#include "mail/trace.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static const struct mail_received usual = {
	.helo = {"client.example", 14},
	.peer = {"192.0.2.1", 9},
	.by = {"mx.example.com", 14},
	.id = {"ABCDEFGHJKMN", 12},
	.extended = true,
	.now = 1795302245123,
};

static void assert_received(const struct mail_received *r, const char *expected)
{
	struct buf out;

	buf_init(&out, 5000);
	assert_true(mail_received_write(r, &out));
	assert_slice(buf_slice(&out), expected);
	buf_free(&out);
}

static void a_received_field_tells_from_by_with_id_for_and_when(void **state)
{
	(void)state;
	struct mail_received r = usual;

	assert_received(&r, "Received: from client.example ([192.0.2.1])\r\n"
			    "\tby mx.example.com with ESMTP id ABCDEFGHJKMN;\r\n"
			    "\tSat, 21 Nov 2026 23:04:05 +0000\r\n");
	r.rcpt = SLICE("alice@example.com");
	assert_received(&r, "Received: from client.example ([192.0.2.1])\r\n"
			    "\tby mx.example.com with ESMTP id ABCDEFGHJKMN\r\n"
			    "\tfor <alice@example.com>; Sat, 21 Nov 2026 23:04:05 +0000\r\n");
	r.rcpt = SLICE("a-very-long-local-part-of-an-address@a-very-long-domain.example.com");
	r.peer = SLICE("2001:db8::1");
	assert_received(&r, "Received: from client.example ([IPv6:2001:db8::1])\r\n"
			    "\tby mx.example.com with ESMTP id ABCDEFGHJKMN\r\n"
			    "\tfor <a-very-long-local-part-of-an-address@a-very-long-domain.example.com>;\r\n"
			    "\tSat, 21 Nov 2026 23:04:05 +0000\r\n");
	r = (struct mail_received){
		.helo = SLICE("[192.0.2.9]"), .peer = SLICE("unix"), .by = SLICE("mx"), .lmtp = true};
	assert_received(&r,
			"Received: from [192.0.2.9]\r\n\tby mx with LMTP;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n");
	r = (struct mail_received){.by = SLICE("mx")};
	assert_received(&r, "Received: from unknown\r\n\tby mx with SMTP;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n");
}

static void the_protocol_is_named_by_the_registry(void **state)
{
	(void)state;
	static const struct {
		struct mail_received r;
		const char *name;
	} rows[] = {
		{{0}, "SMTP"},
		{{.extended = true}, "ESMTP"},
		{{.extended = true, .tls = true}, "ESMTPS"},
		{{.extended = true, .authenticated = true}, "ESMTPA"},
		{{.extended = true, .tls = true, .authenticated = true}, "ESMTPSA"},
		{{.lmtp = true}, "LMTP"},
		{{.lmtp = true, .extended = true, .tls = true}, "LMTPS"},
		{{.lmtp = true, .tls = true, .authenticated = true}, "LMTPSA"},
		{{.extended = true, .utf8 = true}, "UTF8SMTP"},
		{{.extended = true, .utf8 = true, .tls = true, .authenticated = true}, "UTF8SMTPSA"},
		{{.extended = true, .utf8 = true, .authenticated = true}, "UTF8SMTPA"},
		{{.lmtp = true, .utf8 = true}, "UTF8LMTP"},
		{{.lmtp = true, .utf8 = true, .tls = true}, "UTF8LMTPS"},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		assert_string_equal(mail_received_protocol(&rows[i].r), rows[i].name);
}

static void names_outside_ascii_stand_only_in_a_message_that_may_hold_them(void **state)
{
	(void)state;
	struct mail_received r = usual;

	r.helo = SLICE("b\xc3\xbc"
		       "cher.example");
	r.rcpt = SLICE("j\xc3\xbcrgen@example.com");
	assert_received(&r, "Received: from xn--bcher-kva.example ([192.0.2.1])\r\n"
			    "\tby mx.example.com with ESMTP id ABCDEFGHJKMN;\r\n"
			    "\tSat, 21 Nov 2026 23:04:05 +0000\r\n");
	r.utf8 = true;
	assert_received(&r, "Received: from b\xc3\xbc"
			    "cher.example ([192.0.2.1])\r\n"
			    "\tby mx.example.com with UTF8SMTP id ABCDEFGHJKMN\r\n"
			    "\tfor <j\xc3\xbcrgen@example.com>; Sat, 21 Nov 2026 23:04:05 +0000\r\n");
}

/* Fields that begin in the text: lines that do not begin with a blank. -1 when a line is broken or too long. */
static int fields_in(struct slice text)
{
	int fields = 0;

	while (text.n) {
		size_t end = slice_search(text, SLICE("\r\n"));

		if (end == text.n || end == 0 || end > 998)
			return -1;
		for (size_t i = 0; i < end; i++)
			if (text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == '\0')
				return -1;
		fields += text.p[0] != ' ' && text.p[0] != '\t';
		text = slice_skip(text, end + 2);
	}
	return fields;
}

/* Every octet at every place of every value, and values of any length: one field each. */
static void attack_F2_one_field_is_added_whatever_the_input(void **state)
{
	(void)state;
	static const char *const traps[] = {"\r\n\tby evil", "x\r\n\r\nbody",    "\r\nBcc: x", ") (comment",
					    "a;b",           "\xff\r\n",         "\"",         "[IPv6:::1]\r\nX: y",
					    "a@b>\r\nX: y",  "\xc3\xbc\r\n.\r\n"};
	char big[70000];
	struct buf out;

	memset(big, 'x', sizeof big);
	buf_init(&out, 10000);
	for (size_t i = 0; i < ROWS(traps) + 256 + 1; i++) {
		char octet[3] = {'a', (char)(i - ROWS(traps)), 'b'};
		struct slice text = i < ROWS(traps)         ? slice_from_cstr(traps[i])
				    : i < ROWS(traps) + 256 ? slice_of(octet, 3)
							    : slice_of(big, sizeof big);
		for (int utf8 = 0; utf8 < 2; utf8++) {
			struct mail_received r = {text, text, text, text, text, .utf8 = utf8};

			buf_reset(&out);
			assert_true(mail_received_write(&r, &out));
			assert_int_equal(fields_in(buf_slice(&out)), 1);
			assert_true(mail_return_path_write(text, &out));
			assert_int_equal(fields_in(buf_slice(&out)), 2);
			assert_true(mail_delivered_to_write(text, &out));
			assert_int_equal(fields_in(buf_slice(&out)), 3);
		}
	}
	buf_free(&out);
}

static void return_path_and_delivered_to_hold_the_address(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 1000);
	assert_true(mail_return_path_write(SLICE(""), &out));
	assert_true(mail_return_path_write(SLICE("\"a b\"@[192.0.2.1]"), &out));
	assert_true(mail_delivered_to_write(SLICE("alice@example.com"), &out));
	assert_slice(buf_slice(&out),
		     "Return-Path: <>\r\nReturn-Path: <\"a b\"@[192.0.2.1]>\r\nDelivered-To: alice@example.com\r\n");
	buf_free(&out);
}

static void a_full_buffer_gets_nothing(void **state)
{
	(void)state;
	for (size_t max = 5; max < 130; max++) {
		struct mail_received r = usual;
		struct buf out;

		buf_init(&out, max);
		buf_add_lit(&out, "abc");
		assert_false(mail_received_write(&r, &out));
		assert_slice(buf_slice(&out), "abc");
		out.failed = false;
		assert_int_equal(mail_return_path_write(SLICE("a@b"), &out), max >= 3 + 20);
		buf_cut(&out, 3);
		out.failed = false;
		assert_int_equal(mail_delivered_to_write(SLICE("a@b"), &out), max >= 3 + 19);
		assert_int_equal(buf_len(&out), max >= 22 ? 22 : 3);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_received_field_tells_from_by_with_id_for_and_when),
		cmocka_unit_test(the_protocol_is_named_by_the_registry),
		cmocka_unit_test(names_outside_ascii_stand_only_in_a_message_that_may_hold_them),
		cmocka_unit_test(attack_F2_one_field_is_added_whatever_the_input),
		cmocka_unit_test(return_path_and_delivered_to_hold_the_address),
		cmocka_unit_test(a_full_buffer_gets_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
