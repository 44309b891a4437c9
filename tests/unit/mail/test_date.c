#include "test.h"

#include "mail/date.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static void known_moments_are_shown_right(void **state)
{
	(void)state;
	static const struct {
		wall_ms t;
		const char *rfc5322, *iso;
	} rows[] = {
		{0, "Thu, 01 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00.000Z"},
		{-1, "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59.999Z"},
		{1795302245123, "Sat, 21 Nov 2026 23:04:05 +0000", "2026-11-21T23:04:05.123Z"},
		{951782400000, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00.000Z"},
		{951868800000, "Wed, 01 Mar 2000 00:00:00 +0000", "2000-03-01T00:00:00.000Z"},
		{4107456000000, "Sun, 28 Feb 2100 00:00:00 +0000", "2100-02-28T00:00:00.000Z"},
		{4107542400000, "Mon, 01 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00.000Z"},
		{-2208988800000, "Mon, 01 Jan 1900 00:00:00 +0000", "1900-01-01T00:00:00.000Z"},
		{INT64_MIN, "Mon, 01 Jan 1900 00:00:00 +0000", "1900-01-01T00:00:00.000Z"},
		{INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000", "9999-12-31T23:59:59.999Z"},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_string_equal(mail_date_rfc5322(rows[i].t).text, rows[i].rfc5322);
		assert_string_equal(mail_date_iso(rows[i].t).text, rows[i].iso);
	}
}

/* Day by day from 1900 to 2500, against a calendar that only counts. */
static void every_day_follows_the_one_before(void **state)
{
	(void)state;
	static const unsigned lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	wall_ms t = -2208988800000;

	for (unsigned year = 1900; year < 2500; year++)
		for (unsigned month = 1; month <= 12; month++) {
			bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
			unsigned days = lengths[month - 1] + (month == 2 && leap);

			for (unsigned day = 1; day <= days; day++, t += DAY) {
				char expected[32];

				snprintf(expected, sizeof expected, "%04u-%02u-%02uT00:00:00.000Z", year, month, day);
				assert_string_equal(mail_date_iso(t).text, expected);
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_moments_are_shown_right),
		cmocka_unit_test(every_day_follows_the_one_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
