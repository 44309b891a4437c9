#include "test.h"

#include "mail/address.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static struct slice cstr(const char *text)
{
	return slice_from_cstr(text);
}

/* Parses from an exact copy, so that ASan sees a read beyond the end. The lent texts are moved back to `in`. */
static enum mail_address_error parse_path(struct slice in, struct mail_address *ret, size_t *used)
{
	char *copy = test_exact_copy(in);
	const char *why = NULL;
	enum mail_address_error error = mail_path_parse(slice_of(copy, in.n), false, false, ret, used, &why);

	assert_true((error == MAIL_ADDRESS_OK) == (why == NULL));
	struct slice *texts[] = {&ret->text, &ret->local, &ret->domain};
	for (size_t i = 0; i < ROWS(texts); i++)
		if (texts[i]->p)
			texts[i]->p = in.p + (texts[i]->p - copy);
	free(copy);
	return error;
}

/* ---- the grammar ------------------------------------------------------------------------------------------------- */

static void paths_of_the_grammar_are_taken_apart(void **state)
{
	(void)state;
	static const struct {
		const char *path, *local, *domain;
		enum mail_domain_kind kind;
		bool utf8;
	} rows[] = {
		{"<a@b>", "a", "b", MAIL_DOMAIN_NAME, false},
		{"<user@example.com>", "user", "example.com", MAIL_DOMAIN_NAME, false},
		{"<User.Name+tag@EXAMPLE.Com>", "User.Name+tag", "EXAMPLE.Com", MAIL_DOMAIN_NAME, false},
		{"<!#$%&'*+-/=?^_`{|}~@example.com>", "!#$%&'*+-/=?^_`{|}~", "example.com", MAIL_DOMAIN_NAME, false},
		{"<\"\"@example.com>", "\"\"", "example.com", MAIL_DOMAIN_NAME, false},
		{"<\"a b\"@example.com>", "\"a b\"", "example.com", MAIL_DOMAIN_NAME, false},
		{"<\"a@b>c\"@example.com>", "\"a@b>c\"", "example.com", MAIL_DOMAIN_NAME, false},
		{"<\"a\\\"b\\\\\"@example.com>", "\"a\\\"b\\\\\"", "example.com", MAIL_DOMAIN_NAME, false},
		{"<Joe.\\Blow@example.com>", NULL, NULL, MAIL_DOMAIN_NONE, false},
		{"<a@1.2.3.4>", "a", "1.2.3.4", MAIL_DOMAIN_NAME, false},
		{"<a@x--y.z-9>", "a", "x--y.z-9", MAIL_DOMAIN_NAME, false},
		{"<a@[192.0.2.1]>", "a", "[192.0.2.1]", MAIL_DOMAIN_IPV4, false},
		{"<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", MAIL_DOMAIN_IPV6, false},
		{"<a@[ipv6:::]>", "a", "[ipv6:::]", MAIL_DOMAIN_IPV6, false},
		{"<a@[x-tag:any>thing]>", "a", "[x-tag:any>thing]", MAIL_DOMAIN_GENERAL, false},
		{"<@relay.example:a@b>", "a", "b", MAIL_DOMAIN_NAME, false},
		{"<@r1.example,@r2.example:a@b>", "a", "b", MAIL_DOMAIN_NAME, false},
		{"<j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example>",
		 "j\xc3\xbcrgen",
		 "b\xc3\xbc"
		 "cher.example",
		 MAIL_DOMAIN_NAME, true},
		{"<\"j\xc3\xbc rg\"@example.com>", "\"j\xc3\xbc rg\"", "example.com", MAIL_DOMAIN_NAME, true},
		{"<\"a\\\\\xc3\xbc\"@example.com>", "\"a\\\\\xc3\xbc\"", "example.com", MAIL_DOMAIN_NAME, true},
		{"<\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b\xe5\xad\x90.\xe5\xb9\xbf\xe5\x91\x8a>",
		 "\xe7\x94\xa8\xe6\x88\xb7", "\xe4\xbe\x8b\xe5\xad\x90.\xe5\xb9\xbf\xe5\x91\x8a", MAIL_DOMAIN_NAME,
		 true},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct mail_address a;
		size_t used;
		enum mail_address_error error = parse_path(cstr(rows[i].path), &a, &used);

		if (!rows[i].local) {
			assert_int_equal(error, MAIL_ADDRESS_SYNTAX);
			continue;
		}
		if (error != MAIL_ADDRESS_OK)
			fail_msg("refused: %s", rows[i].path);
		assert_slice(a.local, rows[i].local);
		assert_slice(a.domain, rows[i].domain);
		assert_int_equal(a.kind, rows[i].kind);
		assert_int_equal(a.utf8, rows[i].utf8);
		assert_int_equal(used, strlen(rows[i].path));
		assert_int_equal(a.text.n, a.local.n + 1 + a.domain.n);
		assert_ptr_equal(a.text.p, a.local.p);
	}
}

static const char *const outside_the_grammar[] = {
	"",
	"<",
	">",
	"<>",
	"a@b",
	"<a@b",
	"a@b>",
	"< a@b>",
	"<a@b >",
	"<a @b>",
	"<a@ b>",
	"<@>",
	"<a>",
	"<a@>",
	"<@b>",
	"<.a@b>",
	"<a.@b>",
	"<a..b@c>",
	"<a@.b>",
	"<a@b.>",
	"<a@b..c>",
	"<a@-b>",
	"<a@b->",
	"<a@b_c>",
	"<a@b!c>",
	"<a(c)@b>",
	"<a@b(c)>",
	"<a,b@c>",
	"<a;b@c>",
	"<a:b@c>",
	"<a<b@c>",
	"<a[b@c>",
	"<a\\b@c>",
	"<\"a@b>",
	"<\"a\"b@c>",
	"<a\"b\"@c>",
	"<\"a\\\"@b>",
	"<\"a\tb\"@c>",
	"<\"a\\\tb\"@c>",
	"<a@b@c>",
	"<a@b,c@d>",
	"<a@b:c@d>",
	"<@b,a@c>",
	"<@b,:a@c>",
	"<@b.:a@c>",
	"<@b a@c>",
	"<@[192.0.2.1]:a@c>",
	"<:a@c>",
	"<@:a@c>",
	"<a@[]>",
	"<a@[192.0.2]>",
	"<a@[192.0.2.256]>",
	"<a@[192.0.2.1.5]>",
	"<a@[192.0.2.1>",
	"<a@[192.0.2.1]x>",
	"<a@[192.0.2.0001]>",
	"<a@[192..2.1]>",
	"<a@[-:x]>",
	"<a@[t-:x]>",
	"<a@[t:]>",
	"<a@[t:a b]>",
	"<a@[t:a\\b]>",
	"<a@[:x]>",
	"<a\x7f@b>",
	"<\"a\x7f\"@b>",
	"<a\x01@b>",
	/* RFC 3629 4: overlong, surrogate, above U+10FFFF, cut short, lonely; RFC 6531 3.3: control characters
	 */
	"<\xc0\xaf@b>",
	"<\xed\xa0\x80@b>",
	"<\xf4\x90\x80\x80@b>",
	"<\xe2\x82@b>",
	"<a\x80@b>",
	"<\xff@b>",
	"<\xc2\x85@b>",
	"<\"\xc2\x85\"@b>",
	"<\"\\\xc3\xbc\"@b>",
	/* no U-labels: a full stop of another script, letters that map into ASCII, a symbol, a joiner, hyphens
	 */
	"<a@b\xe3\x80\x82"
	"c>",
	"<a@\xef\xbd\x85xample>",
	"<a@\xe2\x98\x83\xff>",
	"<a@b\xe2\x80\x8d"
	"c>",
	"<a@-\xc3\xbc>",
	"<a@\xc3\xbc.-b>",
	"<a@\xc3\xbc..b>",
	"<a@\xc3\xbc.xn--\xc3\xbc>",
	"<a@\xef\xbc\xa0>",
};

static void what_the_grammar_does_not_hold_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(outside_the_grammar); i++) {
		struct mail_address a;
		size_t used;

		if (parse_path(cstr(outside_the_grammar[i]), &a, &used) != MAIL_ADDRESS_SYNTAX)
			fail_msg("not refused as syntax: %s", outside_the_grammar[i]);
		assert_int_equal(used, 0);
		assert_null(a.text.p);
		assert_null(a.local.p);
	}
}

static void ipv6_literals_are_those_of_the_grammar(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"[IPv6:1:2:3:4:5:6:7:8]", true},
		{"[IPv6:1:2:3:4:5:6:7]", false},
		{"[IPv6:1:2:3:4:5:6:7:8:9]", false},
		{"[IPv6:::]", true},
		{"[IPv6:::1]", true},
		{"[IPv6:1::]", true},
		{"[IPv6:1:2:3:4:5:6::]", true},
		{"[IPv6:::1:2:3:4:5:6]", true},
		{"[IPv6:1:2:3:4:5:6:7::]", false},
		{"[IPv6:1:2:3::4:5:6:7]", false},
		{"[IPv6:1::2::3]", false},
		{"[IPv6:::::]", false},
		{"[IPv6::1]", false},
		{"[IPv6:1:]", false},
		{"[IPv6:1:2:3:4:5:6:7:]", false},
		{"[IPv6:12345::]", false},
		{"[IPv6:g::]", false},
		{"[IPv6:]", false},
		{"[IPv6:::ffff:10.0.0.1]", true},
		{"[IPv6:::10.0.0.1]", true},
		{"[IPv6:1:2:3:4:5:6:10.0.0.1]", true},
		{"[IPv6:1:2:3:4:5:10.0.0.1]", false},
		{"[IPv6:1:2:3:4::10.0.0.1]", true},
		{"[IPv6:1:2:3:4:5::10.0.0.1]", false},
		{"[IPv6:1::2:3:4:10.0.0.1]", true},
		{"[IPv6:::1.2.3]", false},
		{"[IPv6:::1.2.3.4:5]", false},
		{"[IPv6:::1.2.3.999]", false},
		{"[IPv6:10.0.0.1]", false},
		{"[IPv6: ::1]", false},
		{"[IPv6:fe80::1%eth0]", false},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		enum mail_domain_kind kind = MAIL_DOMAIN_NONE;

		if (mail_literal_valid(cstr(rows[i].text), &kind) != rows[i].good)
			fail_msg("wrong verdict: %s", rows[i].text);
		if (rows[i].good)
			assert_int_equal(kind, MAIL_DOMAIN_IPV6);
	}
}

static void the_null_path_and_postmaster_are_taken_only_where_asked(void **state)
{
	(void)state;
	struct mail_address a;
	const char *why;
	size_t used;

	assert_int_equal(mail_path_parse(SLICE("<> SIZE=1"), true, false, &a, &used, &why), MAIL_ADDRESS_OK);
	assert_int_equal(used, 2);
	assert_int_equal(a.kind, MAIL_DOMAIN_NONE);
	assert_int_equal(a.text.n, 0);
	assert_int_equal(mail_path_parse(SLICE("<>"), false, true, &a, &used, &why), MAIL_ADDRESS_SYNTAX);
	assert_int_equal(mail_path_parse(SLICE("<PostMaster> X"), false, true, &a, &used, &why), MAIL_ADDRESS_OK);
	assert_slice(a.text, "PostMaster");
	assert_slice(a.local, "PostMaster");
	assert_int_equal(a.kind, MAIL_DOMAIN_NONE);
	assert_int_equal(used, 12);
	assert_int_equal(mail_path_parse(SLICE("<postmaster>"), true, false, &a, &used, &why), MAIL_ADDRESS_SYNTAX);
	assert_int_equal(mail_path_parse(SLICE("<postmaster2>"), true, true, &a, &used, &why), MAIL_ADDRESS_SYNTAX);
	assert_int_equal(mail_path_parse(SLICE("<@b:postmaster>"), true, true, &a, &used, &why), MAIL_ADDRESS_SYNTAX);
	assert_int_equal(mail_path_parse(SLICE("<@b:>"), true, true, &a, &used, &why), MAIL_ADDRESS_SYNTAX);
}

static void a_path_ends_at_its_bracket(void **state)
{
	(void)state;
	struct mail_address a;
	const char *why;
	size_t used;

	assert_int_equal(mail_path_parse(SLICE("<@r:a@b> SIZE=3"), false, false, &a, &used, &why), MAIL_ADDRESS_OK);
	assert_int_equal(used, 8);
	assert_slice(a.text, "a@b");
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static size_t repeat(char *at, const char *unit, size_t times)
{
	size_t n = strlen(unit);

	for (size_t i = 0; i < times; i++)
		memcpy(at + i * n, unit, n);
	return n * times;
}

static enum mail_address_error parse_sized(size_t local, size_t label, size_t labels, const char **why)
{
	char text[70000];
	struct mail_address a;
	size_t n = repeat(text, "l", local);

	text[n++] = '@';
	for (size_t i = 0; i < labels; i++) {
		n += repeat(text + n, "d", label);
		text[n++] = '.';
	}
	return mail_address_parse(slice_of(text, n - 1), &a, why);
}

static void lengths_are_limited_and_the_limit_is_named(void **state)
{
	(void)state;
	static const struct {
		size_t local, label, labels;
		enum mail_address_error error;
	} rows[] = {
		{64, 1, 1, MAIL_ADDRESS_OK},
		{65, 1, 1, MAIL_ADDRESS_LOCAL_TOO_LONG},
		{1, 63, 1, MAIL_ADDRESS_OK},
		{1, 64, 1, MAIL_ADDRESS_DOMAIN_TOO_LONG},
		{1, 62, 4, MAIL_ADDRESS_OK},
		{3, 62, 4, MAIL_ADDRESS_PATH_TOO_LONG},
		{2, 62, 4, MAIL_ADDRESS_OK},
		{1, 63, 4, MAIL_ADDRESS_PATH_TOO_LONG},
		{1, 7, 33, MAIL_ADDRESS_DOMAIN_TOO_LONG},
		{65000, 1, 1, MAIL_ADDRESS_LOCAL_TOO_LONG},
		{1, 60, 1000, MAIL_ADDRESS_DOMAIN_TOO_LONG},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		const char *why = NULL;

		assert_int_equal(parse_sized(rows[i].local, rows[i].label, rows[i].labels, &why), rows[i].error);
		assert_int_equal(why != NULL, rows[i].error != MAIL_ADDRESS_OK);
	}
}

static void the_source_route_counts_towards_the_path(void **state)
{
	(void)state;
	char text[400] = "<";
	struct mail_address a;
	const char *why;
	size_t used, n = 1;

	n += repeat(text + n, "@r234567,", 27); /* 243 octets */
	n += repeat(text + n, "@r:a@b>", 1);
	assert_int_equal(mail_path_parse(slice_of(text, n), false, false, &a, &used, &why), MAIL_ADDRESS_OK);
	assert_int_equal(n, 251);
	memcpy(text + n - 7, "@r:a@bcdefgh>", 13);
	assert_int_equal(mail_path_parse(slice_of(text, n + 6), false, false, &a, &used, &why),
			 MAIL_ADDRESS_PATH_TOO_LONG);
}

/* ---- attacks ----------------------------------------------------------------------------------------------------- */

/* The open-relay corpus, with L = local.example: what is an address at all, and with which domain. */
static void attack_E1_relay_corpus_has_one_verdict_each(void **state)
{
	(void)state;
	static const struct {
		const char *path, *domain; /* NULL: refused */
	} rows[] = {
		{"<u@f.example>", "f.example"},
		{"<u%f.example@local.example>", "local.example"},
		{"<u%f.example@[192.0.2.1]>", "[192.0.2.1]"},
		{"<\"u@f.example\">", NULL},
		{"<\"u@f.example\"@local.example>", "local.example"},
		{"<\"u%f.example\"@local.example>", "local.example"},
		{"<@local.example:u@f.example>", "f.example"},
		{"<@local.example,@f.example:u@f.example>", "f.example"},
		{"<u@f.example@local.example>", NULL},
		{"<f.example!u>", NULL},
		{"<f.example!u@local.example>", "local.example"},
		{"<local.example!u@f.example>", "f.example"},
		{"<u@f.example@[192.0.2.1]>", NULL},
		{"<\"\\\"u@f.example\\\"\"@local.example>", "local.example"},
		{"<u@local.example.>", NULL},
		{"<u@local.example@>", NULL},
		{"<@>", NULL},
		{"<@local.example>", NULL},
		{"<postmaster@>", NULL},
		{"<>", NULL},
		{"u@f.example", NULL},
		{"<u%40f.example@local.example>", "local.example"},
		{"<u@f.example,v@local.example>", NULL},
		{"<u@[f.example]>", NULL},
		{"<u@0x7f000001>", "0x7f000001"},
		{"<u@[IPv6:::ffff:10.0.0.1]>", "[IPv6:::ffff:10.0.0.1]"},
		{"<SRS0=forged=xx=f.example=u@local.example>", "local.example"},
		{"<u@localhost>", "localhost"},
		{"<u>", NULL},
		{"<\"u@local.example\">", NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct mail_address a;
		size_t used;
		enum mail_address_error error = parse_path(cstr(rows[i].path), &a, &used);

		if ((error == MAIL_ADDRESS_OK) != (rows[i].domain != NULL))
			fail_msg("wrong verdict: %s", rows[i].path);
		if (rows[i].domain)
			assert_slice(a.domain, rows[i].domain);
	}
}

/* Each special octet in a bare local part, and with no domain: never repaired, only refused or taken as it is. */
static void attack_E3_shell_words_are_refused_unless_atext(void **state)
{
	(void)state;
	static const char refused[] = ";()<>\"\\\n\r\t ,:[]@.", taken[] = "&$'*?{}`|";

	for (size_t i = 0; i < sizeof refused; i++) { /* its NUL included */
		char text[] = "<?id?@b>";
		struct mail_address a;
		size_t used;

		text[2] = text[4] = refused[i];
		assert_int_equal(parse_path(slice_of(text, 8), &a, &used), MAIL_ADDRESS_SYNTAX);
	}
	for (size_t i = 0; i < sizeof taken - 1; i++) {
		char text[] = "<?id?@b>", local[] = "?id?";
		struct mail_address a;
		size_t used;

		text[1] = text[4] = local[0] = local[3] = taken[i];
		assert_int_equal(parse_path(cstr(text), &a, &used), MAIL_ADDRESS_OK);
		assert_slice(a.local, local);
		text[6] = '>';
		assert_int_equal(parse_path(slice_of(text, 7), &a, &used), MAIL_ADDRESS_SYNTAX);
	}
}

static void attack_E10_nesting_and_high_octets_end_at_once(void **state)
{
	(void)state;
	static const char *const units[] = {"<>",  "(",   "\xff", "<", "\"", "\\",    "@",
					    "@a,", "@a:", "a.",   ".", "[",  "\"\\\""};
	char *text = malloc(100000);

	for (size_t i = 0; i < ROWS(units); i++) {
		struct mail_address a;
		size_t used, n = 1 + repeat(text + 1, units[i], 90000 / strlen(units[i]));

		text[0] = '<';
		assert_int_not_equal(parse_path(slice_of(text, n), &a, &used), MAIL_ADDRESS_OK);
		memcpy(text + n, "a@b>", 4);
		assert_int_not_equal(parse_path(slice_of(text, n + 4), &a, &used), MAIL_ADDRESS_OK);
	}
	free(text);
}

static void every_prefix_of_a_path_is_refused(void **state)
{
	(void)state;
	static const struct slice paths[] = {
		{"<@r.example,@s:\"a\\\"b\"@[IPv6:1::2:192.0.2.1]>", 44},
		{"<j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example>",
		 25},
	};

	for (size_t i = 0; i < ROWS(paths); i++)
		for (size_t n = 0; n <= paths[i].n; n++) {
			struct mail_address a;
			size_t used;

			assert_int_equal(parse_path(slice_head(paths[i], n), &a, &used) == MAIL_ADDRESS_OK,
					 n == paths[i].n);
		}
}

/* ---- domains ----------------------------------------------------------------------------------------------------- */

static void utf8_domains_count_only_where_asked(void **state)
{
	(void)state;
	assert_true(mail_domain_valid(SLICE("example.com"), false));
	assert_false(mail_domain_valid(SLICE("b\xc3\xbc"
					     "cher.example"),
				       false));
	assert_true(mail_domain_valid(SLICE("b\xc3\xbc"
					    "cher.example"),
				      true));
	assert_false(mail_domain_valid(SLICE(""), true));
	assert_false(mail_domain_valid(SLICE("example.com."), true));
	assert_false(mail_domain_valid(SLICE("exa\0mple"), true));
	assert_false(mail_domain_valid(SLICE("\xc3\xbc\0mple"), true));
	assert_false(mail_domain_valid(SLICE("[192.0.2.1]"), true));
}

static void domains_have_one_canonical_form(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out; /* NULL: no domain */
	} rows[] = {
		{"example.com", "example.com"},
		{"EXAMPLE.Com", "example.com"},
		{"Example.com.", "example.com"},
		{"example.com..", NULL},
		{".", NULL},
		{"", NULL},
		{"b\xc3\xbc"
		 "cher.EXAMPLE",
		 "xn--bcher-kva.example"},
		{"B\xc3\x9c"
		 "CHER.example.",
		 "xn--bcher-kva.example"},
		{"bu\xcc\x88"
		 "cher.example",
		 "xn--bcher-kva.example"},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"xn--bcher-kva.\xc3\xbc", "xn--bcher-kva.xn--tda"},
		{"stra\xc3\x9f"
		 "e.example",
		 "xn--strae-oqa.example"},
		{"b\xe3\x80\x82"
		 "c",
		 NULL},
		{"\xff.example", NULL},
		{"[192.0.2.1]", "[192.0.2.1]"},
		{"[IPv6:2001:DB8::A]", "[ipv6:2001:db8::a]"},
		{"[IPv6:2001:DB8::A", NULL},
		{"a_b.example", NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;

		buf_init(&out, 1000);
		if (mail_domain_canonical(cstr(rows[i].in), &out) != (rows[i].out != NULL))
			fail_msg("wrong verdict: %s", rows[i].in);
		assert_slice(buf_slice(&out), rows[i].out ? rows[i].out : "");
		buf_free(&out);
	}
}

static void a_full_buffer_is_told_and_left_as_it_was(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 5);
	buf_add_lit(&out, "abc");
	assert_false(mail_domain_canonical(SLICE("example"), &out));
	out.failed = false;
	assert_false(mail_local_plain(SLICE("\"a\\bc\""), &out));
	out.failed = false;
	assert_false(mail_xtext_encode(SLICE("a=b"), &out));
	out.failed = false;
	assert_false(mail_xtext_decode(SLICE("abc"), &out));
	assert_slice(buf_slice(&out), "abc");
	buf_free(&out);
}

/* ---- local parts and xtext --------------------------------------------------------------------------------------- */

static void quotes_do_not_change_what_a_local_part_means(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"alice", "alice"}, {"\"alice\"", "alice"}, {"\"a\\lice\"", "alice"},
		{"\"a b\"", "a b"}, {"\"\"", ""},           {"\"\\\"\\\\\"", "\"\\"},
		{"\"a", NULL},      {"a b", NULL},          {"", NULL},
		{"a@b", NULL},      {"\"a\"b", NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;

		buf_init(&out, 100);
		assert_int_equal(mail_local_plain(cstr(rows[i].in), &out), rows[i].out != NULL);
		assert_slice(buf_slice(&out), rows[i].out ? rows[i].out : "");
		buf_free(&out);
	}
}

static void xtext_encodes_what_an_argument_may_not_hold(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 100);
	assert_true(mail_xtext_encode(SLICE("a b+c=d~\x7f\xc3\r\n\0"), &out));
	assert_slice(buf_slice(&out), "a+20b+2Bc+3Dd~+7F+C3+0D+0A+00");
	buf_free(&out);
}

/* Attacks S27 and K5 too: nothing that ends a line or a string comes out. */
static void xtext_decodes_only_printable_text(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"", ""},           {"abc", "abc"},   {"a+20b+2Bc+3D", "a b+c="},
		{"+41", "A"},       {"+0D+0A", NULL}, {"+00", NULL},
		{"+7F", NULL},      {"+C3+BC", NULL}, {"a b", NULL},
		{"a=b", NULL},      {"+", NULL},      {"+4", NULL},
		{"+4g", NULL},      {"+2b", NULL},    {"a\n", NULL},
		{"\xc3\xbc", NULL}, {"abc+1", NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;
		char *copy = test_exact_copy(cstr(rows[i].in));

		buf_init(&out, 100);
		if (mail_xtext_decode(slice_of(copy, strlen(rows[i].in)), &out) != (rows[i].out != NULL))
			fail_msg("wrong verdict: %s", rows[i].in);
		assert_slice(buf_slice(&out), rows[i].out ? rows[i].out : "");
		buf_free(&out);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_of_the_grammar_are_taken_apart),
		cmocka_unit_test(what_the_grammar_does_not_hold_is_refused),
		cmocka_unit_test(ipv6_literals_are_those_of_the_grammar),
		cmocka_unit_test(the_null_path_and_postmaster_are_taken_only_where_asked),
		cmocka_unit_test(a_path_ends_at_its_bracket),
		cmocka_unit_test(lengths_are_limited_and_the_limit_is_named),
		cmocka_unit_test(the_source_route_counts_towards_the_path),
		cmocka_unit_test(attack_E1_relay_corpus_has_one_verdict_each),
		cmocka_unit_test(attack_E3_shell_words_are_refused_unless_atext),
		cmocka_unit_test(attack_E10_nesting_and_high_octets_end_at_once),
		cmocka_unit_test(every_prefix_of_a_path_is_refused),
		cmocka_unit_test(utf8_domains_count_only_where_asked),
		cmocka_unit_test(domains_have_one_canonical_form),
		cmocka_unit_test(a_full_buffer_is_told_and_left_as_it_was),
		cmocka_unit_test(quotes_do_not_change_what_a_local_part_means),
		cmocka_unit_test(xtext_encodes_what_an_argument_may_not_hold),
		cmocka_unit_test(xtext_decodes_only_printable_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
