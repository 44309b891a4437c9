#include "test.h"

#include "mail/seven.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define OUT_MAX     (32 << 20)
#define TEXT(literal)                        \
	{                                    \
		literal, sizeof(literal) - 1 \
	}

static enum mail_seven_result feed_steps(enum mail_seven_target target, struct slice in, size_t step, struct buf *out,
					 const char **why)
{
	struct mail_seven *s = mail_seven_new(target);
	enum mail_seven_result result;

	assert_non_null(s);
	for (size_t at = 0; at < in.n; at += step) {
		struct slice piece = slice_head(slice_skip(in, at), step);
		char *copy = test_exact_copy(piece);

		mail_seven_feed(s, slice_of(copy, piece.n), out);
		free(copy);
	}
	result = mail_seven_end(s, out);
	*why = mail_seven_reason(s);
	assert_int_equal(result == MAIL_SEVEN_OK, *why == NULL);
	mail_seven_free(s);
	return result;
}

/* Whole, octet by octet, in threes, and cut once at every point: the same result and output. */
static enum mail_seven_result convert(enum mail_seven_target target, struct slice in, struct buf *out)
{
	const char *why;
	enum mail_seven_result result = feed_steps(target, in, in.n + 1, out, &why);

	for (size_t step = 1; step <= in.n && step < 2000; step++) {
		struct buf other;

		buf_init(&other, OUT_MAX);
		assert_int_equal(feed_steps(target, in, step, &other, &why), result);
		if (result == MAIL_SEVEN_OK)
			assert_true(slice_eq(buf_slice(&other), buf_slice(out)));
		buf_free(&other);
	}
	assert_int_equal(feed_steps(target, in, in.n + 1, NULL, &why), result);
	return result;
}

static void assert_converted(enum mail_seven_target target, const char *in, const char *expected)
{
	struct buf out;

	buf_init(&out, OUT_MAX);
	assert_int_equal(convert(target, slice_from_cstr(in), &out), MAIL_SEVEN_OK);
	assert_slice(buf_slice(&out), expected);
	buf_free(&out);
}

static void a_message_that_needs_nothing_is_passed_on_as_it_is(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		"\r\n",
		"A: b",
		"A: b\r\n",
		"A: b\r\n\r\n",
		"A: b\r\n\r\nbody",
		"A: b\r\n\r\nbody \r\n=\r\n",
		"no header\r\n",
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nA: "
		"b\r\n--b--\r\n",
		"Content-Type: multipart/signed; boundary=b\r\nContent-Transfer-Encoding: "
		"8bit\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n",
		"Content-Transfer-Encoding: quoted-printable\r\n\r\na=FF \r\n=\r\n",
		"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n",
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		assert_converted(MAIL_SEVEN_TO_7BIT, rows[i], rows[i]);
}

static void text_becomes_quoted_printable(void **state)
{
	(void)state;
	assert_converted(MAIL_SEVEN_TO_7BIT,
			 "Mime-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\ncontent-transfer-encoding: "
			 "8bit\r\nX: y\r\n\r\n"
			 "h\xc3\xa4user=\r\nblank \r\n-dash\r\n\r\nend",
			 "Mime-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
			 "quoted-printable\r\n"
			 "X: y\r\n\r\n"
			 "h=C3=A4user=3D\r\nblank=20\r\n=2Ddash\r\n\r\nend=\r\n");
}

static void all_else_becomes_base64(void **state)
{
	(void)state;
	assert_converted(MAIL_SEVEN_TO_7BIT,
			 "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: "
			 "binary\r\n\r\n\xff\xfe\xfd\xfc\r\n",
			 "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: "
			 "base64\r\n\r\n//79/A0K\r\n");
}

/* RFC 1428 3 */
static void a_message_that_says_nothing_is_declared_to_be_unknown_text(void **state)
{
	(void)state;
	assert_converted(MAIL_SEVEN_TO_7BIT, "Subject: x\r\n\r\n\xe4\r\n",
			 "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
			 "Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n");
	assert_converted(MAIL_SEVEN_TO_7BIT, "Subject: x\r\nno field \xe4\r\n",
			 "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
			 "Content-Transfer-Encoding: quoted-printable\r\n\r\nno field =E4\r\n");
	assert_converted(MAIL_SEVEN_TO_7BIT, "Content-Type: text/html; charset=latin1\r\n\r\n\xe4\r\n",
			 "Content-Type: text/html; charset=latin1\r\nMIME-Version: 1.0\r\n"
			 "Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n");
}

static void parts_are_converted_one_by_one(void **state)
{
	(void)state;
	assert_converted(MAIL_SEVEN_TO_7BIT,
			 "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
			 "boundary=\"b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
			 "pre\xff\r\n"
			 "--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
			 "--b \t\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4\r\n\r\n"
			 "--bb\r\n"
			 "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
			 "Subject: inner\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n"
			 "--c\r\n\r\nSubject: innermost\r\n\r\n\xe4\r\n"
			 "--b--\r\nepi\xff",
			 "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
			 "boundary=\"b\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
			 "pre?\r\n"
			 "--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
			 "--b \t\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; "
			 "charset=unknown-8bit\r\n\r\n"
			 "=E4\r\n\r\n"
			 "=2D-bb\r\n"
			 "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
			 "Subject: inner\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n"
			 "--c\r\n\r\nSubject: innermost\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
			 "charset=unknown-8bit\r\n"
			 "Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n"
			 "--b--\r\nepi?");
}

/* A soft line break may put any octet first on its line: no delimiter may come about. */
static void no_delimiter_comes_about_by_a_line_break(void **state)
{
	(void)state;
	for (size_t before = 60; before < 90; before++) {
		char text[400] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xe4";
		size_t n = strlen(text);
		struct buf out;

		memset(text + n, 'x', before);
		memcpy(text + n + before, "--b\r\n--b--\r\n", 12);
		buf_init(&out, OUT_MAX);
		assert_int_equal(convert(MAIL_SEVEN_TO_7BIT, slice_of(text, n + before + 12), &out), MAIL_SEVEN_OK);

		struct slice rest = slice_skip(buf_slice(&out), 43); /* behind the header section */
		int delimiters = 0;
		for (size_t at; (at = slice_search(rest, SLICE("\r\n--b"))) < rest.n; rest = slice_skip(rest, at + 5))
			delimiters++;
		assert_int_equal(delimiters, 2);
		buf_free(&out);
	}
}

static void what_must_not_be_changed_is_told(void **state)
{
	(void)state;
	static const struct {
		const char *message;
		enum mail_seven_result result;
	} rows[] = {
		{"Subject: \xc3\xa4\r\n\r\nx\r\n", MAIL_SEVEN_HEADER_8BIT},
		{"Subject: \xc3\xa4", MAIL_SEVEN_HEADER_8BIT},
		{"Subject: \xc3\xa4\r\nno field", MAIL_SEVEN_HEADER_8BIT},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: \xe4\r\n--b--\r\n",
		 MAIL_SEVEN_HEADER_8BIT},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: \xe4\r\n\r\nx", MAIL_SEVEN_HEADER_8BIT},
		{"Content-Type: message/rfc822\r\n\r\nSubject: \xe4\r\n\r\n", MAIL_SEVEN_HEADER_8BIT},
		{"Subject: a\rb\r\n\r\nx\r\n", MAIL_SEVEN_UNSUPPORTED},
		{"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xe4\r\n--b--\r\n",
		 MAIL_SEVEN_PROHIBITED},
		{"Content-Type: multipart/mixed\r\n\r\n\xe4\r\n", MAIL_SEVEN_FAILED},
		{"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe4\r\n",
		 MAIL_SEVEN_FAILED},
		{"Content-Type: message/partial\r\n\r\n\xe4\r\n", MAIL_SEVEN_UNSUPPORTED},
		{"Content-Transfer-Encoding: base64\r\n\r\n\xe4\r\n", MAIL_SEVEN_FAILED},
		{"Content-Transfer-Encoding: x-unknown\r\n\r\n\xe4\r\n", MAIL_SEVEN_UNSUPPORTED},
		{"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4\r\n",
		 MAIL_SEVEN_FAILED},
		{"Content-Type: text/plain\r\nContent-Type: text/plain\r\n\r\n\xe4\r\n", MAIL_SEVEN_FAILED},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; "
		 "boundary=b\r\n\r\n\xe4\r\n",
		 MAIL_SEVEN_FAILED},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;

		buf_init(&out, OUT_MAX);
		if (convert(MAIL_SEVEN_TO_7BIT, slice_from_cstr(rows[i].message), &out) != rows[i].result)
			fail_msg("wrong result: %s", rows[i].message);
		buf_free(&out);
	}
}

/* All but octets between the parts comes back whole; only those are a loss. */
static void only_what_stands_between_parts_is_lost(void **state)
{
	(void)state;
	static const struct {
		const char *message;
		bool lossy;
	} rows[] = {
		{"Subject: x\r\n\r\n\xe4\r\n", false},
		{"Content-Type: image/png\r\n\r\n\xff\xfe\r\n", false},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\n\xe4\r\n--b--\r\npost\r\n", false},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\npr\xe4\r\n--b\r\n\r\nx\r\n--b--\r\n", true},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\np\xf6st\r\n", true},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct mail_seven *s = mail_seven_new(MAIL_SEVEN_TO_7BIT);

		assert_non_null(s);
		assert_false(mail_seven_lossy(s));
		assert_int_equal(mail_seven_feed(s, slice_from_cstr(rows[i].message), NULL), MAIL_SEVEN_OK);
		assert_int_equal(mail_seven_end(s, NULL), MAIL_SEVEN_OK);
		assert_int_equal(mail_seven_lossy(s), rows[i].lossy);
		mail_seven_free(s);
	}
}

static void quoted_printable_with_raw_octets_is_made_right(void **state)
{
	(void)state;
	assert_converted(MAIL_SEVEN_TO_7BIT, "Content-Transfer-Encoding: quoted-printable\r\n\r\na=FF\xfe b \r\n",
			 "Content-Transfer-Encoding: quoted-printable\r\n\r\na=FF=FE b \r\n");
}

/* RFC 6532 3.7: message/global may be encoded, other messages in messages may not. */
static void internationalised_messages_are_encoded_as_a_whole(void **state)
{
	(void)state;
	assert_converted(MAIL_SEVEN_TO_7BIT,
			 "MIME-Version: 1.0\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: "
			 "8bit\r\n\r\nSubject: \xc3\xa4\r\n",
			 "MIME-Version: 1.0\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: "
			 "quoted-printable\r\n\r\n"
			 "Subject: =C3=A4\r\n");
}

/* RFC 3030 3: a peer without BINARYMIME. Octets above 127 may stay. */
static void binary_content_becomes_lines(void **state)
{
	(void)state;
	static const struct {
		struct slice in;
		const char *out;
	} rows[] = {
		{TEXT("Subject: \xc3\xa4\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
		      "binary\r\n\r\na\rb\0\xff\n"),
		 "Subject: \xc3\xa4\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: "
		 "1.0\r\n\r\nYQ1iAP8K\r\n"},
		{TEXT("MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: "
		      "binary\r\n\r\n\xff\r\n"),
		 "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\r\n"},
		{TEXT("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\r\n"),
		 "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\r\n"},
		{TEXT("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: "
		      "binary\r\n\r\n"
		      "p\0\r\n--b\r\nContent-Type: a/b\r\n\r\n\n\r\n--b--\r\n"),
		 "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: "
		 "8bit\r\n\r\n"
		 "p?\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nCg==\r\n--b--\r\n"},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;

		buf_init(&out, OUT_MAX);
		assert_int_equal(convert(MAIL_SEVEN_TO_8BIT, rows[i].in, &out), MAIL_SEVEN_OK);
		assert_slice(buf_slice(&out), rows[i].out);
		buf_free(&out);
	}
}

static size_t append(char *text, size_t n, const char *more)
{
	memcpy(text + n, more, strlen(more));
	return n + strlen(more);
}

/* Attack G3: nesting far beyond the cap, of multiparts and of messages, with and without something to convert below. */
static void attack_G3_nesting_ends_at_the_cap(void **state)
{
	(void)state;
	enum { DEPTH = 3000 };
	char *text = malloc(DEPTH * 80);

	for (int kind = 0; kind < 4; kind++) {
		size_t n = 0;
		const char *why;
		struct buf out;

		for (int i = 0; i < DEPTH; i++) {
			char part[80];

			snprintf(part, sizeof part, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i,
				 i);
			n = append(text, n, kind & 1 ? "Content-Type: message/rfc822\r\n\r\n" : part);
		}
		n = append(text, n, kind & 2 ? "\r\n\xe4\r\n" : "\r\nx\r\n");
		buf_init(&out, OUT_MAX);
		assert_int_equal(feed_steps(MAIL_SEVEN_TO_7BIT, slice_of(text, n), 1000, &out, &why),
				 kind & 2 ? MAIL_SEVEN_FAILED : MAIL_SEVEN_OK);
		if (!(kind & 2))
			assert_true(slice_eq(buf_slice(&out), slice_of(text, n)));
		buf_free(&out);
	}
	free(text);
}

/* Attack G4: boundaries that are empty, over-long or given twice are not guessed at. */
static void attack_G4_strange_boundaries_are_left_alone(void **state)
{
	(void)state;
	static const char *const rows[] = {"boundary=\"\"", "boundary=b; boundary=c", "boundary=\"", "boundary*0=b"};
	char text[4000], boundary[3000];

	memset(boundary, 'b', 2048);
	memcpy(boundary, "boundary=", 9);
	boundary[2048] = '\0';
	for (size_t i = 0; i <= ROWS(rows); i++)
		for (int eight = 0; eight < 2; eight++) {
			const char *why;
			struct buf out;
			int n = snprintf(text, sizeof text,
					 "Content-Type: multipart/mixed; %s\r\n\r\n--b\r\n\r\n%s\r\n--b--\r\n",
					 i < ROWS(rows) ? rows[i] : boundary, eight ? "\xe4" : "x");

			buf_init(&out, OUT_MAX);
			assert_int_equal(feed_steps(MAIL_SEVEN_TO_7BIT, slice_of(text, (size_t)n), 5000, &out, &why),
					 eight ? MAIL_SEVEN_FAILED : MAIL_SEVEN_OK);
			buf_free(&out);
		}
}

static void what_is_held_back_is_bounded(void **state)
{
	(void)state;
	size_t n = MAIL_SEVEN_HEADER_MAX + 100;
	char *text = malloc(n);
	const char *why;
	struct buf out;

	memset(text, 'x', n);
	buf_init(&out, OUT_MAX);
	assert_int_equal(feed_steps(MAIL_SEVEN_TO_7BIT, slice_of(text, n), 4096, &out, &why), MAIL_SEVEN_FAILED);
	buf_free(&out);

	/* A part longer than the look: encoded, whatever its end may hold. */
	for (size_t end = MAIL_SEVEN_LOOK_MAX - 2; end < MAIL_SEVEN_LOOK_MAX + 3; end++) {
		text[0] = '\r';
		text[1] = '\n';
		memset(text + 2, 'x', end - 2);
		for (size_t i = 100; i + 1 < end; i += 100)
			memcpy(text + i, "\r\n", 2);
		buf_init(&out, OUT_MAX);
		assert_int_equal(feed_steps(MAIL_SEVEN_TO_7BIT, slice_of(text, end), 1000, &out, &why), MAIL_SEVEN_OK);
		assert_int_equal(slice_starts(buf_slice(&out), SLICE("MIME-Version: 1.0")),
				 end - 2 > MAIL_SEVEN_LOOK_MAX);
		buf_free(&out);
	}
	free(text);
}

static void a_full_buffer_is_told(void **state)
{
	(void)state;
	struct slice in = SLICE("Subject: x\r\n\r\n\xe4\r\n");

	for (size_t max = 1; max < 130; max++) {
		const char *why;
		struct buf out;

		buf_init(&out, max);
		assert_int_equal(feed_steps(MAIL_SEVEN_TO_7BIT, in, 5, &out, &why), MAIL_SEVEN_NO_ROOM);
		assert_true(buf_len(&out) <= max);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_that_needs_nothing_is_passed_on_as_it_is),
		cmocka_unit_test(text_becomes_quoted_printable),
		cmocka_unit_test(all_else_becomes_base64),
		cmocka_unit_test(a_message_that_says_nothing_is_declared_to_be_unknown_text),
		cmocka_unit_test(parts_are_converted_one_by_one),
		cmocka_unit_test(no_delimiter_comes_about_by_a_line_break),
		cmocka_unit_test(what_must_not_be_changed_is_told),
		cmocka_unit_test(only_what_stands_between_parts_is_lost),
		cmocka_unit_test(quoted_printable_with_raw_octets_is_made_right),
		cmocka_unit_test(internationalised_messages_are_encoded_as_a_whole),
		cmocka_unit_test(binary_content_becomes_lines),
		cmocka_unit_test(attack_G3_nesting_ends_at_the_cap),
		cmocka_unit_test(attack_G4_strange_boundaries_are_left_alone),
		cmocka_unit_test(what_is_held_back_is_bounded),
		cmocka_unit_test(a_full_buffer_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
