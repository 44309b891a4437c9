/*
 * Headers of the PROXY protocol: whole, octet by octet, cut at every point, and damaged in every way.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy_writer.h"

static struct crc32c crc;

static int begin(void **state)
{
	(void)state;
	crc32c_init(&crc);
	return 0;
}

/* Reads `in` where the octet behind it must not be touched. */
static enum proxy_result read_header(struct slice in, struct proxy_header *ret, size_t *octets, const char **why)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (in.n + page - 1) / page * page;
	char *room = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(room, MAP_FAILED);
	assert_int_equal(mprotect(room + size, page, PROT_NONE), 0);
	char *p = room + size - in.n;
	if (in.n)
		memcpy(p, in.p, in.n);
	enum proxy_result result = proxy_header_read(&crc, slice_of(p, in.n), ret, octets, why);
	munmap(room, size + page);
	return result;
}

/* The header says so; every beginning of it asks for more, and what follows it changes nothing. */
static void check_good(struct slice in, const struct proxy_header *wanted)
{
	struct proxy_header found;
	char longer[PROXY_HEADER_MAX + 8];
	size_t octets;
	const char *why = NULL;

	for (size_t n = 0; n < in.n; n++) {
		assert_int_equal(read_header(slice_head(in, n), &found, &octets, &why), PROXY_MORE);
		assert_int_equal(octets, 0);
		assert_int_equal(found.source.size, 0);
	}
	if (read_header(in, &found, &octets, &why) != PROXY_DONE)
		fail_msg("%.*s: %s", SLICE_ARGS(in), why);
	assert_int_equal(octets, in.n);
	assert_true(proxy_same(&found, wanted));
	memcpy(longer, in.p, in.n);
	memcpy(longer + in.n, "EHLO x\r\n", 8);
	assert_int_equal(read_header(slice_of(longer, in.n + 8), &found, &octets, &why), PROXY_DONE);
	assert_int_equal(octets, in.n);
	assert_true(proxy_same(&found, wanted));
}

static struct proxy_header told(const char *source, const char *destination, uint16_t from, uint16_t to)
{
	struct proxy_header h = {.client = PROXY_CLIENT_TOLD, .source_port = from, .destination_port = to};

	assert_true(ip_parse(slice_from_cstr(source), &h.source));
	assert_true(ip_parse(slice_from_cstr(destination), &h.destination));
	return h;
}

static void lines_of_version_1_are_read(void **state)
{
	static const struct {
		const char *line, *source, *destination; /* NULL: unknown */
		uint16_t from, to;
	} cases[] = {
		{"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1", "192.168.0.11", 56324, 443},
		{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", "255.255.255.255",
		 65535, 65535},
		{"PROXY TCP4 0.0.0.0 1.2.3.4 0 0\r\n", "0.0.0.0", "1.2.3.4", 0, 0},
		{"PROXY TCP6 2001:db8::1 2001:DB8::2 1 25\r\n", "2001:db8::1", "2001:db8::2", 1, 25},
		{"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n", "192.0.2.1", "::1", 1, 25},
		{"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
		 "65535\r\n",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 65535},
		{"PROXY UNKNOWN\r\n", NULL, NULL, 0, 0},
		{"PROXY UNKNOWN \r\n", NULL, NULL, 0, 0},
		{"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
		 "65535\r\n",
		 NULL, NULL, 0, 0},
		{"PROXY UNKNOWN whatever\x01\xff stands here\r\n", NULL, NULL, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct proxy_header h = {.client = PROXY_CLIENT_UNKNOWN};

		if (cases[i].source)
			h = told(cases[i].source, cases[i].destination, cases[i].from, cases[i].to);
		check_good(slice_from_cstr(cases[i].line), &h);
	}
}

/* Each is bad from one octet on, and was not before. */
static void what_is_no_header_is_told_at_once(void **state)
{
	static const struct {
		const char *line;
		size_t bad_at; /* octets with which it is seen */
		const char *why;
	} cases[] = {
		{"EHLO x\r\n", 1, "none"},
		{"PRoXY TCP4", 3, "none"},
		{"PROXYTCP4 ", 6, "none"},
		{"\r\r\n\r\n", 2, "none"},
		{"\x16\x03\x01", 1, "none"},
		{"PROXY \r\n", 8, "malformed"},
		{"PROXY TCP4\r\n", 12, "malformed"},
		{"PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n", 32, "malformed"},
		{"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", 32, "malformed"},
		{"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", 32, "malformed"},
		{"PROXY UNKNOWNX\r\n", 16, "malformed"},
		{"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n", 33, "malformed"},
		{"PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n", 33, "malformed"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", 33, "malformed"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 30, "malformed"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", 33, "malformed"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", 36, "malformed"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n", 33, "malformed"},
		{"PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", 33, "malformed"},
		{"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n", 30, "malformed"},
		{"PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n", 34, "malformed"},
		{"PROXY TCP4 [1.2.3.4] 1.2.3.4 1 1\r\n", 34, "malformed"},
		{"PROXY TCP4 ::1 1.2.3.4 1 1\r\n", 28, "malformed"},
		{"PROXY TCP6 1.2.3.4 ::1 1 1\r\n", 28, "malformed"},
		{"PROXY TCP6 ::1 IPv6:::1 1 1\r\n", 29, "malformed"},
		{"PROXY TCP6 ::1 fe80::1%lo 1 1\r\n", 31, "malformed"},
		{"PROXY TCP6 ::1:: ::1 1 1\r\n", 26, "malformed"},
		{"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 1\r\n", 34, "malformed"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", 31, "CRLF"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rx", 32, "CRLF"},
		{"PROXY UNKNOWN\r\r\n", 15, "CRLF"},
	};
	char line[PROXY_HEADER_V1_MAX + 8] = "PROXY UNKNOWN ";
	struct proxy_header found;
	size_t octets;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct slice in = slice_from_cstr(cases[i].line);

		assert_true(cases[i].bad_at <= in.n);
		for (size_t n = 0; n <= in.n; n++) {
			enum proxy_result result = read_header(slice_head(in, n), &found, &octets, &why);

			if (result != (n < cases[i].bad_at ? PROXY_MORE : PROXY_BAD))
				fail_msg("%s with %zu octets: %d", cases[i].line, n, result);
			assert_int_equal(octets, 0);
			assert_int_equal(found.source.size + found.destination.size, 0);
		}
		assert_non_null(strstr(why, cases[i].why));
	}
	/* The longest line, and one octet more. */
	memset(line + 14, 'x', sizeof line - 14);
	memcpy(line + PROXY_HEADER_V1_MAX - 2, "\r\n", 2);
	check_good(slice_of(line, PROXY_HEADER_V1_MAX), &(struct proxy_header){.client = PROXY_CLIENT_UNKNOWN});
	line[PROXY_HEADER_V1_MAX - 2] = 'x';
	assert_int_equal(read_header(slice_of(line, PROXY_HEADER_V1_MAX - 2), &found, &octets, &why), PROXY_MORE);
	assert_int_equal(read_header(slice_of(line, PROXY_HEADER_V1_MAX - 1), &found, &octets, &why), PROXY_BAD);
	assert_non_null(strstr(why, "too long"));
}

/* ---- version 2 --------------------------------------------------------------------------------------------------- */

static char room[PROXY_HEADER_MAX + 64];
static struct buf out = {.p = room, .cap = sizeof room, .max = sizeof room};

/* "\1\0\2h2": ALPN, then a name, then a value of the future. */
#define TLVS slice_of("\x01\0\x02h2\x02\0\x0amx.example\xff\0\0", 21)

static void headers_of_version_2_are_read(void **state)
{
	struct proxy_header four = told("192.0.2.1", "198.51.100.2", 56324, 25);
	struct proxy_header six = told("2001:db8::1", "2001:db8::2", 1, 465);
	struct proxy_header unknown = {.client = PROXY_CLIENT_UNKNOWN}, itself = {.client = PROXY_CLIENT_ITSELF};
	const struct proxy_header *all[] = {&four, &six, &unknown, &itself};

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		for (unsigned with = 0; with < 4; with++) {
			buf_reset(&out);
			proxy_write_v2(all[i], with & 1 ? TLVS : SLICE_NONE, with & 2 ? &crc : NULL, &out);
			check_good(buf_slice(&out), all[i]);
		}
}

/* A header with these octets behind the signature. */
static struct slice header_of(unsigned command, unsigned family, struct slice block)
{
	buf_reset(&out);
	buf_add(&out, slice_of("\r\n\r\n\0\r\nQUIT\n", 12));
	buf_add_char(&out, (char)command);
	buf_add_char(&out, (char)family);
	proxy_add_two(&out, (unsigned)block.n);
	buf_add(&out, block);
	assert_false(out.failed);
	return buf_slice(&out);
}

static void clients_without_an_address_of_ours_are_unknown(void **state)
{
	static const char block[216];
	static const struct {
		unsigned command, family;
		size_t block;
		enum proxy_client client;
	} cases[] = {
		{0x21, 0x00, 0, PROXY_CLIENT_UNKNOWN},   {0x21, 0x00, 100, PROXY_CLIENT_UNKNOWN},
		{0x21, 0x01, 5, PROXY_CLIENT_UNKNOWN},   {0x21, 0x10, 5, PROXY_CLIENT_UNKNOWN},
		{0x21, 0x12, 12, PROXY_CLIENT_UNKNOWN},  {0x21, 0x22, 36, PROXY_CLIENT_UNKNOWN},
		{0x21, 0x31, 216, PROXY_CLIENT_UNKNOWN}, {0x21, 0x32, 216, PROXY_CLIENT_UNKNOWN},
		{0x20, 0x00, 0, PROXY_CLIENT_ITSELF},    {0x20, 0x11, 12, PROXY_CLIENT_ITSELF},
		{0x20, 0x11, 1, PROXY_CLIENT_ITSELF},    {0x20, 0xff, 7, PROXY_CLIENT_ITSELF},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_good(header_of(cases[i].command, cases[i].family, slice_of(block, cases[i].block)),
			   &(struct proxy_header){.client = cases[i].client});
}

static void expect_bad(struct slice in, const char *words)
{
	struct proxy_header found;
	size_t octets;
	const char *why = NULL;

	assert_int_equal(read_header(in, &found, &octets, &why), PROXY_BAD);
	assert_non_null(strstr(why, words));
	assert_int_equal(found.source.size + found.destination.size, 0);
	assert_int_equal(octets, 0);
}

static void b8_what_does_not_fit_its_length_is_refused_whole(void **state)
{
	static const char zeros[300];

	(void)state;
	for (size_t n = 0; n < 12; n++)
		expect_bad(header_of(0x21, 0x11, slice_of(zeros, n)), "addresses");
	for (size_t n = 12; n < 36; n++)
		expect_bad(header_of(0x21, 0x21, slice_of(zeros, n)), "addresses");
	for (size_t n = 36; n < 216; n++)
		expect_bad(header_of(0x21, 0x31, slice_of(zeros, n)), "addresses");
	for (unsigned family = 0; family < 256; family++)
		if (family >> 4 > 3 || (family & 15) > 2)
			expect_bad(header_of(0x21, family, slice_of(zeros, 216)), "family");
	for (unsigned command = 0; command < 256; command++)
		if (command != 0x20 && command != 0x21)
			expect_bad(header_of(command, 0x11, slice_of(zeros, 12)), "version");
	/* Type-length-values that are cut anywhere, or longer than what is there. */
	char block[12 + 21];
	memset(block, 0, 12);
	memcpy(block + 12, TLVS.p, 21);
	for (size_t n = 0; n <= 21; n++) {
		bool whole = n == 0 || n == 5 || n == 18 || n == 21;
		struct slice in = header_of(0x21, 0x11, slice_of(block, 12 + n));

		if (whole)
			check_good(in, &(struct proxy_header){.client = PROXY_CLIENT_TOLD,
							      .source = {.size = 4},
							      .destination = {.size = 4}});
		else
			expect_bad(in, "type-length-values");
	}
	block[13] = (char)0xff;
	expect_bad(header_of(0x21, 0x11, slice_of(block, sizeof block)), "type-length-values");
}

static void a_header_has_an_end(void **state)
{
	static char block[PROXY_HEADER_MAX - 16];
	struct proxy_header found;
	size_t octets;
	const char *why;

	(void)state;
	check_good(header_of(0x20, 0x00, slice_of(block, sizeof block)),
		   &(struct proxy_header){.client = PROXY_CLIENT_ITSELF});
	struct slice long_one = header_of(0x20, 0x00, slice_of(block, sizeof block));
	/* Seen by the length alone. */
	room[14] = (char)((sizeof block + 1) >> 8);
	room[15] = (char)(sizeof block + 1);
	expect_bad(slice_head(long_one, 16), "too long");
	assert_int_equal(read_header(slice_head(long_one, 15), &found, &octets, &why), PROXY_MORE);
	expect_bad(slice_head(header_of(0x30, 0x11, SLICE_NONE), 13), "version");
}

/* Every single octet that is damaged shows, but for the type of the checksum itself: then there is none. */
static void a_checksum_finds_damage(void **state)
{
	struct proxy_header h = told("192.0.2.1", "198.51.100.2", 56324, 25), found;
	size_t octets;
	const char *why;

	(void)state;
	proxy_write_v2(&h, (buf_reset(&out), TLVS), &crc, &out);
	for (size_t i = 12; i < buf_len(&out); i++)
		for (unsigned bit = 0; bit < 8 && i != buf_len(&out) - 7; bit++) {
			room[i] ^= (char)(1 << bit);
			enum proxy_result result = read_header(buf_slice(&out), &found, &octets, &why);
			/* Made a LOCAL or UNSPEC, it is not looked at; with another length it is another's. */
			if (result == PROXY_DONE && found.client == PROXY_CLIENT_TOLD)
				fail_msg("octet %zu bit %u was passed over", i, bit);
			room[i] ^= (char)(1 << bit);
		}
	check_good(buf_slice(&out), &h);
	/* Two checksums, and one of a wrong length. */
	buf_reset(&out);
	proxy_write_v2(&h, slice_of("\x03\0\x04\0\0\0\0", 7), &crc, &out);
	expect_bad(buf_slice(&out), "checksum");
	buf_reset(&out);
	proxy_write_v2(&h, slice_of("\x03\0\x03\0\0\0", 6), NULL, &out);
	expect_bad(buf_slice(&out), "checksum");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_version_1_are_read),
		cmocka_unit_test(what_is_no_header_is_told_at_once),
		cmocka_unit_test(headers_of_version_2_are_read),
		cmocka_unit_test(clients_without_an_address_of_ours_are_unknown),
		cmocka_unit_test(b8_what_does_not_fit_its_length_is_refused_whole),
		cmocka_unit_test(a_header_has_an_end),
		cmocka_unit_test(a_checksum_finds_damage),
	};
	return cmocka_run_group_tests(tests, begin, NULL);
}
