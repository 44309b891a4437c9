/*
 * lenient: eight receivers that are wrong on purpose (attacks.md, SM-out), and how many messages each sees in what a
 * client of ours sends in a whole session.
 *
 *	LF.LF, LF.CRLF, CR.CR, CR.CRLF   take that for the end of the data, and the true end as well
 *	NUL skipped                      NULs are left out
 *	NUL truncates                    a line ends for it at its first NUL
 *	CR stripped                      CRs are left out, lines end in LF
 *	7 bits                           the eighth bit is cleared
 *
 * Behind an end they read commands again, by lines that end as leniently; octets of BDAT are counted off.
 */
#ifndef LENIENT_H
#define LENIENT_H

#include "base/slice.h"

#include <stdlib.h>
#include <string.h>

enum lenient_kind {
	LENIENT_LF_LF,
	LENIENT_LF_CRLF,
	LENIENT_CR_CR,
	LENIENT_CR_CRLF,
	LENIENT_NUL_SKIPPED,
	LENIENT_NUL_TRUNCATES,
	LENIENT_CR_STRIPPED,
	LENIENT_7_BITS,
	LENIENT_KINDS
};

static const char *const lenient_names[LENIENT_KINDS] = {"LF.LF",       "LF.CRLF",       "CR.CR",       "CR.CRLF",
							 "NUL skipped", "NUL truncates", "CR stripped", "7 bits"};

struct lenient_view {
	size_t messages;   /* ends of data */
	size_t mails;      /* MAIL commands */
	size_t strange;    /* lines in the place of a command that are none that a client of ours sends */
	bool open;         /* the data has no end */
	size_t first_data; /* octets of the first message's data, as it sees them */
};

/* What stays of an octet that the receiver reads; false when nothing does. */
static inline bool lenient_keeps(enum lenient_kind kind, char *c)
{
	if (kind == LENIENT_7_BITS)
		*c = (char)(*c & 0x7f);
	return !(kind == LENIENT_NUL_SKIPPED && *c == '\0') && !(kind == LENIENT_CR_STRIPPED && *c == '\r');
}

/* Whether what was kept so far of the data ends with an end of it. A line starts where the data does. */
static inline bool lenient_ended(enum lenient_kind kind, struct slice data)
{
	static const struct slice own[LENIENT_KINDS] = {[LENIENT_LF_LF] = {"\n.\n", 3},
							[LENIENT_LF_CRLF] = {"\n.\r\n", 4},
							[LENIENT_CR_CR] = {"\r.\r", 3},
							[LENIENT_CR_CRLF] = {"\r.\r\n", 4},
							[LENIENT_CR_STRIPPED] = {"\n.\n", 3}};
	struct slice strict = SLICE("\r\n.\r\n");
	/* The data starts behind an LF. */
	struct slice first = own[kind].n && own[kind].p[0] == '\n' ? slice_skip(own[kind], 1) : slice_skip(strict, 2);

	if (own[kind].n && (slice_ends(data, own[kind]) || slice_eq(data, first)))
		return true;
	if (slice_ends(data, strict) || slice_eq(data, slice_skip(strict, 2)))
		return true;
	if (kind != LENIENT_NUL_TRUNCATES || !slice_ends(data, SLICE("\r\n")))
		return false;
	/* The last line, up to its first NUL. */
	struct slice line = slice_head(data, data.n - 2);
	for (size_t at = line.n; at >= 2; at--)
		if (line.p[at - 2] == '\r' && line.p[at - 1] == '\n') {
			line = slice_skip(line, at);
			break;
		}
	return slice_eq(slice_head(line, slice_find(line, '\0')), SLICE("."));
}

/* Reads data up to its end; returns the octets read. `kept` has room for all. */
static inline size_t lenient_data(enum lenient_kind kind, struct slice in, char *kept, struct lenient_view *view)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (!lenient_keeps(kind, &c))
			continue;
		kept[n++] = c;
		/* Every end ends in CR or LF. */
		if ((c == '\r' || c == '\n') && lenient_ended(kind, slice_of(kept, n))) {
			view->messages++;
			if (view->messages == 1)
				view->first_data = n;
			return i + 1;
		}
	}
	view->open = true;
	return in.n;
}

/* A command line, to its LF (CR alone for those who take it); what was kept of it in `kept`. */
static inline size_t lenient_line(enum lenient_kind kind, struct slice in, char *kept, size_t *ret_n)
{
	bool cr_ends = kind == LENIENT_CR_CR || kind == LENIENT_CR_CRLF;
	size_t i = 0;

	*ret_n = 0;
	while (i < in.n) {
		char c = in.p[i++];
		if (!lenient_keeps(kind, &c))
			continue;
		if (c == '\n')
			return i;
		if (c == '\r' && i < in.n && in.p[i] == '\n')
			return i + 1;
		if (c == '\r' && cr_ends)
			return i;
		kept[(*ret_n)++] = c;
	}
	return i;
}

static inline struct lenient_view lenient_read(enum lenient_kind kind, struct slice in)
{
	static const char *const known[] = {"EHLO ", "LHLO ", "HELO ", "RCPT TO:", "RSET", "QUIT"};
	struct lenient_view view = {0};
	char *kept = malloc(in.n + 1);

	while (in.n > 0 && kept) {
		size_t n;
		in = slice_skip(in, lenient_line(kind, in, kept, &n));
		struct slice line = slice_of(kept, n);
		if (slice_eq(line, SLICE("DATA"))) {
			in = slice_skip(in, lenient_data(kind, in, kept, &view));
		} else if (slice_starts(line, SLICE("BDAT "))) {
			uint64_t octets = 0;
			struct slice rest = slice_skip(line, 5), size = slice_split(&rest, ' ');
			view.strange += !slice_u64(size, in.n, &octets);
			view.messages += slice_eq(rest, SLICE("LAST"));
			in = slice_skip(in, (size_t)octets);
		} else if (slice_starts(line, SLICE("MAIL FROM:"))) {
			view.mails++;
		} else {
			size_t i = 0;
			while (i < sizeof known / sizeof *known && !slice_starts(line, slice_from_cstr(known[i])))
				i++;
			view.strange += i == sizeof known / sizeof *known;
		}
	}
	view.strange += kept == NULL;
	free(kept);
	return view;
}

#endif
