/*
 * date: the wall clock's time as text, in UTC.
 *
 * Pure arithmetic on the proleptic Gregorian calendar, without time zones or leap seconds. Times outside the years 1900
 * (RFC 5322 3.3 knows none before) to 9999 are shown as the nearest time inside.
 */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include "base/clock.h"

struct mail_date_text {
	char text[32]; /* NUL-terminated */
};

/* "Sat, 21 Nov 2026 23:04:05 +0000": date-time of RFC 5322 3.3, always 31 characters. */
struct mail_date_text mail_date_rfc5322(wall_ms t);
/* "2026-11-21T23:04:05.123Z": ISO 8601 and RFC 3339, always 24 characters. */
struct mail_date_text mail_date_iso(wall_ms t);

#endif
