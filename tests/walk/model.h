/*
 * model: what a session with an SMTP or LMTP server has to be like, written from the RFCs and from the contract in
 * smtp/server.h, not from the engine.
 *
 * The model never parses a command. It is told what the client does (this verb, that path, a chunk of so many octets)
 * and says what has to come of it: the replies, each as the set of codes that the standards leave; the events, each
 * with its envelope and message; and what the session is like afterwards. It runs ahead of the engine by a group of
 * commands, so that pipelining and cut points make no difference to it.
 *
 * RFC 5321 (4.1.1, 4.1.4, 4.3.2, 4.5.2), RFC 1870, RFC 2033, RFC 2920, RFC 3030, RFC 3207, RFC 3461, RFC 6152,
 * RFC 4954, RFC 6531; Postfix's XCLIENT_README and XFORWARD_README.
 */
#ifndef MODEL_H
#define MODEL_H

#include "codes/reply.h"
#include "smtp/attrs.h"
#include "smtp/limits.h"
#include "smtp/server.h"

/* Reply codes as bits of a set. */
#define MODEL_CODES(X)                                                                                            \
	X(211)                                                                                                    \
	X(214)                                                                                                    \
	X(220)                                                                                                    \
	X(221) X(235) X(250) X(251) X(252) X(334) X(354) X(421) X(432) X(450) X(451) X(452) X(454) X(455) X(500)  \
		X(501) X(502) X(503) X(504) X(521) X(523) X(525) X(530) X(534) X(535) X(538) X(550) X(551) X(552) \
			X(553) X(554) X(555)
enum {
#define X(code) MODEL_BIT_##code,
	MODEL_CODES(X)
#undef X
		MODEL_BITS
};
typedef uint64_t model_set;
#define C(code) ((model_set)1 << MODEL_BIT_##code)
#define CODES_5YZ                                                                                                    \
	(C(500) | C(501) | C(502) | C(503) | C(504) | C(521) | C(523) | C(525) | C(530) | C(534) | C(535) | C(538) | \
	 C(550) | C(551) | C(552) | C(553) | C(554) | C(555))
/* The set that a code makes; 0 for one that no row has. */
model_set model_code(unsigned code);
void model_code_text(model_set codes, char text[MODEL_BITS * 4 + 1]);

/* Bits of a foretold reply beside its codes: the extensions are listed; no enhanced code stands in it (RFC 2034 4). */
#define MODEL_EHLO  ((model_set)1 << 63)
#define MODEL_BARE  ((model_set)1 << 62)
/* It may be missing if the next one comes: 220 to STARTTLS, when octets in the clear stood behind it. */
#define MODEL_MAYBE ((model_set)1 << 61)
#define MODEL_FLAGS (MODEL_EHLO | MODEL_BARE | MODEL_MAYBE)

/* Of a line: the client has to wait for its reply (RFC 2920 3.1); it brings a message on; it is no command
 * at all, whatever the state; it is served before TLS, where TLS is required (RFC 3207 4); it is not served before
 * AUTH, where AUTH is required (RFC 4954 6); it is empty; it is a NUL, which two empty ones make a header of PROXY. */
enum {
	LINE_LAST = 1,
	LINE_PROGRESS = 2,
	LINE_NO_COMMAND = 8,
	LINE_CLEAR = 16,
	LINE_AUTH = 32,
	LINE_BLANK = 64,
	LINE_NUL = 128
};

/* ---- what the client says --------------------------------------------------------------------------------------- */

enum model_key {
	KEY_SIZE,
	KEY_BODY,
	KEY_SMTPUTF8,
	KEY_RET,
	KEY_ENVID,
	KEY_AUTH,
	KEY_NOTIFY,
	KEY_ORCPT,
	KEY_UNKNOWN,
	KEY_UGLY
};

/* A parameter of MAIL or RCPT. KEY_UNKNOWN: no extension that we know; KEY_UGLY: no keyword at all. */
struct model_param {
	struct slice text;
	enum model_key key;
	bool bad;           /* the value is against the grammar */
	uint64_t value;     /* SIZE, BODY, RET, NOTIFY; ORCPT: 1 = it needs SMTPUTF8 */
	struct slice shown; /* ENVID, ORCPT: as the envelope has it */
};

/* A path behind FROM: or TO:, and what the owner thinks of it. */
struct model_path {
	struct slice text;             /* as it is sent, brackets included */
	struct slice address;          /* as the envelope has it */
	bool bad, eight;               /* against the grammar or over a limit; outside ASCII */
	enum reply_id mail, rcpt, end; /* the owner's answers */
};

struct model_chunk {
	enum { CHUNK_FINE, CHUNK_ODD_TAIL, CHUNK_NO_SIZE } form;
	uint64_t size;
	bool last;
	struct slice octets; /* fewer than `size` when the connection ends before */
};

/* What the client says to AUTH, or to a challenge. */
struct model_auth {
	enum { AUTH_FINE, AUTH_NOTHING, AUTH_UGLY } form; /* of the command */
	struct slice name;                                /* of the mechanism, in upper case */
	bool given;                                       /* something follows it */
	enum { RESPONSE_FINE, RESPONSE_NO_BASE64, RESPONSE_BARE, RESPONSE_CANCEL, RESPONSE_TOO_LONG } kind;
	struct slice response; /* decoded */
};

/* Behind XCLIENT or XFORWARD. */
struct model_attrs {
	struct slice text;
	bool bad; /* something in it, so that nothing of it counts */
	struct {
		enum smtp_attr attr;
		struct slice shown; /* as it is written in a log */
	} told[SMTP_ATTRS];
};
/* What a client was told to be, by attribute; no octets: nothing. */
struct model_told {
	struct slice value[SMTP_ATTRS];
};
#define MODEL_TOLD_MAX 1024

/* What befalls the session while the owner owes an answer. */
enum model_fate { FATE_NONE, FATE_LATE, FATE_LOST, FATE_SHUTDOWN };
#define MODEL_LATE ((span_ms)1500)

/* ---- what has to come of it -------------------------------------------------------------------------------------- */

struct model_rcpt {
	struct slice address, orcpt;
	uint8_t notify;
	enum reply_id end;
};

struct model_envelope {
	struct slice sender, envid;
	enum mail_body body;
	enum mail_ret ret;
	bool utf8;
	uint64_t declared;
	const struct model_rcpt *rcpt;
	size_t n;
};

struct model_event {
	enum smtp_event_type type;
	enum model_fate fate;
	bool extended;
	enum reply_id answer;           /* the owner's; LMTP, END: each recipient has its own */
	bool given;                     /* AUTH */
	struct slice response;          /* AUTH, AUTH_RESPONSE */
	struct slice text;              /* HELO, VRFY, EXPN: the text; MAIL, RCPT: the address; END: the message */
	struct model_envelope envelope; /* as the owner sees it then */
	struct model_rcpt rcpt;
	struct slice told; /* XCLIENT: the client; MAIL, END: whom the message is forwarded for */
};

#define MODEL_REPLIES 8192
#define MODEL_EVENTS  4096
#define MODEL_POOL    8192
#define MODEL_OCTETS  ((size_t)1 << 19)
#define MODEL_CONTENT ((size_t)1 << 15)

enum model_place {
	PLACE_REFUSED, /* greeted with a refusal */
	PLACE_NEW,     /* no EHLO yet */
	PLACE_READY,
	PLACE_AUTH,   /* behind 334: the next line is a response */
	PLACE_OPEN,   /* behind MAIL */
	PLACE_CHUNKS, /* behind a chunk that was not the last */
	PLACE_FAILED, /* behind a refused chunk that was not the last */
	PLACE_OVER
};

struct model {
	const struct smtp_server_config *config;
	enum model_place place;
	bool extended, must_wait, taken_any, mail_tried, stopping, late, known, binary, no_mail;
	bool awaits_tls, secure; /* the client has to begin the handshake; it is done */
	uint32_t usable;         /* mechanisms of AUTH in this session */
	bool exchange;           /* the owner knows of one that is under way */
	bool authenticated;
	struct smtp_server_trust trust;
	struct model_told client, forwarded;
	unsigned blanks; /* empty lines, one behind the other */
	struct slice peer;
	struct model_envelope envelope;
	struct model_rcpt rcpt[SMTP_RCPT_MIN];
	enum reply_id end; /* the owner's answer to the message */
	size_t tries, owed;
	unsigned errors, idle, messages;
	uint64_t discarded;
	enum model_fate fate; /* of this step's ask number fate_at */
	unsigned fate_at, asks;
	mono_ms now, since, message_since;
	bool in_data;
	size_t content_n;

	size_t replies, events, pool_n, octets_n;
	model_set reply[MODEL_REPLIES];
	struct model_event event[MODEL_EVENTS];
	struct model_rcpt pool[MODEL_POOL];
	char octets[MODEL_OCTETS], content[MODEL_CONTENT];
};

/* The greeting; `pushed`: octets came before it. */
void model_start(struct model *m, const struct smtp_server_config *config, mono_ms now, enum reply_id greeting,
		 bool pushed, enum model_fate fate, uint32_t usable);
/* TLS from the first octet: nothing is said before the handshake. */
void model_await_tls(struct model *m, const struct smtp_server_config *config, mono_ms now);
/* The client has seen all replies; what was foretold is forgotten. */
void model_seen(struct model *m);
/* The owner's answers in the step that follows. */
void model_step(struct model *m, enum model_fate fate, unsigned fate_at);

/* Octets of the client come; false when the session is over, or ends because the client had to wait. */
bool model_octets(struct model *m);
/* A line that draws one of `codes` whatever the state is, and no event. */
void model_refused_line(struct model *m, model_set codes, unsigned flags);
void model_ask_plain(struct model *m, enum smtp_event_type type, struct slice text, enum reply_id answer);
/* The client speaks HTTP or TLS: it hears 421, and nothing that follows is read (attacks C5). */
void model_other_protocol(struct model *m);
/* True when the client may begin the handshake. */
bool model_starttls(struct model *m, bool argument, enum reply_id answer);
/* The handshake is done. */
void model_secured(struct model *m);
/* REPLY_AUTH_CHALLENGE: the owner goes on. */
void model_auth(struct model *m, const struct model_auth *auth, enum reply_id answer);
/* A line behind 334. */
void model_response(struct model *m, const struct model_auth *auth, enum reply_id answer);
/* Whether the client may use the mechanism now; what EHLO lists. */
bool model_may_use(const struct model *m, size_t mechanism);
void model_helo(struct model *m, char verb, bool good, struct slice name, enum reply_id answer);
void model_mail(struct model *m, const struct model_path *path, const struct model_param *const *params, size_t n);
void model_rcpt(struct model *m, const struct model_path *path, const struct model_param *const *params, size_t n);
/* True when the client may send the message. */
bool model_data(struct model *m, enum reply_id answer);
void model_text(struct model *m, struct slice wire);
void model_bdat(struct model *m, struct model_chunk chunk, enum reply_id answer);
/* `answer`: a greeting. */
void model_xclient(struct model *m, const struct model_attrs *attrs, enum reply_id answer);
void model_xforward(struct model *m, const struct model_attrs *attrs);
/* "NAME=value ADDR=value" */
struct slice model_told_text(const struct model_told *told, char text[MODEL_TOLD_MAX]);
void model_rset(struct model *m);
void model_quit(struct model *m, bool argument);
/* A line that does not end. */
void model_endless_line(struct model *m);
/* The connection broke; our server stops; nothing came for too long. */
void model_lost(struct model *m);
void model_shutdown(struct model *m);
void model_silence(struct model *m);

mono_ms model_deadline(const struct model *m);

/* The dots of RFC 5321 4.5.2, line by line. Returns the octets up to and with the end; 0 without one. `ret` has room.
 */
size_t model_undo_dots(struct slice wire, char *ret, size_t *ret_n);
/* The codes that a message may be refused with, 0 = none. `whole`: nothing follows. */
model_set model_faults(const struct smtp_server_config *config, struct slice message, bool binary, bool whole);

#endif
