/*
 * What looks like the end of a message and is none (rows S01 to S25): at every place of a message, by DATA and by BDAT,
 * whole, octet by octet and cut at every point around it. Exactly one message or one error comes of it, and no command.
 *
 * What has to come out is worked out from the octets by line-wise rules of this file alone: lines end in CRLF, the line
 * "." ends the message, one leading dot of any other line goes.
 */
#include "test.h"

#include "server_desk.h"

#define EVIL "MAIL FROM:<evil@a.example>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\nevil\r\n"
/* clang-format off */
#define S(text) {(text), sizeof(text) - 1}
/* clang-format on */

static const struct row {
	const char *name;
	struct slice sequence;
} rows[] = {
	{"S01 LF . LF", S("\n.\n")},
	{"S02 LF . CRLF", S("\n.\r\n")},
	{"S03 LF . CR", S("\n.\r")},
	{"S04 CR . LF", S("\r.\n")},
	{"S05 CR . CR", S("\r.\r")},
	{"S06 CR . CRLF", S("\r.\r\n")},
	{"S07 CRLF NUL . CRLF", S("\r\n\0.\r\n")},
	{"S08 CRLF . CR CRLF", S("\r\n.\r\r\n")},
	{"S09 CR CRLF . CR CRLF", S("\r\r\n.\r\r\n")},
	{"S10 CRLF . LF", S("\r\n.\n")},
	{"S11 CRLF . CR and another octet", S("\r\n.\rM")},
	{"S12 CRLF . NUL CRLF", S("\r\n.\0\r\n")},
	{"S13 CRLF NUL . CR", S("\r\n\0.\r")},
	{"S13 CRLF NUL . LF", S("\r\n\0.\n")},
	{"S13 LF LF . CRLF", S("\n\n.\r\n")},
	{"S14 CRLF . NUL and more CRLF", S("\r\n.\0junk\r\n")},
	{"S16 CRLF . SP CRLF", S("\r\n. \r\n")},
	{"S16 CRLF . HT CRLF", S("\r\n.\t\r\n")},
	{"S16 CRLF . VT CRLF", S("\r\n.\v\r\n")},
	{"S16 CRLF . FF CRLF", S("\r\n.\f\r\n")},
	{"S17 a dot with the eighth bit", S("\r\n\xae\r\n")},
	{"S17 a fullwidth stop", S("\r\n\xef\xbc\x8e\r\n")},
	{"S17 U+0085 around the dot", S("\xc2\x85.\xc2\x85")},
	{"S17 U+2028 around the dot", S("\xe2\x80\xa8.\xe2\x80\xa8")},
	{"S18 . LF at the start", S(".\n")},
	{"S19 CRLF .. CRLF", S("\r\n..\r\n")},
	{"S22 quoted-printable CRLF . CRLF", S("=0D=0A.=0D=0A")},
};

/* Where in a message. The last stands for a long body; each ends within a line, so that no true end can arise. */
static const struct slice places[] = {
	S(""),
	S("Subject: x"),
	S("A: b\r\nC: d\r\n\r\nbody"),
	S("A: b\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\npart"),
	S(""),
};
#define PLACES    (sizeof places / sizeof *places)
#define LONG_BODY 40000

static void add_place(struct buf *out, size_t place)
{
	buf_add(out, places[place]);
	for (size_t i = 0; place + 1 == PLACES && i < LONG_BODY; i += 10)
		buf_add_lit(out, "A line.\r\n ");
}

/* The rule of RFC 5321 4.5.2 for whole lines; the octets behind the end are returned in *rest. False without an end. */
static bool undo_dots(struct slice in, struct buf *out, struct slice *rest)
{
	while (in.n) {
		size_t n = slice_search(in, SLICE("\r\n"));
		struct slice line = slice_head(in, n);
		in = slice_skip(in, n + 2);
		if (slice_eq(line, SLICE("."))) {
			*rest = in;
			return true;
		}
		buf_add(out, slice_starts(line, SLICE(".")) ? slice_skip(line, 1) : line);
		buf_add_lit(out, "\r\n");
	}
	return false;
}

/* Bare CR, bare LF or NUL: what a text message may not hold. */
static bool is_faulty(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool before = i > 0 && s.p[i - 1] == '\r', behind = i + 1 < s.n && s.p[i + 1] == '\n';
		if (s.p[i] == '\0' || (s.p[i] == '\n' && !before) || (s.p[i] == '\r' && !behind))
			return true;
	}
	return false;
}

static void start(struct desk *d, const char *mail, bool data)
{
	desk_init(d);
	d->config.size_max = 10000000;
	d->config.line_max = 100000;
	d->config.header_max = d->config.header_lines_max = 1000000;
	desk_start(d);
	desk_flush(d);
	desk_feed(d, SLICE("EHLO a.example\r\n"));
	desk_flush(d);
	desk_feed(d, slice_from_cstr(mail));
	desk_feed(d, SLICE("RCPT TO:<r@example.com>\r\n"));
	if (data)
		desk_feed(d, SLICE("DATA\r\n"));
	desk_flush(d);
	buf_reset(&d->out);
	buf_reset(&d->log);
}

enum { WHOLE, BYTEWISE, CUT };

static void feed(struct desk *d, struct slice in, int how, size_t cut)
{
	size_t piece = how == WHOLE ? in.n : how == BYTEWISE ? 1 : cut;

	for (size_t at = 0; at < in.n; at += piece, piece = how == CUT ? in.n - at : piece) {
		size_t n = in.n - at < piece ? in.n - at : piece;
		assert_int_equal(desk_feed(d, slice_skip(slice_head(in, at + n), at)), n);
	}
	desk_flush(d);
}

/* One message, or one error. */
static void check_outcome(struct desk *d, bool faulty, struct slice content)
{
	struct slice out = buf_slice(&d->out);

	assert_int_equal(d->mails, 1);
	assert_true(slice_starts(out, faulty ? SLICE("554 5.6.0 ") : SLICE("250 2.6.0 ")));
	assert_int_equal(slice_find(out, '\n') + 1, out.n);
	assert_int_equal(d->ends, faulty ? 0 : 1);
	assert_int_equal(d->resets, faulty ? 1 : 0);
	if (!faulty) {
		assert_int_equal(buf_len(&d->message), content.n);
		assert_memory_equal(d->message.p + d->message.start, content.p, content.n);
	}
}

static void try_data(struct slice wire, bool faulty, struct slice content, int how, size_t cut)
{
	struct desk d;

	start(&d, "MAIL FROM:<s@a.example>\r\n", true);
	feed(&d, wire, how, cut);
	check_outcome(&d, faulty, content);
	desk_free(&d);
}

static void no_such_sequence_ends_data(void **state)
{
	const struct row *row = *state;

	for (size_t place = 0; place < PLACES; place++) {
		struct buf wire, content;
		struct slice rest;
		buf_init(&wire, 1 << 20);
		buf_init(&content, 1 << 20);
		add_place(&wire, place);
		size_t at = buf_len(&wire);
		buf_add(&wire, row->sequence);
		buf_add_lit(&wire, EVIL ".\r\n");
		assert_true(undo_dots(buf_slice(&wire), &content, &rest));
		assert_int_equal(rest.n, 0);
		bool faulty = is_faulty(buf_slice(&content));
		try_data(buf_slice(&wire), faulty, buf_slice(&content), WHOLE, 0);
		try_data(buf_slice(&wire), faulty, buf_slice(&content), BYTEWISE, 0);
		for (size_t cut = at > 32 ? at - 32 : 1; cut < at + 32; cut++)
			try_data(buf_slice(&wire), faulty, buf_slice(&content), CUT, cut);
		buf_free(&wire);
		buf_free(&content);
	}
}

/* S23: in chunks nothing but their size ends anything. Cut in two chunks at every point. */
static void try_chunks(struct slice content, size_t edge, bool binary, int how)
{
	struct desk d;
	struct buf wire;

	buf_init(&wire, 1 << 20);
	start(&d, binary ? "MAIL FROM:<s@a.example> BODY=BINARYMIME\r\n" : "MAIL FROM:<s@a.example>\r\n", false);
	buf_printf(&wire, "BDAT %zu\r\n", edge);
	buf_add(&wire, slice_head(content, edge));
	feed(&d, buf_slice(&wire), how, 0);
	assert_slice(slice_head(buf_slice(&d.out), 10), "250 2.5.0 ");
	buf_reset(&d.out);
	buf_reset(&wire);
	buf_printf(&wire, "BDAT %zu LAST\r\n", content.n - edge);
	buf_add(&wire, slice_skip(content, edge));
	feed(&d, buf_slice(&wire), how, 0);
	check_outcome(&d, !binary && is_faulty(content), content);
	buf_free(&wire);
	desk_free(&d);
}

static void no_such_sequence_ends_a_chunk(void **state)
{
	const struct row *row = *state;
	struct buf content;

	buf_init(&content, 1 << 20);
	buf_add_lit(&content, "A: b\r\n\r\nbody");
	size_t at = buf_len(&content);
	buf_add(&content, row->sequence);
	buf_add_lit(&content, EVIL ".\r\n");
	for (size_t edge = at - 1; edge <= at + row->sequence.n + 1; edge++) {
		for (int binary = 0; binary < 2; binary++) {
			try_chunks(buf_slice(&content), edge, binary, WHOLE);
			try_chunks(buf_slice(&content), edge, binary, BYTEWISE);
		}
	}
	buf_free(&content);
}

static void S13_a_dot_without_line_end_waits_and_times_out(void **state)
{
	(void)state;
	struct desk d;

	start(&d, "MAIL FROM:<s@a.example>\r\n", true);
	feed(&d, SLICE("x\r\n."), WHOLE, 0);
	assert_int_equal(buf_len(&d.out), 0);
	d.now += d.config.data_timeout;
	smtp_server_tick(d.s, d.now);
	desk_pull(&d);
	desk_flush(&d);
	assert_slice(slice_head(buf_slice(&d.out), 10), "421 4.4.2 ");
	assert_slice(buf_slice(&d.log), "RESET\nCLOSE\n");
	desk_free(&d);
}

static void S15_CR_before_the_true_end_ends_once_and_is_refused(void **state)
{
	(void)state;
	struct slice wire = SLICE("A: b\r\n\r\nbody\r\r\n.\r\nNOOP\r\n");

	for (size_t cut = 0; cut < wire.n; cut++) {
		struct desk d;
		start(&d, "MAIL FROM:<s@a.example>\r\n", true);
		feed(&d, wire, cut == 0 ? BYTEWISE : CUT, cut);
		assert_slice(buf_slice(&d.out),
			     "554 5.6.0 Message holds a bare CR or LF; lines must end in CR LF\r\n250 2.0.0 OK\r\n");
		assert_slice(buf_slice(&d.log), "RESET\n");
		desk_free(&d);
	}
}

static void S20_the_true_end_ends_once_however_it_is_cut(void **state)
{
	(void)state;
	struct slice wire = SLICE("A: b\r\n\r\nbody\r\n.\r\nRSET\r\n");

	for (size_t a = 1; a < wire.n; a++) {
		for (size_t b = a + 1; b < wire.n; b++) {
			struct desk d;
			start(&d, "MAIL FROM:<s@a.example>\r\n", true);
			feed(&d, slice_head(wire, a), WHOLE, 0);
			feed(&d, slice_skip(slice_head(wire, b), a), WHOLE, 0);
			feed(&d, slice_skip(wire, b), WHOLE, 0);
			assert_int_equal(d.ends, 1);
			assert_slice(buf_slice(&d.out), "250 2.6.0 Message accepted as ID\r\n250 2.0.0 OK\r\n");
			assert_slice(buf_slice(&d.message), "A: b\r\n\r\nbody\r\n");
			desk_free(&d);
		}
	}
}

static void S21_a_long_line_is_never_cut_in_two(void **state)
{
	(void)state;
	static const size_t lengths[] = {998,  999,  1000, 1022,  1024,  2046,  2048, 4094,
					 4096, 8190, 8192, 16384, 65534, 65536, 70000};

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct buf wire;
		struct desk d;
		buf_init(&wire, 1 << 20);
		for (size_t k = 0; k < lengths[i]; k++)
			buf_add_char(&wire, 'a');
		buf_add_lit(&wire, ".\r\n" EVIL ".\r\n");
		start(&d, "MAIL FROM:<s@a.example>\r\n", true);
		feed(&d, buf_slice(&wire), WHOLE, 0);
		check_outcome(&d, false, slice_head(buf_slice(&wire), buf_len(&wire) - 3));
		desk_free(&d);
		start(&d, "MAIL FROM:<s@a.example>\r\n", true);
		d.config.line_max = SMTP_TEXT_LINE_MIN;
		feed(&d, buf_slice(&wire), CUT, lengths[i]);
		bool faulty = lengths[i] + 3 > SMTP_TEXT_LINE_MIN;
		check_outcome(&d, faulty, slice_head(buf_slice(&wire), buf_len(&wire) - 3));
		desk_free(&d);
		buf_free(&wire);
	}
}

static void S24_a_lonely_dot_in_a_chunk_is_an_octet(void **state)
{
	(void)state;
	struct desk d;

	start(&d, "MAIL FROM:<s@a.example>\r\n", false);
	feed(&d, SLICE("BDAT 1\r\n.BDAT 2\r\n\r\nBDAT 1\r\n.BDAT 2 LAST\r\n\r\n"), WHOLE, 0);
	assert_int_equal(d.ends, 1);
	assert_slice(buf_slice(&d.message), ".\r\n.\r\n");
	desk_free(&d);
}

static void S25_a_message_without_final_line_end_is_kept_as_it_is_and_marked(void **state)
{
	(void)state;
	struct desk d;

	start(&d, "MAIL FROM:<s@a.example>\r\n", false);
	feed(&d, SLICE("BDAT 9 LAST\r\nA: b\r\n\r\nx"), BYTEWISE, 0);
	assert_int_equal(d.ends, 1);
	assert_slice(buf_slice(&d.message), "A: b\r\n\r\nx");
	assert_false(smtp_server_scan(d.s)->flags & MAIL_SCAN_ENDS_CRLF);
	desk_free(&d);
}

static void S23_a_CR_at_the_end_of_the_last_chunk_is_bare(void **state)
{
	(void)state;
	struct desk d;

	start(&d, "MAIL FROM:<s@a.example>\r\n", false);
	feed(&d, SLICE("BDAT 3\r\nab\rBDAT 2\r\n\nxBDAT 1 LAST\r\n\r"), WHOLE, 0);
	assert_int_equal(d.ends, 0);
	assert_slice(slice_head(slice_skip(buf_slice(&d.out), slice_search(buf_slice(&d.out), SLICE("554"))), 10),
		     "554 5.6.0 ");
	assert_slice(buf_slice(&d.log), "DATA\nRESET\n");
	desk_free(&d);
}

int main(void)
{
	enum { ROWS = sizeof rows / sizeof *rows };
	struct CMUnitTest data[ROWS], chunks[ROWS];
	const struct CMUnitTest others[] = {
		cmocka_unit_test(S13_a_dot_without_line_end_waits_and_times_out),
		cmocka_unit_test(S15_CR_before_the_true_end_ends_once_and_is_refused),
		cmocka_unit_test(S20_the_true_end_ends_once_however_it_is_cut),
		cmocka_unit_test(S21_a_long_line_is_never_cut_in_two),
		cmocka_unit_test(S23_a_CR_at_the_end_of_the_last_chunk_is_bare),
		cmocka_unit_test(S24_a_lonely_dot_in_a_chunk_is_an_octet),
		cmocka_unit_test(S25_a_message_without_final_line_end_is_kept_as_it_is_and_marked),
	};

	for (size_t i = 0; i < ROWS; i++) {
		void *row = (void *)(uintptr_t)&rows[i];
		data[i] = (struct CMUnitTest){
			.name = rows[i].name, .test_func = no_such_sequence_ends_data, .initial_state = row};
		chunks[i] = (struct CMUnitTest){
			.name = rows[i].name, .test_func = no_such_sequence_ends_a_chunk, .initial_state = row};
	}
	int failed = cmocka_run_group_tests_name("what is no end of DATA", data, NULL, NULL);
	failed += cmocka_run_group_tests_name("S23 the same in chunks", chunks, NULL, NULL);
	return failed + cmocka_run_group_tests_name("ends and edges", others, NULL, NULL);
}
