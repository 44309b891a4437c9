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

#if defined(__GNUC__)
#define SMTPCODES_API __attribute__((visibility("default")))
#else
#define SMTPCODES_API
#endif

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
	/* The same for a client that talks to a live server: the second digit may be any, since 571 and its like are in
	 * wide use, and the first alone says what to do (RFC 5321 4.3.2). The text may hold any octet but LF: a refusal
	 * is one, however it is worded. smtpcodes_reply_text writes '?' for its control characters. */
	SMTPCODES_PEER,
	/* What people paste and old servers send: bare LF or the end of input ends a line, any three digits, any text,
	 * codes that differ between lines (the last decides), lines without code within a reply. */
	SMTPCODES_LENIENT,
};

struct smtpcodes_reply {
	unsigned code; /* 100 to 999 */
	struct smtpcodes_status
		status; /* that of the last line that has one whose class equals the code's first digit */
	size_t lines;
	size_t octets;     /* taken from the input, line ends included */
	const char *error; /* with SMTPCODES_BAD: static text */
};

/*
 * Parse the reply that starts at `in`. Stops at its last line: more replies may follow at in + ret->octets.
 * With SMTPCODES_MORE, `ret` holds what the whole lines so far say. Linear in n. The caller bounds the length:
 * SMTPCODES_MORE with a full buffer is the caller's error to raise.
 */
SMTPCODES_API enum smtpcodes_parse smtpcodes_reply_parse(const char *in, size_t n, enum smtpcodes_mode mode,
							 struct smtpcodes_reply *ret);

/*
 * The text of a parsed reply: codes, enhanced codes that equal ret->status and line ends removed, the lines joined by
 * `joint` (one character, such as ' ' or '\n'). Writes at most `cap` octets and no NUL; returns the octets written.
 */
SMTPCODES_API size_t smtpcodes_reply_text(const char *in, size_t n, enum smtpcodes_mode mode, char joint, char *out,
					  size_t cap);

/* ---- formatting a reply ---------------------------------------------------------------------------------------- */

enum smtpcodes_format {
	SMTPCODES_NO_STATUS = 1, /* leave the enhanced code away: greetings, replies to EHLO and HELO (RFC 2034 4) */
	SMTPCODES_UTF8 =
		2, /* well-formed UTF-8 may stand in the text (RFC 6531 3.7.4); else octets above '~' are '?' */
};

/*
 * Write a reply that keeps the rules: the code and the enhanced code on every line, "-" on all but the last, no line
 * above 512 octets, no control character. '\n' in the text separates lines; a longer line is broken at a space.
 *
 * Returns the octets of the whole reply, without NUL. More than `cap`: it did not fit, and what stands in `out` is only
 * a part of it. 0: the code is outside 2-5, 0-5, 0-9, or the status does not go with it (another class, or
 * any status on 3yz).
 */
SMTPCODES_API size_t smtpcodes_reply_format(unsigned code, struct smtpcodes_status status, const char *text, size_t n,
					    unsigned flags, char *out, size_t cap);

/* ---- enhanced status codes ------------------------------------------------------------------------------------- */

/* "4.2.2" at the start of `in`: no leading zeros, followed by the end or by an octet that is no digit, dot or letter.
 * Returns the octets taken, 0 when there is none. */
SMTPCODES_API size_t smtpcodes_status_parse(const char *in, size_t n, struct smtpcodes_status *ret);
/* Writes at most "5.999.999" and a NUL; returns the length without it. An absent code gives "". */
SMTPCODES_API size_t smtpcodes_status_format(struct smtpcodes_status status, char out[10]);

/* ---- the catalogue --------------------------------------------------------------------------------------------- */

enum smtpcodes_verdict {
	SMTPCODES_UNKNOWN,
	SMTPCODES_SUCCESS,
	SMTPCODES_INTERMEDIATE, /* 3yz: go on */
	SMTPCODES_TEMPORARY,    /* the same may work later */
	SMTPCODES_PERMANENT,    /* the same will fail again */
};

/* Who has to do something. */
enum smtpcodes_actor {
	SMTPCODES_NOBODY,
	SMTPCODES_SENDER,          /* the person who sent the message */
	SMTPCODES_OPERATOR,        /* who runs the sending server or program */
	SMTPCODES_REMOTE_OPERATOR, /* who runs the receiving server */
};

enum smtpcodes_standing {
	SMTPCODES_STANDARD,     /* reply codes of RFC 5321 */
	SMTPCODES_EXTENSION,    /* reply codes of another RFC */
	SMTPCODES_REGISTERED,   /* enhanced codes of the registry (RFC 5248) */
	SMTPCODES_UNREGISTERED, /* enhanced codes that an RFC uses with a meaning that the registry does not give them
				 */
	SMTPCODES_HISTORIC,     /* of a protocol before SMTP */
	SMTPCODES_WILD,         /* of no RFC */
};

/* One reply code. All texts are static; none is NULL, those that do not apply are "". */
struct smtpcodes_code_row {
	unsigned code;
	enum smtpcodes_standing standing;
	const char *commands; /* that draw it */
	const char *source;   /* with section */
	const char *meaning;
	const char *statuses;               /* enhanced codes that go with it, and when */
	const char *client;                 /* what a client does */
	struct smtpcodes_status stands_for; /* of a wild code: the enhanced code that it is, written without dots */
	enum smtpcodes_actor actor;
	const char *advice;
	const char *note;
};

enum smtpcodes_level {
	SMTPCODES_CLASS,   /* 2.X.X, 4.X.X, 5.X.X */
	SMTPCODES_SUBJECT, /* X.0 to X.7 */
	SMTPCODES_DETAIL,  /* X.1.1 and so on */
};

/* One class, subject, or subject with detail, of enhanced codes. */
struct smtpcodes_status_row {
	enum smtpcodes_level level;
	struct smtpcodes_status status; /* klass 0 except in class rows; detail 0 in subject rows */
	enum smtpcodes_standing standing;
	uint8_t classes;  /* bits 1 << 2, 1 << 4, 1 << 5: the classes that it is defined for */
	const char *text; /* "5.X.X", "X.1.X", "X.1.1" */
	const char *sample;
	const char *codes; /* reply codes that the registry names; "" when it names none */
	const char *meaning;
	const char *source;
	enum smtpcodes_actor actor;
	const char *advice;
	const char *note;
};

/* The row of a reply code, or NULL. */
SMTPCODES_API const struct smtpcodes_code_row *smtpcodes_code(unsigned code);
/* All rows by number, from 0; NULL behind the last. */
SMTPCODES_API const struct smtpcodes_code_row *smtpcodes_code_at(size_t index);

/* The row of class 2, 4 or 5, of a subject, of a subject with detail; NULL when there is none. Where a number has
 * several rows, that of the registry. */
SMTPCODES_API const struct smtpcodes_status_row *smtpcodes_status_class(unsigned klass);
SMTPCODES_API const struct smtpcodes_status_row *smtpcodes_status_subject(unsigned subject);
SMTPCODES_API const struct smtpcodes_status_row *smtpcodes_status_detail(unsigned subject, unsigned detail);
/* All rows by number, from 0; NULL behind the last. */
SMTPCODES_API const struct smtpcodes_status_row *smtpcodes_status_at(size_t index);

/*
 * What a client has to make of it. The reply code decides by its first digit (RFC 5321 4.3.2); without one (0), the
 * class of the enhanced code. One exception: 552 with X.5.3, too many recipients, is temporary (RFC 5321 4.5.3.1.10).
 */
SMTPCODES_API enum smtpcodes_verdict smtpcodes_verdict(unsigned code, struct smtpcodes_status status);

/* "permanent", "remote-operator", "registered". */
SMTPCODES_API const char *smtpcodes_verdict_name(enum smtpcodes_verdict verdict);
SMTPCODES_API const char *smtpcodes_actor_name(enum smtpcodes_actor actor);
SMTPCODES_API const char *smtpcodes_standing_name(enum smtpcodes_standing standing);

/* ---- what another server means --------------------------------------------------------------------------------- */

/* clang-format off */
enum smtpcodes_class {
	SMTPCODES_CLASS_UNKNOWN, SMTPCODES_BAD_MAILBOX, SMTPCODES_INACTIVE_MAILBOX, SMTPCODES_FULL_MAILBOX, SMTPCODES_MOVED,
	SMTPCODES_BAD_DOMAIN, SMTPCODES_BAD_SENDER, SMTPCODES_RELAYING_DENIED, SMTPCODES_POLICY, SMTPCODES_REPUTATION,
	SMTPCODES_SPAM, SMTPCODES_VIRUS, SMTPCODES_CONTENT, SMTPCODES_AUTHENTICATION, SMTPCODES_RATE_LIMIT,
	SMTPCODES_GREYLISTING, SMTPCODES_SIZE, SMTPCODES_PROTOCOL, SMTPCODES_NETWORK, SMTPCODES_SYSTEM, SMTPCODES_STORAGE,
	SMTPCODES_LOOP, SMTPCODES_EXPIRED,
	SMTPCODES_CLASSES
};
/* clang-format on */

struct smtpcodes_class_row {
	const char *name; /* "bad-mailbox" */
	const char *meaning;
	enum smtpcodes_verdict verdict; /* when no code tells */
	enum smtpcodes_actor actor_temporary;
	const char *advice_temporary;
	enum smtpcodes_actor actor_permanent;
	const char *advice_permanent;
	uint32_t covers; /* bits 1 << class: these do not contradict it */
};

SMTPCODES_API const struct smtpcodes_class_row *smtpcodes_class(enum smtpcodes_class klass);
/* By its name; false when there is none such. */
SMTPCODES_API bool smtpcodes_class_parse(const char *name, size_t n, enum smtpcodes_class *ret);

/* A borrowed text without NUL. */
struct smtpcodes_span {
	const char *p;
	size_t n;
};

/*
 * A rule. It applies when all three conditions hold.
 *
 * codes:    "*" any; or a list such as "550,45x,-", where x stands for any digit and "-" for no code.
 * statuses: "*" any; or a list such as "5.1.1,x.2.2,4.x.x,-", where x stands for any number and "-" for no code.
 * text:     "*" any; or alternatives separated by " | ", each of them fragments separated by " ... ", which must occur
 * in this order. Case is ignored, white space and '_' in the reply count as one space, and a '_' at either end of a
 * fragment asks for the end of a word there.
 */
struct smtpcodes_rule {
	struct smtpcodes_span name, codes, statuses, text;
	enum smtpcodes_class klass;
	enum smtpcodes_verdict verdict; /* SMTPCODES_UNKNOWN: as the codes say */
	struct smtpcodes_span note;
};

/* Rules of an operator: tried before the built-in ones, in their order. */
struct smtpcodes_rules {
	const struct smtpcodes_rule *rule;
	size_t count;
};

struct smtpcodes_rules_error {
	size_t line;      /* from 1 */
	const char *text; /* static */
};

/*
 * Read rules from lines of name, codes, statuses, text, class, verdict ("temporary", "permanent" or "-") and note,
 * separated by one HT each; the note may be missing. Empty lines and lines that start with '#' are skipped. The rules
 * borrow from `tsv`. At most `cap` rules; a rule more is an error. False with *error set when a line is not a rule.
 */
SMTPCODES_API bool smtpcodes_rules_parse(const char *tsv, size_t n, struct smtpcodes_rule *out, size_t cap,
					 size_t *count, struct smtpcodes_rules_error *error);

/* The built-in rules by number, from 0; NULL behind the last. Those with a text condition come first. */
SMTPCODES_API const struct smtpcodes_rule *smtpcodes_rule_at(size_t index);

enum smtpcodes_decider {
	SMTPCODES_BY_NOTHING,  /* nothing fits: the class is unknown */
	SMTPCODES_BY_CODE,     /* the codes alone */
	SMTPCODES_BY_TEXT,     /* a built-in rule about the text */
	SMTPCODES_BY_OPERATOR, /* one of the rules that were given */
};

struct smtpcodes_finding {
	enum smtpcodes_class klass;
	enum smtpcodes_verdict verdict;
	enum smtpcodes_actor actor;
	const char *advice;
	enum smtpcodes_decider decided_by;
	const struct smtpcodes_rule *rule;      /* that decided, or NULL */
	const struct smtpcodes_rule *code_rule; /* what the codes alone would say, or NULL */
	const char *disagreement;               /* how text and codes disagree, or NULL; the text has decided then */
	struct smtpcodes_status status; /* as used: given, else found in the text, else written into the code (571) */
};

/*
 * Say what a reply means. code 0 and status.klass 0: there is none. The text is that of the reply, line ends and
 * repeated codes within it do no harm; only its first 4096 octets are read. `extra` may be NULL. Time: linear in what
 * is read (the built-in rules are found by an index), times the number of extra rules. Replies that report success are
 * not classified: their class is unknown.
 */
SMTPCODES_API void smtpcodes_classify(unsigned code, struct smtpcodes_status status, const char *text, size_t n,
				      const struct smtpcodes_rules *extra, struct smtpcodes_finding *ret);

/* ---- explaining what somebody pastes --------------------------------------------------------------------------- */

enum smtpcodes_form {
	SMTPCODES_FORM_TEXT,   /* no code was found in it */
	SMTPCODES_FORM_CODE,   /* a reply code alone */
	SMTPCODES_FORM_STATUS, /* an enhanced code, whole or in part (5.7.1, X.7.1, 5.7), alone */
	SMTPCODES_FORM_REPLY,  /* it starts with a reply or an enhanced code */
	SMTPCODES_FORM_WITHIN, /* a reply or enhanced code stands within it, as in a log line */
};

struct smtpcodes_explanation {
	enum smtpcodes_form form;
	unsigned code;                  /* 0: none was found */
	struct smtpcodes_status status; /* klass 0: none was found, or its class was left open (X.7.1) */
	struct smtpcodes_span reply;    /* what was taken as the reply, within the input */
	/* The rows of the catalogue, NULL when there is none. */
	const struct smtpcodes_code_row *code_row;
	const struct smtpcodes_status_row *class_row, *subject_row, *detail_row;
	struct smtpcodes_finding finding;
};

/*
 * Explain a text: a reply, a code, a log line or report that holds a reply. Any octets, any length; time is linear in
 * n. `extra` may be NULL. Returns false when nothing in it was understood: no code, and no rule fits the text.
 */
SMTPCODES_API bool smtpcodes_explain(const char *in, size_t n, const struct smtpcodes_rules *extra,
				     struct smtpcodes_explanation *ret);

#ifdef __cplusplus
}
#endif

#endif
