#include "mail/date.h"

#include <assert.h>
#include <stddef.h>

#define FIRST_MS (-2208988800000)  /* 1900-01-01T00:00:00.000Z */
#define LAST_MS  (253402300799999) /* 9999-12-31T23:59:59.999Z */

struct moment {
	unsigned year, month, day; /* month and day from 1 */
	unsigned weekday;          /* 0 = Sunday */
	unsigned hour, minute, second, ms;
};

/*
 * Days since 1970 to a date. Years are counted from 1 March, so that the leap day is the last of its year, and in eras
 * of 400 years, which all have 146,097 days; months from March on have 153 days in every five.
 */
static void civil_date(int64_t days, struct moment *m)
{
	int64_t since_0000_03_01 = days + 719468;
	unsigned era = (unsigned)(since_0000_03_01 / 146097);
	unsigned day = (unsigned)(since_0000_03_01 % 146097);
	unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	unsigned day_of_year = day - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * day_of_year + 2) / 153;

	assert(since_0000_03_01 >= 0);
	m->day = day_of_year - (153 * month + 2) / 5 + 1;
	m->month = month < 10 ? month + 3 : month - 9;
	m->year = era * 400 + year + (m->month <= 2);
	m->weekday = (unsigned)((since_0000_03_01 + 3) % 7); /* 0000-03-01 was a Wednesday */
}

static struct moment moment_of(wall_ms t)
{
	struct moment m = {0};

	t = t < FIRST_MS ? FIRST_MS : t > LAST_MS ? LAST_MS : t;
	int64_t days = t / DAY - (t % DAY < 0);
	int64_t rest = t - days * DAY;

	assert(rest >= 0);
	assert(rest < DAY);
	civil_date(days, &m);
	m.hour = (unsigned)(rest / HOUR);
	m.minute = (unsigned)(rest % HOUR / MINUTE);
	m.second = (unsigned)(rest % MINUTE / SECOND);
	m.ms = (unsigned)(rest % SECOND);
	return m;
}

/* Decimal digits with leading zeros. Each message has some dates and each line of the log has one: printf would be half
 * of what they cost. */
static char *put(char *at, unsigned value, size_t digits)
{
	for (size_t i = digits; i > 0; i--) {
		at[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	return at + digits;
}

static char *put_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static char *put_time(char *at, const struct moment *m)
{
	at = put(at, m->hour, 2);
	*at++ = ':';
	at = put(at, m->minute, 2);
	*at++ = ':';
	return put(at, m->second, 2);
}

struct mail_date_text mail_date_rfc5322(wall_ms t)
{
	static const char days[7][6] = {"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
	static const char months[12][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
					   " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
	struct moment m = moment_of(t);
	struct mail_date_text ret;
	char *at = put_text(ret.text, days[m.weekday]);

	at = put(at, m.day, 2);
	at = put_text(at, months[m.month - 1]);
	at = put(at, m.year, 4);
	*at++ = ' ';
	at = put_time(at, &m);
	at = put_text(at, " +0000");
	*at = '\0';
	return ret;
}

struct mail_date_text mail_date_iso(wall_ms t)
{
	struct moment m = moment_of(t);
	struct mail_date_text ret;
	char *at = put(ret.text, m.year, 4);

	*at++ = '-';
	at = put(at, m.month, 2);
	*at++ = '-';
	at = put(at, m.day, 2);
	*at++ = 'T';
	at = put_time(at, &m);
	*at++ = '.';
	at = put(at, m.ms, 3);
	at = put_text(at, "Z");
	*at = '\0';
	return ret;
}
