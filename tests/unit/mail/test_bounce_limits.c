/* What a hostile or huge message costs, and what happens when there is no memory. */
#include "bounce_check.h"

#include "base/heap.h"

#include <time.h>

#define HUGE_OCTETS ((size_t)50 << 20)
#define PEAK_MAX    ((size_t)2 * MAIL_BOUNCE_MEMORY_MAX)
#define SECONDS_MAX 20 /* of processor time: with sanitizers, on a slow machine, and still far from quadratic */

static size_t live, peak, allocations, fail_at = SIZE_MAX;

/* A block with its size before it. */
static void *counted(void *old, size_t size)
{
	size_t *block = old ? (size_t *)old - 2 : NULL;

	if (allocations++ == fail_at)
		return NULL;
	live += size - (block ? block[0] : 0);
	peak = live > peak ? live : peak;
	block = realloc(block, size + 2 * sizeof *block);
	assert_non_null(block);
	block[0] = size;
	return block + 2;
}

void *heap_alloc(size_t size)
{
	void *p = counted(NULL, size);

	return p ? memset(p, 0, size) : NULL;
}

void *heap_array(size_t count, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(count, size, &total) ? NULL : heap_alloc(total);
}

void *heap_resize(void *block, size_t size)
{
	return counted(block, size);
}

void heap_free(void *block)
{
	if (!block)
		return;
	live -= ((size_t *)block)[-2];
	free((size_t *)block - 2);
}

/* ---- huge messages ----------------------------------------------------------------------------------------------- */

/* `head`, then `unit` until the message is full, then `tail`. */
static void huge_message(char *p, const char *head, const char *unit, const char *tail)
{
	size_t h = strlen(head), u = strlen(unit), t = strlen(tail), at = h;

	memcpy(p, head, h);
	for (; at + u + t <= HUGE_OCTETS; at += u)
		memcpy(p + at, unit, u);
	memset(p + at, '\n', HUGE_OCTETS - at);
	memcpy(p + HUGE_OCTETS - t, tail, t);
}

#define FROM   "From: MAILER-DAEMON@example.net\nSubject: Undelivered mail\n"
#define REPORT FROM "Content-Type: multipart/report; boundary=b\n\n"
#define STATUS "--b\nContent-Type: message/delivery-status\n\n"
#define BOB    "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n"

static void fifty_megabytes_cost_bounded_time_and_memory(void **state)
{
	(void)state;
	static const struct {
		const char *name, *head, *unit, *tail;
		size_t recipients;
	} rows[] = {
		{"a returned original", REPORT STATUS BOB "--b\nContent-Type: message/rfc822\n\nA: b\n\n",
		 "some text that was sent along, line by line\n", "--b--\n", 1},
		{"a returned original in front", REPORT "--b\nContent-Type: message/rfc822\n\nA: b\n\n",
		 "text and text\n", "\n" STATUS BOB "--b--\n", 1},
		{"attachments in base64",
		 REPORT STATUS BOB "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n",
		 "QUJDREVG\n", "--b--\n", 1},
		{"recipients without end", REPORT STATUS, BOB "\n", "--b--\n", 1},
		{"fields without end", REPORT STATUS, "Status: 5.1.1\n", "--b--\n", 1},
		{"a field without end",
		 REPORT STATUS "Final-Recipient: rfc822; bob@example.net\nDiagnostic-Code: smtp;", " 550 no", "\n", 1},
		{"a header without end", FROM, "X-Failed-Recipients: bob@example.net\n", "\n", 1},
		{"one line", FROM "\n", "<bob@example.net>: 550 ", "", 1},
		{"a text of addresses", FROM "\nThe following addresses failed:\n\n",
		 "<bob@example.net>: 550 5.1.1 no\n\n", "", 1},
		{"a text of phrases", FROM "\n", "could not be delivered to the following address(es) failed: ", "", 0},
		{"tags", FROM "Content-Type: text/html\n\n", "<p>&lt;bob@example.net&gt;: 550 no<br", "", 1},
		{"open tags", FROM "Content-Type: text/html\n\n", "<", "", 0},
		{"boundaries", REPORT, "--b\n", "", 0},
		{"boundaries that are none", REPORT, "--b --b--b", "", 0},
		{"lines that could be boundaries", FROM "Content-Type: multipart/report\n\n", "--x\n", "", 0},
		{"multiparts in each other", REPORT, "--b\nContent-Type: multipart/mixed; boundary=b\n\n", "", 0},
		{"messages in each other", FROM, "Content-Type: message/rfc822\n\n", "", 0},
		{"nothing but line ends", REPORT, "\n", "", 0},
		{"NUL and octets above 127", FROM "\n", "\xff\x80\xe2\x80", "", 0},
		{"open quotes", FROM "\nThe following addresses failed:\n", "\"\\<@", "", 0},
	};

	char *message = malloc(HUGE_OCTETS);

	assert_non_null(message);
	for (size_t i = 0; i < ROWS(rows); i++) {
		huge_message(message, rows[i].head, rows[i].unit, rows[i].tail);
		clock_t start = clock();
		struct mail_bounce b;

		live = peak = 0;
		bool good = mail_bounce_read(slice_of(message, HUGE_OCTETS), NULL, &b);
		double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
		if (!good || b.rcpt_count != rows[i].recipients || peak > PEAK_MAX || seconds > SECONDS_MAX)
			fail_msg("%s: %s, %zu recipients, %zu octets at most, %.1f s", rows[i].name,
				 good ? "read" : "no memory", b.rcpt_count, peak, seconds);
		if (getenv("BOUNCE_LIMITS_SHOW"))
			print_message("%-34s %10zu octets %6.3f s\n", rows[i].name, peak, seconds);
		mail_bounce_free(&b);
		assert_int_equal(live, 0);
	}
	free(message);
}

/* Everything that a reader can be made to keep at once. */
static void the_fullest_result_fits_its_memory(void **state)
{
	(void)state;
	struct mail_bounce b;
	struct buf out;

	buf_init(&out, (size_t)8 << 20);
	buf_add_lit(&out, FROM "\n");
	for (int i = 0; i < 3000; i++)
		buf_printf(&out, "<u%05d@example.net>: 550 5.1.1 %040d %040d\n\n", i, i, i);
	assert_true(mail_bounce_read(buf_slice(&out), NULL, &b));
	assert_int_equal(b.rcpt_count, MAIL_BOUNCE_RCPT_MAX);
	mail_bounce_free(&b);

	buf_reset(&out);
	buf_add_lit(&out, REPORT STATUS);
	for (int i = 0; i < 990; i++) {
		buf_printf(&out, "Final-Recipient: rfc822; u%05d@example.net\nAction: failed\nDiagnostic-Code: smtp; ",
			   i);
		for (int j = 0; j < 32; j++)
			buf_add_lit(&out, "550 words and more words, ");
		buf_add_lit(&out, "\n\n");
	}
	assert_true(mail_bounce_read(buf_slice(&out), NULL, &b));
	assert_int_equal(b.rcpt_count, 990);
	mail_bounce_free(&b);
	buf_free(&out);
}

static void without_memory_it_says_so_and_leaks_nothing(void **state)
{
	(void)state;
	static const char *const messages[] = {
		(REPORT "--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\nPHA+U29ycnk8L3A+\n" STATUS
		       "Original-Recipient: rfc822;bob+2Btag@example.net\n" BOB
		       "Diagnostic-Code: smtp; 550\nX-Supplementary-Info: x\n"
		       "--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@example.com>\n\n--b--\n"),
		(FROM "Subject: =?utf-8?Q?Returned?= =?utf-8?B?bWFpbA==?=\nX-Failed-Recipients: bob@example.net\n\n"
		      "The following address(es) failed:\n\n  bob@example.net\n    550 5.1.1 no\n"),
		("From: MAILER-DAEMON@aol.com\n\ncould not be delivered because they are not accepting mail from "
		 "x@example.com:\n\tbob\n"),
	};

	for (size_t i = 0; i < ROWS(messages); i++) {
		bool good = false;

		live = 0;
		for (fail_at = 0; !good; fail_at++) {
			struct mail_bounce b;

			allocations = 0;
			good = mail_bounce_read(slice_from_cstr(messages[i]), NULL, &b);
			assert_true(good || allocations > fail_at);
			assert_true(!good || (b.kind == MAIL_BOUNCE_BOUNCE && b.rcpt_count == 1));
			mail_bounce_free(&b);
			assert_int_equal(live, 0);
		}
		fail_at = SIZE_MAX;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fifty_megabytes_cost_bounded_time_and_memory),
		cmocka_unit_test(the_fullest_result_fits_its_memory),
		cmocka_unit_test(without_memory_it_says_so_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
