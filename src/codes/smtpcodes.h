/*
 * smtpcodes: the reply codes and enhanced status codes of SMTP, for any program.
 *
 * libsmtpcodes parses and formats replies, knows every code that a standard or the wild gives SMTP, and says what each
 * one means and who has to act. It needs nothing but libc, allocates nothing, keeps no state and does no I/O.
 * Every text that it returns is static and NUL-terminated; every text that it is given is a pointer and a length.
 *
 * Sources: RFC 5321 4.2 (replies), RFC 2034 and RFC 3463 (enhanced codes), the registry of RFC 5248.
 */
#ifndef SMTPCODES_H
#define SMTPCODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Class 2, 4 or 5 "." subject "." detail (RFC 3463 2). klass 0 = no code. */
struct smtpcodes_status {
	uint8_t klass;
	uint16_t subject; /* 0 to 999 */
	uint16_t detail;  /* 0 to 999 */
};

/* ---- parsing a reply ------------------------------------------------------------------------------------------- */

enum smtpcodes_parse {
	SMTPCODES_OK,   /* one whole reply */
	SMTPCODES_MORE, /* good so far, but the last line has not come */
	SMTPCODES_BAD,  /* not a reply; `error` says why */
};

enum smtpcodes_mode {
	/* RFC 5321 4.2: lines end in CRLF, digits are 2-5, 0-5, 0-9, all lines carry one code, text is HT and SP to '~'
	 * (octets above 127 are taken, RFC 6531 3.7.4). A code without text, with or without SP, is good. */
	SMTPCODES_STRICT,
	/* What people paste and old servers send: bare LF or the end of input ends a line, any three digits, any text,
	 * codes that differ between lines (the last decides). */
	SMTPCODES_LENIENT,
};

struct smtpcodes_reply {
	unsigned code;                  /* 100 to 999 */
	struct smtpcodes_status status; /* that of the last line that has one whose class equals the code's first digit */
	size_t lines;
	size_t octets;                  /* taken from the input, line ends included */
	const char *error;              /* with SMTPCODES_BAD: static text */
};

/*
 * Parse the reply that starts at `in`. Stops at its last line: more replies may follow at in + ret->octets.
 * Linear in n. The caller bounds the length: SMTPCODES_MORE with a full buffer is the caller's error to raise.
 */
enum smtpcodes_parse smtpcodes_reply_parse(const char *in, size_t n, enum smtpcodes_mode mode,
					   struct smtpcodes_reply *ret);

/*
 * The text of a parsed reply: codes, enhanced codes that equal ret->status and line ends removed, the lines joined by
 * `joint` (one character, such as ' ' or '\n'). Writes at most `cap` octets and no NUL; returns the octets written.
 */
size_t smtpcodes_reply_text(const char *in, size_t n, enum smtpcodes_mode mode, char joint, char *out, size_t cap);

/* ---- enhanced status codes ------------------------------------------------------------------------------------- */

/* "4.2.2" at the start of `in`: no leading zeros, followed by the end or by an octet that is no digit, dot or letter.
 * Returns the octets taken, 0 when there is none. */
size_t smtpcodes_status_parse(const char *in, size_t n, struct smtpcodes_status *ret);
/* Writes at most "5.999.999" and a NUL; returns the length without it. An absent code gives "". */
size_t smtpcodes_status_format(struct smtpcodes_status status, char out[10]);

#ifdef __cplusplus
}
#endif

#endif
