/*
 * corpus: the octets of attacks.md 1.A that look like an end of data, row by row. S20, S21, S23 to S27 are not octets
 * to be put somewhere but ways to send; data_in.c has them as tests of their own.
 */
#ifndef CORPUS_H
#define CORPUS_H

#include "base/slice.h"

struct corpus_row {
	const char *name;
	struct slice octets;
};

/* clang-format off */
#define ROW(name, octets) {(name), {(octets), sizeof(octets) - 1}}
static const struct corpus_row corpus[] = {
	ROW("S01", "\n.\n"), ROW("S02", "\n.\r\n"), ROW("S03", "\n.\r"), ROW("S04", "\r.\n"), ROW("S05", "\r.\r"),
	ROW("S06", "\r.\r\n"), ROW("S07", "\r\n\0.\r\n"), ROW("S08", "\r\n.\r\r\n"), ROW("S09", "\r\r\n.\r\r\n"),
	ROW("S10", "\r\n.\n"), ROW("S11 M", "\r\n.\rM"), ROW("S11 dot", "\r\n.\r."), ROW("S11 NUL", "\r\n.\r\0"),
	ROW("S12", "\r\n.\0\r\n"), ROW("S13 NUL.CR", "\r\n\0.\r"), ROW("S13 NUL.LF", "\r\n\0.\n"), ROW("S13 LFLF", "\n\n.\r\n"),
	ROW("S14", "\r\n.\0junk\r\n"), ROW("S15", "\r\r\n.\r\n"), ROW("S16 SP", "\r\n. \r\n"), ROW("S16 HT", "\r\n.\t\r\n"),
	ROW("S16 VT", "\r\n.\v\r\n"), ROW("S16 FF", "\r\n.\f\r\n"), ROW("S17 bit 8", "\r\n\xae\r\n"),
	ROW("S17 all bit 8", "\x8d\x8a\xae\x8d\x8a"), ROW("S17 fullwidth", "\r\n\xef\xbc\x8e\r\n"),
	ROW("S17 U+0085", "\xc2\x85.\xc2\x85"), ROW("S17 U+2028", "\xe2\x80\xa8.\xe2\x80\xa8"), ROW("S18 LF", ".\n"),
	ROW("S18 CR", ".\r"), ROW("S18 CRCRLF", ".\r\r\n"), ROW("S19", "\r\n..\r\n"), ROW("S19 three", "\r\n...\r\n"),
	ROW("S20 LFCR", "\n\r.\n\r"), ROW("S20 true end", "\r\n.\r\n"), ROW("S22", "=0D=0A.=0D=0A"),
	ROW("S22 soft", "=\r\n.=\r\n"),
};
/* clang-format on */
#define CORPUS_ROWS (sizeof corpus / sizeof *corpus)

#endif
