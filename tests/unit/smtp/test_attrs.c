/*
 * What XCLIENT and XFORWARD tell of a client: read, refused whole, and written again.
 */
#include "test.h"

#include <string.h>

#include "smtp/attrs.h"
#include "smtp/limits.h"

#define XCLIENT  SMTP_ATTRS_XCLIENT
#define XFORWARD SMTP_ATTRS_XFORWARD

static char room[16384];
static struct buf out = {.p = room, .cap = sizeof room, .max = sizeof room};

static const char *written(const struct smtp_attrs *attrs, bool unavailable)
{
	buf_reset(&out);
	assert_true(smtp_attrs_write(attrs, unavailable, &out));
	return buf_cstr(&out) ? buf_cstr(&out) : "";
}

static bool read_into(struct smtp_attrs *attrs, enum smtp_attrs_verb verb, const char *text, const char **why)
{
	struct slice where;

	return smtp_attrs_read(verb, slice_from_cstr(text), attrs, &where, why);
}

static void attributes_are_read_in_any_order_and_written_in_one(void **state)
{
	static const struct {
		enum smtp_attrs_verb verb;
		const char *text, *written;
	} cases[] = {
		{XCLIENT, "NAME=spike.porcupine.org ADDR=168.100.189.2", NULL},
		{XCLIENT, "addr=168.100.189.2 Name=Spike.example", "NAME=Spike.example ADDR=168.100.189.2"},
		{XCLIENT, "NAME=[Unavailable] ADDR=[UNAVAILABLE]", "NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]"},
		{XCLIENT, "NAME=[tempunavail]", "NAME=[TEMPUNAVAIL]"},
		{XCLIENT, "REVERSE_NAME=[TEMPUNAVAIL] HELO=[UNAVAILABLE]", NULL},
		{XCLIENT, "ADDR=IPV6:2001:db8::1", NULL},
		{XCLIENT, "ADDR=2001:db8::1 DESTADDR=ipv6:::1 DESTPORT=0", NULL},
		{XCLIENT, "PORT=65535 PROTO=ESMTP HELO=[192.0.2.1] LOGIN=joe+20b+3Djoe+2B1", NULL},
		{XCLIENT, "LOGIN=j+C3+B6rg", NULL},
		{XCLIENT, "PROTO=smtp", NULL},
		{XCLIENT, "HELO=a+20b+0D+0A.+251(x)+00+ff", "HELO=a?b??.%1?x???"},
		{XCLIENT, "  PORT=25   PROTO=SMTP ", "PORT=25 PROTO=SMTP"},
		{XFORWARD, "NAME=x_y ADDR=somewhere+0A PORT=1 PROTO=<QMTP+00 HELO=<x> IDENT=4bQ2+40x SOURCE=LOCAL",
		 "NAME=x_y ADDR=somewhere? PORT=1 PROTO=?QMTP? HELO=?x? IDENT=4bQ2?x SOURCE=LOCAL"},
		{XFORWARD, "NAME=[TEMPUNAVAIL] SOURCE=[UNAVAILABLE]",
		 "NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] "
		 "IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_attrs attrs = {0};
		const char *why = NULL;

		if (!read_into(&attrs, cases[i].verb, cases[i].text, &why))
			fail_msg("%s: %s", cases[i].text, why);
		assert_string_equal(written(&attrs, true), cases[i].written ? cases[i].written : cases[i].text);
	}
}

static void a_bad_attribute_refuses_the_whole_and_changes_nothing(void **state)
{
	static const struct {
		enum smtp_attrs_verb verb;
		const char *text, *where, *why;
	} cases[] = {
		{XCLIENT, "", "", "no attribute"},
		{XCLIENT, "   ", "   ", "no attribute"},
		{XCLIENT, "ADDR=192.0.2.1 NAME", "NAME", "name=value"},
		{XCLIENT, "ADDR=192.0.2.1 NAMES=x", "NAMES=x", "no such"},
		{XCLIENT, "ADDR=192.0.2.1 =x", "=x", "no such"},
		{XCLIENT, "IDENT=x", "IDENT=x", "no such"},
		{XFORWARD, "LOGIN=x", "LOGIN=x", "no such"},
		{XCLIENT, "ADDR=192.0.2.1 ADDR=192.0.2.1", "ADDR=192.0.2.1", "twice"},
		{XCLIENT, "ADDR=", "ADDR=", "1 to 255"},
		{XCLIENT, "NAME=a b", "b", "name=value"},
		{XCLIENT, "NAME=a+", "NAME=a+", "xtext"},
		{XCLIENT, "NAME=a+2", "NAME=a+2", "xtext"},
		{XCLIENT, "NAME=a+G0", "NAME=a+G0", "xtext"},
		{XCLIENT, "NAME=a\tb", "NAME=a\tb", "xtext"},
		{XCLIENT, "NAME=j\xc3\xb6rg.example", "NAME=j\xc3\xb6rg.example", "xtext"},
		{XCLIENT, "NAME=j+C3+B6rg.example", "NAME=j+C3+B6rg.example", "host name"},
		{XCLIENT, "NAME=-x.example", "NAME=-x.example", "host name"},
		{XCLIENT, "NAME=[192.0.2.1]", "NAME=[192.0.2.1]", "host name"},
		{XCLIENT, "ADDR=[192.0.2.1]", "ADDR=[192.0.2.1]", "IP address"},
		{XCLIENT, "ADDR=[TEMPUNAVAIL]", "ADDR=[TEMPUNAVAIL]", "IP address"},
		{XCLIENT, "ADDR=192.0.2.256", "ADDR=192.0.2.256", "IP address"},
		{XCLIENT, "ADDR=192.0.2", "ADDR=192.0.2", "IP address"},
		{XCLIENT, "ADDR=IPV6:192.0.2.1", "ADDR=IPV6:192.0.2.1", "IP address"},
		{XCLIENT, "ADDR=2001:db8::1::2", "ADDR=2001:db8::1::2", "IP address"},
		{XCLIENT, "ADDR=x400:abc", "ADDR=x400:abc", "IP address"},
		{XCLIENT, "ADDR=192.0.2.1+00", "ADDR=192.0.2.1+00", "IP address"},
		{XCLIENT, "PORT=65536", "PORT=65536", "port"},
		{XCLIENT, "PORT=-1", "PORT=-1", "port"},
		{XFORWARD, "PORT=x", "PORT=x", "port"},
		{XCLIENT, "DESTPORT=99999999999999999999", "DESTPORT=99999999999999999999", "port"},
		{XCLIENT, "PROTO=HTTP", "PROTO=HTTP", "SMTP"},
		{XCLIENT, "LOGIN=a+0Ab", "LOGIN=a+0Ab", "control"},
		{XCLIENT, "LOGIN=a+C3", "LOGIN=a+C3", "UTF-8"},
		{XCLIENT, "LOGIN=a+7F", "LOGIN=a+7F", "control"},
		{XFORWARD, "SOURCE=HERE", "SOURCE=HERE", "REMOTE"},
		{XFORWARD, "PROTO=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL, "64"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_attrs attrs = {.value[SMTP_ATTR_PORT] = {SMTP_ATTR_GIVEN, 1, "7"}}, before = attrs;
		struct slice where;
		const char *why;

		if (smtp_attrs_read(cases[i].verb, slice_from_cstr(cases[i].text), &attrs, &where, &why))
			fail_msg("%s", cases[i].text);
		assert_memory_equal(&attrs, &before, sizeof attrs);
		assert_non_null(strstr(why, cases[i].why));
		if (cases[i].where)
			assert_true(slice_eq(where, slice_from_cstr(cases[i].where)));
	}
}

static void values_end_at_255_octets(void **state)
{
	char text[1200] = "HELO=";
	struct smtp_attrs attrs = {0};
	const char *why;

	(void)state;
	for (size_t i = 0; i < 255; i++)
		strncat(text, "+41", 4);
	assert_true(read_into(&attrs, XFORWARD, text, &why));
	assert_int_equal(smtp_attrs_get(&attrs, SMTP_ATTR_HELO).n, 255);
	strncat(text, "A", 2);
	assert_false(read_into(&attrs, XFORWARD, text, &why));
	assert_int_equal(smtp_attrs_get(&attrs, SMTP_ATTR_HELO).n, 255);
}

static void what_is_told_later_stands_beside_what_was_told_before(void **state)
{
	struct smtp_attrs attrs = {0};
	const char *why;

	(void)state;
	assert_true(read_into(&attrs, XFORWARD, "NAME=a ADDR=192.0.2.1", &why));
	assert_true(read_into(&attrs, XFORWARD, "NAME=[UNAVAILABLE] HELO=h", &why));
	assert_string_equal(written(&attrs, false), "ADDR=192.0.2.1 HELO=h");
	attrs = (struct smtp_attrs){0};
	assert_true(read_into(&attrs, XCLIENT, "HELO=h PROTO=ESMTP", &why));
	assert_true(read_into(&attrs, XCLIENT, "NAME=a.example ADDR=192.0.2.1", &why));
	assert_string_equal(written(&attrs, true), "NAME=a.example ADDR=192.0.2.1 PROTO=ESMTP HELO=h");
	assert_int_equal(smtp_attrs_get(&attrs, SMTP_ATTR_PORT).n, 0);
}

static void what_does_not_fit_is_said(void **state)
{
	struct smtp_attrs attrs = {0};
	const char *why;
	char little[20];

	(void)state;
	assert_true(read_into(&attrs, XCLIENT, "NAME=a.example ADDR=192.0.2.1", &why));
	struct buf small = {.p = little, .cap = sizeof little, .max = sizeof little};
	assert_false(smtp_attrs_write(&attrs, false, &small));
}

/* Every attribute that is offered is taken, and no other. */
static void the_offer_is_what_is_taken(void **state)
{
	static const char *const all[] = {"NAME",  "REVERSE_NAME", "ADDR",     "PORT",  "PROTO", "HELO",
					  "LOGIN", "DESTADDR",     "DESTPORT", "IDENT", "SOURCE"};

	(void)state;
	for (enum smtp_attrs_verb verb = XCLIENT; verb <= XFORWARD; verb++)
		for (size_t i = 0; i < SMTP_ATTRS; i++) {
			struct slice rest = smtp_attrs_offer(verb), word = slice_split(&rest, ' ');
			struct smtp_attrs attrs = {0};
			char text[64];
			const char *why;
			bool offered = false;

			assert_true(slice_eq(word, verb == XCLIENT ? SLICE("XCLIENT") : SLICE("XFORWARD")));
			while (rest.p)
				offered |= slice_eq(slice_split(&rest, ' '), slice_from_cstr(all[i]));
			snprintf(text, sizeof text, "%s=[UNAVAILABLE]", all[i]);
			assert_int_equal(read_into(&attrs, verb, text, &why), offered);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_are_read_in_any_order_and_written_in_one),
		cmocka_unit_test(a_bad_attribute_refuses_the_whole_and_changes_nothing),
		cmocka_unit_test(values_end_at_255_octets),
		cmocka_unit_test(what_is_told_later_stands_beside_what_was_told_before),
		cmocka_unit_test(what_does_not_fit_is_said),
		cmocka_unit_test(the_offer_is_what_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
