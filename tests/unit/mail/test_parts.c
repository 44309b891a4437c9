#include "test.h"

#include "mail/parts.h"

/* clang-format off */
#define TEXT(literal) {(literal), sizeof(literal) - 1}
/* clang-format on */

static const struct slice media[] = {TEXT("application/x-msdownload"), TEXT("video/*"), TEXT("message/partial")};
static const struct slice extensions[] = {TEXT("exe"), TEXT("tar.gz"), TEXT("js")};
static const struct mail_parts_rules rules = {media, 3, extensions, 3};

/* What is found, the message cut into pieces of `step`; lent until the next call. */
static const char *find_in_steps(struct slice message, size_t step, const struct mail_parts_rules *by)
{
	static char text[MAIL_PARTS_WHAT_MAX + 1];
	struct mail_parts *p = mail_parts_new(by);
	struct slice what;

	assert_non_null(p);
	for (size_t at = 0; at < message.n; at += step) {
		struct slice piece = slice_head(slice_skip(message, at), step);
		char *copy = test_exact_copy(piece);

		mail_parts_feed(p, slice_of(copy, piece.n));
		free(copy);
	}
	enum mail_parts_result result = mail_parts_end(p, &what);
	assert_int_equal(result, what.n ? MAIL_PARTS_REFUSED : MAIL_PARTS_GOOD);
	memcpy(text, what.n ? what.p : "", what.n);
	text[what.n] = '\0';
	mail_parts_free(p);
	return text;
}

static void expect(const char *message, const char *what)
{
	struct slice in = slice_from_cstr(message);

	for (size_t step = in.n + 1; step > 0; step = step > 40 ? step / 2 : step - 1) {
		const char *found = find_in_steps(in, step, &rules);

		if (strcmp(found, what) != 0)
			fail_msg("in steps of %zu: \"%s\", not \"%s\", in:\n%s", step, found, what, message);
	}
}

#define UNREADABLE "a part that cannot be read for what it is"
#define MIXED      "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define OF_A_PART  "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n"

static void media_types_are_found_in_any_part(void **state)
{
	(void)state;
	expect("", "");
	expect("Subject: x\r\n\r\nContent-Type: video/mp4\r\n", "");
	expect("Content-Type: text/plain\r\n\r\nx\r\n", "");
	expect("Content-Type: Video/MP4\r\n\r\nx\r\n", "media type video/*");
	expect("CONTENT-TYPE : (c) video /\r\n mp4 ; x=y\r\n\r\n", "media type video/*");
	expect("Content-Type: message/partial; id=x; number=1\r\n\r\n", "media type message/partial");
	expect("Content-Type: message/partial", "media type message/partial");
	expect("X: y\r\nContent-Type: application/x-msdownloads\r\n\r\n", "");
	expect(MIXED OF_A_PART "Content-Type: video/mp4\r\n\r\nx\r\n--b--\r\n", "media type video/*");
	expect(MIXED OF_A_PART "Content-Type: video/mp4\r\n--b--\r\n", "media type video/*");
	expect(MIXED OF_A_PART "Content-Type: video/mp4", "media type video/*");
	/* Not where no part begins. */
	expect(MIXED "--bb\r\nContent-Type: video/mp4\r\n\r\n--b--\r\n", "");
	expect(MIXED OF_A_PART "\r\nContent-Type: video/mp4\r\n--b--\r\n", "");
	expect(MIXED OF_A_PART "\r\n--b--\r\n\r\n--b\r\nContent-Type: video/mp4\r\n\r\n", "");
	/* Delimiters with blanks at their end, and without CR. */
	expect(MIXED "--b \t\r\nContent-Type: video/mp4\r\n\r\n", "media type video/*");
	expect(MIXED "x\n--b\nContent-Type: video/mp4\n\n", "media type video/*");
}

static void multiparts_and_messages_are_looked_into(void **state)
{
	(void)state;
	expect(MIXED "--b\r\nContent-Type: multipart/alternative; boundary=\"c d\"\r\n\r\n--c d\r\n\r\nx\r\n--c d\r\n"
		     "Content-Type: video/x\r\n\r\n--c d--\r\n--b--\r\n",
	       "media type video/*");
	/* The inner one is never closed: the outer delimiter ends it. */
	expect(MIXED "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b\r\n"
		     "Content-Type: video/x\r\n\r\n",
	       "media type video/*");
	expect(MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: video/x\r\n\r\n",
	       "media type video/*");
	expect("Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n" MIXED OF_A_PART
	       "Content-Disposition: attachment; filename=x.exe\r\n\r\n",
	       "a file named x.exe");
	expect("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nContent-Type: video/x\r\n\r\n",
	       "media type video/*");
	/* What is encoded stays closed. */
	expect("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nContent-Type: video/x\r\n",
	       "");
	/* A message whose header section begins right behind a header section that no empty line ends. */
	expect("Content-Type: message/rfc822\r\nno field\r\nContent-Type: video/x\r\n\r\n", "");
}

static void file_names_are_found_however_they_are_written(void **state)
{
	(void)state;
	static const struct {
		const char *parameters, *name;
	} rows[] = {
		{"filename=setup.exe", "setup.exe"},
		{"filename = \"My Setup.EXE\"", "My Setup.EXE"},
		{"filename=My Setup.exe", "My Setup.exe"},
		{"a=b; FileName=\"a\\\"b.exe\" ; c=d", "a\"b.exe"},
		{"x=\"; filename=a.txt\"; filename=b.exe", "b.exe"},
		{"filename=a.txt; filename=b.exe", "b.exe"},
		{"\r\n\tfilename=\"a\r\n .exe\"", "a .exe"},
		{"filename=\"setup.exe.. \"", "setup.exe"},
		{"filename=\"a.tar.gz\"", "a.tar.gz"},
		{"filename=\"unclosed.exe", "unclosed.exe"},
		{"filename*=utf-8'en'caf%C3%A9.e%78e", "caf??.exe"},
		{"filename*0=a; filename*1=\".ex\"; filename*2=e", "a.exe"},
		{"filename*2=e; filename*0*=utf-8''a%2E; filename*1=ex", "a.exe"},
		{"filename*0=a.t; filename*5=xt; filename=b.js", "b.js"},
		{"filename=\"=?utf-8?B?c2V0dXAuZXhl?=\"", "setup.exe"},
		{"filename=\"=?utf-8?q?setup=2Ee?= =?utf-8?Q?xe?=\"", "setup.exe"},
		{"filename==?utf-8?Q?x.js?=", "x.js"},
		{"filename=\"=?utf-8?X?x?=.exe\"", "=?utf-8?X?x?=.exe"},
		{"filename=\"=?.exe\"", "=?.exe"},
		{"filename=exe", NULL},
		{"filename=x.exe.txt", NULL},
		{"filename=x.tgz", NULL},
		{"filename=x.ajs", NULL},
		{"filenames=x.exe", NULL},
		{"x=filename=x.exe", NULL},
		{"filename=", NULL},
		{"filename", NULL},
		{"filename*0=x.exe; filename*1=.txt", NULL},
		{";;;", NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char message[300], what[120] = "";

		snprintf(message, sizeof message, "Content-Disposition: attachment; %s\r\n\r\nx\r\n",
			 rows[i].parameters);
		if (rows[i].name)
			snprintf(what, sizeof what, "a file named %s", rows[i].name);
		expect(message, what);
	}
	expect("Content-Type: application/octet-stream; name=x.exe\r\n\r\n", "a file named x.exe");
	expect("Content-Type: nonsense; name*0*=''x%2; name*1*=Eexe\r\n\r\n", "");
	expect("Content-Type: nonsense; name*0*=''x; name*1*=%2Eexe\r\n\r\n", "a file named x.exe");
	expect("Subject: filename=x.exe\r\nX-Content-Disposition: a; filename=x.exe\r\n\r\n", "");
}

static void what_cannot_be_read_is_refused(void **state)
{
	(void)state;
	expect("Content-Type: multipart/mixed\r\n\r\n--b\r\n", UNREADABLE);
	expect("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--b\r\n", UNREADABLE);
	expect("Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n", UNREADABLE);
	expect("Content-Type: multipart/mixed; boundary*=b\r\n\r\n", UNREADABLE);
	expect("Content-Type: multipart/mixed; boundary=b\r\nContent-Type: text/plain\r\n\r\n", UNREADABLE);
	expect("Content-Type: multipart/mixed; boundary=b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n",
	       UNREADABLE);
	expect("Content-Type: text/plain\r\nContent-Type: TEXT/plain\r\n\r\n", "");
}

static void bounds_hold(void **state)
{
	(void)state;
	struct buf text;

	buf_init(&text, 1 << 20);
	/* More pieces of a name than are put together. */
	buf_add_lit(&text, "Content-Disposition: a");
	for (unsigned i = 0; i <= MAIL_PARTS_PIECES_MAX; i++)
		buf_printf(&text, "; filename*%u=x", i);
	buf_add_lit(&text, "\r\n\r\n");
	assert_string_equal(find_in_steps(buf_slice(&text), 7, &rules), UNREADABLE);
	/* Fields and lines beyond what is kept; other fields may be as long as they like. */
	buf_reset(&text);
	for (unsigned i = 0; i < 2 * MAIL_PARTS_FIELDS_MAX; i++)
		buf_add_char(&text, 'x');
	struct slice filler = buf_slice(&text);
	struct buf message;
	buf_init(&message, 1 << 20);
	buf_printf(&message, "Content-Type: text/plain; x=%.*s\r\n\r\n", SLICE_ARGS(filler));
	assert_string_equal(find_in_steps(buf_slice(&message), 1000, &rules), UNREADABLE);
	buf_reset(&message);
	buf_printf(&message, "Subject: %.*s\r\n x\r\nContent-Type: video/x\r\n\r\n", SLICE_ARGS(filler));
	assert_string_equal(find_in_steps(buf_slice(&message), 1000, &rules), "media type video/*");
	/* Multiparts inside one another. */
	for (unsigned depth = MAIL_PARTS_DEPTH_MAX; depth <= MAIL_PARTS_DEPTH_MAX + 1; depth++) {
		buf_reset(&message);
		for (unsigned i = 0; i < depth; i++)
			buf_printf(&message, "Content-Type: multipart/mixed; boundary=b%ub\r\n\r\n--b%ub\r\n", i, i);
		assert_string_equal(find_in_steps(buf_slice(&message), 100, &rules),
				    depth > MAIL_PARTS_DEPTH_MAX ? UNREADABLE : "");
	}
	/* A long name is cut in the words about it. */
	buf_reset(&message);
	buf_printf(&message, "Content-Disposition: a; filename=%.*s.exe\r\n\r\n", SLICE_ARGS(slice_head(filler, 9999)));
	const char *found = find_in_steps(buf_slice(&message), 1000, &rules);
	assert_true(slice_starts(slice_from_cstr(found), SLICE("a file named xxx")));
	assert_true(slice_ends(slice_from_cstr(found), SLICE("...")));
	buf_free(&message);
	buf_free(&text);
}

static void rules_of_one_kind_need_none_of_the_other(void **state)
{
	(void)state;
	static const struct mail_parts_rules names = {NULL, 0, extensions, 3}, types = {media, 3, NULL, 0};
	struct slice in = SLICE("Content-Type: video/x; name=x.exe\r\n\r\n");

	assert_string_equal(find_in_steps(in, in.n, &names), "a file named x.exe");
	assert_string_equal(find_in_steps(in, in.n, &types), "media type video/*");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(media_types_are_found_in_any_part),
		cmocka_unit_test(multiparts_and_messages_are_looked_into),
		cmocka_unit_test(file_names_are_found_however_they_are_written),
		cmocka_unit_test(what_cannot_be_read_is_refused),
		cmocka_unit_test(bounds_hold),
		cmocka_unit_test(rules_of_one_kind_need_none_of_the_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
